"""The kit passes a correct wallet of an operator, and catches each that is broken."""

import pytest
from reelmesh.conformance import Hooks, Result, Trial, run
from reelmesh.conformance.catalogue import EXTERNAL, ROWS
from reelmesh.conformance.channels import Channels
from reelmesh.conformance.external_wallet import ExternalWallet

from tests.conformance.broken import CAUGHT_BY
from tests.conformance.operator_wallet import (
    CURRENCY,
    FUNDS_MINOR,
    PLAYER,
    TOKEN,
    OperatorWallet,
    serving,
)


async def examined(wallet: OperatorWallet, *numbers: str) -> list[Result]:
    """What the kit says about it. The player has what it had before."""
    async with serving(wallet) as target:
        channels = Channels(target)
        try:
            await channels.connect()
            external = ExternalWallet(channels, player_id=PLAYER, currency_code=CURRENCY, token=TOKEN)
            hooks = Hooks(restart=wallet.restart, player=wallet.block)
            results = await run(Trial(external, hooks=hooks), numbers=frozenset(numbers))
            assert await external.put_back()
        finally:
            await channels.close()
    return results


async def test_a_correct_wallet_passes_and_keeps_its_money() -> None:
    wallet = OperatorWallet()
    results = await examined(wallet)
    assert [result for result in results if result.status == "fail"] == []
    skipped = {result.row.number for result in results if result.status == "skip"}
    assert skipped == {row.number for row in ROWS if EXTERNAL in row.skipped}
    assert wallet.memory.balances == {PLAYER: FUNDS_MINOR}


@pytest.mark.parametrize("broken", CAUGHT_BY, ids=lambda broken: broken.__name__)
async def test_a_broken_wallet_is_caught_by_the_case_that_names_it(broken: type[OperatorWallet]) -> None:
    number, seen = CAUGHT_BY[broken]
    [result] = await examined(broken(), number)
    assert result.status == "fail"
    assert seen in result.seen
