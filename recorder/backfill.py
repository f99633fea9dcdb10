"""``tapebook backfill``: REST histories into the journal of a collector of their own, and from there into tables.

Answers are journal records like any other, so the tables can be rolled and verified from them. What has been fetched,
and is on disk, is written down beside the journal: the same command again goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from engine.bybit.histories import INTERVALS, LAST_MS, History, Window, read_page, window_request, windows
from engine.core.feeds import Engine
from engine.spans import Spans
from recorder.capture import Capture
from recorder.disk_budget import DiskBudget, floor_of
from recorder.journal import (
    CollectorLock,
    JournalOptions,
    JournalWriter,
    SegmentInfo,
    journal_directory,
    recover,
)
from recorder.network import Network, open_network
from recorder.numbering import next_number
from recorder.record import check_home, uvloop_runner
from recorder.rest import RestClient
from recorder.roll import report_recoveries, roll_data, roll_lock
from recorder.version import SOFTWARE
from recorder.whole_files import write_synced
from schemas.config import RecordConfig
from schemas.errors import ConfigError, ExchangeError, Rejected
from schemas.names import Category

__all__ = ["Fetched", "Plan", "Progress", "run_backfill", "span_of"]

log = logging.getLogger("tapebook")

NS_PER_MS: Final = 1_000_000
_UNTIL_ROOM: Final = (
    "nothing more is fetched or rolled: free some space; the same command then goes on from here"
)
ANSWERS_PER_SEGMENT: Final = 50
"""A segment's rows are in memory while it is rolled."""
MOST_PAGES: Final = 100
SETTLED_MS: Final = 300_000
"""A window that ended so long ago is over at the exchange too."""


@dataclass(slots=True)
class Fetched:
    """What became of one history of one symbol."""

    history: str
    symbol: str
    answers: int = 0
    rows: int = 0
    known: int = 0
    """Windows that an earlier run had fetched."""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched.

    Attributes:
        symbols: names, or ``["all"]`` for those that trade.
        interval: of candles and open interest.
        from_ms, to_ms: the span; windows that reach beyond it are fetched whole.
        name: of the collector; empty for ``backfill-<category>``.
    """

    category: Category
    symbols: list[str]
    histories: list[History]
    interval: str
    from_ms: int
    to_ms: int
    name: str = ""

    @property
    def collector(self) -> str:
        """The collector's name."""
        return self.name or f"backfill-{self.category.value}"

    def check(self) -> None:
        """Raise ConfigError if it can't be fetched."""
        if self.from_ms >= self.to_ms:
            raise ConfigError("--from must lie before --to")
        if not self.symbols:
            raise ConfigError("--symbols: name at least one, or all")
        if self.interval not in INTERVALS:
            raise ConfigError(f"--interval {self.interval!r}: expected one of {', '.join(INTERVALS)}")
        for history in self.histories:
            next(windows(history, self.category, "X", self.interval, self.from_ms, self.to_ms))


class Progress:
    """Which spans of which history are in the journal for good: ``progress.json`` beside it.

    Args:
        directory: of the collector's journal.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "progress.json"
        self._spans: dict[str, Spans] = {}
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, list[tuple[int, int]]])
        except FileNotFoundError:
            found = {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: cannot be read (%s): everything is fetched again", self._path, error)
            found = {}
        for key, spans in found.items():
            self._spans[key] = Spans(spans)

    def has(self, window: Window) -> bool:
        """Whether a window has been fetched."""
        spans = self._spans.get(window.key)
        return spans is not None and spans.covers(window.from_ms, window.to_ms)

    def add(self, fetched: Sequence[Window]) -> None:
        """These windows are sealed: write that down, whole or not at all."""
        if not fetched:
            return
        for window in fetched:
            self._spans.setdefault(window.key, Spans()).add(window.from_ms, window.to_ms)
        temporary = self._path.with_suffix(".tmp")
        spans = {key: spans.as_list() for key, spans in sorted(self._spans.items())}
        try:
            write_synced(temporary, msgspec.json.encode(spans))
            temporary.replace(self._path)
        except OSError as error:
            log.warning(
                "%s: cannot be written (%s): the next run fetches more than it has to", self._path, error
            )


@dataclass
class _Run:
    """One run's journal, and what waits for its segments to be sealed."""

    capture: Capture
    journal: JournalWriter
    progress: Progress
    budget: DiskBudget
    answers: int = 0
    fresh: list[Window] = field(default_factory=list)
    sealing: deque[list[Window]] = field(default_factory=deque)

    def answered(self, path: str, body: bytes) -> None:
        """Record an answer; begin another segment now and then. Raises OutOfSpace, before it is recorded."""
        self.budget.check()
        self.capture.rest(path, body)
        self.answers += 1
        if self.answers % ANSWERS_PER_SEGMENT == 0:
            self.capture.rotate()
            self.sealing.append(self.fresh)
            self.fresh = []

    def sealed(self) -> None:
        """A segment was sealed; the last one is when the journal closes."""
        if self.sealing:
            self.progress.add(self.sealing.popleft())

    def all_sealed(self) -> None:
        """The journal is closed."""
        while self.sealing:
            self.sealed()
        self.progress.add(self.fresh)
        self.fresh = []


def run_backfill(plan: Plan, data: Path, config: RecordConfig, *, roll: bool = True) -> list[Fetched]:
    """Fetch what is missing, seal it, and roll it.

    Args:
        plan: what.
        data: the data directory.
        config: how to reach the exchange.

    Raises:
        ConfigError: the plan asks for what isn't there, or the collector's name is in use.
        ExchangeError: no answer could be had, or everything was refused; what came before is kept.
        OutOfSpace: the disk has less left than ``config.min_free_mib``; what came before is kept.
        StoreError: the disk failed.
    """
    plan.check()
    network = open_network(config)
    if data.exists() and not data.is_dir():
        raise ConfigError(f"{data}: found a file, expected a directory for --data")
    check_home(data, plan.collector, plan.category, network.environment)
    budget = floor_of(data, config.min_free_mib, _UNTIL_ROOM)
    budget.check()
    with CollectorLock(data, plan.collector), uvloop_runner() as runner:
        report_recoveries(recover(data, plan.collector))
        try:
            done = runner.run(_fetch(plan, data, network, budget))
        finally:
            if roll:
                with roll_lock(data, wait=True):
                    roll_data(data, collector=plan.collector, before_each=budget.check)
    if done and all(fetched.refused is not None for fetched in done):
        raise Rejected(f"{done[0].history} of {done[0].symbol}", done[0].refused or "")
    return done


async def _fetch(plan: Plan, data: Path, network: Network, budget: DiskBudget) -> list[Fetched]:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    now_ns = time.time_ns()
    directory = journal_directory(data, plan.collector)
    info = SegmentInfo(
        collector=plan.collector,
        category=plan.category.value,
        environment=network.environment.value,
        endpoint=network.root,
        software=SOFTWARE,
        run_start_ns=now_ns,
        start_ns=now_ns,
    )
    run: _Run

    def sealed(_: Path) -> None:  # from the journal's thread
        loop.call_soon_threadsafe(run.sealed)

    journal = JournalWriter(
        directory,
        info,
        next_sequence=next_number(data, plan.collector),
        options=JournalOptions(),
        on_sealed=sealed,
    )
    capture = Capture(Engine(plan.category), journal, run=now_ns, on_event=lambda _: None)
    run = _Run(capture, journal, Progress(directory), budget)
    done: list[Fetched] = []
    try:
        capture.begin([], [])
        async with RestClient(network) as rest:
            symbols = plan.symbols
            if [symbol.lower() for symbol in symbols] == ["all"]:
                _, listed = await rest.instruments(plan.category)
                symbols = [one.symbol for one in listed if one.status in ("Trading", "")]
            for symbol in symbols:
                for history in plan.histories:
                    if stop.is_set():
                        break
                    fetched = Fetched(history.value, symbol)
                    done.append(fetched)
                    await _fetch_history(plan, symbol, history, run, rest, fetched, stop)
    finally:
        if journal.error is None:
            capture.finish([])
        await asyncio.to_thread(journal.close, "stopped")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if journal.error is None:  # whatever else ended it
            run.all_sealed()
    if stop.is_set():
        log.warning("stopped before everything was fetched; the same command goes on from here")
    return done


async def _fetch_history(
    plan: Plan,
    symbol: str,
    history: History,
    run: _Run,
    rest: RestClient,
    fetched: Fetched,
    stop: asyncio.Event,
) -> None:
    now_ms = time.time_ns() // NS_PER_MS
    todo = [
        window
        for window in windows(history, plan.category, symbol, plan.interval, plan.from_ms, plan.to_ms)
        if window.from_ms <= now_ms
    ]
    for number, window in enumerate(todo, 1):
        if stop.is_set():
            return
        if run.progress.has(window):
            fetched.known += 1
            continue
        try:
            await _fetch_window(plan.category, window, run, rest, fetched)
        except Rejected as refusal:
            fetched.refused = str(refusal)
            log.error("%s of %s: refused by the exchange: %s", history, symbol, refusal)
            return
        if window.to_ms <= now_ms - SETTLED_MS:
            run.fresh.append(window)
        _show(f"{history} of {symbol}: {number} of {len(todo)} requests, {fetched.rows:,} rows")
    _show("")
    log.info("%s of %s: %d answers, %d rows", history, symbol, fetched.answers, fetched.rows)


async def _fetch_window(
    category: Category, window: Window, run: _Run, rest: RestClient, fetched: Fetched
) -> None:
    """Ask for a window, all pages, and record the answers."""
    cursor, cursors = "", set[str]()
    for _ in range(MOST_PAGES):
        request = window_request(category, window, cursor)
        body = await rest.fetch(request)
        page = read_page(request.target, body)
        run.answered(request.target, body)
        fetched.answers += 1
        fetched.rows += len(page.rows)
        if page.malformed:
            log.warning("%s of %s: %d rows could not be read", window.history, window.symbol, page.malformed)
        cursor = page.cursor
        if not cursor or not page.rows:
            return
        if cursor in cursors:
            break
        cursors.add(cursor)
    raise ExchangeError(
        f"{window.history} of {window.symbol}: the pages don't end, the cursor {cursor[:60]!r} leads on"
    )


def _show(text: str) -> None:
    if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def span_of(from_ns: int | None, to_ns: int | None) -> tuple[int, int]:
    """The span in ms; without a beginning everything, without an end up to now."""
    from_ms = 0 if from_ns is None else from_ns // NS_PER_MS
    to_ms = time.time_ns() // NS_PER_MS if to_ns is None else -(-to_ns // NS_PER_MS)
    return from_ms, min(to_ms, LAST_MS)
