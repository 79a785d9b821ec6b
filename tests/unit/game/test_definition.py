"""Game files: what loads, what is refused and in which words, and what the hash depends on."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from services.game.engine import definition, loading

DAWN_TEXT = (definition.SHIPPED_GAMES / "double-dawn.yaml").read_text(encoding="utf-8")
HARBOUR_TEXT = (definition.SHIPPED_GAMES / "harbour-lights.yaml").read_text(encoding="utf-8")


def load_text(folder: Path, text: str, *, stem: str = "double-dawn") -> definition.GameDefinition:
    path = folder / f"{stem}.yaml"
    path.write_text(text, encoding="utf-8")
    return loading.load(path)


def test_the_shipped_games_load_by_id() -> None:
    games = loading.load_all(definition.SHIPPED_GAMES)
    ids = sorted(path.stem for path in definition.SHIPPED_GAMES.glob("*.yaml"))
    assert list(games) == [game.game_id for game in games.values()] == ids
    assert games["double-dawn"].offers_choice
    assert not games["harbour-lights"].offers_choice

    def bet_minor(currency_code: str, stake_minor: int) -> int | None:
        return games["harbour-lights"].bet_minor(
            mode="base", currency_code=currency_code, stake_minor=stake_minor
        )

    assert bet_minor("JPY", 20) == 20
    assert bet_minor("JPY", 30) is None
    assert bet_minor("CHF", 20) is None
    assert {"USD", "EUR", "GBP", "JPY"} == set(games["double-dawn"].stakes_minor)


def test_the_hash_follows_the_content_and_not_the_layout(tmp_path: Path) -> None:
    original = load_text(tmp_path, DAWN_TEXT).canonical_hash
    assert len(original) == 64 and set(original) <= set(string.hexdigits)
    reordered = DAWN_TEXT.replace("version: 1\n", "") + "# a comment\nversion: 1\n"
    assert load_text(tmp_path, reordered).canonical_hash == original
    assert load_text(tmp_path, DAWN_TEXT.replace("OWL: {3: 6}", "OWL: {3: 7}")).canonical_hash != original
    swapped = DAWN_TEXT.replace("[SUNRISE, LARK, OWL", "[LARK, SUNRISE, OWL")
    assert load_text(tmp_path, swapped).canonical_hash != original


@pytest.mark.parametrize(
    ("game_id", "pinned"),
    [
        ("double-dawn", "4b08289a1793a6d9ab465d5e3ed4b84e42ae3975c56c7eaf093805cfdba2dfa6"),
        ("harbour-lights", "fdad13e37d83752b512f29a06d574603f3e8e10f8d703c751b39e57c6669cad7"),
    ],
)
def test_a_hash_outlives_what_is_added_to_the_format(game_id: str, pinned: str) -> None:
    assert loading.load(definition.SHIPPED_GAMES / f"{game_id}.yaml").canonical_hash == pinned


def test_a_fault_is_at_its_line(tmp_path: Path) -> None:
    for found, replacement, where in [
        (
            "OWL, LARK, OWL, CLOUD, ROOSTER",
            "OWL, LARK, EAGLE, CLOUD, ROOSTER",
            "strips.base[1]: unknown symbol EAGLE",
        ),
        (
            "GBP: [5, 10, 25, 50, 100, 200, 500]",
            "GBP: [5, 10, -1]",
            "stakes_minor.GBP[2]: Expected `int` >= 1",
        ),
        (
            "kind: wild}",
            "kind: wild, multiplyer: 2}",
            "symbols[0]: unknown field multiplyer, did you mean multiplier?",
        ),
        (
            "kind: wild}",
            "kind: wlid}",
            "symbols[0].kind: wlid is none of bonus, coin, regular, scatter, wild",
        ),
    ]:
        text = DAWN_TEXT.replace(found, replacement, 1)
        [line] = [at for at, one in enumerate(text.splitlines(), 1) if replacement in one]
        with pytest.raises(loading.DefinitionError) as raised:
            load_text(tmp_path, text)
        assert str(raised.value).startswith(f"double-dawn.yaml:{line}: {where}")
        assert (raised.value.line, raised.value.file) == (line, "double-dawn.yaml")


DAWN_FAULTS = [
    ("version: 1", "version: 0", "version: Expected `int` >= 1"),
    ("version: 1", "version: '1'", "version: Expected `int`, got `str`"),
    ("version: 1", "version: true", "version: Expected `int`, got `bool`"),
    ("version: 1", "edition: 1", "unknown field edition"),
    ("version: 1\n", "", "Object missing required field `version`"),
    ("version: 1\n", "version: 1\nversion: 2\n", ": key version is given twice"),
    ("version: 1", "version: [", ": expected ',' or ']', but got ':'"),
    ("game_id: double-dawn", "game_id: other", "game_id: must be double-dawn, like the file"),
    ("kind: wild", "kind: joker", "symbols[0].kind: joker is none of bonus, coin, regular, scatter, wild"),
    (
        "name: LARK, kind: regular",
        "name: LARK, kind: wild",
        "pays.LARK: only one wild may have pays, and SUNRISE has",
    ),
    ("{name: LARK", "{name: OWL", "symbols: OWL is listed twice"),
    ("  - {name: LARK", "  - {name: KITE, kind: regular}\n  - {name: LARK", "symbols: KITE is on no reel"),
    ("[SUNRISE, LARK, OWL", "[SUNRISE, LARK, EAGLE", "strips.base[0]: unknown symbol EAGLE"),
    ("reels: 3", "reels: 4", "strips.base: has 3 strips for 4 reels"),
    ("\npaylines:", "  free: [[OWL, OWL, OWL]]\npaylines:", "strips.free: must be given exactly when"),
    ("- [1, 1, 1]", "- [1, 1]", "paylines[0]: has 2 rows for 3 reels"),
    ("- [1, 1, 1]", "- [1, 3, 1]", "paylines[0]: row 3 is outside the grid (0..2)"),
    ("- [0, 0, 0]", "- [1, 1, 1]", "paylines[1]: is the same as an earlier line"),
    ("OWL: {3: 6}", "OWL: {}", "pays.OWL: must not be empty"),
    ("OWL: {3: 6}", "OWL: {2: 6}", "pays.OWL: must list every count up to 3"),
    ("OWL: {3: 6}", "OWL: {1: 6, 3: 9}", "pays.OWL: counts [1, 3] leave a gap"),
    ("OWL: {3: 6}", "OWL: {1: 1, 2: 2, 3: 6}", "pays.OWL: a run needs at least 2 symbols"),
    ("OWL: {3: 6}", "OWL: {2: 7, 3: 6}", "pays.OWL: 3 symbols give less than 2"),
    ("OWL: {3: 6}", "EAGLE: {3: 6}", "pays.EAGLE: is not a regular symbol or a wild"),
    ("OWL: {3: 6}", "OWL: {3: 5001}", "pays.OWL: pays more than max_win_multiple allows"),
    ("OWL: {3: 6}", "OWL: {3: 301}", "pays.SUNRISE: 3 wilds pay less than 3 OWL"),
    ("OWL: {3: 6}", "OWL: {3: 6.5}", "pays.OWL.3: Expected `int`, got `float`"),
    ("[SUNRISE, LARK", "[OWL, LARK", "pays.SUNRISE: 3 of them cannot occur: none on reel 0"),
    ("gamble:", "scatter_pays: {3: 5}\ngamble:", "scatter_pays: the game has no scatter"),
    ("[RED, BLACK]", "[RED]", "gamble.choices: must be ['RED', 'BLACK']"),
    ("steps_max: 5", "steps_max: 0", "gamble.steps_max: Expected `int` >= 1"),
    ("win_multiple_max: 500", "win_multiple_max: 1001", "gamble.win_multiple_max: is above max_win_multiple"),
    ("GBP: [5, 10", "GBP: [5, 5, 10", "stakes_minor.GBP: must ascend"),
    ("GBP: [5, 10", "GBP: [5, 12", "stakes_minor.GBP: 12 is not divisible by 5 coins"),
    ("GBP: [5, 10", "GBP: [0, 10", "stakes_minor.GBP[0]: Expected `int` >= 1"),
    ("GBP: [", "gbp: [", "stakes_minor.gbp: Expected `str` matching"),
    ("1000, 2000, 5000]", "10000000000000]", "stakes_minor.USD: 10000000000000 x max_win_multiple is above"),
    ('"0.959183"', '"1.2"', "rtp_target: must be above 0 and below 1"),
    ('"0.959183"', '"NaN"', "rtp_target: must be above 0 and below 1"),
    ('"0.959183"', '"0.9591831"', "rtp_target: has more than 6 decimals"),
]

HARBOUR_FAULTS = [
    ("spins_max: 240", "spins_max: 19", "free_spins.spins_max: is less than one award"),
    ("spins_max: 240", "spins_max: 1001", "free_spins.spins_max: is more than 1000"),
    ("award: {3: 8, 4", "award: {3: 18, 4", "free_spins.award: 4 symbols give less than 3"),
    ("retrigger: {3: 8, 4: 12", "retrigger: {3: 8", "free_spins.retrigger: counts [3, 5] leave a gap"),
    ("multiplier: 3", "multiplier: 0", "free_spins.multiplier: Expected `int` >= 1"),
    ("scatter_pays: {3: 2", "scatter_pays: {3: 12", "scatter_pays: 4 symbols give less than 3"),
    ("5: 100} # mult", "5: 5001} # mult", "scatter_pays: pays more than max_win_multiple allows"),
    ("SHELL: {3: 8,", "LANTERN: {3: 8,", "pays.LANTERN: is not a regular symbol or a wild"),
]


@pytest.mark.parametrize(("found", "replacement", "message"), DAWN_FAULTS)
def test_a_broken_file_is_named_with_its_field(
    tmp_path: Path, found: str, replacement: str, message: str
) -> None:
    assert found in DAWN_TEXT
    with pytest.raises(loading.DefinitionError) as raised:
        load_text(tmp_path, DAWN_TEXT.replace(found, replacement, 1))
    text = str(raised.value)
    assert re.match(r"double-dawn\.yaml:\d+: ", text) and message in text and "\n" not in text


@pytest.mark.parametrize(("found", "replacement", "message"), HARBOUR_FAULTS)
def test_a_broken_feature_is_named_with_its_field(
    tmp_path: Path, found: str, replacement: str, message: str
) -> None:
    assert found in HARBOUR_TEXT
    with pytest.raises(loading.DefinitionError) as raised:
        load_text(tmp_path, HARBOUR_TEXT.replace(found, replacement, 1), stem="harbour-lights")
    assert re.match(rf"harbour-lights\.yaml:\d+: {re.escape(message)}", str(raised.value))


@pytest.mark.parametrize("content", [b"", b"- 1", b"\xff\xfe\x00", b"!!python/object:os.system {}"])
def test_a_file_that_is_no_definition_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "double-dawn.yaml"
    path.write_bytes(content)
    with pytest.raises(loading.DefinitionError, match=r"^double-dawn\.yaml(:1)?: "):
        loading.load(path)


def test_an_absent_file_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(loading.DefinitionError, match=r"absent\.yaml: cannot be read"):
        loading.load(tmp_path / "absent.yaml")
    with pytest.raises(loading.DefinitionError, match="holds no game file"):
        loading.load_all(tmp_path)


@pytest.mark.parametrize("name", ["", "no-such-game"])
def test_a_name_that_is_no_game_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(loading.DefinitionError, match="no game of this name: give GAME=") as raised:
        loading.find(name)
    assert "double-dawn" in str(raised.value) and "\n" not in str(raised.value)


def test_a_game_is_found_by_its_id() -> None:
    assert loading.find("double-dawn").game_id == "double-dawn"
