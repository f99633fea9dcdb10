"""The screen over a source by hand: what is drawn when, what keys do, what becomes of errors."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input

from recorder.watch.keys import View
from recorder.watch.model import Watch
from recorder.watch.pace import Pace
from recorder.watch.screen import CountingOutput, Screen
from recorder.watch.text import nice_glyphs
from tests.recorder.lines import until
from tests.recorder.watch.statuses import NOW, SECOND, feed, live, look, told


class Source:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.looks = 0
        self.reads = 0
        self.depth = 0
        self.error: Exception | None = None
        self.changes: Callable[[Watch], None] = lambda watch: None

    def look(self, watch: Watch, now_ns: int) -> None:
        self.looks += 1
        watch.looked(look(told(live(feed("orderbook.50.BTCUSDT"), feed("orderbook.50.ETHUSDT")))))

    def read(self, watch: Watch, now_ns: int, depth: int) -> None:
        self.reads += 1
        self.depth = depth
        if self.error is not None:
            raise self.error
        self.changes(watch)


class Bench:
    """A screen whose output is kept, with a clock that stands."""

    def __init__(self, *, pictures: float = 1000.0, bytes_per_second: float = 1e9) -> None:
        self.text = io.StringIO()
        self.size = Size(24, 80)
        self.output = CountingOutput(self.text, lambda: self.size, term="xterm")
        self.watch = Watch()
        self.source = Source()
        self.now_ns = NOW
        self.pace = Pace(pictures, bytes_per_second)

    async def run(self, *steps: Callable[[Bench, Any], Any]) -> None:
        with create_pipe_input() as keys:
            screen = Screen(
                self.watch,
                self.source,
                self.output,
                nice_glyphs(),
                self.pace,
                input=keys,
                clock=lambda: self.now_ns,
            )
            running = asyncio.create_task(screen.run())
            try:
                await until(lambda: self.source.reads > 1 or running.done(), "a picture")
                for step in steps:
                    await step(self, keys)
            finally:
                if not running.done():
                    keys.send_text("q")
                await asyncio.wait_for(running, 60)


async def test_keys_reach_the_model_and_the_pages() -> None:
    bench = Bench()

    async def press(bench: Bench, keys: Any) -> None:
        keys.send_text("3")
        await until(lambda: bench.watch.view is View.FEEDS and "2 feeds" in bench.text.getvalue(), "feeds")
        keys.send_text("/eth\x7f\x7fth\r")
        await until(
            lambda: bench.watch.chosen is not None and bench.watch.chosen.symbol == "ETHUSDT", "a symbol"
        )
        keys.send_text("/q")  # no end: it is being typed
        await until(lambda: bench.watch.search == "q", "the prompt")
        keys.send_text("\x1b")
        await until(lambda: bench.watch.search is None, "no prompt")

    await bench.run(press)
    assert bench.watch.done


async def test_only_what_has_changed_is_drawn() -> None:
    bench = Bench()

    async def wait(bench: Bench, keys: Any) -> None:
        await until(lambda: "ALL WELL" in bench.text.getvalue(), "a picture")
        reads, sent = bench.source.reads, bench.output.sent
        await until(lambda: bench.source.reads > reads + 20, "looks")
        assert bench.output.sent == sent  # nothing has changed, and the clock stands
        bench.now_ns += SECOND
        await until(lambda: bench.output.sent > sent, "the next second")
        # the seconds, and how long it has been recording, not the screen
        assert bench.output.sent - sent < 200

    await bench.run(wait)


async def test_status_is_looked_at_twice_a_second_whatever_the_pictures() -> None:
    bench = Bench()

    async def wait(bench: Bench, keys: Any) -> None:
        before = bench.source.looks
        reads = bench.source.reads
        await until(lambda: bench.source.reads > reads + 20, "looks")
        assert bench.source.looks == before
        bench.now_ns += SECOND // 2
        await until(lambda: bench.source.looks == before + 1, "a look")
        bench.now_ns -= 3600 * SECOND  # the wall clock is set back
        await until(lambda: bench.source.looks == before + 2, "a look all the same")

    await bench.run(wait)


async def test_a_larger_window_reads_deeper() -> None:
    bench = Bench()

    async def grow(bench: Bench, keys: Any) -> None:
        assert bench.source.depth == 24
        bench.size = Size(60, 200)
        await until(lambda: bench.source.depth == 60, "more levels")
        keys.send_text("2+++")
        await until(lambda: bench.source.depth == 600, "as many as ten to a step take")

    await bench.run(grow)


async def test_what_goes_wrong_ends_it_and_is_told() -> None:
    bench = Bench()

    async def break_it(bench: Bench, keys: Any) -> None:
        bench.source.error = LookupError("no such thing")
        await until(lambda: bench.watch.done, "the end")

    with pytest.raises(LookupError, match="no such thing"):
        await bench.run(break_it)
    assert "\x1b[?1049l" in bench.text.getvalue()  # and the terminal is as it was


async def test_a_busy_screen_keeps_to_its_bytes() -> None:
    """All that is sent but the last picture is paid for by time that has passed."""
    bench = Bench(bytes_per_second=20_000.0)
    numbers = iter(range(10**9))

    def change(watch: Watch) -> None:
        for _ in range(20):
            watch.happenings.add(NOW + next(numbers) * 3 * SECOND, "linear", f"{next(numbers):040}")

    async def watch_it(bench: Bench, keys: Any) -> None:
        bench.source.changes = change
        keys.send_text("5")
        loop = asyncio.get_running_loop()
        sent, began = bench.output.sent, loop.time()
        sizes = []
        while len(sizes) < 8:
            before = bench.output.sent
            await until(lambda before=before: bench.output.sent > before, "a picture")  # type: ignore[misc]
            sizes.append(bench.output.sent - before)
        assert bench.output.sent - sent <= 20_000 * (loop.time() - began) + 2 * max(sizes)
        assert re.search("0{30}", bench.text.getvalue())

    await bench.run(watch_it)
