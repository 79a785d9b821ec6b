"""The seal that game makes and the wallet verifies (R11)."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.game.seal import seal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "seal.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["vectors"])
def test_the_shared_vectors_hold(vector: dict[str, Any]) -> None:
    fields = {name: value for name, value in vector.items() if name != "seal_hex"}
    assert seal(key=VECTORS["key"].encode(), **fields).hex() == vector["seal_hex"]


def test_every_field_changes_the_seal() -> None:
    fields = {name: value for name, value in VECTORS["vectors"][1].items() if name != "seal_hex"}
    changed = {
        "round_id": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6072",
        "step": "PAYOUT",
        "account_id": 2,
        "game_id": "other-lines",
        "currency_code": "USD",
        "stake_minor": 101,
        "win_minor": 2501,
    }
    seals = {seal(key=b"k" * 16, **{**fields, name: value}) for name, value in changed.items()}
    seals.add(seal(key=b"k" * 16, **fields))
    seals.add(seal(key=b"x" * 16, **fields))
    assert len(seals) == len(changed) + 2
