"""Game files: what loads, what is refused and in which words, and what the hash depends on."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from services.game.engine import definition

DAWN_TEXT = (definition.SHIPPED_GAMES / "double-dawn.yaml").read_text(encoding="utf-8")
HARBOUR_TEXT = (definition.SHIPPED_GAMES / "harbour-lights.yaml").read_text(encoding="utf-8")


def load_text(folder: Path, text: str, *, stem: str = "double-dawn") -> definition.GameDefinition:
    path = folder / f"{stem}.yaml"
    path.write_text(text, encoding="utf-8")
    return definition.load(path)


def test_the_shipped_games_load_by_id() -> None:
    games = definition.load_all(definition.SHIPPED_GAMES)
    assert list(games) == ["double-dawn", "harbour-lights"]
    assert games["double-dawn"].offers_choice
    assert not games["harbour-lights"].offers_choice
    assert games["harbour-lights"].accepts_stake(currency_code="JPY", stake_minor=20)
    assert not games["harbour-lights"].accepts_stake(currency_code="JPY", stake_minor=30)
    assert not games["harbour-lights"].accepts_stake(currency_code="CHF", stake_minor=20)
    assert {"USD", "EUR", "GBP", "JPY"} == set(games["double-dawn"].stakes_minor)


def test_the_hash_follows_the_content_and_not_the_layout(tmp_path: Path) -> None:
    original = load_text(tmp_path, DAWN_TEXT).canonical_hash
    assert len(original) == 64 and set(original) <= set(string.hexdigits)
    reordered = DAWN_TEXT.replace("version: 1\n", "") + "# a comment\nversion: 1\n"
    assert load_text(tmp_path, reordered).canonical_hash == original
    assert load_text(tmp_path, DAWN_TEXT.replace("OWL: {3: 6}", "OWL: {3: 7}")).canonical_hash != original
    swapped = DAWN_TEXT.replace("[SUNRISE, LARK, OWL", "[LARK, SUNRISE, OWL")
    assert load_text(tmp_path, swapped).canonical_hash != original


DAWN_FAULTS = [
    ("version: 1", "version: 0", "version: Expected `int` >= 1"),
    ("version: 1", "version: '1'", "version: Expected `int`, got `str`"),
    ("version: 1", "version: true", "version: Expected `int`, got `bool`"),
    ("version: 1", "edition: 1", "Object contains unknown field `edition`"),
    ("version: 1\n", "", "Object missing required field `version`"),
    ("version: 1\n", "version: 1\nversion: 2\n", ": key version is given twice"),
    ("version: 1", "version: [", ": expected ',' or ']', but got ':'"),
    ("game_id: double-dawn", "game_id: other", "game_id: must be double-dawn, like the file"),
    ("kind: wild", "kind: joker", "symbols[0].kind: Invalid enum value 'joker'"),
    ("name: LARK, kind: regular", "name: LARK, kind: wild", "symbols: more than one wild"),
    ("{name: LARK", "{name: OWL", "symbols: OWL is listed twice"),
    ("  - {name: LARK", "  - {name: KITE, kind: regular}\n  - {name: LARK", "symbols: KITE is on no strip"),
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
    ("OWL: {3: 6}", "OWL: {3: 6.5}", "pays[...][...]: Expected `int`, got `float`"),
    ("[SUNRISE, LARK", "[OWL, LARK", "pays.SUNRISE: 3 of them cannot occur: none on reel 0"),
    ("gamble:", "scatter_pays: {3: 5}\ngamble:", "scatter_pays: the game has no scatter"),
    ("[RED, BLACK]", "[RED]", "gamble.choices: must be ['RED', 'BLACK']"),
    ("steps_max: 5", "steps_max: 0", "gamble.steps_max: Expected `int` >= 1"),
    ("win_multiple_max: 500", "win_multiple_max: 1001", "gamble.win_multiple_max: is above max_win_multiple"),
    ("GBP: [5, 10", "GBP: [5, 5, 10", "stakes_minor.GBP: must ascend"),
    ("GBP: [5, 10", "GBP: [5, 12", "stakes_minor.GBP: 12 is not divisible by 5 lines"),
    ("GBP: [5, 10", "GBP: [0, 10", "stakes_minor[...][0]: Expected `int` >= 1"),
    ("GBP: [", "gbp: [", "key in stakes_minor: Expected `str` matching"),
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
    with pytest.raises(definition.DefinitionError) as raised:
        load_text(tmp_path, DAWN_TEXT.replace(found, replacement, 1))
    text = str(raised.value)
    assert text.startswith("double-dawn.yaml: ") and message in text and "\n" not in text


@pytest.mark.parametrize(("found", "replacement", "message"), HARBOUR_FAULTS)
def test_a_broken_feature_is_named_with_its_field(
    tmp_path: Path, found: str, replacement: str, message: str
) -> None:
    assert found in HARBOUR_TEXT
    with pytest.raises(definition.DefinitionError) as raised:
        load_text(tmp_path, HARBOUR_TEXT.replace(found, replacement, 1), stem="harbour-lights")
    assert str(raised.value).startswith("harbour-lights.yaml: " + message)


@pytest.mark.parametrize("content", [b"", b"- 1", b"\xff\xfe\x00", b"!!python/object:os.system {}"])
def test_a_file_that_is_no_definition_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "double-dawn.yaml"
    path.write_bytes(content)
    with pytest.raises(definition.DefinitionError, match=r"^double-dawn\.yaml: "):
        definition.load(path)


def test_an_absent_file_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(definition.DefinitionError, match=r"absent\.yaml: cannot be read"):
        definition.load(tmp_path / "absent.yaml")
    with pytest.raises(definition.DefinitionError, match="holds no game file"):
        definition.load_all(tmp_path)
