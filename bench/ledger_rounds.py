"""The rounds that the wallet's bench settles, and the accounts they are settled on."""

import random
from collections.abc import Sequence

import psycopg
from uuid_utils.compat import uuid7

from services.wallet.records import Item, Step

OPERATOR_ID, CURRENCY_CODE, GAME_ID = "bench", "EUR", "harbour-lights"
STAKE_MINOR = 100
# A stake always, a win in 30 % of rounds.
_WIN_SHARE, _WIN_MINOR = 0.3, 250
BALANCE_MINOR = 10**12
# Above every id that the wallet's own sequence gives out here; even, as accounts of real money are.
ACCOUNT_FIRST = 10**9
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def draw_win_minor(chance: random.Random) -> int:
    """What a round wins."""
    return _WIN_MINOR if chance.random() < _WIN_SHARE else 0


def items(chance: random.Random, accounts: Sequence[int]) -> list[Item]:
    """A round each for those accounts."""
    return [
        Item(
            str(uuid7()),
            Step.FUSED,
            account_id,
            CURRENCY_CODE,
            STAKE_MINOR,
            draw_win_minor(chance),
            GAME_ID,
            TRACEPARENT,
        )
        for account_id in accounts
    ]


def insert_accounts(connection: psycopg.Connection, count: int) -> range:
    """Funded players with one house and one cashier; their ids.

    Their deposits stand in the books as archived ones: the wallet's auditor looks at all that is here.
    """
    house_id, cashier_id = ACCOUNT_FIRST - 4, ACCOUNT_FIRST - 2
    # In one transaction: the auditor looks at any time.
    with connection.transaction():
        connection.execute(
            """insert into account (account_id, operator_id, currency_code, kind, type)
               values (%s, %s, %s, 1, 2), (%s, %s, %s, 1, 3)""",
            [house_id, OPERATOR_ID, CURRENCY_CODE, cashier_id, OPERATOR_ID, CURRENCY_CODE],
        )
        connection.execute(
            """insert into account (account_id, operator_id, player_id, currency_code, kind, type,
                 house_account_id, cashier_account_id, balance_minor, version)
               select %(first)s + 2 * n, %(operator)s, 'bench-' || n, %(currency)s, 1, 1,
                 %(house)s, %(cashier)s, %(balance)s, 1
               from generate_series(0, %(count)s - 1) n""",
            {
                "first": ACCOUNT_FIRST,
                "operator": OPERATOR_ID,
                "currency": CURRENCY_CODE,
                "house": house_id,
                "cashier": cashier_id,
                "balance": BALANCE_MINOR,
                "count": count,
            },
        )
        connection.execute(
            """insert into account_opening (account_id, amount_minor, movements)
               select account_id, balance_minor, version from account where operator_id = %s and type = 1""",
            [OPERATOR_ID],
        )
        given_minor = -count * BALANCE_MINOR
        connection.execute("insert into account_opening values (%s, %s, 0)", [cashier_id, given_minor])
        connection.execute("insert into counter_checkpoint values (%s, %s)", [cashier_id, given_minor])
    return range(ACCOUNT_FIRST, ACCOUNT_FIRST + 2 * count, 2)


def insert_history(connection: psycopg.Connection, accounts: range, rounds: int) -> None:
    """So many settled rounds of the past, under ids of their time; the accounts' versions follow."""
    connection.execute(
        """insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor,
             game_id, balance_after_minor, account_version, create_time)
           select
             cast(lpad(to_hex(cast(1000 * extract(epoch from clock_timestamp() + ago) as bigint)), 12, '0')
               || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15) as uuid),
             0, 1, 1, %(first)s + 2 * (n %% %(count)s), %(stake)s, win_minor, %(game)s,
             %(balance)s, n / %(count)s + 2, clock_timestamp() + ago
           from generate_series(0, %(rounds)s - 1) n
           cross join lateral (select (n - %(rounds)s) * interval '10 ms' as ago,
             case when n %% 10 < 3 then %(win)s else 0 end as win_minor) drawn""",
        {
            "first": accounts.start,
            "count": len(accounts),
            "rounds": rounds,
            "stake": STAKE_MINOR,
            "win": _WIN_MINOR,
            "game": GAME_ID,
            "balance": BALANCE_MINOR,
        },
    )
    connection.execute(
        """insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
           select s.round_id, v.leg, s.account_id, a.house_account_id, v.amount_minor
           from settlement s join account a using (account_id)
           cross join lateral (values (1::smallint, -s.stake_minor), (2, s.win_minor)) v(leg, amount_minor)
           where v.amount_minor <> 0"""
    )
    connection.execute(
        """update account a set version = s.version, balance_minor = %s + s.amount_minor
           from (select account_id, max(account_version) as version,
               sum(win_minor - stake_minor) as amount_minor
             from settlement group by account_id) s where a.account_id = s.account_id""",
        [BALANCE_MINOR],
    )
    connection.execute("vacuum analyze")
    connection.execute("checkpoint")


def books_off(connection: psycopg.Connection) -> list[str]:
    """What is wrong with the books; empty when they stand."""
    queries = {
        "balances are not opening plus postings": f"""
          select count(*) from (select a.account_id from account a left join posting p using (account_id)
            where a.operator_id = '{OPERATOR_ID}' and a.type = 1 group by a.account_id
            having a.balance_minor <> {BALANCE_MINOR} + coalesce(sum(p.amount_minor), 0)) off""",
        "rounds do not have the postings they call for": """
          select count(*) from (select s.round_id from settlement s left join posting p
            on p.transaction_id = s.round_id where s.status = 1
            group by s.round_id, s.win_minor, s.stake_minor
            having coalesce(sum(p.amount_minor), 0) <> s.win_minor - s.stake_minor) off""",
    }
    found = []
    for text, query in queries.items():
        row = connection.execute(query).fetchone()
        if row is not None and row[0]:
            found.append(f"{row[0]} {text}")
    return found
