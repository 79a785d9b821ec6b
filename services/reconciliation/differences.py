"""Where wallet, game and events do not agree about a round. Pure: facts in, differences out.

What is on its way is no difference: everything is judged by what had to be there at `Settled`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.reconciliation.facts import Difference, Entry, GameRound, Owner, Settled, Sides, WalletRound

_STEPS = ("VOID", "FUSED", "STAKE", "PAYOUT")
_STATUSES = ("", "APPLIED", "REFUSED", "VOID", "REVERSED")


def differences(sides: Sides, settled: Settled) -> list[Difference]:
    """All of one round, the gravest first."""
    game, wallet = sides.game, sides.wallet
    found: list[Difference] = []
    if game is None and wallet is None:
        return [Difference("events_alone", "events tell of a round that game and wallet do not have")]
    if game is None:
        found.append(Difference("game_lacks", "the wallet has the round, game does not"))
    elif not _in_flight(game, wallet, settled):
        found += _money(game, wallet)
    if wallet is not None and wallet.time < settled.wallet_told:
        found += _told(
            "wallet",
            Counter(_booked(entry) for entry in wallet.all_entries if entry.told),
            Counter(_as_booked(sides)),
        )
    if game is not None and game.time < settled.game_told:
        found += _told("game", Counter(_recorded(game)), Counter(_as_recorded(sides)))
    found += _strangers(sides)
    return found


def waits(sides: Sides) -> bool:
    """Whether game has not ended the round: its reconciler will (R7), nobody has to decide anything."""
    return sides.game is not None and sides.game.state in ("PENDING", "OPEN", "SETTLING")


def _in_flight(game: GameRound, wallet: WalletRound | None, settled: Settled) -> bool:
    """Whether what one of them wrote may not have reached the other yet."""
    return game.time >= settled.game or (wallet is not None and wallet.time >= settled.wallet)


def _money(game: GameRound, wallet: WalletRound | None) -> Iterator[Difference]:
    undrawn = game.birth != "PENDING"
    if wallet is None:
        if game.state != "PENDING" and not undrawn:
            yield Difference("wallet_lacks", f"game says {game.state}, the wallet does not have the round")
        return
    if game.owner != wallet.owner or any(
        entry.account_id != wallet.owner.account_id for entry in wallet.all_entries
    ):
        yield Difference("owner", "wallet and game have it under another account, operator, kind or currency")
    stake = wallet.entries[0]
    if stake.step and stake.stake_minor != game.stake_minor:
        yield Difference("stake", "wallet and game have another stake")
    if not _states_agree(game, wallet):
        yield Difference("state", f"game says {game.state}, the wallet {wallet.state}")
        return
    if game.win_minor is None:
        return
    if stake.status == 1 and stake.win_minor != (0 if game.offers_choice else game.win_minor):
        yield Difference("win", "the wallet paid another win than was drawn")
    paid = [entry.win_minor for entry in wallet.entries if entry.step == 3 and entry.status == 1]
    opened = [change.amount_minor for change in game.changes if change.place == "STEP"]
    if (paid and paid[0] != game.at_risk_minor) or (opened and opened[0] != game.win_minor):
        yield Difference("payout", "the wallet paid another amount than was left after the choice")
    yield from _movement(game, wallet)


def _states_agree(game: GameRound, wallet: WalletRound) -> bool:
    if game.birth != "PENDING":
        return wallet.state == "VOID"
    if game.state == "SETTLED" and wallet.state == "OPEN":
        # A lost round with a choice is over without a payout; one that a verdict ended may have paid 0, too.
        return not game.win_minor
    allowed = {"PENDING": (), "SETTLING": ("OPEN", "SETTLED")}
    return wallet.state in allowed.get(game.state, (game.state,))


def _movement(game: GameRound, wallet: WalletRound) -> Iterator[Difference]:
    """Game recorded the balance and the version that the wallet answered."""
    booked = {(entry.account_version, entry.balance_after_minor) for entry in wallet.all_entries}
    versions = {version for version, _ in booked}
    for change in game.changes:
        if not change.account_version:
            continue
        if change.account_version not in versions:
            yield Difference("version", "game recorded a movement that the wallet does not have")
        elif not wallet.external and (change.account_version, change.balance_after_minor) not in booked:
            yield Difference("balance", "game recorded another balance than the wallet")
    paid = [change.amount_minor for change in game.changes if change.state == "SETTLED"]
    won = sum(entry.win_minor for entry in wallet.entries if entry.status == 1)
    if paid and wallet.reversal is None and paid[-1] != won:
        yield Difference("paid", "game recorded another payment than the wallet made")


Fact = tuple[Any, ...]


def _booked(entry: Entry) -> Fact:
    names = _STEPS[entry.step], _STATUSES[entry.status]
    return *names, entry.stake_minor, entry.win_minor, entry.balance_after_minor, entry.account_version


def _as_booked(sides: Sides) -> Iterator[Fact]:
    for told in sides.events:
        if told.event_type == "wallet.settled":
            amounts = told.stake_minor, told.win_minor, told.balance_after_minor
            yield told.step, told.status, *amounts, told.account_version


def _recorded(game: GameRound) -> Iterator[Fact]:
    if game.birth != "PENDING":
        yield f"round.{game.birth.lower()}", game.stake_minor, 0, None, None
    for change in game.changes:
        paid = change.amount_minor if change.state == "SETTLED" else None
        balance = None if change.place == "REVIEW" else change.balance_after_minor
        yield f"round.{change.state.lower()}", game.stake_minor, change.account_version, paid, balance


def _as_recorded(sides: Sides) -> Iterator[Fact]:
    for told in sides.events:
        if told.event_type != "wallet.settled":
            paid = told.win_minor if told.event_type == "round.settled" else None
            yield told.event_type, told.stake_minor, told.account_version, paid, told.balance_after_minor


def _told(service: str, facts: Counter[Fact], told: Counter[Fact]) -> Iterator[Difference]:
    """Each fact has one event, with its amounts."""
    lacking, extra = facts - told, told - facts
    if lacking and extra:
        yield Difference(
            f"{service}_event_other", f"an event of {service} tells something else than is stored"
        )
    elif lacking:
        yield Difference(f"{service}_event_lacks", f"an event of {service} is missing")
    elif extra and all(fact in facts for fact in extra):
        yield Difference(f"{service}_event_twice", f"an event of {service} is stored twice")
    elif extra:
        yield Difference(f"{service}_event_alone", f"an event of {service} tells what is not stored")


def _strangers(sides: Sides) -> Iterator[Difference]:
    """Events about a service that does not have the round, or under another account."""
    kinds = {"wallet" if told.event_type == "wallet.settled" else "game" for told in sides.events}
    if sides.wallet is None and "wallet" in kinds:
        yield Difference("wallet_event_alone", "events tell of a verdict that the wallet does not have")
    if any(
        Owner(told.operator_id, told.account_id, told.kind, told.currency_code) != sides.owner
        for told in sides.events
    ):
        yield Difference("event_owner", "an event names another account, operator, kind or currency")
