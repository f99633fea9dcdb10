"""Replays: a strategy gets the calls that it got live; frames of many feeds in one order; pause, speed and seek."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.core.drive import Driver, Strategy
from engine.core.feeds import Engine
from engine.strategy import Moment, TradeSeen
from recorder.archive import Archive, open_archive
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from recorder.journal import SegmentReader, segments
from recorder.roll import roll_data
from recorder.time_travel import Replay, replay
from schemas.errors import ConfigError, NoData
from schemas.names import Category, FeedState, RecordKind
from schemas.time import format_ns
from tests.recorder.archives import NOON_NS
from tests.recorder.random_books import reference, row
from tests.recorder.ranges.asking import random_archive, simple, span_of
from tests.recorder.recordings import BOOK, MS, SECOND, START_NS, TRADES, Tape, book, market, trade

ETH_BOOK, ETH_TRADES = "orderbook.50.ETHUSDT", "publicTrade.ETHUSDT"
TOPICS = (BOOK, TRADES, ETH_BOOK, ETH_TRADES)
Call = tuple[Any, ...]


class Diary(Strategy):
    """Writes down every call, and what the books were."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.begun = 0

    def begin(self, engine: Engine) -> None:
        self.begun += 1
        self.engine = engine
        self.books = {
            topic: engine.book(number)
            for number, topic in enumerate(engine.topics())
            if topic.startswith("orderbook")
        }

    def _note(self, name: str, feed: int, at: Moment, *more: Any) -> None:
        books = {
            topic: (each.live, each.update_id, each.digest, each.best_bid, each.best_ask)
            for topic, each in self.books.items()
        }
        self.calls.append((name, self.engine.topics()[feed], at, *more, books))

    def on_book(self, feed: int, at: Moment) -> None:
        assert self.engine.book(feed).live
        self._note("book", feed, at)

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
        self._note("trades", feed, at, trades)

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        self._note("state", feed, at, state)


def eth(number: int, at_ms: int) -> list[bytes]:
    """A quieter market beside the other; prices get finer on the way."""
    price = f"{2000 + number % 5}.{number % 10}" + ("5" if number > 60 else "")
    frames = [
        book(
            "snapshot" if number == 0 else "delta",
            70 + number,
            [(price, str(number % 4))],
            [],
            at_ms,
            ETH_BOOK,
        )
    ]
    if number % 5 == 0:
        frames.append(trade(f"e-{number}", price, "0.25", at_ms, ETH_TRADES))
    return frames


def recorded(data: Path, *, lost: tuple[int, ...] = (), compacted: bool = False) -> Path:
    """Two symbols over two segments; of some frames nothing came."""
    tape = Tape(data, TOPICS)
    start_ms = START_NS // MS
    frames = [frame for frame in market(0, 150) if b"tickers" not in frame and b"orderbook.1." not in frame]
    mixed: list[bytes] = []
    for number, frame in enumerate(frames):
        mixed.append(frame)
        if number % 2 == 0:
            mixed += eth(number // 2, start_ms + 10 * number)
    healed = 0
    for number, frame in enumerate(mixed):
        if number in lost:
            continue
        tape.frames([frame])
        if lost and number in (lost[0] + 12, lost[0] + 13) and not healed:
            healed += 1
            # as the exchange answers a new subscription
            update_id = 2000 + number
            at_ms = start_ms + 10 * number
            tape.frames([book("snapshot", update_id, [("99.5", "4")], [("100.5", "2")], at_ms)])
        if number == 120:
            tape.rotate()
    tape.stop()
    roll_data(data)
    if compacted:
        compact_data(data)
    return data


def drive_journal(data: Path, driver: Driver) -> None:
    """Every frame of the journal, as it was received."""
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            for batch in reader:
                for record in batch.table.to_pylist():
                    if record["kind"] == RecordKind.FRAME:
                        driver.apply(record["payload"], record["receive_ns"], record["sequence"])


def live_calls(data: Path) -> list[Call]:
    """What a strategy is told by a live engine that takes the journal's frames."""
    engine = Engine(Category.LINEAR)
    for topic in TOPICS:
        engine.add_feed(topic)
    diary = Diary()
    drive_journal(data, Driver(engine, diary))
    return diary.calls


def whole(opened: Archive, live: list[Call], **options: Any) -> Replay:
    """From the beginning to behind the last call; the recording goes on a little longer."""
    return since(opened, START_NS, live, **options)


def since(opened: Archive, start_ns: int, live: list[Call], **options: Any) -> Replay:
    end_ns = live[-1][2].receive_ns + 1
    return replay(opened, ["BTCUSDT", "ETHUSDT"], format_ns(start_ns), format_ns(end_ns), **options)


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("lost", [(), (40, 41), (7,)])
def test_a_strategy_gets_the_calls_that_it_got_live(
    tmp_path: Path, lost: tuple[int, ...], compacted: bool
) -> None:
    data = recorded(tmp_path, lost=lost, compacted=compacted)
    live = live_calls(data)
    assert {call[0] for call in live} == {"book", "trades", "state"}
    assert (
        ("state", FeedState.STALE) in {(call[0], call[3]) for call in live if call[0] == "state"}
    ) == bool(lost)
    with open_archive(data) as opened:
        diary = Diary()
        frames = whole(opened, live).run(diary)
        assert diary.calls == live
        # frames that came while a feed was stale are part of it, and nobody is told of them
        assert frames >= sum(call[0] != "state" for call in live)
        assert bool(lost) == (frames > sum(call[0] != "state" for call in live))
        # one by one it is the same
        slow = Diary()
        assert whole(opened, live, speed=1e12).run(slow) == frames
        assert slow.calls == live
        # begun anywhere, what follows is the same
        for at in (3, len(live) // 3, len(live) // 2, len(live) - 2):
            moment = live[at][2].receive_ns
            late = Diary()
            since(opened, moment, live).run(late)
            assert beyond_first(late.calls) == beyond_first(
                [call for call in live if call[2].receive_ns >= moment]
            )


def beyond_first(calls: list[Call]) -> list[Call]:
    """Without that a feed of trades became live, which it does with its first message, wherever a replay begins."""
    return [call for call in calls if call[0] != "state" or call[1] not in (TRADES, ETH_TRADES)]


def test_events_are_the_calls_with_what_was_said(tmp_path: Path) -> None:
    data = recorded(tmp_path, lost=(40, 41))
    live = [call for call in live_calls(data) if call[0] != "state"]
    with open_archive(data) as opened:
        replayed = whole(opened, live)
        calls = []
        for event in replayed:
            assert replayed.at_ns == event.at.receive_ns
            assert event.topic in replayed.topics
            said = json.loads(event.frame)
            assert said["topic"] == event.topic
            if event.change is not None:
                engine = replayed.engine
                pair = engine.exponents(event.topic.rpartition(".")[2])
                assert (event.change.kind, event.change.update_id) == (said["type"], said["data"]["u"])
                for levels, texts in (
                    (event.change.bids, said["data"]["b"]),
                    (event.change.asks, said["data"]["a"]),
                ):
                    plain = [
                        (Decimal(price).scaleb(pair[0]), Decimal(size).scaleb(pair[1]))
                        for price, size in levels
                    ]
                    assert plain == [(Decimal(price), Decimal(size)) for price, size in texts]
                assert event.state is FeedState.LIVE
                calls.append(("book", event.topic, event.at))
            elif event.trades:
                assert len(event.trades) == len(said["data"])
                calls.append(("trades", event.topic, event.at, event.trades))
        assert calls == [call[:-1] for call in live]


def test_a_silence_that_no_row_shows_makes_a_book_stale(tmp_path: Path) -> None:
    tape = Tape(tmp_path, (BOOK, TRADES))
    tape.frames([book("snapshot", 1, [("100", "1")], [("101", "1")], START_NS // MS)])
    tape.frames([trade("t1", "100.5", "1", START_NS // MS)])
    tape.disconnect()
    tape.frames([trade("t2", "100.5", "1", START_NS // MS)])
    tape.frames([book("snapshot", 9, [("99", "1")], [("101", "1")], START_NS // MS)])
    tape.stop()
    roll_data(tmp_path)
    with open_archive(tmp_path) as opened:
        diary = Diary()
        replay(opened, "BTCUSDT", format_ns(START_NS), format_ns(START_NS + 30 * SECOND)).run(diary)
        told = [(call[0], call[1], *call[3:-1]) for call in diary.calls if call[1] == BOOK]
        assert told == [
            ("state", BOOK, FeedState.LIVE),
            ("book", BOOK),
            ("state", BOOK, FeedState.STALE),
            ("state", BOOK, FeedState.LIVE),
            ("book", BOOK),
            ("state", BOOK, FeedState.STALE),  # the recording ended
        ]
        second = [call for call in diary.calls if call[0] == "trades"][1]
        assert not second[-1][BOOK][0]


def test_seek_begins_anew_there(tmp_path: Path) -> None:
    data = recorded(tmp_path)
    live = live_calls(data)
    middle = live[len(live) // 2][2].receive_ns
    tail = [call for call in live if call[2].receive_ns >= middle]
    with open_archive(data) as opened:
        replayed = whole(opened, live)
        first = replayed.engine
        stamps = []
        for event in replayed:
            stamps.append(event.at.receive_ns)
            if len(stamps) == 5:
                replayed.seek(format_ns(middle))
            if len(stamps) == 8:
                assert replayed.engine is not first
                replayed.seek(format_ns(START_NS))
            if len(stamps) == 10:
                break
        start = [call[2].receive_ns for call in live if call[0] != "state"]
        later = [call[2].receive_ns for call in tail if call[0] != "state"]
        assert stamps == start[:5] + later[:3] + start[:2]

        class Once(Diary):
            def on_book(self, feed: int, at: Moment) -> None:
                super().on_book(feed, at)
                if self.begun == 1:
                    replayed.seek(format_ns(middle))

        replayed = whole(opened, live, speed=1e12)
        once = Once()
        replayed.run(once)
        assert once.begun == 2
        again = [number for number, call in enumerate(once.calls) if call[2].receive_ns >= middle]
        assert beyond_first(once.calls[again[0] :]) == beyond_first(tail)
        with pytest.raises(ConfigError, match="lies outside of the replay"):
            replayed.seek("2020-01-01T00:00:00Z")


def test_rows_without_a_match_time_or_a_cross_sequence(tmp_path: Path) -> None:
    """As imported histories have them."""
    rows = [
        row(1, 1000, "snapshot"),
        row(2, None, bid=101, receive_time=NOON_NS + 1100 * MS),
        row(3, 1200, bid=102, cross_sequence=None),
        row(4, None, bid=103, cross_sequence=None, receive_time=NOON_NS + 1300 * MS),
        row(5, 1400, bid=104),
    ]
    with open_archive(simple(tmp_path, rows)) as opened:
        events = list(replay(opened, "BTCUSDT", format_ns(NOON_NS), format_ns(NOON_NS + 9 * SECOND)))
        assert [event.change.update_id for event in events if event.change] == [1, 2, 3, 4, 5]
        assert [event.at.match_ms is None for event in events] == [False, True, False, True, False]
        assert [json.loads(event.frame)["data"].get("seq") for event in events] == [10, 20, None, None, 50]


def test_what_is_sought_keeps_its_topics(tmp_path: Path) -> None:
    """A deeper book that covers the rest is not taken up, and behind the last recording of one nothing comes."""
    deep = "orderbook.200.BTCUSDT"
    tape = Tape(tmp_path, (BOOK, TRADES))
    tape.frames([book("snapshot", 1, [("100", "1")], [("101", "1")], START_NS // MS)])
    tape.stop()
    later_ns = START_NS + 60 * SECOND
    tape = Tape(tmp_path, (deep, TRADES), start_ns=later_ns)
    tape.frames([book("snapshot", 1, [("100", "1")], [("101", "1")], later_ns // MS, deep)])
    tape.frames([trade("t1", "100.5", "1", later_ns // MS)])
    tape.stop()
    roll_data(tmp_path)
    with open_archive(tmp_path) as opened:
        replayed = replay(
            opened, "BTCUSDT", format_ns(START_NS), format_ns(later_ns + SECOND), topic="orderbook.50"
        )
        seen = []
        for event in replayed:
            seen.append(event.topic)
            if len(seen) == 1:
                replayed.seek(format_ns(later_ns))
        assert seen == [BOOK, TRADES]
        assert replayed.topics == [BOOK, TRADES]


def test_speed_and_pause(tmp_path: Path) -> None:
    """Frames are 10 ms apart: at twice the speed 5 ms go by between them, and a pause counts for nothing."""
    data = recorded(tmp_path)
    live = live_calls(data)
    with open_archive(data) as opened:
        replayed = whole(opened, live, speed=2.0)
        now = [100.0]
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds
            if len(slept) > 10_000:
                raise AssertionError("it never goes on")
            if not replayed._running.is_set() and sum(slept[paused_at:]) > 1.0:
                replayed.resume()

        replayed._clock, replayed._sleep = lambda: now[0], sleep
        paused_at = 0
        seen: list[tuple[float, int]] = []
        for number, event in enumerate(replayed):
            seen.append((now[0], event.at.receive_ns))
            if number == 19:
                replayed.pause()
                paused_at = len(slept)
            if number == 40:
                break
    (first, first_ns), (before, before_ns) = seen[0], seen[19]
    assert before - first == pytest.approx((before_ns - first_ns) / 1e9 / 2)
    resumed, last = seen[20][0], seen[40]
    assert resumed - before > 1.0
    assert last[0] - resumed == pytest.approx((last[1] - seen[20][1]) / 1e9 / 2)


def test_many_small_files_of_a_busy_day_stay_in_order(tmp_path: Path) -> None:
    tape = Tape(tmp_path, TOPICS)
    for number in range(6):
        frames = [frame for frame in market(20 * number, 20 * (number + 1)) if b"tickers" not in frame]
        tape.frames(frame for frame in frames if b"orderbook.1." not in frame)
        if number < 5:
            tape.rotate()
    tape.stop()
    roll_data(tmp_path)
    live = live_calls(tmp_path)
    with open_archive(tmp_path) as opened:
        diary = Diary()
        end = format_ns(live[-1][2].receive_ns + 1)
        replay(opened, "BTCUSDT", format_ns(START_NS), end).run(diary)
        assert [call[:-1] for call in diary.calls] == [call[:-1] for call in live]
        only = Diary()
        replay(opened, "BTCUSDT", format_ns(START_NS), end, books=False).run(only)
        assert [call[:-1] for call in only.calls] == [call[:-1] for call in live if call[1] == TRADES]


def test_what_is_no_replay_is_said_in_words(tmp_path: Path) -> None:
    data = recorded(tmp_path)
    with open_archive(data) as opened:
        start, end = format_ns(START_NS), format_ns(START_NS + SECOND)
        with pytest.raises(ConfigError, match="exchange them"):
            replay(opened, "BTCUSDT", end, start)
        with pytest.raises(ConfigError, match="for UTC write"):
            replay(opened, "BTCUSDT", "2023-11-14T22:13:20", end)
        with pytest.raises(ConfigError, match="found speed 0"):
            replay(opened, "BTCUSDT", start, end, speed=0)
        with pytest.raises(ConfigError, match="found nothing to replay"):
            replay(opened, [], start, end)
        with pytest.raises(ConfigError, match="found category 'linea'"):
            replay(opened, "BTCUSDT", start, end, category="linea")
        with pytest.raises(NoData, match="recorded symbols near it: BTCUSDT"):
            replay(opened, "BTCUSD", start, end)
        with pytest.raises(NoData, match="nearest: "):
            replay(opened, "BTCUSDT", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z")
        with pytest.raises(NoData, match="no trades of BTCUSDT were recorded"):
            replay(opened, "BTCUSDT", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z", books=False)


@pytest.mark.parametrize("moment", [0, 1.5, None, 10**30])
def test_what_is_no_moment_is_said_in_words(tmp_path: Path, moment: Any) -> None:
    with open_archive(simple(tmp_path, [row(1, 1000, "snapshot")])) as opened:
        start, end = format_ns(NOON_NS), format_ns(NOON_NS + 9 * SECOND)
        with pytest.raises(
            ConfigError, match=re.escape(f"found the time {moment!r}, expected a text such as")
        ):
            replay(opened, "BTCUSDT", moment, end)
        with pytest.raises(ConfigError, match="found the time"):
            replay(opened, "BTCUSDT", start, moment)
        with pytest.raises(ConfigError, match="found the time"):
            replay(opened, "BTCUSDT", start, end).seek(moment)


@pytest.mark.parametrize("symbols", [None, 5, ["BTCUSDT", None], [b"BTCUSDT"]])
def test_what_is_no_symbol_is_said_in_words(tmp_path: Path, symbols: Any) -> None:
    with open_archive(simple(tmp_path, [row(1, 1000, "snapshot")])) as opened:
        start, end = format_ns(NOON_NS), format_ns(NOON_NS + 9 * SECOND)
        with pytest.raises(ConfigError, match=r"found symbol .*, expected a text such as 'BTCUSDT'"):
            replay(opened, symbols, start, end)
        with pytest.raises(ConfigError, match="found topic 5, expected a text"):
            replay(opened, "BTCUSDT", start, end, topic=5)  # type: ignore[arg-type]


def test_a_symbol_that_is_named_twice_comes_once(tmp_path: Path) -> None:
    def told(symbols: str | list[str]) -> list[Any]:
        events = replay(opened, symbols, format_ns(START_NS), format_ns(START_NS + 9 * SECOND))
        return [(event.topic, event.at, event.frame, event.change, event.trades) for event in events]

    with open_archive(recorded(tmp_path)) as opened:
        once = told("BTCUSDT")
        assert {topic for topic, *_ in once} == {BOOK, TRADES}
        assert told(["BTCUSDT", "BTCUSDT"]) == once
        assert told(["ETHUSDT", "BTCUSDT", "ETHUSDT"]) == told(["ETHUSDT", "BTCUSDT"])


def test_a_replay_ends_with_its_archive(tmp_path: Path) -> None:
    start, end = format_ns(START_NS), format_ns(START_NS + 9 * SECOND)
    with open_archive(recorded(tmp_path)) as opened:
        new, iterated, run, sought = (replay(opened, "BTCUSDT", start, end) for _ in range(4))
        frames = iter(iterated)
        next(frames)
        sought.seek(start)

    class Closes(Strategy):
        def on_book(self, feed: int, at: Moment) -> None:
            again.close()

    for go_on in (
        lambda: next(iter(new)),
        lambda: next(frames),
        lambda: next(iter(sought)),
        lambda: run.run(Diary()),
        lambda: run.run(Strategy()),
        lambda: replay(opened, "BTCUSDT", start, end),
    ):
        with pytest.raises(ConfigError, match="this archive was closed; open it again"):
            go_on()
    again = open_archive(tmp_path)
    slow = replay(again, "BTCUSDT", start, end, speed=1e9)
    with pytest.raises(ConfigError, match="this archive was closed"):
        slow.run(Closes())


def test_what_a_strategy_raises_comes_out(tmp_path: Path) -> None:
    class Bad(Strategy):
        def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
            raise RuntimeError("no more money")

    data = recorded(tmp_path)
    with open_archive(data) as opened, pytest.raises(RuntimeError, match="no more money"):
        replay(opened, "BTCUSDT", format_ns(START_NS), format_ns(START_NS + 9 * SECOND)).run(Bad())


@pytest.mark.parametrize("seed", range(12))
def test_random_recordings_are_replayed_as_a_slow_reader_has_them(tmp_path: Path, seed: int) -> None:
    """Gaps, several recordings, clocks that step back, exponents that get finer: the books are right, or not live."""
    rng = random.Random(5000 + seed)
    recordings = random_archive(tmp_path, rng)
    if seed % 2:
        compact_data(tmp_path)
    first, last = span_of(recordings, Clock.RECEIVE)
    start_ns = rng.choice((first - SECOND, rng.randrange(first, last + 1)))
    with open_archive(tmp_path) as opened:
        try:
            replayed = replay(opened, "BTCUSDT", format_ns(start_ns), format_ns(last + SECOND), trades=False)
        except NoData:
            assert reference(recordings, last, Clock.RECEIVE) is None
            return
        seen: dict[int, Any] = {}
        for event in replayed:
            book_now = replayed.engine.book(0)
            pair = replayed.engine.exponents("BTCUSDT")
            sides = [
                [(Decimal(price).scaleb(pair[0]), Decimal(size).scaleb(pair[1])) for price, size in levels]
                for levels in (book_now.bids(), book_now.asks())
            ]
            seen[event.at.receive_ns] = book_now.live, book_now.update_id, *sides
        for at_ns, (is_live, *found) in seen.items():
            expected = reference(recordings, at_ns, Clock.RECEIVE)
            if expected is None:  # its first messages came before a snapshot
                assert not is_live
                continue
            state, *whole_book = expected
            if is_live or state == "live":
                assert found == whole_book, at_ns
            assert is_live or state != "live", at_ns


USUAL: dict[str, Any] = {"L": "PlusTick", "BT": False, "RPI": True, "seq": 77}
OF_OPTION: dict[str, Any] = {
    "L": "MinusTick", "BT": True, "RPI": False, "seq": 5, "mP": "6960.81", "iP": "61647.49", "mIv": "0.55", "iv": "0",
}  # fmt: skip
OF_SPREAD: dict[str, Any] = {"L": "ZeroPlusTick", "seq": 3}


@pytest.mark.parametrize(
    ("category", "topic", "symbol", "frames"),
    [
        ("linear", "publicTrade.BTCUSDT", "BTCUSDT", [[USUAL, USUAL], [{"BT": False}], [USUAL]]),
        ("linear", "publicTrade.BTCUSDT", "BTCUSDT", [[{**USUAL, "BT": True}], [{"BT": False, "seq": 9}]]),
        ("option", "publicTrade.BTC", "BTC-26FEB27-62000-C-USDT", [[OF_OPTION, OF_OPTION], [OF_OPTION]]),
        (
            "spread",
            "publicTrade.BTCUSDT_BTC/USDT",
            "BTCUSDT_BTC/USDT",
            [[OF_SPREAD], [OF_SPREAD, {"seq": 4}]],
        ),
    ],
)
def test_trades_come_back_with_all_that_they_had(
    tmp_path: Path, category: str, topic: str, symbol: str, frames: list[list[dict[str, Any]]]
) -> None:
    """Of two trades in one message of which one lacks a key, both lack it: no exchange writes so."""
    at_ms, count = START_NS // MS, 0
    sent: list[list[dict[str, Any]]] = []
    for frame in frames:
        sent.append([])
        for more in frame:
            count += 1
            price = f"{'-' if category == 'spread' else ''}12{count}.5"
            sent[-1].append(
                {"T": at_ms, "s": symbol, "S": "Sell", "v": "0.25", "p": price, "i": f"t{count}", **more}
            )
    tape = Tape(tmp_path, (topic,), collector="one", category=Category(category))
    tape.frames(
        json.dumps({"topic": topic, "type": "snapshot", "ts": at_ms, "data": trades}).encode()
        for trades in sent
    )
    tape.stop()
    roll_data(tmp_path)
    with open_archive(tmp_path) as opened:
        start, end = format_ns(START_NS), format_ns(START_NS + SECOND)
        events = list(replay(opened, symbol, start, end, category=category, books=False))
    for trades in sent:
        common = set(trades[0]).intersection(*trades)
        trades[:] = [{key: trade[key] for key in trade if key in common} for trade in trades]
    assert [json.loads(event.frame)["data"] for event in events] == sent
    assert [(trade.side, trade.price) for event in events for trade in event.trades] == [
        ("sell", int(trade["p"].replace(".", ""))) for trades in sent for trade in trades
    ]


@pytest.mark.parametrize("speed", [0, -1.0, float("nan"), float("inf"), "fast"])
def test_what_is_no_speed_is_refused_whenever_it_is_said(tmp_path: Path, speed: Any) -> None:
    with open_archive(simple(tmp_path, [row(1, 1000, "snapshot")])) as opened:
        start, end = format_ns(NOON_NS), format_ns(NOON_NS + 9 * SECOND)
        with pytest.raises(ConfigError, match="expected a number above 0"):
            replay(opened, "BTCUSDT", start, end, speed=speed)
        replayed = replay(opened, "BTCUSDT", start, end, speed=2)
        with pytest.raises(ConfigError, match="expected a number above 0"):
            replayed.speed = speed
        assert replayed.speed == 2
        replayed.speed = None
