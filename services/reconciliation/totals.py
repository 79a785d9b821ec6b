"""Sums of what was compared, per operator, currency and kind of money, from each side."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.reconciliation.facts import Sides

Key = tuple[str, str, str]
KINDS = {1: "REAL", 2: "DEMO"}


@dataclass(slots=True)
class Side:
    """Of the rounds that one side has. Amounts in minor units: what was taken, and what was paid."""

    rounds: int = 0
    stake_minor: int = 0
    win_minor: int = 0


@dataclass(slots=True)
class Totals:
    """All three, and how many rounds differ."""

    game: Side = field(default_factory=Side)
    wallet: Side = field(default_factory=Side)
    events: Side = field(default_factory=Side)
    differing: int = 0


def add(totals: defaultdict[Key, Totals], sides: Iterable[Sides]) -> None:
    """Adds rounds. A round that was given back counts with nothing taken and nothing paid."""
    for one in sides:
        total = totals[key_of(one)]
        if one.game is not None:
            total.game.rounds += 1
            if one.game.win_minor is not None and one.game.state != "REVERSED":
                paid = [change.amount_minor for change in one.game.changes if change.state == "SETTLED"]
                total.game.stake_minor += one.game.stake_minor
                total.game.win_minor += paid[-1] if paid else 0
        if one.wallet is not None:
            total.wallet.rounds += 1
            if one.wallet.reversal is None:
                applied = [entry for entry in one.wallet.entries if entry.status == 1]
                total.wallet.stake_minor += sum(entry.stake_minor for entry in applied)
                total.wallet.win_minor += sum(entry.win_minor for entry in applied)
        if one.events:
            total.events.rounds += 1
            told = [event for event in one.events if event.event_type == "wallet.settled"]
            if not any(event.status == "REVERSED" for event in told):
                applied_events = [event for event in told if event.status == "APPLIED"]
                total.events.stake_minor += sum(event.stake_minor for event in applied_events)
                total.events.win_minor += sum(event.win_minor or 0 for event in applied_events)


def key_of(sides: Sides) -> Key:
    """Operator, currency, kind."""
    owner = sides.owner
    return owner.operator_id, owner.currency_code, KINDS.get(owner.kind, "?")
