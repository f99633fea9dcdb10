"""Klines, liquidations, insurance, ADL alerts, price limits and system status: from bytes to rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.topics import expand
from engine.core.feeds import CONTROL, UNDECODABLE, UNKNOWN_TOPIC, Engine
from engine.freshness import needs_snapshot, silence_of
from engine.replay import Replay, symbol_of
from recorder.capture import Capture
from recorder.journal.format import build_batch
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Table
from schemas.notes import Disconnected, Subscribed
from schemas.tables import schema_of
from tests.engine.drivers.messages import SAMPLES, TOPICS, Message, messages
from tests.engine.drivers.support import Journal

DAY_MS = 86_400_000
Rows = dict[tuple[Table, str, int], list[dict[str, Any]]]


def _engine(*, columns: bool = True) -> Engine:
    engine = Engine(Category.LINEAR, columns=columns)
    for topic in TOPICS:
        engine.add_feed(topic)
    return engine


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with times as integers."""
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _taken(tables: dict[tuple[Table, str, int], pa.Table]) -> Rows:
    out: Rows = {}
    for key, table in tables.items():
        assert table.schema.equals(schema_of(key[0]), check_metadata=True)
        table.validate(full=True)
        out[key] = _plain(table)
    return out


def _expected(said: list[tuple[Message, int, int, int]]) -> Rows:
    """Of (message, sequence, receive_ns, line), by what the message was made from."""
    out: Rows = {}
    for message, sequence, receive_ns, line in said:
        for symbol, row in message.rows:
            out.setdefault((message.table, symbol, message.push_ms // DAY_MS), []).append(
                {
                    "sequence": sequence,
                    "collector": "c",
                    "receive_time": receive_ns,
                    "push_time": message.push_ms,
                }
                | row
                | {"line": line}
            )
    return out


@given(st.lists(messages(), max_size=12))
def test_messages_become_their_rows(said: list[Message]) -> None:
    engine = _engine()
    for i, message in enumerate(said):
        feed = TOPICS.index(message.topic)
        assert engine.apply(message.frame, 100 + i, i, feed % 3) == feed
    assert _taken(engine.take_rows("c")) == _expected(
        [(message, i, 100 + i, TOPICS.index(message.topic) % 3) for i, message in enumerate(said)]
    )
    assert engine.counters()["undecodable"] == {}
    assert engine.counters()["drift"] == 0
    for feed, topic in enumerate(TOPICS):
        counters = engine.feed_counters(feed)
        of_feed = [message for message in said if message.topic == topic]
        assert counters["messages"] == len(of_feed)
        assert counters["rows"] == sum(len(message.rows) for message in of_feed)
        assert engine.state(feed) is (FeedState.LIVE if of_feed else FeedState.EMPTY)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample[10:25].decode())
def test_the_samples_of_the_protocol(sample: bytes) -> None:
    engine = _engine()
    assert engine.apply(sample, 1, 1) >= 0
    assert engine.counters()["drift"] == 0
    ((_, rows),) = engine.take_rows("c").items()
    assert rows.num_rows == 1


def test_numbers_of_the_samples_are_exact() -> None:
    engine = _engine()
    for sample in SAMPLES:
        engine.apply(sample, 1, 1)
    rows = {key[0]: value[0] for key, value in _taken(engine.take_rows("c")).items()}
    assert str(rows[Table.KLINES]["turnover"].normalize()) == "34666.4005"
    assert str(rows[Table.ADL_ALERTS]["balance"].normalize()) == "19873.46255153"
    assert str(rows[Table.ADL_ALERTS]["trigger_ratio"].normalize()) == "-0.3"
    assert rows[Table.ADL_ALERTS]["maximum_balance"] is None
    assert rows[Table.LIQUIDATIONS]["side"] == "sell"
    assert rows[Table.INSURANCE]["kind"] == "delta"
    assert rows[Table.SYSTEM_STATUS]["service_types"] == [2, 3, 4, 5]


# ---- what is wrong with a message is its feed's, whole -------------------------------------------------------------

WRONG = [
    (0, b'"ts":1672324988882,', b"", "missing_key"),
    (0, b'"ts":1672324988882', b'"ts":"1672324988882"', "wrong_type"),
    (0, b'"ts":1672324988882', b'"ts":1e3', "bad_number"),
    (0, b'"interval":"5"', b'"interval":"1"', "bad_value"),
    (0, b'"confirm":false', b'"confirm":0', "wrong_type"),
    (0, b'"confirm":false,', b"", "missing_key"),
    (0, b'"open":"16649.5"', b'"open":"16649.5e0"', "bad_number"),
    (0, b'"open":"16649.5"', b'"open":"1","open":"2"', "duplicate_key"),
    (0, b'"open":"16649.5"', b'"open":null', "wrong_type"),
    (0, b'"data":[', b'"data":[1,', "wrong_type"),
    (
        0,
        b'"topic":"kline.5.BTCUSDT"',
        b'"topic":"kline.5.BTCUSDT","topic":"kline.5.BTCUSDT"',
        "duplicate_key",
    ),
    (0, b'"type":"snapshot"', b'"type":1', "wrong_type"),
    (1, b'"s":"ROSEUSDT"', b'"s":"ROSEUSD"', "wrong_symbol"),
    (1, b'"S":"Sell"', b'"S":"sell"', "bad_value"),
    (1, b'"p":"0.04499"', b'"p":"0.0000000000000000001"', "decimal"),
    (2, b'"updateTime":"1747722930000"', b'"updateTime":"soon"', "bad_number"),
    (2, b'"symbols":"GRIFFAINUSDT"', b'"symbols":["GRIFFAINUSDT"]', "wrong_type"),
    (3, b'"s":"ZORAUSDT"', b'"s":""', "bad_value"),
    (3, b'"b":19873.46255153', b'"b":1e30', "decimal"),
    (3, b'"b":19873.46255153', b'"b":NaN', "not_json"),
    (4, b'"symbol":"BTCUSDT"', b'"symbol":"ETHUSDT"', "wrong_symbol"),
    (4, b'"data":{', b'"data":[{', "not_json"),
    (4, b'"sellLmt":"103550.00"', b'"sellLmt":103550.00,"sellLmt":1', "duplicate_key"),
    (5, b'"maintainType":1', b'"maintainType":-1', "bad_number"),
    (5, b'"serviceTypes":[2,3,4,5]', b'"serviceTypes":[2,"3"]', "wrong_type"),
]


@pytest.mark.parametrize(("which", "old", "new", "cause"), WRONG)
def test_a_message_that_is_wrong_changes_nothing_and_opens_its_feeds_gap(
    which: int, old: bytes, new: bytes, cause: str
) -> None:
    sample = SAMPLES[which]
    assert sample.count(old) >= 1
    engine = _engine()
    feed = engine.apply(sample, 1, 1)
    before = engine.take_rows("c")
    assert engine.apply(sample.replace(old, new, 1), 2, 2) == UNDECODABLE
    assert engine.counters()["undecodable"] == {cause: 1}
    assert engine.take_rows("c") == {}
    assert engine.state(feed) is FeedState.STALE
    gap = engine.open_gap(feed)
    assert gap is not None
    assert (gap.cause, gap.start_ns) == ("undecodable", 1)
    assert [engine.open_gap(other) for other in range(len(TOPICS)) if other != feed] == [None] * (
        len(TOPICS) - 1
    )
    engine.apply(sample, 3, 1)
    assert engine.open_gap(feed) is None
    assert len(before) == 1


@pytest.mark.parametrize(
    ("which", "old", "new", "drift"),
    [
        (0, b'"confirm":false', b'"confirm":false,"new":{"a":[1]}', 1),
        (0, b'"type":"snapshot"', b'"type":"delta","id":"x"', 2),
        (2, b'"type":"delta"', b'"type":"other"', 1),
        (3, b'"mb":"",', b"", 0),
        (5, b'"completed"', b'"postponed"', 1),
        (5, b'"env":1', b'"env":"1"', 0),
    ],
)
def test_what_nobody_knows_is_counted_and_the_rest_is_taken(
    which: int, old: bytes, new: bytes, drift: int
) -> None:
    engine = _engine()
    assert engine.apply(SAMPLES[which].replace(old, new), 1, 1) >= 0
    assert engine.counters()["drift"] == drift
    assert sum(table.num_rows for table in engine.take_rows("c").values()) == 1


@given(
    st.sampled_from(SAMPLES),
    st.lists(
        st.tuples(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=4
    ),
)
def test_damaged_messages_never_crash_and_are_accounted_for(
    sample: bytes, damages: list[tuple[int, bytes, int]]
) -> None:
    engine = _engine()
    frame = sample
    for at, new, cut in damages:
        frame = frame[:at] + new + frame[at + cut :]
    result = engine.apply(frame, 1, 1)
    counters = engine.counters()
    rows = sum(table.num_rows for table in engine.take_rows("c").values())
    if result == UNDECODABLE:
        assert sum(counters["undecodable"].values()) == 1
        assert rows == 0
        assert [event for event in engine.take_events() if event.kind == 0]
    elif result in (CONTROL, UNKNOWN_TOPIC):
        assert rows == 0
    else:
        assert engine.state(result) is FeedState.LIVE
        assert rows == engine.feed_counters(result)["rows"]


OLD = (
    b'{"topic":"liquidation.BTCUSDT","type":"snapshot","ts":1703485237953,"data":{"updatedTime":1703485237950,'
    b'"symbol":"%b","side":"%b","size":"0.003","price":"43511.70"}}'
)
"""The documented example (protocol section 3.7), with another moment of the liquidation."""


def test_the_retired_topic_of_liquidations_is_read_where_others_recorded_it() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    feed = engine.add_feed("liquidation.BTCUSDT")
    assert engine.apply(OLD % (b"BTCUSDT", b"Sell"), 1_703_485_238_000_000_000, 7, 0) == feed
    for wrong in (
        OLD % (b"ETHUSDT", b"Sell"),
        OLD % (b"BTCUSDT", b"Long"),
        OLD.replace(b'"price"', b'"prize"'),
    ):
        assert engine.apply(wrong, 1_703_485_239_000_000_000, 8, 0) == UNDECODABLE
    (key,) = taken = _taken(engine.take_rows("c"))
    assert key == (Table.LIQUIDATIONS, "BTCUSDT", 1_703_485_237_953 // DAY_MS)
    (row,) = taken[key]
    assert (row["push_time"], row["match_time"], row["side"]) == (
        1_703_485_237_953,
        1_703_485_237_950,
        "sell",
    )
    assert (row["price"], row["size"]) == (Decimal("43511.7"), Decimal("0.003"))
    assert silence_of(Category.LINEAR, "liquidation.BTCUSDT") is None
    with pytest.raises(ConfigError, match=r"allLiquidation\.SYMBOL"):
        expand(Category.LINEAR, ["liquidation"], ["BTCUSDT"])


# ---- silence, states, names ----------------------------------------------------------------------------------------


def test_what_silence_means() -> None:
    judged = {topic: silence_of(Category.LINEAR, topic) for topic in TOPICS}
    assert {topic for topic, silence in judged.items() if silence is None} == {
        "allLiquidation.ROSEUSDT", "insurance.USDT", "adlAlert.USDT", "system.status",
    }  # fmt: skip
    kline = judged["kline.5.BTCUSDT"]
    assert kline is not None
    assert kline.least * 10 > 60  # in units of ten seconds: longer than a kline may be silent
    assert not any(needs_snapshot(Category.LINEAR, topic) for topic in TOPICS)
    engine = _engine()
    for topic in TOPICS:
        engine.subscribed(topic, 1, 1)
    states = {topic: engine.state(feed) for feed, topic in enumerate(TOPICS)}
    assert {topic for topic, state in states.items() if state is FeedState.SYNCING} == {
        "kline.5.BTCUSDT", "kline.D.BTCUSDT", "priceLimit.BTCUSDT",
    }  # fmt: skip
    assert FeedState.EMPTY not in states.values()


def test_where_rows_about_a_topic_are_filed() -> None:
    assert [symbol_of(Category.LINEAR, topic) for topic in TOPICS] == [
        "BTCUSDT", "BTCUSDT", "ROSEUSDT", "_", "_", "BTCUSDT", "_",
    ]  # fmt: skip
    assert symbol_of(Category.LINEAR, "allLiquidation.A.B") == "A.B"


# ---- live and its replay, over a rotation --------------------------------------------------------------------------


@given(
    st.lists(messages() | st.sampled_from([b"\xff", b'{"topic":"kline.5.BTCUSDT"}', b"lost"]), max_size=12),
    st.data(),
)
def test_live_and_replay_are_one_over_a_rotation(said: list[Message | bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(said)))
    engine = _engine(columns=False)
    journal = Journal()
    capture = Capture(engine, journal, run=1, on_event=lambda _: None, clock=journal.clock)  # type: ignore[arg-type]
    capture.begin(list(TOPICS), [])
    capture.session(0, Subscribed(topics=list(TOPICS)))
    made: list[tuple[Message, int, int, int]] = []
    for i, message in enumerate(said):
        if i == cut:
            capture.rotate()
        if message == b"lost":
            capture.session(0, Disconnected(reason="lost"))
            continue
        now = journal.clock()
        frame = message if isinstance(message, bytes) else message.frame
        sequence = journal.next_sequence
        capture.frame_list(0, [frame], now)
        if isinstance(message, Message):
            made.append((message, sequence, now, 0))
    rows: Rows = {}
    at = 0
    for records in journal.segments:
        replay = Replay("c", Category.LINEAR, 0)
        replay.batch(build_batch(at, records))
        at += len(records)
        for key, table in _taken(replay.finish(journal.now_ns)).items():
            if key[0] not in (Table.GAPS, Table.COVERAGE, Table.RAW_RECORDS):
                rows.setdefault(key, []).extend(table)
    assert rows == _expected(made)
    for feed in range(engine.feed_count):
        assert replay.engine.checkpoint(feed) == engine.checkpoint(feed)
