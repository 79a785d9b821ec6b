"""One transaction of five statements per bet, as tutorials write it: what the batch is held against.

python -m bench.ledger_single CONNECTIONS SECONDS ACCOUNT_FIRST ACCOUNTS; the database's URL comes on stdin,
the settlements made and the CPU seconds they cost go to stdout. A process of its own, so that several can use
both processors.
"""

import asyncio
import random
import sys
import time

import psycopg
import uvloop
from uuid_utils.compat import uuid7

from bench.ledger_rounds import GAME_ID, STAKE_MINOR, draw_win_minor

_LOCK = "select balance_minor, version, house_account_id from account where account_id = %s for no key update"
_SETTLE = """
insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor, game_id,
  balance_after_minor, account_version)
values (%s, 0, 1, 1, %s, %s, %s, %s, %s, %s)"""
_BALANCE = "update account set balance_minor = %s, version = %s where account_id = %s"
_POST = """
insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
select * from (values (%s::uuid, 1::smallint, %s::bigint, %s::bigint, %s::bigint), (%s, 2, %s, %s, %s)) v
where column5 <> 0"""
_TELL = "insert into outbox (kind, payload) values ('settle', %s)"


async def settle(connection: psycopg.AsyncConnection, account_id: int, win_minor: int) -> None:
    """Takes a stake and pays a win."""
    round_id = uuid7()
    async with connection.transaction():
        row = await (await connection.execute(_LOCK, [account_id])).fetchone()
        assert row is not None
        balance_minor, version, house_account_id = row[0] - STAKE_MINOR + win_minor, row[1] + 1, row[2]
        if row[0] < STAKE_MINOR:
            raise ValueError("the bench's players have money")
        await connection.execute(
            _SETTLE,
            [round_id, account_id, STAKE_MINOR, win_minor, GAME_ID, balance_minor, version],
        )
        await connection.execute(_BALANCE, [balance_minor, version, account_id])
        stake = [round_id, account_id, house_account_id, -STAKE_MINOR]
        await connection.execute(_POST, [*stake, round_id, account_id, house_account_id, win_minor])
        await connection.execute(_TELL, [f'{{"round_id": "{round_id}", "account_id": {account_id}}}'])


async def run(url: str, *, connections: int, seconds: float, accounts: range) -> int:
    """Settlements that so many connections make in that time, each one after the other."""
    end_s = time.monotonic() + seconds

    async def player(number: int) -> int:
        chance, made = random.Random(number), 0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) as own:
            while time.monotonic() < end_s:
                await settle(own, chance.choice(accounts), draw_win_minor(chance))
                made += 1
        return made

    return sum(await asyncio.gather(*(player(number) for number in range(connections))))


if __name__ == "__main__":
    many, duration, first, count = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    of = range(first, first + 2 * count, 2)
    address, cpu_s = sys.stdin.readline().strip(), time.process_time()
    settled = uvloop.run(run(address, connections=many, seconds=duration, accounts=of))
    print(settled, time.process_time() - cpu_s)
