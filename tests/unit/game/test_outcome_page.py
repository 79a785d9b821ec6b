"""docs/outcomes.md names every field of an outcome, where it stands, and its example is one."""

import re
from pathlib import Path

import msgspec
import pytest

from services.game.engine import outcome
from services.game.engine.outcome import Outcome

PAGE = (Path(__file__).parents[3] / "docs/outcomes.md").read_text()
_ROW = re.compile(r"^\| ([a-z -]*?) ?\| (`.*?`) \| (.*) \|$", re.MULTILINE)
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "outcome": Outcome,
    "screen": outcome.Screen,
    "line win": outcome.LineWin,
    "symbol win": outcome.SymbolWin,
    "scatter win": outcome.ScatterWin,
    "fall": outcome.Fall,
    "hold and win": outcome.HoldAndWin,
    "pick": outcome.Pick,
}


def _described() -> dict[str, dict[str, str]]:
    """By part and field, what the page says of it."""
    told: dict[str, dict[str, str]] = {}
    part = ""
    for name, fields, meaning in _ROW.findall(PAGE):
        part = name or part
        for field in re.findall(r"`(\w+)`", fields):
            told.setdefault(part, {})[field] = meaning
    return told


@pytest.mark.parametrize("part", _STRUCTS)
def test_every_field_is_described_and_no_other(part: str) -> None:
    assert set(_described()[part]) == set(_STRUCTS[part].__struct_fields__)


@pytest.mark.parametrize("part", _STRUCTS)
def test_the_page_says_which_fields_may_be_absent(part: str) -> None:
    struct = _STRUCTS[part]
    left_out = struct.__struct_config__.omit_defaults
    optional = {field.name for field in msgspec.structs.fields(struct) if left_out and not field.required}
    assert {name for name, meaning in _described()[part].items() if "absent" in meaning} == optional


def test_a_coin_s_fields_are_described() -> None:
    assert set(re.findall(r"`(\w+)`", _described()["hold and win"]["coins"])) == set(
        outcome.Coin.__struct_fields__
    )


def test_the_example_is_an_outcome_as_it_is_sent() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    decoded = msgspec.json.decode(example, type=Outcome, strict=True)
    assert msgspec.json.decode(outcome.encode_outcome(decoded)) == msgspec.json.decode(example)
