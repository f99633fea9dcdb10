"""The writing side of live books: a collector's files of shared memory, and its heartbeat.

The C core writes into the files (engine.core.publisher); here they are made, announced and taken away. Whatever
fails here costs live books, never the recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from engine.core.feeds import Engine
from engine.core.publisher import (
    CONTROL_BYTES,
    CONTROL_HEADER_BYTES,
    LEAST_TAPE_BYTES,
    TOPIC_BYTES,
    Publisher,
    book_bytes,
    mark_replaced,
    tape_bytes,
)
from recorder.live_files import CONTROL, TAPE, Homes, book_name, hold, live_link, remove_directory
from recorder.shared_memory import clock_gettime_address, make_file, map_file, reserve
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.tables import FULL_DEPTH

__all__ = ["LivePublisher", "parse_live_depth"]

ALL: Final = "all"
FULL_BY_DEFAULT: Final = 1000
"""Levels a side of orderbook.full: every level is copied at each of its changes."""
BEAT_S: Final = 0.1
TIMEOUT_NS: Final = 1_000_000_000
LOOK_EVERY: Final = 10
"""Ticks between two looks whether the files are still there."""
ROWS_AT_ONCE: Final = 256
MONOTONIC: Final = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)
"""The clock of ``time.monotonic_ns``; macOS has another one by the common name."""
MOST_DEPTH: Final = FULL_DEPTH

log = logging.getLogger("tapebook")


def parse_live_depth(text: str) -> int | None:
    """Levels a side from ``live_depth``: a number; FULL_DEPTH for ``all``; None for the default.

    Raises:
        ConfigError: it is something else.
    """
    if not text:
        return None
    if text == ALL:
        return MOST_DEPTH
    if text.isascii() and text.isdigit() and 0 < int(text) <= MOST_DEPTH:
        return int(text)
    raise ConfigError(f"--live-depth: found {text!r}, expected 1 to {MOST_DEPTH} levels a side, or {ALL!r}")


def _ring_bytes(mib: float) -> int:
    """The largest power of two that is not more, or the least that a tape can have."""
    wanted = max(LEAST_TAPE_BYTES, int(mib * (1 << 20)))
    return 1 << (wanted.bit_length() - 1)


class LivePublisher:
    """Publishes a collector's books to other processes, from ``begin`` to ``close``.

    Args:
        config: of the recording; ``live``, ``live_depth`` and ``tape_mib`` are about this.
        engine: the collector's.
        environment: where its frames come from.

    Attributes:
        heard_ns: since when every connection that is up has brought something (monotonic); 0 where that isn't known.
    """

    def __init__(self, config: RecordConfig, engine: Engine, environment: str) -> None:
        self.heard_ns: Callable[[], int] = lambda: 0
        self._engine = engine
        self._environment = environment
        self._collector = config.collector
        self._data = Path(config.data)
        self._wanted = config.live
        self._depth = parse_live_depth(config.live_depth)
        self._tape_mib = config.tape_mib
        self._publisher: Publisher | None = None
        self._directory: Path | None = None
        self._lock: int | None = None
        self._paused = False
        self._forget()

    def _forget(self) -> None:
        self._ticks = 0
        self._books = 0
        self._bytes = 0
        self._without = 0
        self._reserved_rows = 0
        self._no_rows = False
        self._lacks = False
        self._troubles: list[str] = []

    # ---- from beginning to end ----

    def begin(self) -> None:
        """Make the files of what the engine has so far and let readers find them; if that fails, say so and go on."""
        if not self._wanted:
            return
        token = secrets.randbits(63) | 1
        homes = Homes(self._data, self._collector)
        try:
            directory, refused = homes.make(token)
        except OSError as error:
            self._give_up(error)
            return
        if refused:
            log.warning("live books: %s; they lie in %s instead", "; ".join(refused), directory)
        self._directory = directory
        try:
            self._open(directory, token)
            self._add_feeds()
            self.pause(self._paused)
            self._announce(homes, directory)
        except (OSError, MemoryError, ConfigError) as error:
            self._give_up(error)

    async def beat(self) -> None:
        """``tick`` until this is cancelled."""
        while self._publisher is not None:
            self.tick()
            await asyncio.sleep(BEAT_S)

    def tick(self) -> None:
        """Show that the collector is alive, and publish feeds that came since."""
        if self._publisher is None or self._directory is None:
            return
        self._ticks += 1
        try:
            if self._ticks % LOOK_EVERY == 0 and not (self._directory / CONTROL).exists():
                self._begin_anew()
            else:
                self._publisher.beat(time.monotonic_ns(), self.heard_ns())
                self._add_feeds()
        except (OSError, MemoryError, ConfigError) as error:
            self._give_up(error)

    def _begin_anew(self) -> None:
        """As systemd has it with what a user has in /dev/shm when the user's last session ends (RemoveIPC)."""
        log.warning("live books: %s was taken away by somebody; they begin anew", self._directory)
        self.close()
        self._forget()
        self.begin()

    def pause(self, paused: bool) -> None:
        """Nothing is read meanwhile: what is LIVE gets old, and readers have to know."""
        self._paused = paused
        if self._publisher is not None:
            self._publisher.set_status("paused" if paused else "running")

    def close(self) -> None:
        """Say that this collector is gone, and take the files away. Again is fine."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if self._directory is None:
            return
        link = live_link(self._data, self._collector)
        with contextlib.suppress(OSError):  # another start's, or gone
            if link.readlink() == self._directory:
                link.unlink()
        remove_directory(self._directory)
        self._directory = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def status(self) -> dict[str, Any] | None:
        """What ``tapebook status`` shows; None where no live books are wanted."""
        if not self._wanted:
            return None
        publisher = self._publisher
        unknown = 0 if publisher is None else self._engine.feed_count - publisher.feed_count
        return {
            "directory": None if self._directory is None else str(self._directory),
            "books": self._books,
            "bytes": self._bytes,
            "without_memory": self._without + unknown,
            "published": 0 if publisher is None else publisher.published,
            "told": 0 if publisher is None else publisher.told,
            "trouble": "; ".join(self._troubles),
        }

    # ---- files ----

    def _open(self, directory: Path, token: int) -> None:
        self._reserved_rows = ROWS_AT_ONCE
        control = make_file(
            directory / CONTROL, CONTROL_BYTES, reserved=CONTROL_HEADER_BYTES + ROWS_AT_ONCE * TOPIC_BYTES
        )
        self._lock = hold(directory)
        tape = None
        if self._tape_mib:
            size = tape_bytes(_ring_bytes(self._tape_mib))
            try:
                tape = make_file(directory / TAPE, size)
                self._bytes += size
            except OSError as error:
                self._troubles.append(f"no memory for the tape of {self._tape_mib:g} MiB: {error.strerror}")
                log.warning("live books: %s in %s (--tape-mib asks for less)", self._troubles[-1], directory)
        self._publisher = Publisher(
            self._engine,
            control,
            collector=self._collector,
            environment=self._environment,
            token=token,
            pid=os.getpid(),
            started_ns=time.time_ns(),
            now_ns=time.monotonic_ns(),
            interval_ns=int(BEAT_S * 1e9),
            timeout_ns=TIMEOUT_NS,
            tape=tape,
            gettime=clock_gettime_address(),
            clock=MONOTONIC,
        )

    def _announce(self, homes: Homes, directory: Path) -> None:
        """From here on readers find this start; those that have an earlier one mapped learn that it was replaced."""
        link = live_link(self._data, self._collector)
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{link.name}.tmp")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(directory)
        temporary.replace(link)
        for old in homes.earlier(directory):
            with contextlib.suppress(OSError):  # it never came so far
                mark_replaced(map_file(old / CONTROL, writable=True))
            remove_directory(old)
        for dead in homes.abandoned(directory):
            remove_directory(dead)

    def _add_feeds(self) -> None:
        publisher, directory = self._publisher, self._directory
        assert publisher is not None
        assert directory is not None
        for feed in range(publisher.feed_count, self._engine.feed_count):
            if self._no_rows:
                return
            if feed >= self._reserved_rows:
                try:
                    reserve(
                        directory / CONTROL,
                        CONTROL_HEADER_BYTES + feed * TOPIC_BYTES,
                        ROWS_AT_ONCE * TOPIC_BYTES,
                    )
                except OSError as error:
                    self._no_rows = True
                    self._lack(feed, error)
                    return
                self._reserved_rows = feed + ROWS_AT_ONCE
            publisher.add(feed, self._book(feed))

    def _book(self, feed: int) -> int:
        """The feed's book in shared memory, or 0 where it has none."""
        assert self._publisher is not None
        assert self._directory is not None
        capacity = self._capacity(self._publisher.wants_book(feed))
        if not capacity:
            return 0
        size = book_bytes(capacity)
        try:
            memory = make_file(self._directory / book_name(feed), size)
        except OSError as error:
            self._without += 1
            self._lack(feed, error)
            return 0
        self._books += 1
        self._bytes += size
        return self._publisher.begin_book(feed, memory, capacity)

    def _capacity(self, depth: int) -> int:
        if self._depth is not None:
            return min(depth, self._depth)
        return depth if depth < FULL_DEPTH else FULL_BY_DEFAULT

    def _lack(self, feed: int, error: OSError) -> None:
        if self._lacks:
            return
        self._lacks = True
        self._troubles.append(f"no memory for the book of {self._engine.topics()[feed]}: {error.strerror}")
        log.warning(
            "live books: %s in %s; it is recorded, but other processes can't read it (a smaller --live-depth or "
            "--tape-mib helps)",
            self._troubles[-1], self._directory,
        )  # fmt: skip

    def _give_up(self, error: Exception) -> None:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        self._troubles = [f"none can be published: {words}{place}"]
        log.warning("live books: %s; recording goes on without (--no-live asks for none)", self._troubles[-1])
        self.close()
