"""Trades out of recent-trade answers: the right ones, once, and an honest word on whether that is all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.feeds import Engine
from engine.recorded import apply_answer
from engine.trade_backfill import MOST_WAITING, WAITS_NS, LostTradesQueue, read_fetched
from schemas.names import Category, Table
from schemas.notes import FetchedTrades

TOPIC = "publicTrade.BTCUSDT"
START_MS = 1_000_000
REACH = {Category.LINEAR: 1000, Category.SPOT: 60}

Trade = tuple[int, int]
"""Number and match time in ms."""


def stream(trades: list[Trade]) -> bytes:
    rows = [
        {"T": ms, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "10.5", "i": f"t{n}", "BT": False}
        for n, ms in trades
    ]
    return json.dumps({"topic": TOPIC, "type": "snapshot", "ts": START_MS + 5, "data": rows}).encode()


def rest_row(number: int, ms: int, **more: Any) -> dict[str, Any]:
    row = {"execId": f"t{number}", "symbol": "BTCUSDT", "price": "10.5", "size": "1", "side": "Buy"}
    return row | {"time": str(ms), "isBlockTrade": False, "isRPITrade": False, "seq": str(number)} | more


def fetched(
    rows: list[dict[str, Any]], since_ms: int, until_ms: int | None = None, topic: str = TOPIC
) -> FetchedTrades:
    body = {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": "linear", "list": rows},
        "time": START_MS + 99,
    }
    return FetchedTrades(
        topic=topic, path="/v5/market/recent-trade", body=json.dumps(body), cause="disconnect", start_ns=1,
        end_ns=2, start_match_ms=since_ms, end_match_ms=None, until_match_ms=until_ms,
    )  # fmt: skip


def answer(trades: list[Trade], reach: int) -> list[dict[str, Any]]:
    """Newest first, as the exchange sends it."""
    return [rest_row(number, ms) for number, ms in reversed(trades[-reach:])]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([Category.LINEAR, Category.SPOT]),
    st.lists(st.integers(0, 2), min_size=1, max_size=300),
    st.data(),
)
def test_what_a_gap_lost_comes_back_once_and_in_order(
    category: Category, steps: list[int], data: st.DataObject
) -> None:
    """Trades at equal and rising times; the stream brings some, loses some, goes on; then the answer comes."""
    ms, trades = START_MS, []
    for number, step in enumerate(steps):
        ms += step
        trades.append((number, ms))
    lost_from = data.draw(st.integers(1, len(trades)))
    lost_to = data.draw(st.integers(lost_from, len(trades)))
    asked_at = data.draw(st.integers(lost_to, len(trades)))
    engine = Engine(category, columns=True)
    engine.add_feed(TOPIC)
    engine.subscribed(TOPIC, 1, 1)
    engine.apply(stream(trades[:lost_from]), 1, 1)
    engine.disconnect(0, 2, 2)
    engine.subscribed(TOPIC, 3, 3)
    if trades[lost_to:asked_at]:
        engine.apply(stream(trades[lost_to:asked_at]), 4, 4)
    since_ms = trades[lost_from - 1][1]
    until_ms = trades[asked_at - 1][1] if asked_at > lost_to else None
    given_rows = answer(trades[:asked_at], REACH[category])
    whole = apply_answer(engine, fetched(given_rows, since_ms, until_ms), receive_ns=5, sequence=5)
    if trades[asked_at:]:
        engine.apply(stream(trades[asked_at:]), 6, 6)
    rows = [
        row
        for (table, _, _), part in engine.take_rows("x").items()
        if table is Table.TRADES
        for row in part.select(["trade_id", "source", "match_time"]).to_pylist()
    ]
    found = [row["trade_id"] for row in rows]
    assert len(found) == len(set(found))
    lost = {f"t{number}" for number, _ in trades[lost_from:lost_to]}
    back = [row["trade_id"] for row in rows if row["source"] == "backfill"]
    assert set(back) <= lost
    assert back == sorted(back, key=lambda name: int(name[1:]))
    missing = {f"t{number}" for number, _ in trades} - set(found)
    assert missing <= lost
    if whole:
        assert not missing
    oldest_ms = min(int(row["time"]) for row in given_rows)
    assert whole == (oldest_ms < since_ms or len(given_rows) < REACH[category])


def test_a_lagging_answer_does_not_join_and_a_short_one_does_not_reach_back() -> None:
    late = read_fetched(fetched([rest_row(1, START_MS)], START_MS, START_MS + 5), Category.LINEAR)
    assert (late.reaches_back, late.joins) == (
        True,
        False,
    )  # fewer rows than an answer holds: all there ever were
    rows = [rest_row(number, START_MS + 100 + number) for number in reversed(range(1000))]
    short = read_fetched(fetched(rows, START_MS), Category.LINEAR)
    assert (short.reaches_back, short.joins) == (False, True)
    assert short.frame is not None


def test_an_option_row_keeps_its_extras_and_its_contract() -> None:
    row = rest_row(7, START_MS, symbol="BTC-1JAN27-100-C", mP="1.5", iP="2", mIv="0.3", iv="0.4")
    found = read_fetched(fetched([row], START_MS, topic="publicTrade.BTC"), Category.OPTION)
    assert found.frame is not None
    message = json.loads(found.frame)
    assert message["ts"] == START_MS + 99
    (data,) = message["data"]
    assert data == {
        "T": START_MS, "s": "BTC-1JAN27-100-C", "S": "Buy", "v": "1", "p": "10.5", "i": "t7", "mP": "1.5", "iP": "2",
        "mIv": "0.3", "iv": "0.4", "BT": False, "RPI": False, "seq": 7,
    }  # fmt: skip


def test_rows_of_another_symbol_are_left_out() -> None:
    rows = [rest_row(2, START_MS + 1, symbol="ETHUSDT"), rest_row(1, START_MS)]
    found = read_fetched(fetched(rows, START_MS), Category.LINEAR)
    assert found.frame is not None
    assert [row["i"] for row in json.loads(found.frame)["data"]] == ["t1"]


@pytest.mark.parametrize(
    "body", ["", "[]", '{"retCode":10001,"retMsg":"no"}', '{"retCode":0,"result":{"list":7}}', "\ud7ff" * 9]
)
def test_an_answer_that_is_none_heals_nothing(body: str) -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(TOPIC)
    bad = FetchedTrades(
        topic=TOPIC, path="", body=body, cause="disconnect", start_ns=1, end_ns=2, start_match_ms=1,
        end_match_ms=None, until_match_ms=None,
    )  # fmt: skip
    assert not apply_answer(engine, bad, receive_ns=1, sequence=1)


def test_an_answer_whose_values_are_refused_heals_nothing() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(TOPIC)
    rows = [rest_row(2, START_MS + 1, price="1e999"), rest_row(1, START_MS)]
    assert not apply_answer(engine, fetched(rows, START_MS), receive_ns=1, sequence=1)
    assert engine.take_rows("x") == {}


def test_where_the_stream_is_silent_only_a_later_answer_joins() -> None:
    early = msgspec.structs.replace(fetched([rest_row(1, START_MS)], START_MS), is_settled=False)
    assert not read_fetched(early, Category.LINEAR).joins
    assert read_fetched(fetched([rest_row(1, START_MS)], START_MS), Category.LINEAR).joins


def test_the_queue_waits_retries_and_is_bounded() -> None:
    queue = LostTradesQueue()
    first, second = fetched([], 1), fetched([], 2)
    queue.add(first, 0)
    queue.add(second, 5)
    assert queue.due(WAITS_NS[0] - 1) is None
    waiting = queue.due(WAITS_NS[0] + 9)
    assert waiting is not None
    assert waiting.gap is first
    assert waiting.is_first
    assert queue.due(WAITS_NS[0] + 9) is not None  # the second
    now_ns = WAITS_NS[0]
    for wait_ns in WAITS_NS[1:]:
        assert queue.again(waiting, now_ns)
        assert queue.due(now_ns + wait_ns - 1) is None
        now_ns += wait_ns
        waiting = queue.due(now_ns)
        assert waiting is not None
        assert not waiting.is_first
    assert not queue.again(waiting, now_ns)
    assert len(queue) == 0
    for _ in range(MOST_WAITING + 7):
        queue.add(first, 0)
    assert (len(queue), queue.overflowed) == (MOST_WAITING, 7)
