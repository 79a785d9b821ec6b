"""Cases 19 to 28, 62, 63 and F6: stakes and wins, and that their sums are right."""

import random
from dataclasses import replace
from functools import partial

from reelmesh.conformance.catalogue import WALLET
from reelmesh.conformance.registry import case
from reelmesh.conformance.trial import (
    CLIENTS,
    FUNDS_MINOR,
    STAKE_MINOR,
    Bet,
    Player,
    Skip,
    Trial,
    at_once,
    expect,
    expect_balance,
    expect_equal,
    new_id,
)
from reelmesh.conformance.wallet_service import FUSED, STAKE, answer_of, service_of
from reelmesh.wallet.v1 import wallet_pb2

_COVERED = 8
_SEED = 20_260_101


@case("19", WALLET)
async def fused(trial: Trial) -> str:
    """Stake and win in one step."""
    wallet = service_of(trial)
    bet = await trial.bet()
    answer = await wallet.settle(bet, FUSED, 25)
    expect("a round of 10 that wins 25", answer, "APPLIED", balance_minor=FUNDS_MINOR + 15)
    await expect_balance(wallet, bet.player, FUNDS_MINOR + 15, "after it")
    return str(answer)


@case("20")
async def not_covered(trial: Trial) -> str:
    """One minor unit more than there is."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    answer = await trial.wallet.stake(replace(bet, amount_minor=before_minor + 1))
    expect("a stake of 1 more than there is", answer, "REFUSED", balance_minor=before_minor)
    await expect_balance(trial.wallet, bet.player, before_minor, "after it")
    return str(answer)


@case("22", WALLET)
async def all_or_nothing(trial: Trial) -> str:
    """A win does not cover its own stake; items of a batch are rounds of their own, each with its answer."""
    wallet = service_of(trial)
    bet = await trial.bet(amount_minor=FUNDS_MINOR + 1)
    answer = await wallet.settle(bet, FUSED, 5 * FUNDS_MINOR)
    expect("a round whose win would cover its stake", answer, "REFUSED", balance_minor=FUNDS_MINOR)
    await expect_balance(wallet, bet.player, FUNDS_MINOR, "after it")
    bets = [await trial.bet(), await trial.bet(amount_minor=FUNDS_MINOR + 1)]
    batch = wallet_pb2.BatchSettleRequest(requests=[wallet.settle_request(one, STAKE) for one in bets])
    first, second = (answer_of(r.settlement) for r in (await wallet.call("BatchSettle", batch)).results)
    expect("the first of a batch", first, "APPLIED", balance_minor=FUNDS_MINOR - STAKE_MINOR)
    expect("the second, not covered", second, "REFUSED", balance_minor=FUNDS_MINOR)
    return "neither leg of a refused round; each item of a batch its own answer"


@case("23")
async def win_without_bet(trial: Trial) -> str:
    """A payout whose stake never came."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    answer = await trial.wallet.payout(bet, 500)
    expect("a payout without its stake", answer, trial.wallet.given_back, "NOT_FOUND", "FAILED_PRECONDITION")
    await expect_balance(trial.wallet, bet.player, before_minor, "after it")
    return str(answer)


@case("24")
async def win_after_expiry(trial: Trial) -> str:
    """The session ends between stake and payout: the win is credited."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    expect("the stake", await trial.wallet.stake(bet), "APPLIED")
    await trial.block(bet.player)
    try:
        expect("the payout after expiry", await trial.wallet.payout(bet, STAKE_MINOR), "APPLIED")
        await expect_balance(trial.wallet, bet.player, before_minor, "after it")
    finally:
        await trial.unblock(bet.player)
    return "stake before, payout after: credited"


@case("25")
async def bet_of_nobody(trial: Trial) -> str:
    """A player that the wallet does not know; and, where that can be caused, one whose session is over."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    nobody = Player(f"conformance-{new_id()}", bet.currency_code, 2**62 if bet.player.account_id else 0)
    answer = await trial.wallet.stake(replace(bet, player=nobody))
    expect("a stake of an unknown player", answer, "NOT_FOUND", "REFUSED")
    try:
        await trial.block(bet.player)
    except Skip as skip:
        return f"unknown: {answer}; expired not tried: {skip}"
    try:
        expired = await trial.wallet.stake(replace(bet, round_id=new_id()))
        expect("a stake after expiry", expired, "REFUSED")
        await expect_balance(trial.wallet, bet.player, before_minor, "after both")
    finally:
        await trial.unblock(bet.player)
    return f"unknown: {answer}; expired: {expired}"


@case("26")
async def zero_win(trial: Trial) -> str:
    """A round that lost is closed by a payout of 0, which is an answer like any other."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    await trial.wallet.stake(bet)
    for _ in range(2):
        answer = await trial.wallet.payout(bet, 0)
        expect("a payout of 0", answer, "APPLIED", balance_minor=before_minor - STAKE_MINOR)
    return str(answer)


@case("27")
async def paid_once(trial: Trial) -> str:
    """A second win of the round is another body under a known id."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    await trial.wallet.stake(bet)
    expect("the payout", await trial.wallet.payout(bet, STAKE_MINOR), "APPLIED", balance_minor=before_minor)
    again = await trial.wallet.payout(bet, 2 * STAKE_MINOR)
    expect("a second, other payout", again, "ALREADY_EXISTS")
    await expect_balance(trial.wallet, bet.player, before_minor, "after both")
    return str(again)


@case("28")
async def win_of_the_disabled(trial: Trial) -> str:
    """A disabled player stakes no more, is paid what was won, and a repeat says the same."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    await trial.wallet.stake(bet)
    await trial.block(bet.player)
    try:
        refused = await trial.wallet.stake(replace(bet, round_id=new_id()))
        expect("a stake of a disabled player", refused, "REFUSED")
        for what in ("the payout", "its repeat"):
            answer = await trial.wallet.payout(bet, STAKE_MINOR)
            expect(what, answer, "APPLIED", balance_minor=before_minor)
    finally:
        await trial.unblock(bet.player)
    return "no stake, but the payout, once"


@case("62")
async def conserved(trial: Trial) -> str:
    """Rounds of several players at once, each sent twice: what left the one side came to the other."""
    wallet = trial.wallet
    players = list({await wallet.player() for _ in range(8)})
    before_minor = sum([await wallet.balance(player) for player in players])
    draw = random.Random(_SEED)
    rounds = [
        (
            Bet(players[n % len(players)], new_id(), draw.randint(1, 9), players[0].currency_code),
            draw.randint(0, 15),
        )
        for n in range(CLIENTS)
    ]

    async def play(bet: Bet, win_minor: int, lane: int) -> None:
        for _ in range(2):
            expect("a stake", await wallet.stake(bet, lane=lane), "APPLIED")
            expect("a payout", await wallet.payout(bet, win_minor, lane=lane), "APPLIED")

    await at_once([partial(play, bet, win, lane) for lane, (bet, win) in enumerate(rounds)])
    after_minor = sum([await wallet.balance(player) for player in players])
    moved_minor = sum(win_minor - bet.amount_minor for bet, win_minor in rounds)
    expect_equal("sum of balances", after_minor, before_minor + moved_minor)
    return f"{CLIENTS} rounds, {len(players)} players: the sum moved by {moved_minor} as it must"


@case("63", WALLET)
async def statement_adds_up(trial: Trial) -> str:
    """The statement of an account sums to its balance, and each line says the balance after it."""
    wallet = service_of(trial)
    if not await wallet.serves("ListTransactions"):
        raise Skip("needs ListTransactions, which is not served")
    bet = await trial.bet()
    await wallet.settle(bet, FUSED, 25)
    lost = replace(bet, round_id=new_id())
    await wallet.stake(lost)
    await wallet.roll_back(lost)
    request = wallet_pb2.ListTransactionsRequest(
        operator_id=wallet.operator_id, account_id=bet.player.account_id
    )
    lines = (await wallet.call("ListTransactions", request)).transactions
    balance_minor = await wallet.balance(bet.player)
    expect_equal("sum of the statement", sum(line.amount.amount_minor for line in lines), balance_minor)
    expect_equal("newest balance_after", lines[0].balance_after.amount_minor, balance_minor)
    expect_equal("versions", [line.account_version for line in lines], list(range(len(lines), 0, -1)))
    return f"{len(lines)} lines sum to {balance_minor}"


@case("F6")
async def overdraft(trial: Trial) -> str:
    """More stakes at once than the balance covers: each that is applied was covered, and none more."""
    wallet = trial.wallet
    player = await wallet.player()
    before_minor = await wallet.balance(player)
    amount_minor = before_minor // _COVERED
    bets = [Bet(player, new_id(), amount_minor, player.currency_code) for _ in range(CLIENTS)]
    answers = await at_once([partial(wallet.stake, bet, lane=lane) for lane, bet in enumerate(bets)])
    applied = sum(answer.word == "APPLIED" for answer in answers)
    for answer in answers:
        expect("a stake", answer, "APPLIED", "REFUSED")
    expect_equal("stakes applied", applied, _COVERED)
    await expect_balance(wallet, player, before_minor - applied * amount_minor, "after the race")
    return f"{applied} of {CLIENTS} applied"
