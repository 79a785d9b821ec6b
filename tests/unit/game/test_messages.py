"""What game reads from requests."""

import uuid

import pytest

from services.common.errors import PageTokenInvalid
from services.game.messages import parse_position

ROUND_ID = str(uuid.uuid4())


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
