"""Which operation a request reaches, with what, and what it is told that reaches none."""

import json
from typing import Any

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2

from services.common import telemetry
from services.common.errors import BodyTooLarge
from services.gateway.door import Door
from services.gateway.edge.exchange import NotHttp, Request, Response
from services.gateway.edge.rest import Rest
from services.tracing.durations import Durations
from services.tracing.spans import Tracer
from tests.spans import Kept

TOKEN = {b"authorization": b"Bearer st_x"}
KEY = {b"authorization": b"Bearer rk_x"}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Players:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def authenticate(self, credential: str, scope: str) -> str:
        return credential

    async def round(self, *, token: str, operator: str, request: Any) -> gateway_pb2.GetRoundResponse:
        self.asked.append(request)
        return gateway_pb2.GetRoundResponse(round=gateway_pb2.PlayedRound(state=game_pb2.ROUND_STATE_SETTLED))

    async def rounds(self, token: str, request: Any) -> gateway_pb2.ListRoundsResponse:
        self.asked.append(request)
        return gateway_pb2.ListRoundsResponse()

    async def fund(self, operator: str, request: Any) -> gateway_pb2.FundPlayerResponse:
        self.asked.append(request)
        return gateway_pb2.FundPlayerResponse()

    async def games(self) -> game_pb2.ListGamesResponse:
        raise RuntimeError("cannot connect to hunter2@db")


@pytest.fixture
def players() -> Players:
    return Players()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Every span that this process makes, all kept."""
    kept = Kept()
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    return kept


async def ask(players: Any, method: str, target: str, **fields: Any) -> Response:
    """What the request is answered."""
    rest = Rest(door_to(players))
    return await rest.answer(Request(method, target, **{"headers": TOKEN, **fields}))


def door_to(players: Any) -> Door:
    """To these and nothing else."""
    return Door(
        operators=players,
        players=players,
        rounds=players,
        back_office=players,
        limits=players,
        explanations=players,
        client_events=players,
    )


def told(response: Response) -> dict[str, Any]:
    """A refusal's body."""
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(response.body)
    assert body["status"] == response.status and body["trace_id"] == response.headers["x-trace-id"]
    return body


@pytest.mark.parametrize(
    "target, round_id",
    [
        ("/v1/rounds/abc", "abc"),
        ("/v1/rounds/abc?", "abc"),
        ("/v1/rounds/a%20b", "a b"),
        ("/v1/rounds/%C3%A9", "é"),
        ("/v1/rounds/a%3Fb", "a?b"),
        ("http://somewhere/v1/rounds/abc#d", "abc"),
    ],
)
async def test_a_path_s_parameter_is_decoded(players: Players, target: str, round_id: str) -> None:
    assert (await ask(players, "GET", target)).status == 200
    assert [asked.round_id for asked in players.asked] == [round_id]


async def test_a_spin_s_own_id_is_another_parameter(players: Players) -> None:
    await ask(players, "GET", "/v1/spins/abc")
    assert [asked.request_id for asked in players.asked] == ["abc"]


async def test_bytes_that_are_no_utf_8_are_no_player(players: Players) -> None:
    body = b'{"request_id": "1", "amount": {"currency_code": "EUR", "amount_minor": 1}}'
    for player_id, status in (("Jos%C3%A9", 200), ("Jos%E9", 400)):
        target = f"/v1/players/{player_id}/deposits"
        assert (await ask(players, "POST", target, headers=KEY, body=body)).status == status
    assert [asked.player_id for asked in players.asked] == ["José"]


@pytest.mark.parametrize(
    "query, page_size, page_token",
    [
        ("", 0, ""),
        ("?page_size=7&page_token=a%2Bb", 7, "a+b"),
        ("?page_token=", 0, ""),
    ],
)
async def test_a_query_is_read(players: Players, query: str, page_size: int, page_token: str) -> None:
    assert (await ask(players, "GET", f"/v1/rounds{query}")).status == 200
    assert [(asked.page_size, asked.page_token) for asked in players.asked] == [(page_size, page_token)]


@pytest.mark.parametrize(
    "target, field",
    [
        ("/v1/rounds?page_sise=7", "page_sise"),
        ("/v1/rounds?page_size=7&page_size=8", "page_size"),
        ("/v1/rounds?page_size=7&=", ""),
        ("/v1/rounds/abc?round_id=def", "round_id"),
        ("/v1/balance?time=2026-11-30T12:00:00Z", "time"),
    ],
)
async def test_a_query_that_would_not_be_obeyed_is_refused(players: Players, target: str, field: str) -> None:
    refused = await ask(players, "GET", target)
    assert refused.status == 400
    assert json.loads(refused.body)["metadata"]["field"] == field
    assert not players.asked


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1/jackpots",
        "/v1/spins/",
        "/V1/spins",
        "//v1/spins",
        "/v1/rounds/a/b",
        "/v1/rounds/a%2Fb",
        "/v1/players//deposits",
        "*",
        "http://somewhere",
    ],
)
async def test_there_is_no_other_path(players: Players, target: str) -> None:
    response = await ask(players, "GET", target)
    assert (response.status, told(response)["reason"]) == (404, "ROUTE_NOT_FOUND")
    assert "allow" not in response.headers


@pytest.mark.parametrize(
    "method, target, allow",
    [
        ("GET", "/v1/spins", "POST"),
        ("HEAD", "/v1/spins?x=1", "POST"),
        ("DELETE", "/v1/rounds/abc", "GET, HEAD"),
        ("OPTIONS", "/v1/games", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(
    players: Players, method: str, target: str, allow: str
) -> None:
    response = await ask(players, method, target)
    assert (response.status, told(response)["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allow


async def test_head_is_answered_like_get(players: Players) -> None:
    head, get = [await ask(players, method, "/v1/rounds/abc") for method in ("HEAD", "GET")]
    assert (head.status, head.body) == (get.status, get.body)


async def test_a_refused_request_reaches_nothing_and_has_its_route_s_span(
    players: Players, spans: Kept
) -> None:
    headers = TOKEN | {b"traceparent": TRACEPARENT.encode()}
    refusal = BodyTooLarge(size_bytes_max=9)
    response = await ask(players, "GET", "/v1/rounds/abc", headers=headers, refusal=refusal)
    assert told(response)["reason"] == "BODY_TOO_LARGE" and not players.asked
    [span] = spans.finished
    assert (span.name, f"{span.context.trace_id:032x}") == ("GET /v1/rounds/{round_id}", TRACEPARENT[3:35])
    assert span.attributes["http.response.status_code"] == 413
    assert span.attributes["reelmesh.error.reason"] == "BODY_TOO_LARGE"


async def test_requests_are_counted_by_route_and_status_and_lead_to_their_trace(
    players: Players, spans: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Durations("x", ["method", "route", "status", "error", "scheme"])
    monkeypatch.setattr(telemetry, "http_requests", requests)
    for method, target in (("GET", "/v1/rounds/abc"), ("GET", "/v1/no"), ("BREW", "/v1/no"), ("", "")):
        await ask(players, method, target)
    await ask(players, "GET", "/v1/no", scheme="https")
    points: Any = requests.collect().data.data_points
    counted = {tuple(point.attributes.values()) for point in points}
    assert counted == {
        ("GET", "/v1/rounds/{round_id}", 200, "http"),
        ("GET", 404, "http"),
        ("_OTHER", 404, "http"),
        ("GET", 404, "https"),
    }
    traced = {span.context.trace_id for span in spans.finished}
    assert {exemplar.trace_id for point in points for exemplar in point.exemplars} <= traced
    assert "BREW" not in {span.name for span in spans.finished}


async def test_what_is_no_request_at_all_has_a_span(players: Players, spans: Kept) -> None:
    response = await ask(players, "", "", headers={}, refusal=NotHttp(problem="no method"))
    assert told(response)["metadata"] == {"problem": "no method"}
    [span] = spans.finished
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")


async def test_a_failure_is_logged_and_not_told(players: Players, caplog: pytest.LogCaptureFixture) -> None:
    response = await ask(players, "GET", "/v1/games")
    assert (response.status, told(response)["reason"]) == (500, "INTERNAL")
    assert b"hunter2" not in response.body and "hunter2" in caplog.text
    assert len(caplog.records) == 1
