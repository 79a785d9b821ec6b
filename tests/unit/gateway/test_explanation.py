"""An explanation's page: nothing that a caller wrote is more than text on it, and nothing is loaded by it."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2

from services.gateway.edge import explanation
from services.gateway.explain.checks import CHECKS, REPLAY

EVIL = "<script>alert(1)</script>"


def explained() -> gateway_pb2.ExplainRoundResponse:
    """With markup wherever text of others may stand."""
    response = gateway_pb2.ExplainRoundResponse(round_id="r1", adds_up=False)
    response.checks.add(name="n", promise="p", detail=EVIL, todo=EVIL, result=gateway_pb2.CHECK_RESULT_OFF)
    response.missing.add(part="events", reason=EVIL)
    response.timeline.add(service="wallet", text=f"given back by ann ({EVIL})")
    response.traces.add(trace_id="t", url=f"https://traces/{EVIL}")
    response.game.round.player_id = EVIL
    response.game.round.state = game_pb2.ROUND_STATE_SETTLED
    response.game.round.outcome_json = b'{"win": 3}'
    response.game.round.stake.currency_code = "EUR"
    return response


def test_the_page_escapes_everything() -> None:
    page = explanation.page(explained())
    text = page.body.decode()
    assert "<script" not in text and text.count("&lt;script&gt;") >= 6
    assert "src=" not in text and "href=" not in text
    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'none';" in page.security
    assert "no-store" in page.security


def test_the_json_has_the_forms_of_the_rest() -> None:
    body = json.loads(msgspec.json.encode(explanation.explanation_json(explained())))
    round_ = body["game"]["round"]
    assert round_["state"] == "SETTLED" and round_["outcome_json"] == {"win": 3}
    assert round_["stake"] == {"currency_code": "EUR", "amount_minor": 0}
    assert round_["win"] is None and body["wallet"] is None and body["events"] == []
    assert body["checks"][0]["result"] == "OFF" and round_["kind"] is None


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("text/html;q=0.9, application/json", True),
        ("application/json, text/html", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_a_browser_gets_the_page(accept: str, page: bool) -> None:
    assert explanation.wants_page(accept) is page


def test_the_documentation_lists_every_check() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explain.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", page.split("| check |")[1].split("\n\n")[0], re.MULTILINE)
    checks = [name for name, _, _ in (*CHECKS, REPLAY)]
    assert documented == [*checks, "trace_agrees"]
