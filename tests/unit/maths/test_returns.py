"""Exact returns: of the shipped games against their files, of published games against their analyses, and of
whole rounds against every way they can be drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from services.game.engine import checks, definition, play
from services.game.engine.definition import GameDefinition
from services.game.maths import distribution, features, reels, report, rounds, rtp
from services.game.maths.rounds import Round
from tests.unit.game import published
from tests.unit.maths import shipped


def base_round(game: GameDefinition) -> Round:
    return rounds.round_of(game, game.modes_by_name["base"])


def decimals(value: Fraction, places: int) -> Decimal:
    return round(Decimal(value.numerator) / Decimal(value.denominator), places)


def test_a_published_game_gives_the_published_return() -> None:
    """Case A of Atkins Diet, see `published`: every figure was derived from its strips with fractions."""
    game = published.atkins_diet()
    assert list(checks.faults(game)) == []
    played = base_round(game)
    assert played.paid is not None
    by_feature = rounds.returns(played)
    assert by_feature["base_wins"] == Fraction(21293527, 33554432)
    assert by_feature["scatter"] == Fraction(1170315, 16777216)
    assert rounds.triggers(played)["free_spins"] == Fraction(93825, 8388608)
    assert decimals(by_feature["free_spins"], 10) == Decimal("0.2661049239")
    assert rounds.rtp(played) == Fraction(60651793523489, 62498132721664)
    numbers = {counts.scatters: p for counts, p in played.paid.counts.items()}
    sixteen_million = [9194653, 5926527, 2 * 734193, 2 * 88479, 10449, 243]
    assert [numbers[count] * 2**24 for count in range(6)] == sixteen_million
    single = msgspec.structs.replace(game, paylines=game.paylines[:1], scatter_pays={})
    assert rounds.hit_frequency(base_round(single)) == Fraction(1787, 32768)
    assert game.free_spins is not None
    bare = msgspec.structs.replace(game, free_spins=msgspec.structs.replace(game.free_spins, retrigger={}))
    assert decimals(rounds.rtp(base_round(bare)), 10) == Decimal("0.9406943558")


@pytest.mark.parametrize(
    ("version", "wins", "combinations", "total"),
    [
        ("96.2", "0.6646998921", 9_142_500, "0.9625250540"),
        ("85.0", "0.5527763645", 8_432_500, "0.8506015264"),
    ],
)
def test_a_published_par_sheet_gives_the_published_payback(
    version: str, wins: str, combinations: int, total: str
) -> None:
    """Case B, see `published.lobstermania`: the sheet says 96.2 and 85.0 per cent."""
    game = published.lobstermania(version)
    played = base_round(game)
    by_symbol = rounds.symbol_returns(played)
    bonus = sum((paid for (symbol, _), (paid, _) in by_symbol.items() if symbol == "BONUS"), Fraction(0))
    by_feature = rounds.returns(played)
    assert decimals(by_feature["base_wins"] - bonus, 10) == Decimal(wins)
    assert bonus == published.LARRY_BONUS * Fraction(150_000, 259_440_000)
    assert decimals(by_feature["scatter"], 10) == Decimal("0.1064514339")
    assert decimals(rounds.rtp(played), 10) == Decimal(total)
    assert abs(rounds.rtp(played) - Fraction(version) / 100) < Fraction(1, 1000)
    single = msgspec.structs.replace(game, paylines=game.paylines[:1], scatter_pays={})
    assert rounds.hit_frequency(base_round(single)) == Fraction(combinations + 150_000, 259_440_000)


class EveryDraw:
    """A source of draws that goes through all sequences, each with its probability."""

    def __init__(self) -> None:
        self._values: list[tuple[int, int]] = []
        self._position = 0

    def below(self, bound: int) -> int:
        if self._position == len(self._values):
            self._values.append((0, bound))
        value, known = self._values[self._position]
        assert known == bound
        self._position += 1
        return value

    def rounds(self, game: GameDefinition, mode: str) -> Iterator[tuple[play.Spin, Fraction]]:
        while True:
            self._position = 0
            spin = play.spin(game, bet_minor=game.coins_per_bet, mode=mode, draws=self)
            chance = Fraction(1)
            for _, bound in self._values:
                chance /= bound
            yield spin, chance
            while self._values and self._values[-1][0] + 1 == self._values[-1][1]:
                self._values.pop()
            if not self._values:
                return
            value, bound = self._values.pop()
            self._values.append((value + 1, bound))


def tiny_game() -> GameDefinition:
    """Every feature, and few enough draws that all can be played."""
    kinds = {"W": "wild", "S": "scatter", "B": "bonus", "C": "coin", "X": "regular", "Y": "regular"}
    return msgspec.convert(
        {
            "game_id": "tiny",
            "version": 1,
            "name": "Tiny",
            "grid": {"reels": 2, "rows": 2},
            "symbols": [
                {"name": name, "kind": kind, "multiplier": 2 if name == "W" else 1}
                for name, kind in kinds.items()
            ],
            "pays": {"X": {2: 3}, "Y": {2: 8}},
            "paylines": [[0, 0], [1, 1], [0, 1]],
            "stakes_minor": {"EUR": [3]},
            "rtp_target": "0.9",
            "max_win_multiple": 10**6,
            "strips": {"base": [list("SXCBY"), list("YSCBW")], "free": [list("XSY"), list("YXW")]},
            "scatter_pays": {2: 2},
            "free_spins": {"award": {1: 1, 2: 2}, "multiplier": 3, "spins_max": 9},
            "hold_and_win": {
                "trigger_count": 1,
                "respins": 1,
                "coin_odds": {"hits": 1, "of": 2},
                "values": [{"weight": 1, "multiple": 2}, {"weight": 1, "multiple": 5}],
                "full_multiple": 7,
            },
            "pick": {
                "trigger_count": 2,
                "prizes": [{"weight": 1, "multiple": 4}, {"weight": 2, "multiple": 9}],
            },
            "modes": [{"name": "buy", "cost": "2.5", "rtp_target": "0.9", "free_spins": 3}],
        },
        GameDefinition,
    )


@pytest.mark.parametrize(
    ("mode", "left_out"), [("base", "free_spins"), ("base", "hold_and_win"), ("buy", "hold_and_win")]
)
def test_a_round_with_features_is_all_that_can_be_drawn(mode: str, left_out: str) -> None:
    game = msgspec.structs.replace(tiny_game(), **{left_out: None})
    played = rounds.round_of(game, game.modes_by_name[mode])
    wins: dict[int, Fraction] = {}
    hits = Fraction(0)
    parts = dict.fromkeys(("hold_and_win", "pick", "free_spins"), Fraction(0))
    for spin, chance in EveryDraw().rounds(game, mode):
        shown = spin.outcome
        wins[spin.win_minor] = wins.get(spin.win_minor, Fraction(0)) + chance
        free = sum(screen.win_minor for screen in shown.free_spins)
        hits += chance if spin.win_minor > free else 0
        parts["hold_and_win"] += chance * (shown.hold_and_win.win_minor if shown.hold_and_win else 0)
        parts["pick"] += chance * (shown.pick.win_minor if shown.pick else 0)
        parts["free_spins"] += chance * free
    assert sum(wins.values()) == 1
    exact = features.moments_of(wins)
    by_feature = rounds.returns(played)
    assert rounds.rtp(played) == exact.mean / played.stake_coins
    assert {name: by_feature[name] * played.stake_coins for name in parts} == parts
    assert rounds.variance(played) == exact.variance / played.stake_coins**2
    assert rounds.hit_frequency(played) == (hits if mode == "base" else None)
    found = distribution.distribution_of(played)
    assert found is not None and found.error < 1e-12
    for coins, probability in zip(found.coins.tolist(), found.probabilities.tolist(), strict=True):
        assert probability == pytest.approx(float(wins.get(coins, 0)), abs=1e-14)
    highest = report.mode_report(game, played.mode).max_win
    assert highest is not None and not highest.is_cap
    assert highest.multiple * game.coins_per_bet == max(wins)


def test_retriggers_are_as_variable_as_a_long_play_of_them() -> None:
    """The variance of a branching process, by its distribution after so many spins that none goes on."""
    game = published.atkins_diet()
    played = base_round(game)
    found = distribution.distribution_of(played)
    variance = rounds.variance(played)
    assert found is not None and variance is not None and played.free is not None
    coins, chances = found.coins.astype(np.float64), found.probabilities
    mean = float((coins * chances).sum())
    assert float(((coins - mean) ** 2 * chances).sum()) / 400 == pytest.approx(float(variance), rel=1e-7)


def test_the_command_prints_and_writes_every_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "dawn.json"
    result = CliRunner().invoke(rtp.app, ["double-dawn", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "95.91825553%" in result.output
    written = json.loads(path.read_text())
    (mode,) = written["modes"]
    game = shipped.GAMES["double-dawn"]
    assert written["definition_hash"] == game.canonical_hash
    assert Fraction(mode["rtp"]["fraction"]) == rounds.rtp(base_round(game))
    assert sum(band["probability"] for band in mode["bands"]) == pytest.approx(1)
    assert sum(row["paid"] for row in mode["symbols"]) == pytest.approx(mode["rtp"]["value"])
    assert Fraction(mode["max_win"]["probability"]["fraction"]) > 0
    assert mode["cap_effect"] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["no-such-game"], "no-such-game"), (["double-dawn", "--mode", "turbo"], "has no mode turbo, but base")],
)
def test_the_command_refuses_what_is_not_there(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(rtp.app, arguments)
    assert result.exit_code == 1
    assert problem in result.output


def weighted_game(cascade: definition.Cascade | None) -> GameDefinition:
    game = tiny_game()
    return msgspec.structs.replace(
        game,
        strips={"free": game.strips["free"]},
        weights={"base": ({"X": 3, "Y": 2, "S": 1}, {"X": 1, "W": 1})},
        cascade=cascade,
        hold_and_win=None,
        pick=None,
        symbols=tuple(symbol for symbol in game.symbols if symbol.kind not in ("coin", "bonus")),
    )


def test_a_game_without_an_exact_method_is_simulated_and_says_so() -> None:
    game = weighted_game(definition.Cascade(falls_max=3))
    found = report.mode_report(game, game.modes_by_name["base"], spins=20_000)
    assert found.method.startswith("simulated, as there is no exact method: cascades on weighted reels")
    assert found.rtp.fraction is None and found.rtp.interval_99 is not None
    assert found.simulated_spins == 20_000
    low, high = found.rtp.interval_99
    assert low < found.rtp.value < high


def test_what_only_means_are_known_of_has_the_rest_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    game = weighted_game(None)
    whole = report.mode_report(game, game.modes_by_name["base"])
    monkeypatch.setattr(reels, "WINDOWS_MAX", 1)
    game = weighted_game(None)
    found = report.mode_report(game, game.modes_by_name["base"], spins=200_000)
    assert found.rtp.fraction is not None
    assert (found.rtp, found.features, found.symbols) == (whole.rtp, whole.features, whole.symbols)
    assert found.hit_frequency is None and whole.hit_frequency is not None
    assert found.win_frequency is not None and whole.win_frequency is not None
    assert found.win_frequency.interval_99 is not None
    assert found.win_frequency.interval_99[0] < whole.win_frequency.value < found.win_frequency.interval_99[1]
    assert found.volatility is not None and whole.volatility is not None
    assert found.volatility.deviation == pytest.approx(whole.volatility.deviation, rel=0.05)
