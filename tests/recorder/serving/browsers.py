"""A real browser at the page: the distribution's chromium, driven by playwright; what it complains about is kept."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import PATIENCE_S

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["Looked", "launched", "looking", "require_browser"]

CHROMIUM = shutil.which("chromium")
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


def require_browser() -> None:
    """Skip, with a plain word, where there is no browser or nothing to drive it."""
    pytest.importorskip("playwright", reason="playwright is not installed: no browser is driven")
    if CHROMIUM is None:
        pytest.skip(
            "chromium is not installed (apt-get install chromium): no browser is driven",
            allow_module_level=True,
        )


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser without a window."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


class Looked:
    """A page that is looked at.

    Attributes:
        page: playwright's.
        complaints: console errors and warnings, exceptions, failed requests.
        elsewhere: addresses of other hosts that were asked for.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: self._asked(request.url, url))
        page.on("websocket", lambda socket: self._asked(socket.url.replace("ws", "http", 1), url))

    def _asked(self, address: str, url: str) -> None:
        if not address.startswith(f"{url}/"):
            self.elsewhere.append(address)

    async def all_is_quiet(self) -> None:
        """Nothing was complained about, nothing was fetched from elsewhere, no rule of the policy was broken."""
        violations = await self.page.evaluate("window.violations")
        assert (self.complaints, self.elsewhere, violations) == ([], [], [])


@asynccontextmanager
async def looking(browser: Browser, url: str, *, path: str = "/", **options: Any) -> AsyncIterator[Looked]:
    """Open the page in a fresh context (a browser without cookies or memory)."""
    context = await browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
    try:
        await context.add_init_script(_WATCH)
        page = await context.new_page()
        looked = Looked(page, url)
        await page.goto(url + path)
        yield looked
    finally:
        await context.close()
