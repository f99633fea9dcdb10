"""Where a watch gets what it shows: status files of the data directory, and live books in shared memory. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.core.shared import SharedBook, SharedControl, SharedTape
from engine.shared import SharedTrade, StateChange, TradesSeen
from recorder import live_books
from recorder.watch.condition import Beat
from recorder.watch.look import Look, Looker
from recorder.watch.model import BookSeen, Choice, TradeSeen, Watch
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Side

__all__ = ["DataSource"]

ENTRIES: Final = 1_024
READS: Final = 64
"""Reads of a tape at a time, so many entries each: half a tape of the usual size. What is more waits for the next
picture."""
READS_TO_THE_END: Final = 65_536
"""More than half of the largest tape holds; a bound all the same, because its writer goes on."""
DEEPEST: Final = 2_000
"""Levels a side that are read at most, whatever the price step."""


class DataSource:
    """Reads a data directory.

    Args:
        data: the directory.
        monotonic: the machine's monotonic clock, in nanoseconds.
    """

    def __init__(self, data: Path, *, monotonic: Callable[[], int] = time.monotonic_ns) -> None:
        self._data = data
        self._monotonic = monotonic
        self._looker = Looker(data)
        self._controls: dict[str, SharedControl] = {}
        self._tapes: dict[str, SharedTape] = {}
        self._lost = 0
        self._book: SharedBook | None = None
        self._asked: tuple[Choice, str, int] | None = None
        self._why = ""

    def look(self, watch: Watch, now_ns: int) -> None:
        """Look at the recorders' status, and at who publishes live books. Wall clock."""
        look = self._looker.look(now_ns)
        self._find(look)
        monotonic_ns = self._monotonic()
        beats = {
            name: Beat(monotonic_ns - control.heartbeat_ns, control.timeout_ns)
            for name, control in self._controls.items()
        }
        watch.looked(look, beats=beats, told_of_feeds=frozenset(self._tapes))
        if self._book is None:
            self._asked = None  # perhaps it is there now

    def read(self, watch: Watch, now_ns: int, depth: int, *, to_the_end: bool = False) -> None:
        """Read the chosen book, so many levels a side, and what is new on the tapes.

        Args:
            to_the_end: all of it, for who reads once: the newest trades stand at the end.
        """
        reads = READS_TO_THE_END if to_the_end else READS
        for name, tape in self._tapes.items():
            self._read_tape(watch, name, tape, now_ns, reads)
        watch.lost = self._lost + sum(tape.lost for tape in self._tapes.values())
        watch.seen(self._read_book(watch, min(depth, DEEPEST)))

    # ---- who publishes ----

    def _find(self, look: Look) -> None:
        """Hold the control file and the tape of each recorder's newest start."""
        names = {told.collector for told in look.collectors}
        for name in [name for name in self._controls if name not in names]:
            self._drop(name)
        for name in names:
            try:
                control = live_books.open_control(self._data, name)
            except ConfigError:
                self._drop(name)
                continue
            if name in self._controls and self._controls[name].token == control.token:
                continue
            self._drop(name)
            self._controls[name] = control
            try:
                tape = live_books.open_tape(self._data, name)
            except ConfigError:
                continue  # it keeps none, or is started anew this moment: then its token differs next time
            tape.rewind()  # what came before us fills the page
            self._tapes[name] = tape

    def _drop(self, name: str) -> None:
        self._controls.pop(name, None)
        tape = self._tapes.pop(name, None)
        if tape is not None:
            self._lost += tape.lost

    # ---- tapes ----

    def _read_tape(self, watch: Watch, name: str, tape: SharedTape, now_ns: int, reads: int) -> None:
        ahead_ns = now_ns - self._monotonic()
        category = self._controls[name].category
        for _ in range(reads):
            entries = tape.read(ENTRIES)
            for entry in entries:
                if isinstance(entry, TradesSeen):
                    for trade in entry.trades:
                        watch.traded(Choice(name, category, trade.symbol), [_trade(trade)])
                elif isinstance(entry, StateChange):
                    what = "ended" if entry.ended else f"-> {entry.state.value}"
                    cause = f" ({entry.cause})" if entry.cause and entry.state is FeedState.STALE else ""
                    grave = entry.state is FeedState.STALE and not entry.ended
                    watch.happenings.add(
                        entry.published_ns + ahead_ns, name, what + cause, entry.topic, grave=grave
                    )
            if len(entries) < ENTRIES:
                break

    # ---- the book ----

    def _read_book(self, watch: Watch, depth: int) -> BookSeen:
        chosen = watch.chosen
        if chosen is None:
            return BookSeen()
        control = self._controls.get(chosen.collector)
        asked = (chosen, watch.topic, 0 if control is None else control.token)
        if asked != self._asked:
            self._asked = asked
            self._open_book(chosen, watch.topic)
        if self._book is None:
            return BookSeen(trouble=self._why)
        found = self._book.read(depth)
        return BookSeen(
            self._book.topic,
            found.state,
            found.trouble or ("crossed" if found.crossed else ""),
            found.update_id,
            found.cross_sequence,
            found.match_ms,
            found.push_ms,
            found.receive_ns,
            found.price_exponent,
            found.size_exponent,
            found.bids.tolist(),
            found.asks.tolist(),
        )

    def _open_book(self, chosen: Choice, topic: str) -> None:
        self._book = None
        if chosen.category not in set(Category):
            self._why = f"its recorder names no category that is known here ({chosen.category!r})"
            return
        try:
            self._book = live_books.open_book(
                self._data,
                chosen.symbol,
                category=chosen.category,
                topic=topic or None,
                collector=chosen.collector,
            )
        except ConfigError as error:
            self._why = str(error).removeprefix(f"{self._data}: ")


def _trade(trade: SharedTrade) -> TradeSeen:
    return TradeSeen(
        trade.match_ms,
        trade.side is Side.SELL,
        trade.price,
        trade.size,
        trade.price_exponent,
        trade.size_exponent,
    )
