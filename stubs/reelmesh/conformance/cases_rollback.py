"""Cases 37 to 48: bets that are given back, or are never to be taken."""

from dataclasses import replace
from functools import partial

from reelmesh.conformance.catalogue import EXTERNAL, WALLET
from reelmesh.conformance.registry import case
from reelmesh.conformance.trial import (
    FUNDS_MINOR,
    STAKE_MINOR,
    Answer,
    Bet,
    Player,
    Skip,
    Trial,
    at_once,
    expect,
    expect_balance,
    new_id,
)
from reelmesh.conformance.wallet_service import FUSED, WalletService, service_of

_TWINS = 16
_ROUNDS = 8


@case("37")
async def given_back(trial: Trial) -> str:
    """The stake comes back, and a late payout pays nothing."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    expect("the stake", await wallet.stake(bet), "APPLIED")
    answer = await wallet.roll_back(bet)
    expect("its rollback", answer, wallet.given_back, balance_minor=before_minor)
    await expect_balance(wallet, bet.player, before_minor, "after it")
    expect("a late payout", await wallet.payout(bet, 500), wallet.given_back)
    await expect_balance(wallet, bet.player, before_minor, "after a late payout")
    return str(answer)


@case("38")
async def given_back_once(trial: Trial) -> str:
    """A repeated rollback succeeds and gives nothing more; the stake stays given back."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    await wallet.stake(bet)
    for _ in range(3):
        expect("a rollback, 3 times", await wallet.roll_back(bet), wallet.given_back)
        await expect_balance(wallet, bet.player, before_minor, "after a repeated rollback")
    expect("the stake again", await wallet.stake(bet), wallet.given_back)
    await expect_balance(wallet, bet.player, before_minor, "after the stake again")
    return f"3 times {wallet.given_back}, one refund"


@case("39")
async def unknown(trial: Trial) -> str:
    """A rollback of a bet that never came is a success, and so is its repeat."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    for _ in range(2):
        answer = await wallet.roll_back(bet)
        expect("a rollback of an unknown bet", answer, "VOID")
    await expect_balance(wallet, bet.player, before_minor, "after it")
    return str(answer)


@case("40")
async def too_late(trial: Trial) -> str:
    """The bet arrives after its rollback: no money, at no repeat, and its payout pays nothing."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    await wallet.roll_back(bet)
    for _ in range(2):
        answer = await wallet.stake(bet)
        expect("a bet after its tombstone", answer, "VOID")
        await expect_balance(wallet, bet.player, before_minor, "after a late bet")
    expect("its payout", await wallet.payout(bet, 500), wallet.given_back)
    await expect_balance(wallet, bet.player, before_minor, "after its payout")
    return str(answer)


@case("41")
async def given_back_after_expiry(trial: Trial) -> str:
    """The session ends between stake and rollback: the stake comes back."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    await wallet.stake(bet)
    await trial.block(bet.player)
    try:
        expect("the rollback after expiry", await wallet.roll_back(bet), wallet.given_back)
        await expect_balance(wallet, bet.player, before_minor, "after it")
    finally:
        await trial.unblock(bet.player)
    return "stake before, rollback after: given back"


@case("42", WALLET)
async def win_was_spent(trial: Trial) -> str:
    """The win is gone: nothing moves, nothing is below zero, and a person is asked."""
    wallet = service_of(trial)
    bet = await trial.bet()
    await wallet.settle(bet, FUSED, 500)
    await wallet.stake(await trial.bet(player=bet.player, amount_minor=FUNDS_MINOR + 490))
    answer = await wallet.roll_back_by("RollbackRound", bet)
    expect("the rollback of a spent win", answer, "NEEDS_REVIEW")
    await expect_balance(wallet, bet.player, 0, "after it")
    return str(answer)


@case("43")
async def settled(trial: Trial) -> str:
    """A bet whose payout was made stays as it is, and the answer is no error."""
    wallet = trial.wallet
    if isinstance(wallet, WalletService) and not await wallet.serves("RollbackBet"):
        raise Skip("needs RollbackBet, which is not served")
    bet = await trial.bet()
    before_minor = await wallet.balance(bet.player)
    await wallet.stake(bet)
    await wallet.payout(bet, STAKE_MINOR)
    for _ in range(2):
        answer = await wallet.roll_back(bet)
        expect("the rollback of a settled bet", answer, "APPLIED")
        await expect_balance(wallet, bet.player, before_minor, "after it")
    return str(answer)


@case("44")
async def twins(trial: Trial) -> str:
    """16 rollbacks of one bet at the same moment, from as many callers where the contract names one."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    await wallet.stake(bet)
    if isinstance(wallet, WalletService):
        calls = [
            partial(wallet.roll_back_by, "RollbackRound", bet, actor=f"conformance-{lane}", lane=lane)
            for lane in range(_TWINS)
        ]
    else:
        calls = [partial(wallet.roll_back, bet, lane=lane) for lane in range(_TWINS)]
    for answer in await at_once(calls):
        expect("one of 16 rollbacks at once", answer, wallet.given_back)
    await expect_balance(wallet, bet.player, before_minor, "after them")
    return f"{_TWINS} at once, one refund"


@case("45")
async def race(trial: Trial) -> str:
    """Bet and rollback at once, started in both orders: whoever is first, the net is zero."""
    wallet, player = trial.wallet, await trial.wallet.player()
    before_minor = await wallet.balance(player)
    seen: dict[str, int] = {}
    for turn in range(trial.races):
        bet = await trial.bet(player=player)
        calls = [partial(wallet.stake, bet, lane=turn), partial(wallet.roll_back, bet, lane=turn + 1)]
        answers = await at_once(calls[:: 1 if turn % 2 else -1])
        stake, rollback = answers[:: 1 if turn % 2 else -1]
        expect("the bet", stake, "APPLIED", "VOID", wallet.given_back)
        expect("its rollback", rollback, "VOID", wallet.given_back)
        await expect_balance(wallet, player, before_minor, f"after race {turn + 1}")
        expect("the bet again", await wallet.stake(bet), "VOID", wallet.given_back)
        await expect_balance(wallet, player, before_minor, f"after the bet of race {turn + 1} again")
        first = "bet first" if stake.word == "APPLIED" else "rollback first"
        seen[first] = seen.get(first, 0) + 1
    return f"{trial.races} races, net zero ({', '.join(f'{count} {first}' for first, count in seen.items())})"


@case("46")
async def many_at_once(trial: Trial) -> str:
    """All rounds of a player are given back at once, each twice."""
    wallet, player = trial.wallet, await trial.wallet.player()
    before_minor = await wallet.balance(player)
    bets = [await trial.bet(player=player, amount_minor=STAKE_MINOR + n) for n in range(_ROUNDS)]
    for bet in bets:
        await wallet.stake(bet)
    calls = [partial(wallet.roll_back, bet, lane=lane) for lane, bet in enumerate(bets * 2)]
    for answer in await at_once(calls):
        expect("a rollback", answer, wallet.given_back)
    await expect_balance(wallet, player, before_minor, "after them")
    return f"{2 * _ROUNDS} rollbacks of {_ROUNDS} rounds: exactly what was taken"


@case("48", EXTERNAL)
async def for_another_player(trial: Trial) -> str:
    """A rollback that names another player than the bet."""
    bet = await trial.bet()
    nobody = Player(f"conformance-{new_id()}", bet.currency_code)
    return await _for(trial, bet, nobody, "ALREADY_EXISTS", "NOT_FOUND")


@case("48", WALLET)
async def for_another_account(trial: Trial) -> str:
    """A rollback that names another account than the bet's; the other one owns money."""
    bet, other = await trial.bet(), await trial.wallet.player()
    told = await _for(trial, bet, other, "ALREADY_EXISTS")
    await expect_balance(trial.wallet, other, FUNDS_MINOR, "of the other player")
    return told


async def _for(trial: Trial, bet: Bet, other: Player, *words: str) -> str:
    before_minor = await trial.wallet.balance(bet.player)
    await trial.wallet.stake(bet)
    answer: Answer = await trial.wallet.roll_back(replace(bet, player=other))
    expect("a rollback for another player", answer, *words)
    await expect_balance(trial.wallet, bet.player, before_minor - STAKE_MINOR, "after it")
    expect("the rollback for the right one", await trial.wallet.roll_back(bet), trial.wallet.given_back)
    return str(answer)
