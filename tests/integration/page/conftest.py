"""A mesh with the page, whose demo players are operator "dev"'s; and players whom that one launches."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.meshes import API_KEY, running_mesh


@pytest.fixture(scope="package")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """One of each service."""
    environment = {
        "REELMESH_GATEWAY_DEMO_API_KEY": API_KEY,
        "REELMESH_TRACE_URL": "http://127.0.0.1:7300/?trace_id={trace_id}",
    }
    with running_mesh(databases, environment=environment) as mesh:
        yield mesh


@pytest.fixture(scope="package")
def rest(mesh: Mesh) -> Iterator[httpx.Client]:
    """The gateway's REST API."""
    # verify: there is no TLS here, and its context costs 90 ms.
    with httpx.Client(base_url=mesh.rest_url(), timeout=15, verify=False) as client:
        yield client


Launch = Callable[..., str]


@pytest.fixture(scope="package")
def launch(rest: httpx.Client) -> Launch:
    """`launch(game_id, **fields of the session)`: where the operator sends the player's browser."""

    def launch(game_id: str, *, funds_minor: int = 10_000, player_id: str = "", **fields: Any) -> str:
        player_id = player_id or f"player-{uuid.uuid4()}"
        amount = {"currency_code": "EUR", "amount_minor": funds_minor}
        if funds_minor:
            post(rest, f"/v1/players/{player_id}/deposits", {"request_id": new_id(), "amount": amount})
        body = {"request_id": new_id(), "player_id": player_id, "game_id": game_id, "currency_code": "EUR"}
        return str(post(rest, "/v1/sessions", {**body, **fields})["launch_url"])

    return launch


def new_id() -> str:
    """For a request."""
    return str(uuid.uuid4())


def post(rest: httpx.Client, path: str, body: dict[str, Any], credential: str = API_KEY) -> dict[str, Any]:
    """The answer of a call that succeeds."""
    response = rest.post(path, json=body, headers={"authorization": f"Bearer {credential}"})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
