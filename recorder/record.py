"""``tapebook record``: from options to a running collector, and a clean end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from recorder.collector import Collector, Report
from recorder.crashes import crashed_feeds
from recorder.ending import NOT_BEGUN, signals_end
from recorder.housekeeping import Housekeeping, housekeeping_of
from recorder.journal import CollectorLock, Commit, SegmentReader, recover, segments
from recorder.live_publisher import parse_live_depth
from recorder.manifest import read_segments
from recorder.metrics_server import serving
from recorder.network import Network, open_network
from recorder.renewal import record_on
from recorder.roll import report_recoveries
from recorder.roller import Roller
from recorder.universe import Resolved, plan_of, resolve
from schemas.config import MOST_LINES, RecordConfig
from schemas.errors import ConfigError, OutOfSpace, StoreError
from schemas.names import Category, Environment

__all__ = ["Prepared", "check_home", "finish_quietly", "prepare", "run_record", "tell_plan", "uvloop_runner"]

log = logging.getLogger("tapebook")


class Prepared(NamedTuple):
    """What a configuration needs beside what the exchange lists."""

    housekeeping: Housekeeping
    network: Network
    data: Path


def run_record(
    config: RecordConfig, *, commit_ledger: Path | None = None, until_stdin_ends: bool = False
) -> Report:
    """Record until a signal, the duration or idleness ends it; everything is sealed and rolled then.

    Args:
        config: what to record.
        until_stdin_ends: stop when standard input, which must be a pipe, ends too.
        commit_ledger: a file that gets a line per group commit that returned: segment, batch, last sequence, synced.

    Raises:
        ConfigError: bad options, or the collector's name is in use.
        ExchangeError: no connection could be made, or everything was refused.
        StoreError: the disk failed.
    """
    with signals_end(*NOT_BEGUN), uvloop_runner() as runner:
        housekeeping, network, data = prepare(config)
        resolved = runner.run(resolve(config, network))
        tell_plan(config, resolved)
        with CollectorLock(data, config.collector):
            report_recoveries(recover(data, config.collector))
            roller = Roller(data, housekeeping) if config.roll else None
            try:
                report = runner.run(
                    _record(
                        config,
                        network,
                        resolved,
                        data,
                        roller,
                        _commit_writer(commit_ledger),
                        until_stdin_ends,
                    )
                )
            except OutOfSpace:
                if roller is not None:
                    roller.abandon()  # rolling would take what is left; `tapebook roll` goes on later
                raise
            except BaseException:
                if roller is not None:
                    finish_quietly(roller)
                raise
            if roller is not None:
                with signals_end("while rolling; the journal has everything, and `tapebook roll` goes on", 4):
                    roller.finish()
            return report


def uvloop_runner() -> asyncio.Runner:
    """An asyncio runner on uvloop."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def prepare(config: RecordConfig) -> Prepared:
    """Look at what can be wrong before anything is asked or opened; errors as of ``run_record``."""
    if not 1 <= config.lines <= MOST_LINES:
        raise ConfigError(
            f"found {config.lines} lines, expected 1 to {MOST_LINES} connections per feed (--lines)"
        )
    parse_live_depth(config.live_depth)
    housekeeping = housekeeping_of(config)
    network = open_network(config)
    data = Path(config.data)
    if data.exists() and not data.is_dir():
        raise ConfigError(f"{data}: found a file, expected a directory for --data")
    check_home(data, config.collector, config.category, network.environment)
    return Prepared(housekeeping, network, data)


def tell_plan(config: RecordConfig, resolved: Resolved) -> None:
    """Log what the recording will take. Raises ConfigError where a limit would be broken."""
    plan = plan_of(config, resolved)
    log.info(
        "%d topics of %d symbols on %d connections: about %.0f frames/s, %.1f GB a day (`tapebook plan` says more)",
        plan.topics, plan.symbols, len(plan.connections), plan.frames_per_second,
        (plan.journal_bytes_per_day + plan.archive_bytes_per_day) / 1e9,
    )  # fmt: skip


def finish_quietly(roller: Roller) -> None:
    """What was sealed before the failure is still worth rolling; the failure itself is the news."""
    try:
        roller.finish()
    except StoreError as error:
        log.error("%s", error)


def _commit_writer(path: Path | None) -> Callable[[Commit], None] | None:
    if path is None:
        return None
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(commit: Commit) -> None:
        line = f"{commit.segment.name} {commit.batch} {commit.last_sequence} {int(commit.synced)}\n"
        os.write(descriptor, line.encode())

    return write


def check_home(data: Path, collector: str, category: Category, environment: Environment) -> None:
    """An archive holds one environment, and a collector's name one category."""
    found: dict[str, tuple[str, str]] = {}
    for segment in read_segments(data / "archive").segments.values():
        found[segment.collector] = (segment.environment, segment.category)
    for file in segments(data):
        if file.collector in found:
            continue
        try:
            with SegmentReader(file.path, lenient=True) as reader:
                found[file.collector] = (reader.info.environment, reader.info.category)
        except StoreError:
            continue  # recovery and verify have more to say about it
    for name, (its_environment, its_category) in found.items():
        if its_environment != environment.value:
            raise ConfigError(
                f"{data} holds recordings of {its_environment} (collector {name!r}), and this one is of "
                f"{environment.value}: they must not mix; choose another --data"
            )
        if name == collector and its_category != category.value:
            raise ConfigError(
                f"collector {name!r} in {data} records {its_category}, and this one {category.value}: "
                "choose another --name"
            )


async def _record(
    config: RecordConfig,
    network: Network,
    resolved: Resolved,
    data: Path,
    roller: Roller | None,
    on_commit: Callable[[Commit], None] | None,
    until_stdin_ends: bool,
) -> Report:
    ending: list[str] = []
    collectors: list[Collector] = []

    def begin(config: RecordConfig, resolved: Resolved) -> Collector:
        collector = Collector(
            config,
            network,
            resolved.topics,
            resolved=resolved,
            crashed=crashed_feeds(data, config.collector),
            on_sealed=lambda _: roller.sealed() if roller is not None else None,
            on_commit=on_commit,
            on_pressure=lambda pressed: roller.pause(pressed) if roller is not None else None,
        )
        collectors[:] = [collector]
        if ending:  # while the one before it ended
            collector.stop(ending[0])
        log.info(
            "recording %d topics of %s from %s into %s as %r (Ctrl-C ends it cleanly)",
            len(resolved.topics), config.category, network.root, data, config.collector,
        )  # fmt: skip
        return collector

    def stop(why: str) -> None:
        ending.append(why)
        for collector in collectors:
            collector.stop(why)

    def listen_to_parent() -> None:
        """The supervisor says nothing; when it is gone, the pipe ends."""
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop("the end of its supervisor")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    if until_stdin_ends:
        try:
            loop.add_reader(0, listen_to_parent)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--until-stdin-ends: standard input is no pipe that could end ({error})"
            ) from None
    try:
        async with serving(
            config.metrics, lambda: [one.status() for one in collectors if one.is_recording]
        ) as url:
            if url is not None:
                log.info("metrics at %s/metrics, status at %s/status, health at %s/healthz", url, url, url)
            return await record_on(config, resolved, begin)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
