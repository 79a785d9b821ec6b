"""The wallet's half of the seal, against the vectors that game's half is tested with."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.wallet import seal
from services.wallet.records import Item, Step

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "seal.json").read_text())
KEY = VECTORS["key"]


def item_of(vector: dict[str, str]) -> Item:
    """A vector as an item of a batch."""
    return Item(
        round_id=vector["round_id"],
        step=Step[vector["step"]],
        account_id=int(vector["account_id"]),
        currency_code=vector["currency_code"],
        stake_minor=int(vector["stake_minor"]),
        win_minor=int(vector["win_minor"]),
        game_id=vector["game_id"],
    )


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["step"])
def test_the_seal_is_the_one_game_makes(vector: dict[str, str]) -> None:
    expected = bytes.fromhex(vector["seal_hex"])
    assert seal.seal_of(item_of(vector), key=KEY) == expected
    assert seal.verifies(item_of(vector), seal=expected, key=KEY)
    assert not seal.verifies(item_of(vector), seal=expected, key=KEY + "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round_id", "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6099"),
        ("step", Step.STAKE),
        ("account_id", 99),
        ("currency_code", "USD"),
        ("stake_minor", 99),
        ("win_minor", 99),
        ("game_id", "other"),
    ],
)
def test_no_field_can_be_changed_under_the_seal(field: str, value: Any) -> None:
    vector = VECTORS["vectors"][0]
    changed = item_of(vector)._replace(**{field: value})
    assert not seal.verifies(changed, seal=bytes.fromhex(vector["seal_hex"]), key=KEY)
