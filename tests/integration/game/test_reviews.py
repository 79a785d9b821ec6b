"""Reviews: the verdict is executed at the wallet first, and its answer is recorded (R14)."""

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from tests.integration.game.harness import (
    CONTEXT,
    GAMBLE,
    NEEDS_REVIEW,
    REVERSED,
    SETTLED,
    SPIN,
    VOID,
    Game,
    new_id,
)
from tests.integration.wallet.harness import APPLIED, GIVE_BACK, KEEP, OPERATOR, Wallet

VERDICTS = {
    VOID: game_pb2.VERDICT_VOID,
    SETTLED: game_pb2.VERDICT_SETTLED,
    REVERSED: game_pb2.VERDICT_REVERSED,
}


async def in_review(
    game: Game, wallet: Wallet, *, settled: bool, game_id: str = SPIN, balance: int = 1000
) -> game_pb2.Round:
    """A round in review, whose stake the wallet has applied or knows nothing about."""
    account_id = await wallet.open(balance=balance)
    played = await game.play(account_id, game_id=game_id)
    if settled:
        await wallet.send(played.settle)
    wrong = wallet_pb2.Settlement(
        round_id=played.round.round_id,
        status=wallet_pb2.SETTLEMENT_STATUS_APPLIED,
        account_id=account_id + 2,
    )
    round_ = await game.finish(wrong)
    assert round_.state == NEEDS_REVIEW
    return round_


async def test_a_review_that_ends_refused_keeps_the_wallet_s_reason(game: Game, wallet: Wallet) -> None:
    for frozen, reason in (
        (True, error_pb2.ERROR_REASON_ACCOUNT_FROZEN),
        (False, error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS),
    ):
        account_id = await wallet.open(balance=1000 if frozen else 1)
        if frozen:
            await wallet.freeze(account_id)
        played = await game.play(account_id)
        await wallet.send(played.settle)
        wrong = wallet_pb2.Settlement(
            round_id=played.round.round_id,
            status=wallet_pb2.SETTLEMENT_STATUS_APPLIED,
            account_id=account_id + 2,
        )
        await game.finish(wrong)
        ended = await resolve(game, played.round, VOID)
        assert (ended.state, ended.reason) == (game_pb2.ROUND_STATE_REFUSED, reason)
        assert (await game.get(ended.round_id, account_id)).reason == reason


async def resolve(
    game: Game, round_: game_pb2.Round, verdict: game_pb2.RoundState.ValueType, operator_id: str = OPERATOR
) -> game_pb2.Round:
    """An operator's verdict."""
    request = game_pb2.ResolveReviewRequest(
        operator_id=operator_id,
        round_id=round_.round_id,
        verdict=VERDICTS[verdict],
        actor="anna",
        reason="looked at it",
    )
    return (await game.handlers.ResolveReview(request, CONTEXT)).round


async def refused(game: Game, round_: game_pb2.Round, verdict: game_pb2.RoundState.ValueType) -> str:
    """The reason why a verdict is not executed."""
    with pytest.raises(DomainError) as caught:
        await resolve(game, round_, verdict)
    return caught.value.reason


async def test_with_the_stake_unknown_only_void_may_be_asked(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=False)
    assert await refused(game, round_, SETTLED) == "VERDICT_NOT_ALLOWED"
    assert await refused(game, round_, REVERSED) == "VERDICT_NOT_ALLOWED"
    resolved = await resolve(game, round_, VOID)
    assert resolved.state == VOID
    assert not resolved.outcome_json
    # The wallet has a tombstone: the stake can never be taken any more.
    [known] = await game.client.list_settlements(round_.round_id)
    assert known.status == "VOID"
    # Idempotent on the verdict; another one is too late.
    assert await resolve(game, round_, VOID) == resolved
    assert await refused(game, round_, SETTLED) == "ROUND_NOT_IN_REVIEW"
    [row] = await game.rows(
        "select actor, verdict_reason from round_review where round_id = cast(:id as uuid)",
        id=round_.round_id,
    )
    assert (row.actor, row.verdict_reason) == ("anna", "looked at it")


async def test_a_taken_stake_may_stand(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=True)
    assert not round_.outcome_json
    assert await refused(game, round_, VOID) == "VERDICT_NOT_ALLOWED"
    resolved = await resolve(game, round_, SETTLED)
    assert (resolved.state, resolved.win.amount_minor) == (SETTLED, 700)
    assert resolved.outcome_json
    assert await wallet.balance(round_.account_id) == 1600


async def test_a_taken_stake_may_be_given_back(game: Game, wallet: Wallet) -> None:
    for game_id in (SPIN, GAMBLE):
        round_ = await in_review(game, wallet, settled=True, game_id=game_id)
        assert (await resolve(game, round_, REVERSED)).state == REVERSED
        assert await wallet.balance(round_.account_id) == 1000


async def test_a_round_with_a_choice_stands_with_its_payout(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=True, game_id=GAMBLE)
    resolved = await resolve(game, round_, SETTLED)
    assert (resolved.state, resolved.win.amount_minor) == (SETTLED, 700)
    assert await wallet.balance(round_.account_id) == 1600


async def test_a_win_that_was_spent_keeps_the_round_in_review(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=True)
    await wallet.withdraw(round_.account_id, 1600)
    assert (await resolve(game, round_, REVERSED)).state == NEEDS_REVIEW
    await wallet.deposit(round_.account_id, 1000)
    assert (await resolve(game, round_, REVERSED)).state == REVERSED


async def spent(game: Game, wallet: Wallet, game_id: str) -> game_pb2.Round:
    """A settled round that came into review, and that cannot be given back: its win, 700, was withdrawn."""
    account_id = await wallet.open(balance=1000)
    round_ = await game.settle(await game.play(account_id, game_id=game_id))
    if game_id == GAMBLE:
        acted = await game.act(round_, "COLLECT")
        round_ = await game.finish(await wallet.send(acted.payout))
    assert round_.state == SETTLED
    wrong = wallet_pb2.Settlement(
        round_id=round_.round_id, status=wallet_pb2.SETTLEMENT_STATUS_APPLIED, account_id=account_id + 2
    )
    assert (await game.finish(wrong)).state == NEEDS_REVIEW
    await wallet.withdraw(account_id, 1600)
    assert (await resolve(game, round_, REVERSED)).state == NEEDS_REVIEW
    assert round_.round_id in {review.round_id for review in await wallet.reviews()}
    return round_


@pytest.mark.parametrize("game_id", [SPIN, GAMBLE])
async def test_a_round_that_stands_stands_at_the_wallet_too(game: Game, wallet: Wallet, game_id: str) -> None:
    round_ = await spent(game, wallet, game_id)
    resolved = await resolve(game, round_, SETTLED)
    assert (resolved.state, resolved.win.amount_minor) == (SETTLED, 700)
    assert round_.round_id not in {review.round_id for review in await wallet.reviews()}
    await wallet.deposit(round_.account_id, 1000)
    assert (await wallet.roll_back(round_.account_id, round_.round_id)).status == APPLIED
    assert await wallet.balance(round_.account_id) == 1000


@pytest.mark.parametrize("game_id", [SPIN, GAMBLE])
@pytest.mark.parametrize(("verdict", "state", "win"), [(KEEP, SETTLED, 700), (GIVE_BACK, REVERSED, None)])
async def test_game_records_what_was_decided_at_the_wallet_whatever_it_asks(
    game: Game,
    wallet: Wallet,
    game_id: str,
    verdict: wallet_pb2.ReviewVerdict.ValueType,
    state: game_pb2.RoundState.ValueType,
    win: int | None,
) -> None:
    round_ = await spent(game, wallet, game_id)
    await wallet.deposit(round_.account_id, 1000)
    await wallet.resolve(round_.round_id, verdict)
    resolved = await resolve(game, round_, REVERSED)
    assert resolved.state == state
    assert win is None or resolved.win.amount_minor == win


async def test_only_the_operator_of_a_round_in_review_decides(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=False)
    with pytest.raises(DomainError) as caught:
        await resolve(game, round_, VOID, operator_id="other")
    assert caught.value.reason == "ROUND_NOT_FOUND"
    played = await game.play(await wallet.open())
    assert await refused(game, played.round, VOID) == "ROUND_NOT_IN_REVIEW"
    played.round.round_id = new_id()
    assert await refused(game, played.round, VOID) == "ROUND_NOT_FOUND"
    await resolve(game, round_, VOID)


async def test_a_silent_wallet_leaves_the_review_open(game: Game, wallet: Wallet) -> None:
    round_ = await in_review(game, wallet, settled=False)
    game.stub.silent = True
    assert await refused(game, round_, VOID) == "UNAVAILABLE"
    game.stub.silent = False
    assert (await resolve(game, round_, VOID)).state == VOID


async def test_reviews_are_listed_oldest_first_until_they_are_resolved(
    own_game_url: str, wallet: Wallet
) -> None:
    async with Game(own_game_url, wallet) as game:
        waiting = [await in_review(game, wallet, settled=False) for _ in range(3)]
        request = game_pb2.ListReviewsRequest(operator_id=OPERATOR, page_size=2)
        first = await game.handlers.ListReviews(request, CONTEXT)
        request.page_token = first.next_page_token
        second = await game.handlers.ListReviews(request, CONTEXT)
        assert [*first.rounds, *second.rounds] == waiting
        assert not second.next_page_token
        await resolve(game, waiting[0], VOID)
        request.ClearField("page_token")
        assert list((await game.handlers.ListReviews(request, CONTEXT)).rounds) == waiting[1:]
        request.operator_id = "other"
        assert not (await game.handlers.ListReviews(request, CONTEXT)).rounds
