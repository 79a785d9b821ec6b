"""What asks for the player in person: the reality check, and silence that would end the session."""

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import create_engine, text

from deploy.local.mesh import Mesh
from tests.browser import browser
from tests.integration.page.conftest import Launch
from tests.integration.page.looking import PHONE, accessible, euro, idle, page, rounds, shoot, token

__all__ = ["browser", "page"]

pytestmark = pytest.mark.tool("chromium")


def make_check_due(mesh: Mesh, page: Page) -> None:
    """The account of the page's session has been playing for an hour and a bit."""
    session_id = page.evaluate("() => JSON.parse(sessionStorage['reelmesh.session']).session_id")
    engine = create_engine(mesh.database_urls["session"])
    with engine.begin() as conn:
        earlier = text("""
            update account_play p set check_time = p.check_time - interval '61 minutes',
              stay_time = p.stay_time - interval '61 minutes'
            from session s where s.session_id = :session_id and p.account_id = s.account_id""")
        assert conn.execute(earlier, {"session_id": session_id}).rowcount == 1
    engine.dispose()


def test_a_reality_check_waits_for_the_player_s_answer(
    page: Page, mesh: Mesh, rest: httpx.Client, launch: Launch
) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(launch("harbour-lights", jurisdiction="SE"))
    page.locator("#spin").click()
    expect(page.locator("#history li")).to_have_count(1)
    idle(page)
    credential = token(page)
    make_check_due(mesh, page)
    page.locator("#spin").click()
    check = page.get_by_role("dialog", name="A moment, please")
    net_minor = sum(one["win"]["amount_minor"] - 100 for one in rounds(rest, credential))
    expect(check).to_contain_text("You have been playing for 1:01:")
    shown = f"{'-' if net_minor < 0 else ''}{euro(abs(net_minor))}"
    expect(check).to_contain_text(f"Your net position is {shown}.")
    accessible(page)
    shoot(page, "reality-check-desktop")
    page.set_viewport_size(PHONE)
    expect(check.get_by_role("button", name="Stop")).to_be_in_viewport()
    shoot(page, "reality-check-phone")
    # It is no dialog that is waved away: nothing was answered, so it comes again.
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    if not check.is_visible():
        page.keyboard.press("Space")
    expect(check).to_be_visible()
    assert len(rounds(rest, credential)) == 1
    check.get_by_role("button", name="Go on playing").focus()
    page.keyboard.press("Enter")
    expect(check).to_be_hidden()
    expect(page.locator("#spin")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#history li")).to_have_count(2)
    idle(page)
    make_check_due(mesh, page)
    page.locator("#spin").click()
    check.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Games")).to_be_visible()
    ended = rest.get("/v1/session", headers={"authorization": f"Bearer {credential}"}).json()
    assert ended["state"] == "CLOSED"


def test_a_player_who_does_something_keeps_the_session_alive(page: Page, mesh: Mesh, launch: Launch) -> None:
    kept: list[str] = []
    page.on("request", lambda sent: kept.append(sent.url) if sent.url.endswith("/keep_alive") else None)
    page.goto(launch("harbour-lights", jurisdiction="IT"))
    expect(page.locator("#balance")).to_have_text("€100.00")
    now_ms = page.evaluate("() => Date.now()")
    page.keyboard.press("Shift")
    # Nobody was there for more than a minute, and nobody says so.
    page.clock.set_fixed_time(now_ms + 70_000)
    expect(page.locator("#spin-word")).to_have_text("Spin")
    assert not kept
    with page.expect_response("**/v1/session/keep_alive") as response:
        page.keyboard.press("Shift")
    assert response.value.status == 200
    page.keyboard.press("Shift")
    page.clock.set_fixed_time(now_ms + 140_000)
    with page.expect_response("**/v1/session/keep_alive"):
        page.mouse.click(5, 5)
    assert len(kept) == 2
