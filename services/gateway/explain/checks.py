"""Whether a round adds up: one promise per check, each kept, broken, not due yet, or not to be judged.

Amounts are compared where each service has written them down. What R2 hides is not in the facts, so no check
can tell it; a check that needs it says that it cannot be judged yet.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.times import datetime_of
from services.gateway.errors import RoundNotFound
from services.gateway.explain.events import game_events, is_told_of_another, wallet_events
from services.gateway.explain.facts import (
    APPLIED,
    NOT_YET,
    OFF,
    OK,
    REVIEW,
    UNKNOWN,
    Facts,
    Verdict,
    booked_state,
    movements,
    state_name,
    text_of,
)

# The reconciler's pass and a slow answer; after that a round waits for no reason.
OVERDUE = timedelta(seconds=30)
_AUDIT = "make audit-ledger"
_UNFINISHED = {game_pb2.ROUND_STATE_PENDING, game_pb2.ROUND_STATE_OPEN, game_pb2.ROUND_STATE_SETTLING}


def _known(facts: Facts) -> Verdict:
    if "game" in facts.gaps:
        return facts.unknown("game") or Verdict(UNKNOWN)
    if facts.game is None:
        return Verdict(OFF, "others know it, game does not", REVIEW)
    return Verdict(OK)


def _authorised(facts: Facts) -> Verdict:
    if missing := facts.unknown("game", "session"):
        return missing
    assert facts.game is not None
    if facts.session is None:
        return Verdict(OFF, "session authorised no such spin", REVIEW)
    session, round_ = facts.session, facts.game.round
    stored = session.session.session_id, session.authorize_time.ToNanoseconds(), session.mode
    carried = round_.session_id, round_.authorize_time.ToNanoseconds(), round_.mode
    if stored != carried:
        return Verdict(OFF, "the round names another session, time or mode than session stored", REVIEW)
    return Verdict(OK, f"policy {session.session.jurisdiction}")


def _account(facts: Facts) -> Verdict:
    if facts.gaps.get("wallet") == RoundNotFound.reason:
        return Verdict(OFF, "the wallet has the round under another operator's account", REVIEW)
    if missing := facts.unknown("game", "wallet"):
        return missing
    assert facts.game is not None and facts.wallet is not None
    round_ = facts.game.round
    named = {step.account_id for step in facts.wallet.steps}
    if facts.wallet.HasField("reversal"):
        named.add(facts.wallet.reversal.account_id)
    if facts.wallet.steps and (facts.wallet.account.player_id, facts.wallet.account.kind) != (
        round_.player_id,
        round_.kind,
    ):
        return Verdict(OFF, "the wallet's account is another player's or of another kind", REVIEW)
    if facts.session is not None:
        named.add(facts.session.session.account_id)
    if named - {round_.account_id}:
        return Verdict(OFF, f"accounts {sorted(named | {round_.account_id})}", REVIEW)
    if is_told_of_another(facts):
        return Verdict(OFF, "an event names another account, kind or currency", REVIEW)
    return Verdict(OK, f"account {round_.account_id}")


def _stake(facts: Facts) -> Verdict:
    if missing := facts.unknown("game"):
        return missing
    assert facts.game is not None
    found = {"game": facts.game.round.stake}
    if facts.session is not None:
        found["session"] = facts.session.stake
    if facts.wallet is not None and facts.wallet.steps and facts.wallet.steps[0].step:
        found["wallet"] = facts.wallet.steps[0].stake
        for call in facts.wallet.calls:
            if call.step == wallet_pb2.EXTERNAL_STEP_STAKE:
                found["the operator's wallet"] = call.amount
    texts = {where: text_of(amount) for where, amount in found.items()}
    if len(set(texts.values())) > 1:
        return Verdict(OFF, ", ".join(f"{where} {text}" for where, text in texts.items()), REVIEW)
    return Verdict(OK, f"{texts['game']} in {', '.join(texts)}")


def _definition(facts: Facts) -> Verdict:
    if missing := facts.unknown("game"):
        return missing
    assert facts.game is not None
    if not facts.game.draw_hash:
        return Verdict(OK, "nothing was drawn")
    if not facts.game.definition_known:
        return Verdict(OFF, "no definition of this hash is stored under the round's version", "make replay")
    return Verdict(OK, facts.game.definition_hash)


def _state(facts: Facts) -> Verdict:
    if missing := facts.unknown("game", "wallet"):
        return missing
    assert facts.game is not None
    booked, state = booked_state(facts), state_name(facts.game.round.state)
    both = f"game {state}, wallet {booked}"
    if state == "NEEDS_REVIEW":
        return Verdict(NOT_YET, f"in review; wallet {booked}", "make review")
    if state == "PENDING":
        return Verdict(NOT_YET, both)
    if not facts.game.draw_hash:
        return Verdict(OK, both) if booked in ("NONE", "VOID") else Verdict(OFF, both, REVIEW)
    allowed = {"SETTLING": ("OPEN", "SETTLED")}.get(state, (state,))
    return Verdict(OK, both) if booked in allowed else Verdict(OFF, both, REVIEW)


def _win(facts: Facts) -> Verdict:
    if missing := facts.unknown("game", "wallet"):
        return missing
    assert facts.game is not None and facts.wallet is not None
    steps = facts.wallet.steps
    if not facts.game.stake_applied:
        if any(step.win.amount_minor for step in steps):
            return Verdict(NOT_YET, "the wallet has paid, game has not recorded it yet")
        return Verdict(OK, "no stake is known to be taken, and nothing was paid")
    if not steps:
        return Verdict(OFF, "the wallet paid nothing", REVIEW)
    booked_minor = sum(step.win.amount_minor for step in steps if step.status == APPLIED)
    for call in facts.wallet.calls:
        paid = call.step == wallet_pb2.EXTERNAL_STEP_PAYOUT and call.outcome == "APPLIED"
        # It is booked a moment after the answer.
        if paid and booked_minor not in (0, call.amount.amount_minor):
            told = f"the operator's wallet paid {text_of(call.amount)}, {booked_minor} are booked"
            return Verdict(OFF, told, REVIEW)
    if not facts.game.offers_choice:
        return _same("win", facts.game.drawn_win, steps[0].win)
    return _payout(facts.game, steps)


def _payout(game: game_pb2.RoundRecord, steps: Sequence[wallet_pb2.BookedStep]) -> Verdict:
    """What was drawn, what was left of it after the choice, and what was paid."""
    if steps[0].win.amount_minor:
        return Verdict(OFF, "the stake's step paid a win before the choice", REVIEW)
    opened = [change.amount for change in game.changes if change.state == game_pb2.ROUND_STATE_OPEN]
    if opened and opened[0] != game.drawn_win:
        return Verdict(OFF, f"{text_of(game.drawn_win)} drawn, {text_of(opened[0])} to choose about", REVIEW)
    left = [change.amount for change in game.changes if change.step]
    ends = [change for change in game.changes if change.state == game_pb2.ROUND_STATE_SETTLED]
    payouts = [step for step in steps[1:] if step.status == APPLIED]
    if payouts and left and left[-1] != payouts[0].win:
        return _same("left after the choice", left[-1], payouts[0].win)
    if ends and payouts:
        return _same("payout", ends[-1].amount, payouts[0].win)
    if ends and ends[-1].amount.amount_minor:
        return Verdict(OFF, f"{text_of(ends[-1].amount)} to be paid, and no payout", REVIEW)
    return Verdict(OK, "nothing to be paid") if ends else Verdict(NOT_YET, "its choice is not over")


def _postings(facts: Facts) -> Verdict:
    if missing := facts.unknown("wallet"):
        return missing
    assert facts.wallet is not None
    books = facts.wallet
    moved = [step for step in books.steps if step.account_version]
    expected = sum(step.win.amount_minor - step.stake.amount_minor for step in moved)
    if books.HasField("reversal"):
        expected += books.reversal.stake.amount_minor - books.reversal.win.amount_minor
    account_id = books.account.account_id
    mine = sum(one.amount.amount_minor for one in books.postings if one.account_id == account_id)
    total = sum(one.amount.amount_minor for one in books.postings)
    if total or mine != expected:
        return Verdict(OFF, f"their sum is {total}, the account got {mine} of {expected}", _AUDIT)
    return Verdict(OK, f"{len(books.postings)} of them, {mine} to the account")


def _balances(facts: Facts) -> Verdict:
    if missing := facts.unknown("wallet"):
        return missing
    assert facts.wallet is not None
    parts, unknown = [], False
    for step, amount_minor in movements(facts.wallet):
        if not step.HasField("balance_before"):
            unknown = True
            continue
        before, after = step.balance_before.amount_minor, step.balance_after.amount_minor
        parts.append(f"{before} {amount_minor:+} = {after}")
        if before + amount_minor != after:
            return Verdict(OFF, f"{parts[-1]} is wrong", _AUDIT)
    if unknown:
        return Verdict(UNKNOWN, "the movement before it is no longer kept", _AUDIT)
    return Verdict(OK, "; ".join(parts) or "nothing moved")


def _versions(facts: Facts) -> Verdict:
    if missing := facts.unknown("game", "wallet"):
        return missing
    assert facts.game is not None and facts.wallet is not None
    booked = [step.account_version for step, _ in movements(facts.wallet)]
    if booked != sorted(set(booked)):
        return Verdict(OFF, f"versions {booked} do not ascend", _AUDIT)
    # Where an operator's own wallet keeps the money, the balances that game was told are of that one.
    told = not facts.wallet.calls
    ends = {
        (step.account_version, told and step.balance_after.amount_minor)
        for step, _ in movements(facts.wallet)
    }
    for change in facts.game.changes:
        if not change.account_version:
            continue
        recorded = change.account_version, told and change.balance_after.amount_minor
        if recorded not in ends:
            balance = f" with balance {recorded[1]}" if told else ""
            return Verdict(OFF, f"game has version {recorded[0]}{balance}", REVIEW)
    return Verdict(OK, f"versions {booked}" if booked else "nothing moved")


def _pending(facts: Facts) -> Verdict:
    if missing := facts.unknown("game"):
        return missing
    assert facts.game is not None
    stuck = [] if facts.wallet is None else [call for call in facts.wallet.calls if call.state != "DONE"]
    if stuck:
        detail = ", ".join(f"call {call.step} {call.state}, {call.attempts} attempts" for call in stuck)
        return Verdict(NOT_YET, f"the operator's wallet: {detail}", "make stuck")
    if facts.game.round.state not in _UNFINISHED:
        return Verdict(OK, state_name(facts.game.round.state))
    until, now = datetime_of(facts.game.reconcile_time), datetime_of(facts.game.read_time)
    detail = f"{state_name(facts.game.round.state)}, the reconciler's from {until:%Y-%m-%d %H:%M:%S} UTC on"
    if now > until + OVERDUE:
        return Verdict(OFF, detail, "is the wallet up, is game's reconciler? see their logs")
    return Verdict(NOT_YET, detail)


def _review(facts: Facts) -> Verdict:
    problems = []
    if facts.game is not None and facts.game.HasField("review") and not facts.game.review.verdict:
        problems.append(f"game: {facts.game.review.problem}")
    if facts.wallet is not None and facts.wallet.HasField("review"):
        problems.append(f"wallet: {facts.wallet.review.reason}")
    if problems:
        return Verdict(NOT_YET, "; ".join(problems), "make review")
    return facts.unknown("game", "wallet") or Verdict(OK)


def _replay(facts: Facts) -> Verdict:
    if missing := facts.unknown("game"):
        return missing
    assert facts.game is not None
    if facts.game.replay_problem:
        return Verdict(NOT_YET, facts.game.replay_problem)
    different = [check.name for check in facts.game.replay_checks if not check.same]
    if different:
        return Verdict(OFF, f"differs: {', '.join(different)}", "make replay")
    return Verdict(OK, f"{len(facts.game.replay_checks)} things derived again")


Check = Callable[[Facts], Verdict]
CHECKS: Sequence[tuple[str, str, Check]] = (
    ("round_known", "game has the round", _known),
    ("authorised", "session authorised it, as the round says", _authorised),
    ("account_agrees", "everybody means the same account", _account),
    ("stake_agrees", "authorised, drawn and booked stake are equal", _stake),
    ("definition_known", "the definition that drew it is stored", _definition),
    ("state_agrees", "game recorded what the wallet decided", _state),
    ("win_agrees", "the wallet paid what was drawn and chosen", _win),
    ("postings_balance", "its postings sum to zero, and are its verdicts'", _postings),
    ("balances_follow", "balance before - stake + win = balance after", _balances),
    ("versions_agree", "versions ascend, and game recorded the wallet's", _versions),
    ("wallet_told", "one event per verdict, with its amounts", wallet_events),
    ("game_told", "one event per change of the round, with its amounts", game_events),
    ("not_pending", "nothing waits longer than it may", _pending),
    ("no_review", "nothing waits for a person", _review),
)
REPLAY: tuple[str, str, Check] = ("replayed", "the draw log gives what is stored", _replay)


def judge(facts: Facts, *, replay: bool) -> list[gateway_pb2.ExplainCheck]:
    """Every check, in the order in which a round happens."""
    checks = []
    for name, promise, check in (*CHECKS, REPLAY) if replay else CHECKS:
        result, detail, todo = check(facts)
        checks.append(
            gateway_pb2.ExplainCheck(name=name, promise=promise, result=result, detail=detail, todo=todo)
        )
    return checks


def _same(what: str, recorded: money_pb2.Money, booked: money_pb2.Money) -> Verdict:
    if recorded == booked:
        return Verdict(OK, f"{what} {text_of(booked)}")
    return Verdict(OFF, f"{what}: game {text_of(recorded)}, wallet {text_of(booked)}", REVIEW)
