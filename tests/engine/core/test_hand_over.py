"""What the engine hands over: rows with their memory, and the best levels after a frame."""

from __future__ import annotations

import gc
import json
import sys

import pytest

from engine.core.feeds import Engine
from schemas.names import Category, FeedState, Table


def test_taken_rows_own_their_memory() -> None:
    """What was handed over stays as it was, whatever the engine does next, its end included."""
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed("orderbook.50.BTCUSDT")

    def book(kind: str, update_id: int, size: str) -> bytes:
        return (
            f'{{"topic":"orderbook.50.BTCUSDT","type":"{kind}","ts":1000,"data":{{"s":"BTCUSDT",'
            f'"b":[["10.5","{size}"]],"a":[["11.0","2"]],"u":{update_id},"seq":{update_id}}},"cts":990}}'
        ).encode()

    engine.apply(book("snapshot", 1, "1"), 1, 1)
    (first,) = engine.take_rows("c").values()
    plain = first.drop_columns(["receive_time"])  # nanoseconds that no datetime holds
    before = plain.to_pylist()
    for update_id in range(2, 200):
        engine.apply(book("delta", update_id, str(update_id)), update_id, update_id)
    (second,) = engine.take_rows("c").values()
    assert plain.to_pylist() == before
    del engine, first
    gc.collect()
    assert plain.to_pylist() == before
    assert before[0]["bid_size_mantissa"] == [1]
    assert [row["bid_size_mantissa"][0] for row in second.select(["bid_size_mantissa"]).to_pylist()] == list(
        range(2, 200)
    )


def test_rows_of_two_days_are_two_tables_in_order() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed("tickers.BTCUSDT")
    day_ms = 86_400_000
    # Days that follow on each other, then days that mix.
    for pushes in ([0, 1, day_ms, day_ms + 1], [day_ms, 0, day_ms + 5]):
        for sequence, push_ms in enumerate(pushes):
            data = {"symbol": "BTCUSDT", "lastPrice": "1"}
            frame = json.dumps({"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": push_ms, "data": data})
            assert engine.apply(frame.encode(), sequence, sequence) == 0
        rows = engine.take_rows("c")
        for day in (0, 1):
            expected = [i for i, push_ms in enumerate(pushes) if push_ms // day_ms == day]
            assert rows[Table.TICKERS, "BTCUSDT", day].column("sequence").to_pylist() == expected


def _ticker(symbol: str, push_ms: int) -> bytes:
    topic, data = f"tickers.{symbol}", {"symbol": symbol, "lastPrice": "1"}
    return json.dumps({"topic": topic, "type": "snapshot", "ts": push_ms, "data": data}).encode()


def _top(symbol: str, update_id: int) -> bytes:
    data = {"s": symbol, "b": [["1", str(update_id)]], "a": [], "u": update_id, "seq": update_id}
    topic = f"orderbook.1.{symbol}"
    return json.dumps({"topic": topic, "type": "snapshot", "ts": update_id, "data": data, "cts": 1}).encode()


def test_the_smallest_piles_may_stay() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    counts = {"AUSDT": 3, "BUSDT": 40, "CUSDT": 9, "DUSDT": 200}
    for symbol, count in counts.items():
        engine.add_feed(f"tickers.{symbol}")
        for number in range(count):
            before = engine.row_bytes
            engine.apply(_ticker(symbol, number), number, number)
            row = engine.row_bytes - before
    assert engine.row_bytes == row * sum(counts.values())
    taken = engine.take_rows("c", 12 * row)
    assert [key[1] for key in taken] == ["BUSDT", "DUSDT"]
    assert engine.row_bytes == 12 * row
    assert engine.take_rows("c", 12 * row) == {}
    engine.apply(_ticker("AUSDT", 3), 3, 3)
    assert [key[1] for key in engine.take_rows("c", 12 * row)] == ["CUSDT"]  # the larger one of the two
    ((_, rest),) = engine.take_rows("c").items()
    assert rest.column("sequence").to_pylist() == [0, 1, 2, 3]
    assert engine.row_bytes == 0
    assert engine.take_rows("c", 1 << 40) == {}


def test_a_live_digest_finds_its_row_while_that_is_there() -> None:
    """Piles that stayed keep their feeds' newest rows, those that went don't, whatever took their place."""
    engine = Engine(Category.LINEAR, columns=True)
    for symbol, count in (("AUSDT", 2), ("BUSDT", 9)):
        engine.add_feed(f"orderbook.1.{symbol}")
        for update_id in range(1, count + 1):
            engine.apply(_top(symbol, update_id), update_id, update_id)
    half = engine.row_bytes // 2
    assert [key[1] for key in engine.take_rows("c", half)] == ["BUSDT"]
    assert engine.set_digest("orderbook.1.AUSDT", 2, 77)
    assert not engine.set_digest("orderbook.1.BUSDT", 9, 78)
    for update_id in range(10, 19):
        engine.apply(_top("BUSDT", update_id), update_id, update_id)
        assert engine.set_digest("orderbook.1.BUSDT", update_id, update_id)
    left = {key[1]: table.column("digest").to_pylist() for key, table in engine.take_rows("c").items()}
    assert left == {"AUSDT": [None, 77], "BUSDT": list(range(10, 19))}


def test_none_is_no_frame() -> None:
    engine = Engine(Category.LINEAR)
    for call in (engine.apply, engine.quote):
        with pytest.raises(TypeError):
            call(None, 1, 1)  # type: ignore[arg-type]


CHANGES: list[tuple[str, list[list[str]], list[list[str]]]] = [
    ("delta", [], []),  # nothing to quote before a snapshot
    ("snapshot", [["10", "1"], ["9", "5"]], [["12", "3"]]),
    ("delta", [["9", "6"]], []),  # not at the touch: the same again
    ("delta", [["10", "2"]], []),
    ("delta", [["10", "0"]], [["12", "0"]]),  # no asks
    ("delta", [], [["11.5", "4"]]),  # finer prices: other mantissas
    ("delta", [["9", "0"]], [["11.5", "0"]]),  # nothing at all
    ("delta", [["1", "1"]], [["2", "1"]]),
]
QUOTES = [
    None,
    (0, 10, 1, 12, 3),
    (0, 10, 1, 12, 3),
    (0, 10, 2, 12, 3),
    (0, 9, 6, None, None),
    (0, 90, 6, 115, 4),
    (0, None, None, None, None),
    (0, 10, 1, 20, 1),
]


def _frames() -> list[bytes]:
    frames = []
    for update_id, (kind, bids, asks) in enumerate(CHANGES, 7):
        data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": update_id}
        frames.append(
            json.dumps({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "data": data}).encode()
        )
    return frames


@pytest.mark.parametrize("kept", [True, False])
def test_quote_is_best_after_each_frame(kept: bool) -> None:
    """Quotes that somebody keeps stay as they were, though a quote that nobody has is used again."""
    engine, twin = Engine(Category.LINEAR), Engine(Category.LINEAR)
    for each in (engine, twin):
        each.add_feed("orderbook.50.BTCUSDT")
    quotes = []
    for sequence, frame in enumerate(_frames()):
        quotes.append(engine.quote(frame, sequence, sequence))
        assert quotes[-1] == QUOTES[sequence]
        assert hash(quotes[-1]) == hash(QUOTES[sequence])  # tuples of Python 3.14 remember theirs
        index = twin.apply(frame, sequence, sequence)
        if twin.state(index) is FeedState.LIVE:
            assert quotes[-1] == (index, *twin.best(index))
        if not kept:
            quotes.clear()
    assert quotes == (QUOTES if kept else [])
    assert not kept or quotes[2] is quotes[1]
    assert engine.quote(b'{"op":"pong"}', 99, 99) is None


def test_quotes_leave_no_references_behind() -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed("orderbook.50.BTCUSDT")
    price, size = 1_234_567_891, 9_876_543_219
    data = {"s": "BTCUSDT", "b": [[str(price), str(size)]], "a": [], "u": 1, "seq": 1}
    frame = json.dumps({"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 1, "data": data}).encode()
    for _ in range(3):
        quote = engine.quote(frame, 1, 1)
        assert quote is not None
        before = [sys.getrefcount(item) for item in quote[1:3]]
        held = [engine.quote(frame, 1, 1) for _ in range(100)]
        assert all(each is quote for each in held)
        assert [sys.getrefcount(item) for item in quote[1:3]] == before
        del held
        assert sys.getrefcount(quote) == 3  # here, in the call, and in the engine
    del engine
    assert sys.getrefcount(quote) == 2


def test_thousands_of_feeds_keep_their_books_apart() -> None:
    """Every one is found, and is its own, however many there are."""
    engine = Engine(Category.LINEAR)
    kinds = ("orderbook.50", "orderbook.1", "publicTrade", "tickers")
    topics = [f"{kinds[i % 4]}.S{i:04d}USDT" for i in range(3_000)]
    assert [engine.add_feed(topic) for topic in topics] == list(range(3_000))
    for i, topic in enumerate(topics):
        if not topic.startswith("orderbook"):
            continue
        data = {
            "s": topic.rsplit(".", 1)[1],
            "b": [[str(1 + i), "1"]],
            "a": [[str(9_000 + i), "2"]],
            "u": 1,
            "seq": 1,
        }
        frame = json.dumps({"topic": topic, "type": "snapshot", "ts": 1, "data": data}).encode()
        assert engine.quote(frame, i, i) == (i, 1 + i, 1, 9_000 + i, 2)
    assert engine.topics() == topics
    for i in range(0, 3_000, 4):
        assert engine.best(i) == (1 + i, 1, 9_000 + i, 2)
        assert engine.digest(i) == engine.recomputed_digest(i)
