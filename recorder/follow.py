"""A universe that is followed: what is listed goes on record, new symbols are subscribed, delisted ones end cleanly.

Asking fails sometimes; then everything stays as it is, and it is asked again. A symbol that is missing from a listing
is asked for by its name before it counts as gone, because pages are no snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from engine.bybit import rest as shapes
from engine.bybit.rest import Instrument
from engine.bybit.topics import SYSTEM_STATUS, parse_topic
from engine.bybit.universe import Changes, Choice, follow, gone_because
from recorder.capture import Capture
from recorder.lines import LineSet
from recorder.rest import RestClient
from recorder.universe import Listed, Resolved, ask, topics_of
from recorder.unlisted import tell_unlisted
from schemas.config import RecordConfig
from schemas.errors import ConfigError, DecimalError, ExchangeError, Rejected
from schemas.names import Category
from schemas.notes import Gone

__all__ = ["Follower"]

LOOK_S: Final = 1.0
"""Between two looks at the clock and at what was refused."""

FIRST_RETRY_S: Final = 10.0
DELIVERY_MARGIN_MS: Final = 1_000
"""How long after a delivery or delisting is due it is acted upon: clocks differ."""

LEAST_BETWEEN_S: Final = 5.0
"""Between two refreshes, whatever asks for one."""

MAXIMUM_QUESTIONS: Final = 50
"""Symbols asked for by name in one refresh."""

SHOWN: Final = 10

log = logging.getLogger("tapebook")


class Follower:
    """Keeps instruments on record, exponents announced, and topics in step with what is listed.

    Args:
        config: what is recorded.
        resolved: what the configuration came to at the start.
        capture: where answers go.
        client: makes a REST client of the exchange.
        crashed: topics that the run before this one left with an open gap.
        clock: wall clock in nanoseconds.
    """

    def __init__(
        self,
        config: RecordConfig,
        resolved: Resolved,
        capture: Capture,
        client: Callable[[], RestClient],
        *,
        crashed: Iterable[str] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._category = config.category
        self._resolved = resolved
        self._capture = capture
        self._client = client
        self._clock = clock
        self._topics = list(resolved.topics)
        self._crashed = [topic for topic in crashed if topic in set(self._topics)]
        self._seen: dict[str, Instrument] = {}
        self._beginning: asyncio.Task[None] | None = None
        self._failures = 0
        self._refused: set[str] = set()
        self._status_messages = 0
        self._refreshed_ns: int | None = None
        self.refreshes = 0

    async def begin_within(self, patience_s: float, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        """Begin, and wait for it unless the exchange takes its time or the recording is to end.

        Args:
            patience_s: how long to wait.
            stop: ends it.

        Returns:
            What goes on beside the recording then; ``run`` waits for it.

        Raises:
            StoreError: the journal failed.
        """
        beginning = self._beginning = asyncio.create_task(self.begin())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((beginning, stopped), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            beginning.cancel()
            raise
        finally:
            stopped.cancel()
        if stop.is_set():
            beginning.cancel()
            await asyncio.wait((beginning,))
        if not beginning.done():
            log.warning(
                "instruments-info has not answered for %g s: recording begins without it, and decimals are learned "
                "from the frames until it does",
                patience_s,
            )
            return [beginning]
        if not beginning.cancelled():
            beginning.result()
        return []

    async def begin(self) -> None:
        """Put the first listing on record, and announce the decimals, so that exponents are right from the first frame.
        Not having it is no reason not to record: the frames widen the pair themselves."""
        listed = self._resolved.listed
        gone: list[str] = []
        if listed is None:
            try:
                async with self._client() as rest:
                    listed = await ask(rest, self._category)
                    gone = await self._confirm(rest, self._missing(listed), [], listed)
            except ExchangeError as error:
                self._failures += 1
                log.warning(
                    "instruments-info could not be had (%s): decimals are learned from the frames until it can",
                    error,
                )
                return
        await self._record(listed, ())
        self._end_crashed(gone)
        self._done()
        tell_unlisted(self._category, self._missing(listed), list(self._seen))

    def _done(self) -> None:
        self.refreshes += 1
        self._refreshed_ns = self._clock()

    def status(self) -> dict[str, int | None]:
        """For the status: symbols listed, refreshes so far, failures in a row, and when the last one was."""
        known = self._capture.instruments.known or {}
        return {
            "listed": len(known),
            "refreshes": self.refreshes,
            "failures": self._failures,
            "refreshed_ns": self._refreshed_ns,
        }

    def _missing(self, listed: Listed) -> list[str]:
        """Symbols of ours that a listing lacks; what trades before the market is not in every answer."""
        known = {instrument.symbol for instrument in listed.instruments}
        return [symbol for symbol in _symbols(self._category, self._topics) if symbol not in known]

    async def run(self, lines: LineSet) -> None:
        """Refresh whenever it is time, until cancelled. Nothing that the exchange answers ends this."""
        if self._beginning is not None:
            await self._beginning
        if not self._config.refresh_every:
            return
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            passed_s = time.monotonic() - last_s
            if passed_s < min(LEAST_BETWEEN_S, self._config.refresh_every) or not self._is_due(
                passed_s, lines
            ):
                continue
            last_s = time.monotonic()
            self._refused = set(lines.refused)
            self._status_messages = self._heard_of_status()
            try:
                async with self._client() as rest:
                    await self.refresh(rest, lines)
                self._failures = 0
            except ExchangeError as error:
                self._failures += 1
                log.warning(
                    "the instruments could not be refreshed (%s): tried again in %.0f s",
                    error,
                    self._pause_s(),
                )
            except ConfigError as error:
                log.error("the universe can't follow: %s", error)

    def _pause_s(self) -> float:
        refresh_s = self._config.refresh_every
        return (
            min(FIRST_RETRY_S * 2 ** min(self._failures - 1, 10), refresh_s) if self._failures else refresh_s
        )

    def _is_due(self, passed_s: float, lines: LineSet) -> bool:
        """By schedule; when a contract of ours has been delivered, something more was refused, or the exchange has said
        something about its state."""
        if passed_s >= self._pause_s():
            return True
        if self._failures:
            return False
        if set(lines.refused) - self._refused or self._heard_of_status() > self._status_messages:
            return True
        now_ms = self._clock() // 1_000_000 - DELIVERY_MARGIN_MS
        ours = (self._seen.get(symbol) for symbol in self._recorded(lines))
        return any(
            instrument is not None
            and instrument.delivery_time_ms is not None
            and instrument.delivery_time_ms <= now_ms
            for instrument in ours
        )

    def _heard_of_status(self) -> int:
        feed = self._capture.engine.feed_index(SYSTEM_STATUS)
        return self._capture.engine.messages(feed) if feed >= 0 else 0

    async def refresh(self, rest: RestClient, lines: LineSet) -> Changes:
        """Ask once, put it on record, and act on it.

        Raises:
            ExchangeError: the answer could not be had or can't be true; nothing changed.
        """
        selection = self._resolved.selection
        listed = await ask(rest, self._category, statuses=selection.statuses, tickers=selection.needs_tickers)
        by_symbol = {instrument.symbol: instrument for instrument in listed.instruments}
        recorded = self._recorded(lines)
        missing = [symbol for symbol in recorded if symbol not in by_symbol]
        now_ms = self._clock() // 1_000_000
        unforeseen = [symbol for symbol in missing if not gone_because(self._seen[symbol], now_ms)]
        if len(unforeseen) > max(MAXIMUM_QUESTIONS, len(recorded) // 2):
            raise ExchangeError(
                f"{len(unforeseen)} of {len(recorded)} recorded symbols are missing among {len(by_symbol)} listed: "
                "that is not believed"
            )
        known = self._capture.instruments.known or {}
        left_open = _symbols(self._category, self._crashed)
        others = [
            symbol for symbol in {**known, **left_open} if symbol not in by_symbol and symbol not in missing
        ]
        gone = await self._confirm(rest, missing, others, listed)
        await self._record(listed, gone)
        self._end_crashed(gone)
        choice, changes = follow(
            self._category, selection, recorded, listed.instruments, listed.tickers, now_ms
        )
        self._done()
        if changes.added or changes.removed:
            for verdict in choice.verdicts:
                log.info("symbols %s", verdict)
        living = {i.symbol for i in listed.instruments if not gone_because(i, now_ms)}
        self._remove(choice, changes, gone, living, lines)
        self._add(changes.added, lines)
        return changes

    # -- what is on record ---------------------------------------------------------------------------------

    async def _confirm(
        self, rest: RestClient, ours: list[str], others: list[str], listed: Listed
    ) -> list[str]:
        """Ask for symbols that a listing lacks, one by one; returns those that are gone.

        What was to be delivered by now needs no question. Beyond so many questions, ours stay until the next refresh.
        """
        gone: list[str] = []
        now_ms = self._clock() // 1_000_000
        asked = 0
        for symbol in [*ours, *others]:
            before = self._seen.get(symbol)
            if before is not None and gone_because(before, now_ms):
                gone.append(symbol)
                continue
            if asked < MAXIMUM_QUESTIONS:
                asked += 1
                instrument = await self._ask_for(rest, symbol, listed)
            elif symbol in ours and before is None:
                continue  # nothing is known of it
            else:
                instrument = before if symbol in ours else None
            if instrument is not None:
                listed.instruments.append(instrument)
            if gone_because(instrument, now_ms):
                gone.append(symbol)
        return gone

    async def _ask_for(self, rest: RestClient, symbol: str, listed: Listed) -> Instrument | None:
        request = shapes.instruments_request(self._category, symbol=symbol)
        body = await rest.fetch(request)
        try:
            page = shapes.parse_instruments(body)
        except Rejected:  # nobody knows it
            return None
        listed.answers.append((request.target, body))
        return next((found for found in page.instruments if found.symbol == symbol), None)

    async def _record(self, listed: Listed, gone: Iterable[str]) -> None:
        for path, body in listed.answers:
            self._capture.rest(path, body)
            await asyncio.sleep(0)  # a page is a megabyte: frames may come between
        if listed.malformed:
            log.warning("instruments-info: %d instruments could not be read", listed.malformed)
        known = self._capture.instruments.known or {}
        if symbols := [symbol for symbol in gone if symbol in known]:
            self._capture.note(Gone(symbols=symbols))
        self._seen.update((instrument.symbol, instrument) for instrument in listed.instruments)
        ours = _symbols(self._category, self._topics)
        for instrument in listed.instruments:
            if instrument.symbol in ours:
                self._announce(instrument)

    def _announce(self, instrument: Instrument) -> None:
        """Announce steps that are finer than the exponents in force."""
        try:
            price, size = instrument.price_exponent, instrument.size_exponent
        except DecimalError as error:
            log.warning("%s: %s", instrument.symbol, error)
            return
        in_force = self._capture.engine.exponents(instrument.symbol)
        if price < in_force[0] or size < in_force[1]:
            self._capture.announce(instrument.symbol, -price, -size)

    # -- what is subscribed --------------------------------------------------------------------------------

    def _recorded(self, lines: LineSet) -> list[str]:
        """Symbols with topics on the lines that have been listed at some time; groups and coins never are."""
        return [symbol for symbol in _symbols(self._category, lines.topics) if symbol in self._seen]

    def _emptied_coins(
        self,
        choice: Choice,
        removed: Iterable[str],
        gone: Iterable[str],
        left: Iterable[str],
        living: set[str],
    ) -> set[str]:
        """Base coins of options without a contract now, whichever shard had the last: one has all trades of a coin."""
        if self._category is not Category.OPTION:
            return set()
        emptied = _coins(removed) | (_coins(gone) - _coins(living))
        return emptied - _coins(symbol for symbol in choice.symbols if symbol in living) - _coins(left)

    def _remove(
        self, choice: Choice, changes: Changes, gone: Iterable[str], living: set[str], lines: LineSet
    ) -> None:
        removed = {symbol for symbol, _ in changes.removed}
        left = {symbol for symbol in _symbols(self._category, lines.topics) if symbol not in removed}
        emptied = self._emptied_coins(choice, removed, gone, left, living)
        topics = []
        for topic in lines.topics:
            symbol = parse_topic(self._category, topic).symbol
            # trades of options come by coin, and go with its last contract
            if symbol in removed or symbol in emptied:
                topics.append(topic)
        if not topics:
            return
        for symbol, why in changes.removed[:SHOWN]:
            log.info("%s: %s: its recording ends", symbol, why)
        if len(changes.removed) > SHOWN:
            log.info("and %d more symbols end", len(changes.removed) - SHOWN)
        lines.remove_topics(topics)
        self._topics = lines.topics

    def _end_crashed(self, gone: Iterable[str]) -> None:
        """A gap that a crash left open ends when its symbol turns out to have gone meanwhile: nothing would heal it.

        What is asked for by name stays asked for, and begins anew should it be listed again.
        """
        ended = set(gone)
        topics = [topic for topic in self._crashed if parse_topic(self._category, topic).symbol in ended]
        if not topics:
            return
        self._crashed = [topic for topic in self._crashed if topic not in topics]
        engine = self._capture.engine
        open_yet = [topic for topic in topics if engine.open_gap(engine.feed_index(topic)) is not None]
        log.info(
            "%s: not listed any more: the gap that a crash left ends with it", ", ".join(open_yet[:SHOWN])
        )
        self._capture.end_feeds(open_yet)
        self._capture.add_feeds(topic for topic in open_yet if topic in set(self._topics))

    def _has_gone(self, symbol: str) -> bool:
        """Whether a symbol was listed and doesn't trade any more."""
        before = self._seen.get(symbol)
        if before is None:
            return False
        known = self._capture.instruments.known or {}
        return symbol not in known or bool(gone_because(before, self._clock() // 1_000_000))

    def _add(self, symbols: tuple[str, ...], lines: LineSet) -> None:
        if not symbols:
            return
        asked_for = topics_of(self._config, symbols)  # those of our shard
        # a full topic comes with every expansion, also that of a symbol which has ended
        wanted = [t for t in asked_for if not self._has_gone(parse_topic(self._category, t).symbol)]
        refused = [topic for topic in wanted if topic in lines.refused]
        lines.remove_topics(refused)  # it wasn't listed when it was asked for
        carried = set(lines.topics)
        fresh = [topic for topic in wanted if topic not in carried]
        if not fresh:
            return
        lines.add_topics(fresh)
        self._topics = lines.topics
        begun = [symbol for symbol in _symbols(self._category, fresh) if symbol in self._seen]
        for symbol in begun:
            self._announce(self._seen[symbol])
        more = "" if len(begun) <= SHOWN else f" and {len(begun) - SHOWN} more"
        log.info("listed: %s%s: %d more topics", ", ".join(begun[:SHOWN]), more, len(fresh))


def _coins(symbols: Iterable[str]) -> set[str]:
    """The base coins of options."""
    return {symbol.partition("-")[0] for symbol in symbols if "-" in symbol}


def _symbols(category: Category, topics: Iterable[str]) -> dict[str, None]:
    """Symbols of topics, in order, each once; without the coins of options' trades."""
    parsed = (parse_topic(category, topic) for topic in topics)
    symbols = dict.fromkeys(topic.symbol for topic in parsed if topic.kind.names_symbol)
    return {s: None for s in symbols if s and (category is not Category.OPTION or "-" in s)}
