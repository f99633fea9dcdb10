"""What the engine hands over: rows with their memory, and the best levels after a frame."""

from __future__ import annotations

import gc
import json

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


def test_none_is_no_frame() -> None:
    engine = Engine(Category.LINEAR)
    for call in (engine.apply, engine.quote):
        with pytest.raises(TypeError):
            call(None, 1, 1)  # type: ignore[arg-type]


def test_quote_is_best_after_each_frame() -> None:
    engine, twin = Engine(Category.LINEAR), Engine(Category.LINEAR)
    for each in (engine, twin):
        each.add_feed("orderbook.50.BTCUSDT")
        each.add_feed("publicTrade.BTCUSDT")
    changes: list[tuple[str, list[list[str]], list[list[str]]]] = [
        ("delta", [], []),  # nothing to quote before a snapshot
        ("snapshot", [["10", "1"], ["9", "5"]], [["12", "3"]]),
        ("delta", [["9", "6"]], []),  # not at the touch: the same again
        ("delta", [["10", "2"]], []),
        ("delta", [["10", "0"]], [["12", "0"]]),  # no asks
        ("delta", [], [["11.5", "4"]]),  # finer prices: other mantissas
        ("delta", [["9", "0"]], [["11.5", "0"]]),  # nothing at all
        ("delta", [["1", "1"]], [["2", "1"]]),
    ]
    quotes = []
    for update_id, (kind, bids, asks) in enumerate(changes, 7):
        data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": update_id}
        frame = json.dumps({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "data": data}).encode()
        quotes.append(engine.quote(frame, update_id, update_id))
        index = twin.apply(frame, update_id, update_id)
        assert quotes[-1] == ((index, *twin.best(index)) if twin.state(index) is FeedState.LIVE else None)
    assert quotes[0] is None
    assert quotes[1] == (0, 10, 1, 12, 3)
    assert quotes[2] is quotes[1]
    assert quotes[3] == (0, 10, 2, 12, 3)
    assert quotes[4] == (0, 9, 6, None, None)
    assert quotes[5] == (0, 90, 6, 115, 4)
    assert quotes[6] == (0, None, None, None, None)
    assert quotes[7] == (0, 10, 1, 20, 1)
    assert engine.quote(b'{"op":"pong"}', 99, 99) is None
