"""Where a launch leads: the game client's address, with the code in its query."""

import pytest

from services.gateway.players import launch_url


@pytest.mark.parametrize(
    ("client_url", "expected"),
    [
        ("https://play.example/slot", "https://play.example/slot?code=lc_a-b"),
        ("https://play.example", "https://play.example?code=lc_a-b"),
        ("https://play.example/slot?", "https://play.example/slot?code=lc_a-b"),
        # As it is: what the client makes of an escape or of a name without a value is its own.
        (
            "https://play.example/slot?skin=a%20b&demo",
            "https://play.example/slot?skin=a%20b&demo&code=lc_a-b",
        ),
        # A browser sends nothing behind "#": the code would not be a query there.
        ("https://play.example/?skin=a#/lobby", "https://play.example/?skin=a&code=lc_a-b#/lobby"),
    ],
)
def test_the_code_joins_the_query_that_an_address_has(client_url: str, expected: str) -> None:
    assert launch_url(client_url, "lc_a-b") == expected
