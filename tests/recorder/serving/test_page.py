"""The page in a real browser: what it shows, what it does with keys, what it says when something breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from schemas.names import FeedState
from tests.processes import PATIENCE_S
from tests.recorder.serving.browsers import Looked, launched, looking, require_browser
from tests.recorder.serving.pretend import PretendRecorder, pretend_market
from tests.recorder.serving.served import TOKEN, Served, serving

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

require_browser()
pytestmark = [pytest.mark.asyncio(loop_scope="module")]

MARKET_HZ = 30
BTC = ("linear", "orderbook.200.BTCUSDT")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    (tmp_path / "journal").mkdir()
    recorder = PretendRecorder(pretend_market())
    for feed in recorder.status["feeds"]:
        if "BTCUSDT" in feed["topic"]:
            feed["messages"] += 1000
    async with serving(tmp_path, recorder) as served:
        moving = asyncio.create_task(_move(recorder))
        yield served
        moving.cancel()
        with suppress(asyncio.CancelledError):
            await moving


async def _move(recorder: PretendRecorder) -> None:
    """A market: a third of all books thirty times a second, and a status every second."""
    step = 0
    while True:
        step += 1
        now_ns = time.time_ns()
        for number, book in enumerate(recorder.books.values()):
            if (number + step) % 3 == 0 and not recorder.still:
                book.move(now_ns)
        if step % MARKET_HZ == 1:
            recorder.tell(now_ns)
        await asyncio.sleep(1 / MARKET_HZ)


def _told_just_now(symbols: int) -> PretendRecorder:
    """A recorder that is well, and whose books stand still."""
    recorder = PretendRecorder(pretend_market(symbols))
    recorder.tell(time.time_ns())
    return recorder


async def _until(page: Page, script: str, what: str) -> Any:
    """Evaluate until it is true; a page's own policy forbids what playwright's wait_for_function does."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await page.evaluate(script)):  # noqa: ASYNC110 - a page tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None
    return found


async def _row(looked: Looked, topic: str) -> list[str]:
    """The cells of a feed's row as one reads them; it is searched for first."""
    await looked.page.fill("#search", topic)
    first = looked.page.locator(".row:not([hidden])").first
    await first.get_by_text(topic.rpartition(".")[2], exact=True).wait_for()
    return await first.locator(":scope > span").all_inner_texts()


async def test_six_hundred_feeds(served: Served, browser: Browser) -> None:
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.locator('#feeds[aria-rowcount="601"]').wait_for()
        await page.get_by_text("All is well").wait_for()
        assert await page.locator("#chips button").all_inner_texts() == ["all 600", "not well 0", "books 300"]
        # only what can be seen exists, and the busiest symbol's deepest book is open
        assert await page.locator(".row").count() < 60
        await page.locator("#book-title", has_text="orderbook.200.BTCUSDT").wait_for()
        assert await page.locator(".bids .level").count() == 14
        # what is shown is what there is, thirty times a second
        listener = next(iter(served.server.watching.hub.listeners))
        seen = listener.seen
        async with asyncio.timeout(PATIENCE_S):
            while listener.seen < seen + 100:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        served.recorder.still = True
        snapshot = served.recorder.books[BTC].read(1)
        for side, level in (("bids", snapshot.bids[0]), ("asks", snapshot.asks[0])):
            best = page.locator(f".{side} .level").first
            await best.get_by_text(f"{level[0] / 10:.1f}", exact=True).wait_for()
        await page.evaluate("document.getElementById('rows').scrollTop = 1e9")
        await _until(
            page, "document.querySelector('.row[aria-rowindex=\"601\"]') !== null", "the last row came"
        )
        assert await page.locator(".row").count() < 60
        await looked.all_is_quiet()


async def test_a_stale_feed_is_seen_at_once(served: Served, browser: Browser) -> None:
    async with looking(browser, served.url) as looked:
        page = looked.page
        assert (await _row(looked, "orderbook.200.BTCUSDT"))[0] == "●live"
        await page.locator("#ladder").wait_for()
        served.recorder.books[BTC].turn(FeedState.STALE, "reading paused")
        await page.locator(".row .state.stale").first.wait_for()
        cells = await _row(looked, "orderbook.200.BTCUSDT")
        assert cells[0] == "▲stale"
        assert cells[2:6] == ["", "", "", ""], "no price is shown that must not be believed"
        await page.locator("#ladder").wait_for(state="hidden")
        assert await page.locator("#book-words").inner_text() == "reading paused"
        assert await page.locator("#book-state").inner_text() == "▲stale"
        await page.locator("#chips", has_text="not well 1").wait_for()
        await page.locator("#seen li", has_text="orderbook.200.BTCUSDT").wait_for()
        served.recorder.books[BTC].turn(FeedState.LIVE)
        await page.locator("#ladder").wait_for()
        assert (await _row(looked, "orderbook.200.BTCUSDT"))[0] == "●live"
        await looked.all_is_quiet()


async def test_a_recorder_that_dies(served: Served, browser: Browser) -> None:
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.get_by_text("All is well").wait_for()
        served.recorder.held = False
        await page.locator("#troubles", has_text="its process died without a word").wait_for()
        assert "need" in await page.locator("#verdict").inner_text()
        assert "died" in await page.locator(".collector h2").inner_text()
        await page.locator(".row .state.dead").first.wait_for()
        await page.locator(".row .state.live").first.wait_for(state="detached")
        assert (await page.title()).startswith("▲")
        served.recorder.held = True
        await page.get_by_text("All is well").wait_for()
        await page.locator(".row .state.live").first.wait_for()
        await looked.all_is_quiet()


async def test_keys(served: Served, browser: Browser) -> None:
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.locator('#feeds[aria-rowcount="601"]').wait_for()
        await page.keyboard.press("/")
        await page.keyboard.type("50.eth")
        await page.locator('#feeds[aria-rowcount="2"]').wait_for()
        await page.keyboard.press("Enter")
        await page.locator("#book-title", has_text="orderbook.50.ETHUSDT").wait_for()
        assert await page.evaluate("document.activeElement.id") == "feeds"
        assert (await page.evaluate("decodeURIComponent(location.hash)")) == "#linear/orderbook.50.ETHUSDT"
        await page.keyboard.press("/")
        await page.keyboard.press("Escape")
        await page.locator('#feeds[aria-rowcount="601"]').wait_for()

        async def active() -> int:
            found = await page.evaluate(
                "document.getElementById(document.getElementById('feeds').getAttribute('aria-activedescendant')).ariaRowIndex"
            )
            return int(found)

        await page.keyboard.press("Home")
        assert await active() == 2
        for key, index in (
            ("ArrowDown", 3),
            ("j", 4),
            ("k", 3),
            ("ArrowUp", 2),
            ("ArrowUp", 2),
            ("End", 601),
        ):
            await page.keyboard.press(key)
            assert await active() == index
        await page.keyboard.press("PageUp")
        assert 560 < await active() < 601
        await page.keyboard.press("Enter")
        assert await page.locator('.row[aria-selected="true"]').count() == 1
        await page.keyboard.press("n")
        await page.locator('#feeds[aria-rowcount="1"]').wait_for()
        await page.keyboard.press("n")
        await page.locator('#feeds[aria-rowcount="601"]').wait_for()
        await page.keyboard.press("?")
        assert await page.locator("#help").is_visible()
        await page.keyboard.press("Escape")
        assert await page.locator("#help").is_hidden()
        for shade in ("Light", "Dark", "Auto"):
            await page.keyboard.press("t")
            assert await page.locator("#theme").inner_text() == shade
        await page.keyboard.press("g")
        assert await page.evaluate("document.activeElement.id") == "at"
        await page.keyboard.type("nj/?")
        assert await page.locator("#at").input_value() == "nj/?", "keys are letters where one writes"
        # with nothing but Tab one comes everywhere
        await page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(60):
            await page.keyboard.press("Tab")
            reached.add(
                await page.evaluate("document.activeElement.id || document.activeElement.textContent")
            )
        assert {"theme", "search", "feeds", "at", "within", "feed", "Look", "match → receive"} <= reached
        await looked.all_is_quiet()


async def test_columns_are_put_in_order(served: Served, browser: Browser) -> None:
    served.recorder.status["feeds"][77]["gaps"] = 9
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.locator('#feeds[aria-rowcount="601"]').wait_for()
        await page.get_by_role("button", name="Gaps", exact=True).click()
        await page.locator('[aria-sort="ascending"]', has_text="Gaps").wait_for()
        await _until(
            page,
            "document.querySelectorAll('.row[aria-rowindex=\"2\"] > span')[8]?.textContent === '9'",
            "most gaps first",
        )
        await page.get_by_role("button", name="Gaps ↓").click()
        await page.locator('[aria-sort="descending"]', has_text="Gaps").wait_for()
        await looked.all_is_quiet()


async def test_what_happened(evening: Path, browser: Browser) -> None:
    async with (
        serving(evening, _told_just_now(3)) as served,
        looking(browser, served.url) as looked,
    ):
        page = looked.page
        await page.locator("#gap-rows tr").first.wait_for()
        assert await page.locator("#gap-rows tr").count() == 2
        await page.select_option("#within", "60")
        await page.keyboard.press("g")
        await page.keyboard.type("2026-03-05 23:57:21")
        await page.keyboard.press("Enter")
        await page.locator("#answer", has_text="11 feeds were recorded, 1 in a gap").wait_for()
        assert await page.locator("#gap-rows tr").count() == 1
        assert "orderbook.50.BTCUSDT" in await page.locator("#gap-rows").inner_text()
        await page.fill("#at", "<img src=x onerror=alert(1)>")
        await page.keyboard.press("Enter")
        await page.locator("#answer.wrong", has_text="expected a time such as 03:12").wait_for()
        complaints = [said for said in looked.complaints if "400 (Bad Request)" not in said]
        assert (complaints, looked.elsewhere, await page.evaluate("window.violations")) == ([], [], [])


async def test_logging_in(tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "journal").mkdir()
    recorder = _told_just_now(3)
    async with (
        serving(tmp_path, recorder, token=TOKEN) as served,
        looking(browser, served.url, path="/#linear/tickers.ETHUSDT") as looked,
    ):
        page = looked.page
        assert page.url.startswith(f"{served.url}/login")
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 24)"
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_text("That is not the token").wait_for()
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await page.locator('#feeds[aria-rowcount="13"]').wait_for()
        assert TOKEN not in page.url
        await page.get_by_role("button", name="Log out").click()
        await page.locator("input[type=password]").wait_for()
        await page.goto(f"{served.url}/")
        assert page.url == f"{served.url}/login"
        # a wrong token is answered with 401, and a question that was on its way when one logged out came to nothing
        complaints = [said for said in looked.complaints if "401" not in said and "/gaps" not in said]
        assert (complaints, looked.elsewhere, await page.evaluate("window.violations")) == ([], [], [])


async def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "journal").mkdir()
    recorder = _told_just_now(3)
    async with serving(tmp_path, recorder) as served:
        port = int(served.url.rpartition(":")[2])
        context = await browser.new_context()
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        await page.goto(served.url)
        await page.get_by_text("All is well").wait_for()
    await page.locator("#away", has_text="The server of this page is away").wait_for()
    assert await page.locator("#verdict").inner_text() == "■\nNot connected"
    async with serving(tmp_path, recorder, port=port):
        await page.locator("#away").wait_for(state="hidden")
        await page.get_by_text("All is well").wait_for()
    await context.close()


async def test_it_fits(served: Served, browser: Browser) -> None:
    """On a phone, a tablet, a desk, in the light and in the dark: nothing sticks out, all that matters is there."""
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.locator(".row").first.wait_for()
        await page.locator("#ladder .level .price").first.wait_for()
        await page.locator(".multiple").first.wait_for()
        sticking_out = """(() => {
            const right = document.getElementById("feeds").getBoundingClientRect().right;
            const cells = [...document.querySelectorAll("#columns > *, .row:not([hidden]) > *")];
            return cells.filter((cell) => cell.getBoundingClientRect().right > right).length;
        })()"""
        rows_apart = """[...document.querySelectorAll(".row:not([hidden])")]
            .map((row) => row.getBoundingClientRect().top).sort((a, b) => a - b)
            .map((top, at, tops) => top - tops[at - 1]).slice(1)"""
        widths = (
            (360, "light"),
            (390, "dark"),
            (820, "light"),
            (1160, "dark"),
            (1280, "light"),
            (1440, "dark"),
            (2200, "light"),
        )
        for width, scheme in widths:
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            dark = str(scheme == "dark").lower()
            await _until(
                page, f"document.documentElement.classList.contains('dark') === {dark}", f"it is {scheme}"
            )
            await _until(page, f"document.documentElement.scrollWidth <= {width}", f"it is {width} wide")
            await _until(page, f"{sticking_out} === 0", f"nothing sticks out at {width}")
            tall = 46 if width < 560 else 30
            await _until(
                page,
                f"({rows_apart}).every((apart) => apart === {tall})",
                f"rows are {tall} apart at {width}",
            )
            for name in ("#verdict", "#search", "#book-state", "#heat-canvas", "#ask", "#theme"):
                box = await page.locator(name).bounding_box()
                assert box is not None, name
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width, name
        await looked.all_is_quiet()


async def test_the_heat_map_is_painted(served: Served, browser: Browser) -> None:
    colours = """(() => {
        const canvas = document.getElementById("heat-canvas");
        const paint = canvas.getContext("2d");
        const data = paint.getImageData(0, 0, canvas.width - 80, canvas.height - 20).data;
        const seen = new Set();
        for (let at = 0; at < data.length; at += 4) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
        return [...seen];
    })()"""
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.locator("#ladder .level .price").first.wait_for()
        await _until(page, f"{colours}.length > 12", "shades were painted")
        pink = 0xA2407A
        assert pink not in await page.evaluate(colours)
        served.recorder.books[BTC].turn(FeedState.STALE)
        await _until(page, f"{colours}.includes({pink})", "what is not to be believed is marked")
        looked.complaints = [
            said for said in looked.complaints if "willReadFrequently" not in said
        ]  # ours, above
        await looked.all_is_quiet()
