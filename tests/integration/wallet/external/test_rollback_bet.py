"""RollbackBet of rounds whose money an operator keeps: as of all others, a settled one stays as it is."""

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from tests.integration.wallet.external.stage import Stage
from tests.integration.wallet.harness import APPLIED, PAYOUT, REVERSED, STAKE, VOID, new_id

pytestmark = pytest.mark.tool("openssl")

SETTLED = wallet_pb2.UNCHANGED_ROUND_SETTLED


@pytest.mark.parametrize("win", [0, 50])
async def test_a_settled_round_stays_won_or_lost(stage: Stage, win: int) -> None:
    fused = await stage.settle(stake=100, win=win)
    choice = new_id()
    await stage.settle(round_id=choice, step=STAKE, stake=100)
    await stage.settle(round_id=choice, step=PAYOUT, win=win)
    await stage.quiet()
    for round_id in (fused.round_id, choice):
        answer = await stage.wallet.roll_back_bet(stage.account_id, round_id)
        assert (answer.settlement.status, answer.unchanged) == (APPLIED, SETTLED)
    assert await stage.balance() == 800 + 2 * win
    assert "void" not in [name for name, _ in stage.line.sent]


async def test_a_stake_whose_payout_is_still_to_come_goes_back(stage: Stage) -> None:
    round_id = new_id()
    await stage.settle(round_id=round_id, step=STAKE, stake=100)
    answer = await stage.wallet.roll_back_bet(stage.account_id, round_id)
    assert (answer.settlement.status, answer.unchanged, await stage.balance()) == (REVERSED, 0, 1000)
    assert (await stage.settle(round_id=round_id, step=PAYOUT, win=70)).status == REVERSED
    unknown = await stage.wallet.roll_back_bet(stage.account_id, new_id())
    assert (unknown.settlement.status, unknown.unchanged) == (VOID, 0)


async def test_a_round_that_is_being_given_back_is_not_called_settled(stage: Stage) -> None:
    settled = await stage.settle(stake=100)
    stage.line.cut_before.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back(stage.account_id, settled.round_id)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back_bet(stage.account_id, settled.round_id)
    stage.line.cut_before.clear()
    assert await stage.due() == 1
    answer = await stage.wallet.roll_back_bet(stage.account_id, settled.round_id)
    assert (answer.settlement.status, await stage.balance()) == (REVERSED, 1000)
