"""A headless Chromium for tests of pages. Import `browser` in a module whose tests are none of them async:
Playwright's synchronous interface keeps an event loop of its own in the thread.
"""

import tempfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.tools import require_tool

_ARGUMENTS = [
    # As root, in CI, Chromium cannot make its sandbox; the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A feature is played to its end meanwhile, on a busy machine.
_WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """A window of Debian's Chromium with a profile of its own; skips where there is none."""
    program = require_tool("chromium")
    with tempfile.TemporaryDirectory(prefix="reelmesh-chromium-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, headless=True, args=_ARGUMENTS
        )
        context.set_default_timeout(_WAIT_MS)
        expect.set_options(timeout=_WAIT_MS)
        yield context
        context.close()


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A new page; the test fails when a script of it raised, or its content policy refused something."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None
    )
    yield page
    page.close()
    assert not wrong
