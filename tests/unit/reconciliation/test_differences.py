"""Differences of rounds that no statement on one row makes: choices, reversals, what is on its way."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.reconciliation import __main__ as command
from services.reconciliation import differences as module
from services.reconciliation.differences import differences, waits
from services.reconciliation.facts import Change, Entry, GameRound, Owner, Settled, Sides, Told, WalletRound

NOW = datetime(2026, 11, 30, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(hours=1), NOW + timedelta(seconds=1)
OWNER = Owner("dev", 2, 1, "EUR")
SETTLED = Settled(NOW, NOW, NOW, NOW)
ROUND_ID = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071"


def change(place: str, state: str, amount_minor: int, version: int, time: datetime = OLD) -> Change:
    return Change(place, state, amount_minor, 1000 + amount_minor, version, time)


def gamble(*changes: Change, at_risk_minor: int = 400) -> GameRound:
    """A round with a choice that drew a win of 200."""
    opened = change("STEP", "OPEN", 200, 1)
    return GameRound(
        ROUND_ID,
        OWNER,
        "PENDING",
        True,
        100,
        200,
        at_risk_minor,
        bool(changes),
        OLD,
        [opened, *changes],
        "",
        "",
    )


def booked(*entries: Entry, reversal: Entry | None = None) -> WalletRound:
    stake = Entry(2, 1, 100, 0, 1200, 1, True, OLD, OWNER.account_id)
    return WalletRound(ROUND_ID, OWNER, [stake, *entries], reversal)


def payout(win_minor: int, *, version: int = 2, time: datetime = OLD) -> Entry:
    return Entry(3, 1, 0, win_minor, 1000 + win_minor, version, True, time, OWNER.account_id)


def told_of(game: GameRound, wallet: WalletRound) -> list[Told]:
    """One event per fact of both."""
    events = [
        Told("wallet.settled", *OWNER[:2], one.account_version, "EUR", 1, *_names(one), *one[2:5], one.time)
        for one in wallet.all_entries
    ]
    for one in game.changes:
        paid = one.amount_minor if one.state == "SETTLED" else None
        name = f"round.{one.state.lower()}"
        events.append(
            Told(
                name,
                *OWNER[:2],
                one.account_version,
                "EUR",
                1,
                "",
                "",
                100,
                paid,
                one.balance_after_minor,
                one.time,
            )
        )
    return events


def _names(entry: Entry) -> tuple[str, str]:
    return ("VOID", "FUSED", "STAKE", "PAYOUT")[entry.step], ("", "APPLIED", "REFUSED", "VOID", "REVERSED")[
        entry.status
    ]


def kinds(game: GameRound | None, wallet: WalletRound | None, events: list[Told] | None = None) -> set[str]:
    if events is None:
        assert game is not None and wallet is not None
        events = told_of(game, wallet)
    return {one.kind for one in differences(Sides(ROUND_ID, game, wallet, events), SETTLED)}


def test_a_gamble_adds_up_at_each_of_its_stages() -> None:
    assert kinds(gamble(at_risk_minor=200), booked()) == set()
    ended = change("END", "SETTLED", 400, 2)
    assert kinds(gamble(ended), booked(payout(400))) == set()
    assert waits(Sides(ROUND_ID, gamble(), booked(), ())) and not waits(
        Sides(ROUND_ID, gamble(ended), None, ())
    )


def test_another_payout_is_found() -> None:
    assert "payout" in kinds(gamble(change("END", "SETTLED", 400, 2)), booked(payout(401)))
    assert "state" in kinds(gamble(change("END", "SETTLED", 400, 2)), booked())
    assert "state" in kinds(gamble(at_risk_minor=200), booked(payout(200)))


ENDED = change("END", "SETTLED", 400, 2)


def test_each_movement_is_of_the_round_s_account() -> None:
    stranger = OWNER.account_id + 2
    assert kinds(gamble(ENDED), booked(payout(400)._replace(account_id=stranger))) == {"owner"}
    back, reversal = change("REVERSAL", "REVERSED", 0, 3), Entry(2, 4, 100, 400, 1000, 3, True, OLD, stranger)
    assert kinds(gamble(ENDED, back), booked(payout(400), reversal=reversal)) == {"owner"}


def test_what_was_open_to_choose_about_is_what_was_drawn() -> None:
    game = gamble(ENDED)
    opened = game.changes[0]._replace(amount_minor=201)
    assert kinds(game._replace(changes=[opened, ENDED]), booked(payout(400))) == {"payout"}


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"currency_code": "USD"}, "event_owner"),
        ({"kind": 2}, "event_owner"),
        ({"account_id": 4}, "event_owner"),
        ({"operator_id": "other"}, "event_owner"),
        ({"balance_after_minor": 7}, "{}_event_other"),
        ({"stake_minor": 7}, "{}_event_other"),
        ({"account_version": 7}, "{}_event_other"),
    ],
)
def test_an_event_tells_all_as_it_is_stored(at: int, told: dict[str, Any], kind: str) -> None:
    game, wallet = gamble(ENDED), booked(payout(400))
    events = told_of(game, wallet)
    at = at * len(wallet.all_entries)
    events[at] = events[at]._replace(**told)
    assert kinds(game, wallet, events) == {kind.format("game" if at else "wallet")}


def test_an_event_too_many_is_told_twice_or_alone() -> None:
    game, wallet = gamble(ENDED), booked(payout(400))
    events = told_of(game, wallet)
    for service, event in (("wallet", events[0]), ("game", events[-1])):
        assert kinds(game, wallet, [*events, event]) == {f"{service}_event_twice"}
        other = event._replace(stake_minor=7)
        assert kinds(game, wallet, [*events, other]) == {f"{service}_event_alone"}
    assert "wallet_event_alone" in kinds(game, None, events)
    assert kinds(None, wallet, events) == {"game_lacks"}
    assert kinds(None, None, events) == {"events_alone"}


def test_a_reversal_has_to_be_on_both_sides() -> None:
    ended, back = change("END", "SETTLED", 400, 2), change("REVERSAL", "REVERSED", 0, 3)
    reversal = Entry(2, 4, 100, 400, 1000, 3, True, OLD, OWNER.account_id)
    assert kinds(gamble(ended, back), booked(payout(400), reversal=reversal)) == set()
    assert "state" in kinds(gamble(ended), booked(payout(400), reversal=reversal))
    assert "state" in kinds(gamble(ended, back), booked(payout(400)))


def test_what_was_just_written_is_on_its_way() -> None:
    young = booked(payout(400, time=YOUNG))
    # Game has not recorded it, and its event is not there.
    assert kinds(gamble(at_risk_minor=400), young, told_of(gamble(), booked())) == set()
    late = Settled(NOW, NOW, NOW, OLD)
    sides = Sides(ROUND_ID, gamble(), booked(), told_of(gamble(), booked())[1:])
    assert [one.kind for one in differences(sides, SETTLED)] == ["wallet_event_lacks"]
    assert differences(sides, late) == []


@pytest.mark.parametrize("birth", ["REFUSED", "VOID"])
def test_a_round_that_was_born_ended_is_nothing_to_the_wallet(birth: str) -> None:
    born = GameRound(ROUND_ID, OWNER, birth, False, 100, None, None, False, OLD, [], "", "")
    event = Told(f"round.{birth.lower()}", *OWNER[:2], 0, "EUR", 1, "", "", 100, None, None, OLD)
    assert kinds(born, None, [event]) == set()
    assert kinds(born, None, []) == {"game_event_lacks"}
    assert "state" in kinds(born, booked(), [event])


def test_the_documentation_lists_every_kind() -> None:
    source = Path(module.__file__).read_text()
    made = set(re.findall(r'Difference\(\s*f?"([\w{}]+)"', source))
    made = {kind.replace("{service}", service) for kind in made for service in ("wallet", "game")}
    page = (Path(__file__).parents[3] / "docs" / "explain.md").read_text().split("| found |")[1]
    assert made == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", page, re.MULTILINE))))


def test_the_command_needs_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in command.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(command.app, [])
    assert done.exit_code == 2 and done.output == "reconcile: REELMESH_GAME_DATABASE_URL is not set\n"


def test_a_fault_of_the_command_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in command.SETTINGS:
        monkeypatch.setenv(name, "nonsense")

    async def fail(**_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("services.reconciliation.command.reconcile", fail)
    done = CliRunner().invoke(command.app, [])
    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert done.output.startswith("reconcile: RuntimeError: two lines (test_differences.py:")
