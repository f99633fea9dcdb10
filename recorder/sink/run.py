"""``tapebook nats``: a sink for every collector of a data directory, those that come later too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from recorder.journal.files import check_collector
from recorder.record import uvloop_runner
from recorder.sink.broker import Broker, hidden
from recorder.sink.sink import CollectorSink, SinkOptions
from recorder.sink.state import SinkState, only_sink
from recorder.tls import client_context
from schemas.errors import ConfigError

__all__ = ["Sinks", "run_sink"]

LOOK_S = 1.0
"""How often it is looked for new collectors."""
LOOKS_A_WARNING = 60
"""So many looks for a directory that isn't there make one warning: a name that is wrong is never silent."""

log = logging.getLogger("tapebook")


class Sinks:
    """All collectors' sinks.

    Args:
        options: of each.
        broker: makes a connection that is not connected yet.
        collectors: only these; empty for all that the data directory has.
    """

    def __init__(
        self, options: SinkOptions, broker: Callable[[], Broker], collectors: Sequence[str] = ()
    ) -> None:
        self._options = options
        self._broker = broker
        self._wanted = [check_collector(name) for name in collectors]
        self._sinks: dict[str, CollectorSink] = {}
        self._stop = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def states(self) -> list[SinkState]:
        """How each stands, by name."""
        return [self._sinks[name].state for name in sorted(self._sinks)]

    def stop(self) -> None:
        """Let all end behind what is on its way."""
        self._stop.set()
        for sink in self._sinks.values():
            sink.stop()

    async def run(self) -> None:
        """Send until ``stop``, or with ``once`` until everything is sent.

        Raises:
            ConfigError, StoreError: the first that a sink ended with; the others have ended too.
        """
        try:
            self._begin(self._present(), late=False)
            while not self._stop.is_set() and not (self._options.once and not self._running()):
                waits = [asyncio.ensure_future(self._stop.wait()), *self._running()]
                await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                waits[0].cancel()
                self._raise()
                if not self._options.once:
                    self._begin(self._present(), late=True)
        finally:
            self.stop()
            if self._tasks:
                await asyncio.wait(self._tasks.values())
        self._raise()

    def _running(self) -> list[asyncio.Task[None]]:
        return [task for task in self._tasks.values() if not task.done()]

    def _raise(self) -> None:
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _present(self) -> list[str]:
        if self._wanted:
            return self._wanted
        root = self._options.data / "journal"
        found = (path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
        return sorted(found)

    def _begin(self, names: list[str], *, late: bool) -> None:
        for name in names:
            if name in self._sinks:
                continue
            try:
                check_collector(name)
            except ConfigError:
                continue  # a directory that is none of ours
            sink = self._sinks[name] = CollectorSink(self._options, name, self._broker, since_begin=late)
            self._tasks[name] = asyncio.create_task(sink.run(), name=f"nats {name}")
            log.info("%s: is sent to %s", name, self._options.prefix)


def run_sink(
    options: SinkOptions,
    servers: Sequence[str],
    *,
    collectors: Sequence[str] = (),
    credentials: str = "",
    ca_file: Path | None = None,
) -> list[SinkState]:
    """Send until SIGINT or SIGTERM, or with ``once`` until everything is sent; returns how each collector stands.

    A data directory that isn't there is waited for.

    Raises:
        ConfigError: a server or a stream that is not what is needed, a name in use, or no client of NATS.
        StoreError: the journal can't be read, or the state can't be written.
    """
    ssl = client_context(ca_file) if ca_file is not None else None
    if credentials and not Path(credentials).is_file():
        raise ConfigError(f"--creds {credentials}: no such file")

    def broker() -> Broker:
        return Broker(servers, credentials=credentials, ssl=ssl)

    broker()  # what is not installed is told before anything else
    with uvloop_runner() as runner:
        if not runner.run(_there(options.data)):
            return []
        with only_sink(options.data, options.name):
            return runner.run(_run(Sinks(options, broker, collectors), servers))


def _is_directory(path: Path) -> bool:
    return path.is_dir()


async def _there(data: Path) -> bool:
    """Wait until a directory is there; False if a signal ended that."""
    if _is_directory(data):
        return True
    stopped = asyncio.Event()
    looks = 0
    with _stopping(stopped.set):
        while not stopped.is_set() and not _is_directory(data):
            if looks % LOOKS_A_WARNING == 0:
                log.warning(
                    "%s: no such directory yet, so nothing is sent; waiting for a recorder that makes it",
                    data,
                )
            looks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), LOOK_S)
    return not stopped.is_set()


async def _run(sinks: Sinks, servers: Sequence[str]) -> list[SinkState]:
    with _stopping(sinks.stop):
        log.info("sending to %s (Ctrl-C ends it cleanly)", ", ".join(map(hidden, servers)))
        await sinks.run()
    return sinks.states


@contextlib.contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop something."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
