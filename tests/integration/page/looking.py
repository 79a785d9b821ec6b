"""A page of the browser on the mesh, and what a test sees of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from deploy.local.mesh import Mesh
from tests.tools import require_npm_package

SCREENSHOTS = Path(__file__).parents[3] / "build/screenshots"
DESKTOP, PHONE = ViewportSize(width=1280, height=860), ViewportSize(width=360, height=740)


@pytest.fixture
def page(browser: BrowserContext, mesh: Mesh) -> Iterator[Page]:
    """A new page with nothing kept; the test fails when a script failed, or asked for anything elsewhere."""
    page = browser.new_page()
    page.set_viewport_size(DESKTOP)
    page.goto(f"{mesh.rest_url()}/page/icon.svg")
    page.evaluate("() => (localStorage.clear(), sessionStorage.clear())")
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # A refusal, and an answer that a test lost, are told by the network's own line.
    page.on("console", lambda line: wrong.append(line.text) if _is_error(line.type, line.text) else None)
    page.on("request", lambda sent: None if sent.url.startswith(mesh.rest_url()) else wrong.append(sent.url))
    yield page
    page.close()
    assert not wrong


def _is_error(kind: str, text: str) -> bool:
    return kind in ("error", "warning") and "Failed to load resource" not in text


def token(page: Page) -> str:
    """The page's session token."""
    return str(page.evaluate("() => JSON.parse(sessionStorage['reelmesh.session']).token"))


def rounds(rest: httpx.Client, credential: str) -> list[dict[str, Any]]:
    """The player's, newest first."""
    answer = rest.get("/v1/rounds", headers={"authorization": f"Bearer {credential}"}).json()
    listed: list[dict[str, Any]] = answer["rounds"]
    return listed


def euro(amount_minor: int) -> str:
    return f"€{amount_minor / 100:,.2f}"


def idle(page: Page) -> None:
    """The round is over and shown."""
    expect(page.locator("#spin-word")).to_have_text("Spin", timeout=60_000)


def shoot(page: Page, name: str) -> None:
    """For people: CI keeps them."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def accessible(page: Page) -> None:
    """What axe finds, as far as it is serious."""
    axe = (require_npm_package("axe-core") / "axe.min.js").read_text()
    page.evaluate(f"() => {{ {axe}; window.axe = axe }}")
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]
