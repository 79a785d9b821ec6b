"""Cases 31 to 36 and 50: one id, one effect, one answer."""

from dataclasses import replace
from functools import partial

from reelmesh.client import CallError
from reelmesh.conformance.catalogue import EXTERNAL, WALLET
from reelmesh.conformance.registry import case
from reelmesh.conformance.trial import (
    CLIENTS,
    FUNDS_MINOR,
    STAKE_MINOR,
    Answer,
    Bet,
    Mismatch,
    Player,
    Skip,
    Trial,
    at_once,
    expect,
    expect_balance,
    expect_equal,
    new_id,
)
from reelmesh.conformance.wallet_service import FUSED, STAKE, WalletService, service_of

_VOLLEY = 8
_DUPLICATE_TURNS = 2
_CUTS = 20


@case("31")
async def repeated(trial: Trial) -> str:
    """Stake and payout three times each: every answer is the first one, and money moves once."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    for _ in range(3):
        answer = await wallet.stake(bet)
        expect("a stake, 3 times", answer, "APPLIED", balance_minor=before_minor - STAKE_MINOR)
        await expect_balance(wallet, bet.player, before_minor - STAKE_MINOR, "after a repeated stake")
    for _ in range(3):
        answer = await wallet.payout(bet, 2 * STAKE_MINOR)
        expect("a payout, 3 times", answer, "APPLIED", balance_minor=before_minor + STAKE_MINOR)
        await expect_balance(wallet, bet.player, before_minor + STAKE_MINOR, "after a repeated payout")
    answer = await wallet.stake(bet)
    expect("the stake after its payout", answer, "APPLIED", balance_minor=before_minor - STAKE_MINOR)
    if isinstance(wallet, WalletService):
        deposit = wallet.deposit(bet.player, 5)
        for _ in range(3):
            await wallet.call("Deposit", deposit)
        await expect_balance(wallet, bet.player, before_minor + STAKE_MINOR + 5, "after a repeated deposit")
    return "each repeat is the first answer; money moved once"


@case("32", EXTERNAL)
async def altered_stake(trial: Trial) -> str:
    """Each field of a stake and of a payout is another one, one at a time."""
    wallet, bet = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(bet.player)
    expect("the stake", await wallet.stake(bet), "APPLIED")
    after_minor = before_minor - STAKE_MINOR
    altered = _altered(bet)
    for field, other in altered.items():
        # Another player or currency may be found to be none at all first.
        known = ("INVALID_ARGUMENT", "NOT_FOUND") if field in ("player", "currency") else ()
        expect(f"a stake with another {field}", await wallet.stake(other), "ALREADY_EXISTS", *known)
        await expect_balance(wallet, bet.player, after_minor, f"after a stake with another {field}")
    expect("the payout", await wallet.payout(bet, STAKE_MINOR), "APPLIED")
    expect("a payout with another amount", await wallet.payout(bet, STAKE_MINOR + 1), "ALREADY_EXISTS")
    await expect_balance(wallet, bet.player, before_minor, "after an altered payout")
    return f"refused: {', '.join(altered)}; of a payout: amount"


@case("32", WALLET)
async def altered_settle(trial: Trial) -> str:
    """Each field of a settle and of a deposit is another one, one at a time."""
    wallet = service_of(trial)
    bet = await trial.bet()
    expect("the round", await wallet.settle(bet, FUSED, 5), "APPLIED")
    after_minor = FUNDS_MINOR - STAKE_MINOR + 5
    altered = {
        **{field: (other, FUSED, 5) for field, other in _altered(bet).items()},
        "player": (replace(bet, player=await wallet.player()), FUSED, 5),
        "win": (bet, FUSED, 6),
        "step": (bet, STAKE, 0),
    }
    for field, (other, step, win_minor) in altered.items():
        answer = await wallet.settle(other, step, win_minor)
        expect(f"a settle with another {field}", answer, "ALREADY_EXISTS")
        await expect_balance(wallet, bet.player, after_minor, f"after another {field}")
    deposit = wallet.deposit(bet.player, 5)
    await wallet.call("Deposit", deposit)
    deposit.amount.amount_minor = 6
    try:
        await wallet.call("Deposit", deposit)
        raise Mismatch("a deposit with another amount: expected ALREADY_EXISTS, seen an answer")
    except CallError as error:
        expect("a deposit with another amount", Answer(error.code().name), "ALREADY_EXISTS")
    await expect_balance(wallet, bet.player, after_minor + 5, "after an altered deposit")
    return f"refused: {', '.join(altered)}; of a deposit: amount"


def _altered(bet: Bet) -> dict[str, Bet]:
    return {
        "amount": replace(bet, amount_minor=bet.amount_minor + 1),
        "game": replace(bet, game_id="conformance-2"),
        "currency": replace(bet, currency_code="USD" if bet.currency_code != "USD" else "EUR"),
        "player": replace(bet, player=Player(f"conformance-{new_id()}", bet.currency_code)),
    }


@case("33")
async def at_once_once(trial: Trial) -> str:
    """64 clients send one stake at the same moment, and then its payout."""
    wallet = trial.wallet
    for _ in range(_DUPLICATE_TURNS):
        bet = await trial.bet()
        before_minor = await wallet.balance(bet.player)
        stakes = await at_once([partial(wallet.stake, bet, lane=lane) for lane in range(CLIENTS)])
        for answer in stakes:
            expect("one stake, 64 times at once", answer, "APPLIED", balance_minor=before_minor - STAKE_MINOR)
        await expect_balance(wallet, bet.player, before_minor - STAKE_MINOR, "after the stake")
        pays = await at_once([partial(wallet.payout, bet, STAKE_MINOR, lane=lane) for lane in range(CLIENTS)])
        for answer in pays:
            expect("one payout, 64 times at once", answer, "APPLIED", balance_minor=before_minor)
        await expect_balance(wallet, bet.player, before_minor, "after the payout")
    return f"{_DUPLICATE_TURNS} rounds, {2 * CLIENTS} calls each: settled once"


@case("34")
async def elsewhere(trial: Trial) -> str:
    """What was answered is known after a hard restart, and to another replica."""
    if trial.hooks.restart is None and trial.other is None:
        raise Skip("needs --restart-command, or --other-target")
    wallet, player = trial.wallet, await trial.wallet.player()
    before_minor = await wallet.balance(player)
    settled = await trial.bet(player=player)
    await wallet.stake(settled)
    await wallet.payout(settled, STAKE_MINOR)
    refused = await trial.bet(player=player, amount_minor=before_minor + 1)
    await wallet.stake(refused)
    bets = [await trial.bet(player=player) for _ in range(_VOLLEY)]
    answers = await at_once([partial(wallet.stake, bet, lane=lane) for lane, bet in enumerate(bets)])
    for answer in answers:
        expect("a stake", answer, "APPLIED")
    told = []
    after_minor = before_minor - _VOLLEY * STAKE_MINOR
    if trial.hooks.restart is not None:
        # At once: an answer that was given before its commit is lost here.
        await trial.hooks.restart()
        await wallet.restored(player)
        await expect_balance(wallet, player, after_minor, f"after the restart, {_VOLLEY} stakes answered")
        told.append("restart")
    asked = {"restart": wallet} if told else {}
    if trial.other is not None:
        asked["other replica"] = trial.other
    for where, replica in asked.items():
        for bet, first in zip(bets, answers, strict=True):
            expect_equal(f"a stake again, {where}", str(await replica.stake(bet)), str(first))
        again = await replica.payout(settled, STAKE_MINOR)
        expect(f"a payout again, {where}", again, "APPLIED", balance_minor=before_minor)
        expect(f"a refused stake again, {where}", await replica.stake(refused), "REFUSED")
        await expect_balance(replica, player, after_minor, f"after repeats, {where}")
    return f"{_VOLLEY + 2} answers known: {', '.join(asked)}"


@case("35")
async def refused_for_ever(trial: Trial) -> str:
    """A refusal is the answer of its id, whatever the balance does later."""
    wallet, everything = trial.wallet, await trial.bet()
    before_minor = await wallet.balance(everything.player)
    everything = replace(everything, amount_minor=before_minor)
    expect("a stake of everything", await wallet.stake(everything), "APPLIED", balance_minor=0)
    late = await trial.bet(player=everything.player)
    expect("a stake of the penniless", await wallet.stake(late), "REFUSED", balance_minor=0)
    expect("the rollback of everything", await wallet.roll_back(everything), wallet.given_back)
    expect("the refused stake again, now covered", await wallet.stake(late), "REFUSED")
    await expect_balance(wallet, late.player, before_minor, "after it")
    return "refused before and after the top-up"


@case("50")
async def reply_lost(trial: Trial) -> str:
    """Calls that are cut before they are answered, then sent again: one debit each."""
    wallet, player = trial.wallet, await trial.wallet.player()
    before_minor = await wallet.balance(player)
    cut = 0
    for turn in range(_CUTS):
        bet = await trial.bet(player=player)
        # 0.1 to 9 ms: before, while and after the wallet works on it.
        timeout_s = 0.0001 * (turn + 1) ** 1.5
        first = await wallet.send_stake(wallet.stake_body(bet), lane=turn, timeout_s=timeout_s)
        cut += first.word in ("DEADLINE_EXCEEDED", "CANCELLED")
        answer = await wallet.stake(bet)
        expect("the stake again", answer, "APPLIED", balance_minor=before_minor - (turn + 1) * STAKE_MINOR)
    await expect_balance(wallet, player, before_minor - _CUTS * STAKE_MINOR, "after all")
    return f"{cut} of {_CUTS} replies lost: one debit each"
