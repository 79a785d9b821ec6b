"""The page of traces in a browser: from a spin to its batches, to its events, and back, on a real mesh."""

import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode
from playwright.sync_api import Page, expect
from rich.console import Console

from deploy.local.mesh import Mesh
from deploy.local.play import play
from deploy.local.traces import TraceReceiver
from deploy.local.traces.answers import answer
from tests.browser import browser, page
from tests.meshes import API_KEY

__all__ = ["browser", "page"]

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def spin_url(mesh: Mesh, trace_receiver: TraceReceiver) -> str:
    """The page of a spin, as `make play` prints it once the spin's events were relayed."""
    console = Console(file=io.StringIO(), width=200, no_color=True)
    play(
        console,
        spins=4,
        players=2,
        rest_url=mesh.rest_url(),
        traces_url=trace_receiver.endpoint,
        api_key=API_KEY,
        game_id="harbour-lights",
    )
    assert isinstance(console.file, io.StringIO)
    [url] = re.findall(r"in a browser: (\S+)", console.file.getvalue())
    return str(url)


@pytest.fixture(scope="module")
def spin_id(spin_url: str) -> str:
    """Its trace's id."""
    return parse_qs(urlsplit(spin_url).query)["trace_id"][0]


@pytest.fixture(scope="module")
def failed_id(trace_receiver: TraceReceiver) -> str:
    """A trace that failed after 3 s, with an event, in words that are markup to a careless page."""
    provider = TracerProvider(resource=Resource({"service.name": HOSTILE}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{trace_receiver.endpoint}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("test").start_span(HOSTILE, start_time=10**18, attributes={HOSTILE: HOSTILE})
    span.add_event(HOSTILE, {"why": HOSTILE}, timestamp=10**18 + 10**9)
    span.set_status(StatusCode.ERROR, HOSTILE)
    span.end(10**18 + 3 * 10**9)
    provider.shutdown()
    return f"{span.get_span_context().trace_id:032x}"


def test_links_lead_both_ways_between_a_spin_its_batches_and_its_events(
    trace_receiver: TraceReceiver, spin_id: str
) -> None:
    _, spin = answer(trace_receiver, f"/traces/{spin_id}")
    items = {span["name"]: span for span in spin["spans"] if span["name"] != "POST /v1/spins"}
    assert items.keys() == {"session.authorize_item", "game.play", "wallet.settle_item", "game.finish"}
    for item in items.values():
        [batch_end] = item["links"]
        assert batch_end in item["linked_from"]
        _, batch = answer(trace_receiver, f"/traces/{batch_end['trace_id']}")
        [root] = [span for span in batch["spans"] if span["span_id"] == batch_end["span_id"]]
        assert item["span_id"] in {end["span_id"] for end in root["links"]}
        assert item["span_id"] in {end["span_id"] for end in root["linked_from"]}
    [door] = [span for span in spin["spans"] if not span["parent_span_id"]]
    hops = [end for end in door["linked_from"] if end["name"] in ("relay", "process")]
    sources = {"game", "wallet"}
    assert {(end["service"], end["name"]) for end in hops} >= {
        *((source, "relay") for source in sources),
        ("events", "process"),
    }
    for end in hops:
        _, relayed = answer(trace_receiver, f"/traces/{end['trace_id']}")
        assert spin_id in {one["trace_id"] for one in relayed["links_to"]}
        assert {"relay", "process"} <= {span["name"] for span in relayed["spans"]}
    # And found by what they share.
    [round_id] = spin["round_ids"]
    _, found = answer(trace_receiver, "/traces", f"round_id={round_id}&service=wallet")
    assert [one["trace_id"] for one in found["traces"]] == [spin_id]


@pytest.mark.tool("chromium")
def test_a_person_follows_a_spin_to_its_batch_and_back(page: Page, spin_url: str, spin_id: str) -> None:
    page.goto(spin_url)
    expect(page.get_by_role("heading", level=1)).to_have_text("POST /v1/spins")
    assert page.locator("details.span").count() == 5
    # By keyboard alone.
    page.locator("details.span", has_text="wallet.settle_item").locator("summary").first.focus()
    page.keyboard.press("Enter")
    settled = page.locator("details.span[open]")
    expect(settled.get_by_text("reelmesh.round.id")).to_be_visible()
    settled.get_by_role("link", name="batch wallet.settle").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("batch wallet.settle")
    batch = page.locator("details.span[open]")
    expect(batch.locator("summary")).to_contain_text("batch wallet.settle")
    item = batch.locator("li", has_text=spin_id).first
    expect(item.get_by_role("link")).to_have_text("wallet.settle_item")
    item.get_by_role("link").click()
    page.wait_for_url(f"**/?trace_id={spin_id}#span-*")
    expect(page.locator("details.span[open] > summary")).to_contain_text("wallet.settle_item")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("batch wallet.settle")


@pytest.mark.tool("chromium")
def test_a_person_follows_a_spin_across_the_outbox_and_back(page: Page, spin_url: str, spin_id: str) -> None:
    page.goto(spin_url)
    relays = page.locator(".linked tr", has_text="relay").filter(has_text="events")
    expect(relays.first).to_contain_text("← from")
    relays.first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("relay")
    process = page.locator("details.span", has=page.get_by_text("process", exact=True))
    process.locator("summary").first.click()
    process.locator("li", has_text=spin_id).get_by_role("link").first.click()
    page.wait_for_url(f"**/?trace_id={spin_id}#span-*")
    expect(page.locator("details.span[open] > summary")).to_contain_text("POST /v1/spins")


@pytest.mark.tool("chromium")
def test_a_round_an_error_and_a_slow_trace_are_found_and_the_address_can_be_shared(
    page: Page, trace_receiver: TraceReceiver, spin_url: str, spin_id: str, failed_id: str
) -> None:
    [round_id] = answer(trace_receiver, f"/traces/{spin_id}")[1]["round_ids"]
    page.goto(trace_receiver.endpoint)
    expect(page.get_by_role("heading", level=1)).to_have_text("Latest calls")
    links = page.locator("table.traces a")
    expect(page.locator(f"a[href='?trace_id={spin_id}']")).to_have_count(1)
    page.get_by_label("Round or trace id").fill(round_id)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/?round_id={round_id}")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("href", f"?trace_id={spin_id}")
    page.goto(f"{trace_receiver.endpoint}/")
    page.get_by_label("Only errors").check()
    page.get_by_label("At least, ms").fill("2999.5")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/?duration_min_ms=2999.5&error=true")
    expect(links).to_have_attribute("href", f"?trace_id={failed_id}")
    page.reload()
    expect(page.get_by_label("Only errors")).to_be_checked()
    expect(links).to_have_count(1)
    page.goto(f"{trace_receiver.endpoint}/?service=events&name=process")
    expect(page.get_by_label("Service")).to_have_value("events")
    expect(links.first).to_have_text("relay")
    page.get_by_label("Round or trace id").fill(spin_id)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("POST /v1/spins")


@pytest.mark.tool("chromium")
def test_others_words_are_shown_as_words(page: Page, trace_receiver: TraceReceiver, failed_id: str) -> None:
    page.goto(f"{trace_receiver.endpoint}/?trace_id={failed_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    page.get_by_role("button", name="Open all").click()
    opened = page.locator("details.span[open]")
    for words in (f"ERROR: {HOSTILE}", f"Event {HOSTILE}, 1,000 ms in"):
        expect(opened.get_by_text(words)).to_be_visible()
    assert page.locator("img").count() == 0 and "broken" != page.title()


@pytest.mark.tool("chromium")
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("duration_min_ms=x", "a number of milliseconds"),
        ("nothing=1", "unknown parameter"),
        (f"trace_id={'0' * 32}", "is kept here"),
        ("trace_id=abc", "32 hex digits"),
        ("round_id=none", "Nothing that is kept here matches"),
    ],
)
def test_what_is_wrong_or_not_there_is_told(
    page: Page, trace_receiver: TraceReceiver, query: str, told: str
) -> None:
    page.goto(f"{trace_receiver.endpoint}/?{query}")
    expect(page.locator("main")).to_contain_text(told)


@pytest.mark.tool("chromium")
def test_it_is_light_and_dark_and_fits_a_phone(page: Page, spin_url: str) -> None:
    papers = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(spin_url)
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator("details.span").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
