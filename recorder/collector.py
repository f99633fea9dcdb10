"""The collector: one process, one category, its lines, one engine and one journal on one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.bybit.endpoints import public_url, status_url
from engine.bybit.spread import Spreader
from engine.bybit.topics import SYSTEM_STATUS
from engine.core.feeds import Engine
from engine.events import Event, EventKind
from engine.freshness import Freshness, IdleClock, Resyncs, needs_snapshot
from engine.pressure import Level, Pressure
from engine.timing import Timing
from engine.wear import is_worn
from recorder.capture import Capture
from recorder.checks import Checks
from recorder.disk_budget import DiskBudget
from recorder.follow import Follower
from recorder.journal import (
    Commit,
    JournalOptions,
    JournalWriter,
    SegmentInfo,
    journal_directory,
)
from recorder.lateness import Lateness
from recorder.lines import LineSet
from recorder.live_publisher import LivePublisher
from recorder.moves import Mover
from recorder.network import Network
from recorder.numbering import next_number
from recorder.redundancy import Laggards, line_shares
from recorder.rest import RestClient
from recorder.universe import Resolved, selection_of, turnovers
from recorder.version import SOFTWARE
from recorder.vitals import Vitals
from recorder.warnings import Warnings
from schemas.config import RecordConfig
from schemas.errors import Rejected, TapebookError
from schemas.notes import Crashed

__all__ = ["Collector", "FeedReport", "Report"]

SECOND_NS = 10**9

log = logging.getLogger("tapebook")


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What became of one feed."""

    topic: str
    state: str
    messages: int
    gaps: int
    bytes: int
    refused: str | None = None


@dataclass(slots=True)
class Report:
    """What became of a recording."""

    why: str
    seconds: float = 0.0
    frames: int = 0
    undecodable: dict[str, int] = field(default_factory=dict)
    unknown_topics: int = 0
    feeds: list[FeedReport] = field(default_factory=list)


class Collector:
    """Records one category until it is told to stop.

    Args:
        config: what to record.
        network: the way to the exchange, or only the root of its streams.
        topics: full topics.
        crashed: what the run before this one left open.
        on_sealed: told of each sealed segment, in the event loop.
        on_commit: told of each group commit that returned, in the journal's thread.
        on_begun: given the capture once it has its feeds and before anything was received.
        on_pressure: told whether what is not recording has to give way to a disk that is behind.
        timing: how patient it is; tests are in a hurry.
        resolved: how the topics were come by, where rules were asked for.
    """

    def __init__(
        self,
        config: RecordConfig,
        network: Network | str,
        topics: list[str],
        *,
        crashed: list[Crashed],
        on_sealed: Callable[[Path], None] = lambda _: None,
        on_commit: Callable[[Commit], None] | None = None,
        on_begun: Callable[[Capture], None] = lambda _: None,
        on_pressure: Callable[[bool], None] = lambda _: None,
        timing: Timing | None = None,
        resolved: Resolved | None = None,
    ) -> None:
        self.config = config
        self.network = Network.of(network)
        self.topics = topics
        self._resolved = resolved or Resolved(topics, selection_of(config))
        self.endpoint = self.network.root
        self.environment = self.network.environment
        self.engine = Engine(config.category)
        self.lateness = Lateness(self.engine)
        self._data = Path(config.data)
        self._crashed = crashed
        self._on_sealed = on_sealed
        self._on_commit = on_commit
        self._on_begun = on_begun
        self._on_pressure = on_pressure
        self._timing = timing or Timing()
        self._stop = asyncio.Event()
        self._why = ""
        self._failure: TapebookError | None = None
        self._idle = IdleClock()
        self._warnings = Warnings(log)
        self._time_is_up = False
        self.pressure = Pressure(int(config.backlog_mib * (1 << 20)))
        self.budget = DiskBudget(self._data, int(config.min_free_mib * (1 << 20)))
        self._vitals = Vitals(self._data, self.budget.floor_bytes)
        self._started_ns = time.monotonic_ns()
        self.resyncs = Resyncs(self.engine, self._timing)
        self.freshness = Freshness(self.engine, whole=config.stop_after_idle is None, timing=self._timing)
        self.lines: LineSet
        self.mover: Mover | None = None
        self.live = LivePublisher(config, self.engine, self.environment.value)
        self.is_recording = False
        self.is_worn = False

    def stop(self, why: str) -> None:
        """End the recording cleanly; the first reason counts."""
        if not self._stop.is_set():
            self._why = why
            self._stop.set()

    def fail(self, error: TapebookError) -> None:
        """End the recording because it can't go on."""
        if self._failure is None:
            self._failure = error
        self.stop(str(error))

    async def run(self) -> Report:
        """Record until ``stop``. Everything is sealed when this returns.

        Raises:
            ExchangeError: no connection could be made at all, or every topic was refused.
            StoreError: the disk failed, or is nearly full; what was committed stays readable.
        """
        self.budget.check()
        config = self.config
        loop = asyncio.get_running_loop()
        run = time.time_ns()
        info = SegmentInfo(
            collector=config.collector,
            category=config.category.value,
            environment=self.environment.value,
            endpoint=self.endpoint,
            software=SOFTWARE,
            run_start_ns=run,
            start_ns=run,
        )

        def sealed(path: Path) -> None:  # from the journal's thread
            loop.call_soon_threadsafe(self._on_sealed, path)

        self.journal = JournalWriter(
            journal_directory(self._data, config.collector),
            info,
            next_sequence=next_number(self._data, config.collector),
            options=JournalOptions(
                commit_interval_s=config.commit_ms / 1000,
                commit_bytes=int(config.commit_kib * 1024),
                fsync=config.fsync,
                fsync_interval_s=config.fsync_s,
                segment_seconds=config.segment_seconds,
                segment_bytes=int(config.segment_mib * (1 << 20)),
            ),
            on_commit=self._on_commit,
            on_sealed=sealed,
            delays=self.lateness.journaled,
        )
        self.capture = Capture(self.engine, self.journal, run=run, on_event=self._event)
        self.lines = LineSet(
            public_url(self.endpoint, config.category),
            config.category,
            self.capture,
            self.resyncs,
            budget=self.network.connects,
            ssl=self.network.ssl,
            kind=self.network.kind,
            fail=self.fail,
            most=config.frames_per_connection,
            ended=self._task_ended,
            elsewhere={SYSTEM_STATUS: status_url(self.endpoint)},
            copies=config.lines,
            timing=self._timing,
            warnings=self._warnings,
        )
        self.live.heard_ns = self.lines.all_heard_ns
        self.laggards = Laggards(self.engine, self.lines)
        self.lines.turnovers.update(turnovers(self._resolved.listed))
        if config.rebalance:
            policy = Spreader(config.category, config.frames_per_connection, self._timing)
            self.mover = Mover(self.lines, policy, budget=self.network.connects, timing=self._timing)
        self.lateness.applied = self.capture.applied
        self.is_recording = True
        self.follower = Follower(
            config,
            self._resolved,
            self.capture,
            lambda: RestClient(self.network),
            crashed=[note.topic for note in self._crashed],
        )
        self.checks = Checks(config, self.capture, self.lines, self.resyncs, self._warnings)
        beats: list[asyncio.Task[None]] = []
        try:
            self.capture.begin(self.topics, self._crashed)
            self._on_begun(self.capture)
            self.live.begin()
            beats.append(asyncio.create_task(self.live.beat()))  # while listings are asked for, too
            beats[0].add_done_callback(self._task_ended)
            late = await self.follower.begin_within(self._timing.listing_ns / SECOND_NS, self._stop)
            if not self._stop.is_set():
                await self._record(late)
        finally:
            for beat in beats:
                beat.cancel()
            self.live.close()
            connected = await self.lines.stop()
            if self.journal.error is None:
                self.checks.finish()
                self.capture.finish(connected)
            await asyncio.to_thread(self.journal.close, "stopped")
            self._write_status(stopped=True)
        if self._failure is not None:
            raise self._failure
        self._warnings.sum_up()
        if self._time_is_up and not self.capture.frames and not self.lines.answered:
            raise self.lines.why_unanswered()
        return self._report()

    # ---- start ----

    async def _record(self, late: list[asyncio.Task[None]]) -> None:
        self.lines.add_topics(self.topics)
        tasks = [*late, asyncio.create_task(self._commits()), asyncio.create_task(self._ticks())]
        tasks.append(asyncio.create_task(self.checks.run(RestClient(self.network))))
        tasks.append(asyncio.create_task(self.follower.run(self.lines)))
        for task in tasks:
            task.add_done_callback(self._task_ended)
        try:
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, TapebookError):
                self.fail(error)
            else:
                log.error("a bug in tapebook", exc_info=error)
                self.fail(TapebookError(f"a bug in tapebook stopped the recording: {error!r}"))

    # ---- while it runs ----

    async def _commits(self) -> None:
        """Hand group commits over, and let others wait, at last the market, while the disk is behind."""
        interval = self.config.commit_ms / 1000
        while True:
            await asyncio.sleep(interval)
            self.journal.commit_due()
            before, backlog = self.pressure.level, self.journal.backlog_bytes
            level = self.pressure.update(time.monotonic_ns(), backlog)
            if level is not before:
                self._give_way(before, level, backlog)

    def _give_way(self, before: Level, level: Level, backlog: int) -> None:
        self._write_status()  # a supervisor's roller learns of it from there
        if (level is Level.EASE) != (before is Level.EASE):
            self._on_pressure(level is not Level.EASE)
            self.checks.audits.waiting = level is not Level.EASE
        if level is Level.HOLD:
            log.warning("the disk is %d MiB behind: reading pauses", backlog >> 20)
            self.lines.pause(True)
            self.live.pause(True)
        elif before is Level.HOLD:
            log.warning("the disk has caught up: reading goes on")
            self.lines.pause(False)
            self.live.pause(False)
            # what waits in the sockets was not silent
            self.freshness.forgive()

    async def _ticks(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(self._timing.tick_s)
            now_ns = time.monotonic_ns()
            self.budget.check()
            self.lines.tick(now_ns)
            if self.mover is not None:
                self.mover.tick(now_ns)
            ticks += 1
            if ticks % 4 == 0 and self.pressure.level is not Level.HOLD:
                self._judge_silence(now_ns)
            self._resync()
            self.laggards.tick(now_ns)
            self._rotate_when_due()
            if ticks % (4 if self.pressure.level is Level.EASE else 40) == 0:
                self._write_status()
            if ticks % 40 == 0:
                self._warnings.sum_up()
            self._stop_when_due(now_ns)

    def _resync(self) -> None:
        now_ns = time.monotonic_ns()
        for topic in self.resyncs.due(now_ns):
            self.lines.resync(topic, now_ns)

    def _judge_silence(self, now_ns: int) -> None:
        for feed, silence_ns in self.freshness.tick(now_ns):
            topic = self.capture.topics[feed]
            log.warning("%s: silent for %.1f s", topic, silence_ns / SECOND_NS)
            self.capture.stale(topic, "silence")
            # trades have no snapshot, but a new subscription is a new chance, and its answer ends the gap
            self.resyncs.want(topic, now_ns)

    def _rotate_when_due(self) -> None:
        if (
            self.journal.segment_bytes >= self.config.segment_mib * (1 << 20)
            or self.journal.segment_age_s >= self.config.segment_seconds
        ):
            self.capture.rotate()
            if is_worn(self.engine) and not self._stop.is_set():
                self.is_worn = True
                self.stop("too many places in the engine are taken by what has ended")

    def _stop_when_due(self, now_ns: int) -> None:
        config = self.config
        if config.duration is not None and now_ns - self._started_ns >= config.duration * SECOND_NS:
            self._time_is_up = True
            self.stop(f"the duration of {config.duration:g} s is over")
        if self.lines.all_refused:
            refused = self.lines.refused
            first = next(iter(refused))
            words = refused[first] + (" (and every other topic too)" if len(refused) > 1 else "")
            self.fail(Rejected(first, words))
        idle_ns = self._idle.tick(
            now_ns,
            heard_ns=self.lines.data_ns,
            listening=self.lines.listening and self.pressure.level is not Level.HOLD,
        )
        if config.stop_after_idle is not None and idle_ns >= config.stop_after_idle * SECOND_NS:
            self._time_is_up = True
            self.stop(f"no data frame for {config.stop_after_idle:g} s")

    def _event(self, event: Event) -> None:
        topic = event.topic or "a frame of an unknown feed"
        if event.kind is EventKind.GAP_OPENED:
            ids = "" if event.first_update_id is None else f" from update id {event.first_update_id}"
            self._warnings.tell(f"{topic}: gap ({event.detail})", ids)
            if (
                event.topic
                and needs_snapshot(self.config.category, event.topic)
                and event.detail != "disconnect"
            ):
                patient = event.detail in ("no_snapshot", "crash")
                self.resyncs.want(event.topic, time.monotonic_ns(), patient=patient)
                if not patient:  # at once, but not in the middle of the frames at hand
                    asyncio.get_running_loop().call_soon(self._resync)
        elif event.kind is EventKind.GAP_CLOSED:
            log.debug("%s: gap (%s) healed by %s", topic, event.detail, event.healed_by)
            if event.healed_by != "gap":  # then another one is open
                self.resyncs.forget(event.topic)
            self.checks.gap_closed(event)
        elif event.kind is EventKind.UNDECODABLE:
            self._warnings.tell(f"{topic}: undecodable ({event.detail})")

    # ---- what is told ----

    def _feeds(self) -> list[FeedReport]:
        refused = self.lines.refused
        return [
            FeedReport(
                topic=topic,
                state="ended" if self.engine.ended(feed) else self.engine.state(feed).value,
                messages=self.engine.messages(feed),
                gaps=self.capture.gaps[topic],
                bytes=self.capture.feed_bytes[feed],
                refused=refused.get(topic),
            )
            for feed, topic in enumerate(self.capture.topics)
        ]

    def _report(self) -> Report:
        counters = self.engine.counters()
        return Report(
            why=self._why,
            seconds=(time.monotonic_ns() - self._started_ns) / SECOND_NS,
            frames=self.capture.frames,
            undecodable=counters["undecodable"],
            unknown_topics=counters["unknown_topics"],
            feeds=self._feeds(),
        )

    def status(self, *, stopped: bool = False) -> dict[str, Any]:
        """What ``tapebook status`` shows of a running collector."""
        counters = self.engine.counters()
        shares = line_shares(self.engine)
        ours = set(self.lines.topics)  # not what has ended, nor what only an earlier run asked for
        return {
            "collector": self.config.collector,
            "category": self.config.category.value,
            "environment": self.environment.value,
            "endpoint": self.endpoint,
            "pid": os.getpid(),
            "running": not stopped,
            "written_ns": time.time_ns(),
            "frames": self.capture.frames,
            "frame_bytes": self.capture.frame_bytes,
            "undecodable": counters["undecodable"],
            "unknown_topics": counters["unknown_topics"],
            "backlog_bytes": self.journal.backlog_bytes,
            "paused": self.pressure.level is Level.HOLD,
            "pressure": self.pressure.told(time.monotonic_ns()),
            "vitals": self._vitals.told(time.monotonic_ns(), self.journal.accepted_bytes),
            "seconds": (time.monotonic_ns() - self._started_ns) / SECOND_NS,
            "resyncs": self.resyncs.count,
            "universe": self.follower.status(),
            **self.checks.status(),
            "lateness": self.lateness.told(time.monotonic_ns()),
            "live": self.live.status(),
            "lines": [
                {
                    "line": line.slot,
                    "copy": line.copy,
                    "topics": len(line.topics),
                    "connected": line.connected,
                    "changed_ns": line.changed_ns,
                    "connects": line.connects,
                    "round_trip_ms": None if line.round_trip_ns is None else line.round_trip_ns / 1e6,
                    "last_reason": line.last_reason,
                    "frames": line.frames,
                    "bytes": line.bytes,
                    **shares.get(line.slot, {}),
                }
                for line in self.lines
            ],
            "connects_left": self.network.connects.left(time.monotonic_ns()),
            "moves": 0 if self.mover is None else self.mover.moves,
            "topics_moved": 0 if self.mover is None else self.mover.topics_moved,
            "feeds": [
                {
                    "topic": report.topic,
                    "state": report.state,
                    "messages": report.messages,
                    "gaps": report.gaps,
                    "bytes": report.bytes,
                    "refused": report.refused,
                    "update_id": self.engine.update_id(feed),
                    "last_receive_ns": self.engine.last_receive_ns(feed),
                    "gap": (gap := self.engine.open_gap(feed))
                    and {"cause": gap.cause, "since_ns": gap.start_ns},
                }
                for feed, report in enumerate(self._feeds())
                if report.topic in ours
            ],
        }

    def _write_status(self, *, stopped: bool = False) -> None:
        path = journal_directory(self._data, self.config.collector) / "status.json"
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(self.status(stopped=stopped)))
            temporary.replace(path)
        except OSError as error:  # the journal will say so, louder
            log.debug("status: %s", error)
