"""What game reads from requests."""

import uuid
from decimal import Decimal

import msgspec
import pytest
from reelmesh.game.v1 import game_pb2

from services.common.errors import PageTokenInvalid
from services.game import messages
from services.game.catalogue import Declared
from services.game.engine import loading
from services.game.engine.definition import SHIPPED_GAMES, Mode
from services.game.messages import parse_position

ROUND_ID = str(uuid.uuid4())


def test_a_cost_is_told_as_a_plain_decimal() -> None:
    """A file may say 1e2; a client reads digits."""
    game = loading.load(SHIPPED_GAMES / "double-dawn.yaml")
    bought = Mode(name="bought", cost=Decimal("1E+2"), rtp_target=Decimal("1E-1"))
    told = messages.game(Declared(msgspec.structs.replace(game, modes=(bought,)))).modes[1]
    assert (told.cost, told.rtp_target) == ("100", "0.1")


def test_a_client_is_told_what_it_draws_a_game_with() -> None:
    told = {path.stem: messages.game(Declared(loading.load(path))) for path in SHIPPED_GAMES.glob("*.yaml")}
    shown = {game_id: game.display for game_id, game in told.items()}
    kinds = {
        game_id: game_pb2.Evaluation.Name(display.evaluation).removeprefix("EVALUATION_")
        for game_id, display in shown.items()
    }
    assert (kinds["ember-paths"], kinds["coral-bloom"], kinds["sky-orchard"]) == (
        "WAYS",
        "CLUSTERS",
        "ANYWHERE",
    )
    dawn, vault = shown["double-dawn"], shown["iron-vault"]
    assert [list(line.rows) for line in dawn.paylines][3] == [0, 1, 2] and dawn.coins == 5
    assert {one.symbol: one.kind for one in vault.symbols}["COIN"] == game_pb2.SYMBOL_KIND_COIN
    assert (vault.respins, dawn.respins, shown["sky-orchard"].cascades) == (3, 0, True)
    blossom, crown = shown["sky-orchard"].symbols[:2]
    assert [(pay.count, pay.multiple) for pay in blossom.pays] == [(4, 3), (5, 10), (6, 100)]
    assert [(pay.count, pay.multiple) for pay in crown.pays] == [(8, 100), (10, 300), (12, 1000)]
    spark = shown["ember-paths"].symbols[0]
    assert (spark.kind, spark.multiplier) == (game_pb2.SYMBOL_KIND_WILD, 2)


def test_a_position_is_in_utc_whatever_zone_it_was_written_in() -> None:
    """Python knows offsets that PostgreSQL refuses."""
    position = parse_position(("2024-01-01T00:00:00+20:00", ROUND_ID))
    assert position == ("2023-12-31T04:00:00+00:00", ROUND_ID)


@pytest.mark.parametrize(
    "parts",
    [("0001-01-01T00:00:00+20:00", ROUND_ID), ("now", ROUND_ID), ("2024-01-01", "1"), ("2024-01-01",)],
)
def test_a_position_that_cannot_be_ours_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(PageTokenInvalid):
        parse_position(parts)
