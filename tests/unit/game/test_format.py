"""What is said of the format of a game file: its schema for editors, and its page."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from services.game.engine import definition, loading
from services.game.maths import rounds
from tools import game_schema

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/games.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SCHEMA_LINE = "# yaml-language-server: $schema="
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in definition.SHIPPED_GAMES.glob("*.yaml")}


def errors(text: str) -> list[str]:
    """What an editor would underline."""
    content = json.loads(json.dumps(yaml.safe_load(text)))  # JSON has no numbers as keys
    validator = jsonschema.Draft202012Validator(json.loads(game_schema.SCHEMA.read_text()))
    return [error.json_path for error in validator.iter_errors(content)]


def parts() -> list[Any]:
    return [
        value
        for _, value in inspect.getmembers(definition, inspect.isclass)
        if issubclass(value, msgspec.Struct) and value.__module__ == definition.__name__
    ]


def test_the_schema_is_what_the_types_say() -> None:
    assert game_schema.SCHEMA.read_text(encoding="utf-8") == game_schema.text()


def test_the_schema_explains_itself() -> None:
    schema = game_schema.schema()
    assert schema["$defs"]["Mode"]["properties"]["cost"]["description"] == "Stake = bet x cost."
    assert (
        "Cap of a round" in schema["$defs"]["GameDefinition"]["properties"]["max_win_multiple"]["description"]
    )


@pytest.mark.parametrize("text", [*TEXTS.values(), EXAMPLE], ids=[*TEXTS, "example"])
def test_a_game_that_loads_is_valid_and_names_its_schema(text: str) -> None:
    assert errors(text) == []
    assert text.startswith(SCHEMA_LINE)


@pytest.mark.parametrize("game_id", TEXTS)
def test_a_shipped_game_finds_its_schema(game_id: str) -> None:
    named = TEXTS[game_id].splitlines()[0].removeprefix(SCHEMA_LINE)
    assert (definition.SHIPPED_GAMES / named).resolve() == game_schema.SCHEMA


@pytest.mark.parametrize(
    ("found", "replacement", "place"),
    [
        ("kind: wild", "kind: joker", "$.symbols[0].kind"),
        ("spins_max: 60", "spins_max: 0", "$.free_spins"),
        ("max_win_multiple", "max_win_multiples", "$"),
        ("CRAB: {3: 10}", "CRAB: {3: ten}", "$.pays.CRAB.3"),
    ],
)
def test_the_schema_sees_a_fault(found: str, replacement: str, place: str) -> None:
    assert found in EXAMPLE
    assert place in [path.replace("['3']", ".3") for path in errors(EXAMPLE.replace(found, replacement, 1))]


def test_the_example_loads_and_its_target_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "tide-pool.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    game = loading.load(path)
    assert round(float(rounds.rtp(rounds.round_of(game, game.modes_by_name[definition.BASE]))), 6) == float(
        game.rtp_target
    )


def test_the_page_names_every_field() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    written = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    fields = {field for part in parts() for field in part.__struct_fields__}
    assert fields - written == set()
