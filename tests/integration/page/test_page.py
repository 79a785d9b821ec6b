"""The page in a browser on a real mesh: families shown, what was interrupted goes on, refusals are told."""

import contextlib
import json
import re
import uuid
from typing import Any

import httpx
import pytest
from playwright.sync_api import Error, Page, Route, expect
from sqlalchemy import create_engine, text

from deploy.local.mesh import Mesh
from tests.browser import browser
from tests.integration.page.conftest import Launch, new_id, post
from tests.integration.page.looking import (
    DESKTOP,
    PHONE,
    accessible,
    euro,
    idle,
    page,
    rounds,
    shoot,
    token,
)

__all__ = ["browser", "page"]

pytestmark = pytest.mark.tool("chromium")

SPINS_MAX = 1_500
# What a family shows that others do not, as its outcome tells.
FAMILIES = {
    "harbour-lights": lambda outcome: outcome["base"]["line_wins"],
    "ember-paths": lambda outcome: outcome["base"].get("symbol_wins"),
    "coral-bloom": lambda outcome: outcome["base"].get("falls"),
    "sky-orchard": lambda outcome: outcome["base"].get("falls"),
    "iron-vault": lambda outcome: outcome.get("hold_and_win"),
    "double-dawn": lambda outcome: outcome["base"]["line_wins"],
}


def sit(page: Page, mesh: Mesh, game_id: str) -> None:
    """From the lobby to a game, with play money."""
    page.goto(mesh.rest_url())
    page.locator(f".t-{game_id} button").click()
    expect(page.locator("#balance")).to_have_text("€1,000.00")


def spin(rest: httpx.Client, credential: str, *, stake_minor: int = 100) -> dict[str, Any]:
    """A spin's answer, beside the page."""
    stake = {"currency_code": "EUR", "amount_minor": stake_minor}
    return post(rest, "/v1/spins", {"request_id": new_id(), "stake": stake}, credential)


def skip(page: Page) -> None:
    """Sees the end of the round at once."""
    page.locator("#spin", has_text="Skip").click()
    idle(page)


def until_offered(page: Page) -> None:
    """Spins until a gamble is offered."""
    gamble = page.locator("#gamble")
    for _ in range(60):
        page.locator("#spin").click()
        expect(page.locator("#spin-word")).to_have_text(re.compile("Skip|Spin"))
        page.locator("#spin").click()
        expect(page.locator("#spin-word")).to_have_text("Spin")
        if gamble.is_visible():
            return
    pytest.fail("no win in 60 spins")


@pytest.mark.parametrize("game_id", FAMILIES)
def test_a_win_of_every_family_is_shown(page: Page, mesh: Mesh, rest: httpx.Client, game_id: str) -> None:
    """The round that shows the family is searched beside the page, and then seen by recall, on both sizes."""
    sit(page, mesh, game_id)
    for _ in range(SPINS_MAX):
        found = spin(rest, token(page), stake_minor=100)["round"]
        if FAMILIES[game_id](found["outcome"]):
            break
        if found["state"] == "OPEN":
            act(rest, token(page), found, "COLLECT")
    if found["state"] == "OPEN":
        found = act(rest, token(page), found, "COLLECT")
    assert FAMILIES[game_id](found["outcome"])
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)
        page.reload()
        row = page.locator(f"[data-round='{found['round_id']}']")
        row.get_by_role("button", name="Recall").click()
        expect(page.locator(".machine")).to_have_class(re.compile("recall"))
        shown = ".cell.held" if game_id == "iron-vault" else ".cell.won"
        page.locator(shown).first.wait_for(timeout=30_000)
        page.evaluate("() => scrollTo(0, 0)")
        shoot(page, f"{game_id}-{name}")
        page.locator("#spin").click()
        expect(page.locator("#told")).to_contain_text(
            f"{euro(found['win']['amount_minor'])} paid", timeout=60_000
        )
        fits(page)
    assert rounds(rest, token(page))[0]["round_id"] == found["round_id"]


def act(rest: httpx.Client, credential: str, played: dict[str, Any], choice: str) -> dict[str, Any]:
    body = {"step": played["step_next"], "choice": choice}
    answer = post(rest, f"/v1/rounds/{played['round_id']}/steps", body, credential)
    settled: dict[str, Any] = answer["round"]
    return settled


def fits(page: Page) -> None:
    """Nothing is beside the window, and the spin button is in it without scrolling."""
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#spin").bounding_box()
    window = page.viewport_size
    assert box and window and box["y"] + box["height"] <= window["height"], (box, window)


def test_a_spin_is_shown_with_its_balance_trace_and_proof(page: Page, mesh: Mesh, rest: httpx.Client) -> None:
    page.goto(mesh.rest_url())
    expect(page.locator(".card-game")).to_have_count(7)
    shoot(page, "lobby-desktop")
    sit(page, mesh, "harbour-lights")
    page.locator("#bet-up").click()
    expect(page.locator("#spin-cost")).to_have_text("€2.00")
    page.locator("#spin").click()
    idle(page)
    [played] = rounds(rest, token(page))
    assert played["stake"]["amount_minor"] == 200
    expect(page.locator("#balance")).to_have_text(euro(100_000 - 200 + played["win"]["amount_minor"]))
    row = page.locator("#history li")
    expect(row).to_have_count(1)
    trace = row.get_by_role("link", name="Trace")
    expect(trace).to_have_attribute("href", f"http://127.0.0.1:7300/?trace_id={played['trace_id']}")
    row.get_by_role("button", name="Proof").click()
    proof = page.get_by_role("dialog")
    expect(proof).to_contain_text(f"make replay ROUND={played['round_id']}")
    shoot(page, "proof-desktop")
    link = proof.get_by_role("link", name="Everything that is known")
    expect(link).to_have_attribute("href", f"/v1/demo/rounds/{played['round_id']}/explanation")
    assert "adds up" in rest.get(str(link.get_attribute("href"))).text
    page.keyboard.press("Escape")
    expect(proof).to_be_hidden()


def test_a_reload_in_free_spins_goes_on_with_the_same_round(
    page: Page, mesh: Mesh, rest: httpx.Client
) -> None:
    sit(page, mesh, "sky-orchard")
    page.locator("#modes label", has_text="Buy").click()
    expect(page.locator("#spin-cost")).to_have_text("€26.00")
    page.locator("#spin").click()
    expect(page.locator("#banner")).to_contain_text("Free spin 2 of", timeout=30_000)
    shoot(page, "free-spins-desktop")
    page.reload()
    expect(page.locator("#banner")).to_contain_text(re.compile("Free spin [2-9]"))
    skip(page)
    [played] = rounds(rest, token(page))
    win_minor = played["win"]["amount_minor"]
    expect(page.locator("#balance")).to_have_text(euro(100_000 - 2_600 + win_minor))
    expect(page.locator("#win")).to_have_text(euro(win_minor))
    expect(page.locator("#history li")).to_have_count(1)
    # A spin that was bought is not bought again by the next press.
    expect(page.locator("#spin-cost")).to_have_text("€1.00")
    assert page.evaluate("() => sessionStorage['reelmesh.pending'] ?? null") is None


def test_a_spin_whose_answer_is_lost_is_played_once(page: Page, mesh: Mesh, rest: httpx.Client) -> None:
    sit(page, mesh, "harbour-lights")
    sent: list[str] = []

    def lose(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "")["request_id"])
        # The page may be gone before the answer is there.
        with contextlib.suppress(Error):
            route.fetch()
            route.abort()

    page.route("**/v1/spins", lose)
    page.locator("#spin").click()
    expect(page.locator("#notice")).to_contain_text("Your round is safe")
    shoot(page, "no-connection-desktop")
    # Never answered, and loaded again.
    page.unroute("**/v1/spins")
    page.reload()
    idle(page)
    [played] = rounds(rest, token(page))
    assert {played["request_id"]} == set(sent)
    expect(page.locator("#balance")).to_have_text(euro(100_000 - 100 + played["win"]["amount_minor"]))
    expect(page.locator("#notice")).to_be_hidden()


def test_a_gamble_survives_a_reload_and_is_decided_by_keyboard(
    page: Page, mesh: Mesh, rest: httpx.Client
) -> None:
    sit(page, mesh, "double-dawn")
    until_offered(page)
    shoot(page, "gamble-desktop")
    page.reload()
    red = page.get_by_role("button", name="Red")
    expect(red).to_be_visible(timeout=30_000)
    page.set_viewport_size(PHONE)
    shoot(page, "gamble-phone")
    accessible(page)
    red.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("The card is")
    expect(page.locator("#cards-drawn .card").first).to_have_class(re.compile("red|black"))
    collect = page.get_by_role("button", name="Collect")
    expect(page.locator("#told")).to_contain_text(re.compile("No win|Collect it"))
    if collect.is_visible():
        collect.focus()
        page.keyboard.press("Enter")
    expect(page.locator("#gamble")).to_be_hidden()
    latest = rounds(rest, token(page))[0]
    assert latest["state"] == "SETTLED" and latest["steps"][0]["decided_by"] == "PLAYER"
    expect(page.locator("#spin")).to_be_focused()


def test_too_little_money_is_told_and_another_bet_is_a_click_away(page: Page, launch: Launch) -> None:
    page.goto(launch("harbour-lights", funds_minor=70, jurisdiction="DE"))
    expect(page.locator("#balance")).to_have_text("€0.70")
    # What its policy forbids is not there, and what it wants to be shown is.
    expect(page.locator("#autoplay")).to_be_hidden()
    expect(page.locator("#turbo")).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text(re.compile("Playing for0:00:0[0-9]"))
    page.locator("#spin").click()
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("Nothing was taken")
    expect(page.locator("#balance")).to_have_text("€0.70")
    shoot(page, "insufficient-funds-desktop")
    page.get_by_role("button", name="Lower the bet").click()
    expect(page.locator("#spin-cost")).to_have_text("€0.60")
    expect(notice).to_be_hidden()


def test_a_session_that_has_ended_is_told(page: Page, mesh: Mesh, launch: Launch) -> None:
    page.goto(launch("harbour-lights", jurisdiction="none"))
    expect(page.locator("#balance")).to_have_text("€100.00")
    session_id = page.evaluate("() => JSON.parse(sessionStorage['reelmesh.session']).session_id")
    engine = create_engine(mesh.database_urls["session"])
    with engine.begin() as conn:
        over = text("update session set expire_time = clock_timestamp() where session_id = :session_id")
        assert conn.execute(over, {"session_id": session_id}).rowcount == 1
    engine.dispose()
    page.locator("#spin").click()
    expect(page.get_by_role("alert")).to_contain_text("its time ran out")
    shoot(page, "session-expired-desktop")
    page.get_by_role("button", name="All games").click()
    expect(page.get_by_role("heading", name="Games")).to_be_visible()


def test_a_game_that_was_opened_elsewhere_stops_here(page: Page, rest: httpx.Client, launch: Launch) -> None:
    player_id = f"two-{uuid.uuid4()}"
    page.goto(launch("harbour-lights", player_id=player_id, jurisdiction="none"))
    expect(page.locator("#balance")).to_have_text("€100.00")
    code = launch("harbour-lights", player_id=player_id, jurisdiction="none").partition("?code=")[2]
    post(rest, "/v1/sessions/exchange", {"launch_code": code})
    page.locator("#spin").click()
    expect(page.get_by_role("alert")).to_contain_text("another window")


def test_a_code_that_was_spent_is_told(page: Page, launch: Launch) -> None:
    url = launch("harbour-lights")
    page.goto(url)
    expect(page.locator("#balance")).to_have_text("€100.00")
    assert "code=" not in page.url
    page.evaluate("() => sessionStorage.clear()")
    page.goto(url)
    expect(page.get_by_role("alert")).to_contain_text("was used before")


def test_it_is_played_by_keyboard_alone(page: Page, mesh: Mesh, rest: httpx.Client) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(mesh.rest_url())
    page.locator(".card-game").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the game")).to_be_focused()
    play = page.get_by_role("button", name="Play Harbour Lights")
    for _ in range(12):
        page.keyboard.press("Tab")
        if play.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#spin")).to_be_focused()
    expect(page.locator("#balance")).to_have_text("€1,000.00")
    page.keyboard.press("+")
    expect(page.locator("#spin-cost")).to_have_text("€2.00")
    page.keyboard.press("-")
    page.keyboard.press("Space")
    idle(page)
    # And with nothing focused.
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Space")
    expect(page.locator("#history li")).to_have_count(2, timeout=60_000)
    assert {played["stake"]["amount_minor"] for played in rounds(rest, token(page))} == {100}


@pytest.mark.parametrize("game_id", FAMILIES)
def test_on_a_phone_reels_and_button_are_in_view(page: Page, mesh: Mesh, game_id: str) -> None:
    # What is left of 360 x 740 between a phone's bars.
    page.set_viewport_size({"width": 360, "height": 640})
    sit(page, mesh, game_id)
    for part in ("#reels", "#spin"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)


def test_back_leads_from_a_game_to_the_games(page: Page, mesh: Mesh) -> None:
    sit(page, mesh, "harbour-lights")
    page.evaluate("window.stayed = true")
    page.go_back()
    expect(page.locator("#lobby")).to_be_visible()
    assert page.evaluate("window.stayed")
    page.locator(".t-double-dawn button").click()
    expect(page.locator("#game-name")).to_have_text("Double Dawn")
    page.reload()
    expect(page.locator("#game-name")).to_have_text("Double Dawn")
    page.go_back()
    expect(page.locator("#lobby")).to_be_visible()
    expect(page.locator("#table")).to_be_hidden()


@pytest.mark.parametrize("way", ["button", "back and forward", "button after a reload"])
def test_back_leads_out_of_the_games_at_once(page: Page, mesh: Mesh, way: str) -> None:
    """However the player came back from a game: no step that changes nothing is left behind."""
    before = page.url
    sit(page, mesh, "harbour-lights")
    if way == "back and forward":
        page.go_back()
        expect(page.locator("#lobby")).to_be_visible()
        page.evaluate(
            "() => new Promise((then) => (addEventListener('popstate', () => then()), history.forward()))"
        )
    else:
        if way == "button after a reload":
            page.reload()
            expect(page.locator("#balance")).to_have_text("€1,000.00")
        page.locator("#leave").dblclick()
    expect(page.locator("#lobby")).to_be_visible()
    page.wait_for_function("() => !history.state")
    page.evaluate("history.back()")
    page.wait_for_url(before)


def test_profiles_of_one_game_are_told_apart(page: Page, mesh: Mesh) -> None:
    page.goto(mesh.rest_url())
    for percent in ("95.76", "94.28"):
        name = f"Play Iron Vault ({percent} %) with play money"
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Play Double Dawn with play money", exact=True)).to_be_visible()


def test_autoplay_stops_when_it_is_told_to(page: Page, mesh: Mesh, rest: httpx.Client) -> None:
    page.emulate_media(reduced_motion="reduce")
    sit(page, mesh, "harbour-lights")
    page.get_by_label("Turbo").check()
    page.get_by_text("Autoplay", exact=True).click()
    page.get_by_role("button", name="Start autoplay").click()
    expect(page.locator("#spin-word")).to_have_text("Stop")
    expect(page.locator("#history li")).not_to_have_count(0)
    page.locator("#spin").click()
    idle(page)
    shown = page.locator("#history li").count()
    assert 1 <= shown < 10 and len(rounds(rest, token(page))) == shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(page: Page, mesh: Mesh, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(mesh.rest_url())
    page.locator(".card-game").first.wait_for()
    accessible(page)
    sit(page, mesh, "sky-orchard")
    page.locator("#paytable summary").click()
    page.get_by_text("Autoplay", exact=True).click()
    page.locator("#spin").click()
    idle(page)
    accessible(page)
    page.get_by_role("button", name=re.compile("Proof")).click()
    accessible(page)
    page.keyboard.press("Escape")
    shoot(page, f"sky-orchard-{scheme}")
    # The reels say what they show to who does not see them, and the result is told by itself.
    expect(page.get_by_role("img", name=re.compile("^Reels. reel 1: "))).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(re.compile("No win|came back|You won"))
