"""A collector in the caller's event loop, which tells the caller what it records (``docs/live.md``)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from engine.core.drive import Driver, FanOut, Strategy
from engine.core.feeds import Engine
from recorder.capture import Capture
from recorder.collector import Collector, Report
from recorder.config_file import load_config
from recorder.crashes import crashed_feeds
from recorder.journal import CollectorLock, recover
from recorder.metrics_server import serving
from recorder.record import Prepared, finish_quietly, prepare, tell_plan
from recorder.renewal import record_on
from recorder.roll import report_recoveries
from recorder.roller import Roller
from recorder.subscriptions import MOST_TRADES, Change, Hub, Subscription
from recorder.universe import Resolved, resolve
from recorder.wanted_topics import check_wanted
from recorder.warnings import Warnings
from schemas.config import RecordConfig
from schemas.errors import ConfigError, OutOfSpace, TapebookError
from schemas.notes import Crashed

__all__ = ["LiveRecording", "live"]

SLOW_NS: Final = 50_000_000
"""A strategy's call that takes longer is told of: nothing is received meanwhile."""

log = logging.getLogger("tapebook")


class LiveRecording:
    """A recording, as ``tapebook record`` makes one, in the running event loop; made by ``live``.

    Either iterate it (``async for``): the recording begins with the first step and ends when the loop is left; after a
    ``break`` it does so beside the program, unless ``contextlib.aclosing(aiter(...))`` has it wait. Or enter it
    (``async with``), ``subscribe`` as often as you like and ``drive`` strategies; it ends with the block. In both cases
    what was received is in the journal first, is sealed at the end, and rolled if the configuration says so.

    Signals are the caller's: an interrupt that cancels the task ends the recording cleanly.

    Attributes:
        config: what is recorded.
        report: what became of it, once it has ended.
    """

    def __init__(self, config: RecordConfig) -> None:
        self.config = config
        self.report: Report | None = None
        self._hub = Hub()
        self._hears = False
        self._fan_out = FanOut(self._failed, self._slow, SLOW_NS, time.monotonic_ns)
        self._warnings = Warnings(log)
        self._collector: Collector | None = None
        self._begun = asyncio.Event()
        self._why = ""
        self._task: asyncio.Task[None] | None = None
        self._broken: TapebookError | None = None

    # ---- for consumers ----

    def subscribe(self, *topics: str, most_trades: int = MOST_TRADES) -> Subscription:
        """Begin another queue of changes, before or while it records.

        Args:
            topics: full topics, or prefixes such as ``orderbook.50``; none for all. Books, trades and their states are
                told of; of other topics only the states.
            most_trades: how many trades may wait; beyond them the oldest messages' make room and are counted.

        Raises:
            ConfigError: a topic that is none, or of which nothing is recorded (where rules choose the symbols, only the
                prefix is known beforehand), or no room.
        """
        check_wanted(self.config, topics)
        if not self._hears:
            self._fan_out.add(self._hub)
            self._hears = True
        return self._hub.subscribe(topics, most_trades)

    def drive(self, strategy: Strategy) -> None:
        """Tell a strategy of everything, between two frames, before or while it records.

        What its ``begin`` raises comes out of here where the recording has begun. One that raises later is logged and
        detached; the recording goes on.
        """
        self._fan_out.add(strategy)

    def detach(self, strategy: Strategy) -> None:
        """Tell a strategy of nothing any more."""
        self._fan_out.remove(strategy)

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """Those that are attached."""
        return tuple(each for each in self._fan_out.strategies if each is not self._hub)

    @property
    def engine(self) -> Engine:
        """The live engine, whose books may be read between two ``await``. Raises ConfigError before the recording."""
        if self._collector is None:
            raise ConfigError("the recording has not begun: enter it first (async with)")
        return self._collector.engine

    def status(self) -> dict[str, Any]:
        """What ``tapebook status`` shows of it."""
        return {} if self._collector is None else self._collector.status()

    def stop(self, why: str = "the end of its program") -> None:
        """End the recording cleanly; subscriptions come to their end."""
        self._why = self._why or why
        if self._collector is not None:
            self._collector.stop(why)

    # ---- its life ----

    async def __aenter__(self) -> Self:
        """Begin to record.

        Raises:
            ConfigError, ExchangeError, StoreError: as of ``tapebook record``.
        """
        if self._task is not None:
            raise ConfigError("a recording is entered once; make another with recorder.live()")
        self._task = asyncio.create_task(self._run(), name=f"recording {self.config.collector}")
        begun = asyncio.create_task(self._begun.wait())
        try:
            await asyncio.wait([self._task, begun], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            begun.cancel()
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it. What ended it before, if that was a failure, is raised, unless another error is on its way."""
        await self._end()
        assert self._task is not None
        failure = None if self._task.cancelled() else self._task.exception()
        if failure is not None and error is None:
            raise failure

    async def _end(self) -> None:
        assert self._task is not None
        self.stop()
        if self._collector is None:  # still asking what to record
            self._task.cancel()
        while not self._task.done():
            # A second cancellation hurries nobody: what was received has to be sealed.
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError:
                continue

    def __aiter__(self) -> AsyncGenerator[Change, None]:
        return self._changes()

    async def _changes(self) -> AsyncGenerator[Change, None]:
        subscription = self.subscribe()
        async with self:
            async for change in subscription:
                yield change

    # ---- the recording ----

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            prepared = await asyncio.to_thread(prepare, self.config)
            resolved = await resolve(self.config, prepared.network)
            tell_plan(self.config, resolved)
            with CollectorLock(prepared.data, self.config.collector):
                await self._record(prepared, resolved)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._warnings.sum_up()
            self._hub.end(None if isinstance(error, asyncio.CancelledError) else error or self._broken)
        if self._broken is not None:
            raise self._broken

    async def _record(self, prepared: Prepared, resolved: Resolved) -> None:
        config, data = self.config, prepared.data
        report_recoveries(await asyncio.to_thread(recover, data, config.collector))
        crashed = await asyncio.to_thread(crashed_feeds, data, config.collector)
        roller = Roller(data, prepared.housekeeping) if config.roll else None

        def begin(config: RecordConfig, resolved: Resolved) -> Collector:
            nonlocal crashed
            collector = self._collector = self._make(config, prepared, resolved, roller, crashed)
            crashed = []  # a run that makes way for another ended cleanly
            if self._why:
                collector.stop(self._why)
            return collector

        try:
            async with serving(config.metrics, lambda: [one.status() for one in self._recording()]):
                self.report = await record_on(config, resolved, begin)
        except OutOfSpace:
            if roller is not None:
                await asyncio.to_thread(roller.abandon)
            raise
        except BaseException:
            if roller is not None:
                await asyncio.to_thread(finish_quietly, roller)
            raise
        if roller is not None:
            await asyncio.to_thread(roller.finish)

    def _recording(self) -> list[Collector]:
        return [self._collector] if self._collector is not None and self._collector.is_recording else []

    def _make(
        self,
        config: RecordConfig,
        prepared: Prepared,
        resolved: Resolved,
        roller: Roller | None,
        crashed: list[Crashed],
    ) -> Collector:
        return Collector(
            config,
            prepared.network,
            resolved.topics,
            resolved=resolved,
            crashed=crashed,
            on_begun=self._attach,
            on_sealed=lambda _: None if roller is None else roller.sealed(),
            on_pressure=lambda pressed: None if roller is None else roller.pause(pressed),
        )

    def _attach(self, capture: Capture) -> None:
        assert self._collector is not None
        self._hub.heard_ns = self._collector.lines.heard_ns
        capture.drive(Driver(capture.engine, self._fan_out))
        self._begun.set()

    def _failed(self, strategy: Strategy, error: BaseException) -> None:
        words = f"{type(strategy).__name__} raised {error!r}"
        if strategy is self._hub or not isinstance(error, Exception):
            # Ours to answer for, or meant for the whole program: nothing is cut short, but it ends.
            log.error("%s: the recording ends", words, exc_info=error)
            self._broken = TapebookError(f"{words}: the recording has ended")
            self._broken.__cause__ = error
            self.stop(words)
            return
        log.error("%s: it is detached, and the recording goes on", words, exc_info=error)

    def _slow(self, strategy: Strategy, took_ns: int) -> None:
        self._warnings.tell(
            f"{type(strategy).__name__} keeps the recorder waiting",
            f": a call took {took_ns / 1e6:.0f} ms; what takes long belongs into a subscription, or another process",
        )


def live(config: RecordConfig | str | Path | None = None, **options: Any) -> LiveRecording:
    """Record in the running event loop, and hear of every change.

    ::

        async for change in recorder.live(symbols=["BTCUSDT"], topics=["orderbook.50", "publicTrade"]):
            ...

    Args:
        config: a configuration, or its TOML file; the options win over it.
        options: keys of ``RecordConfig``, which are those of ``tapebook record``.

    Raises:
        ConfigError: keys or values that are wrong, or a file that can't be read.
    """
    given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    if isinstance(config, RecordConfig):
        known = {name: getattr(config, name) for name in RecordConfig.__struct_fields__}
        return LiveRecording(load_config(None, {**known, **given}))
    return LiveRecording(load_config(None if config is None else Path(config), given))
