"""What a replay leaves of a segment hands every record back: rows, wire forms, and what neither can say."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.wire import Renderer
from engine.raw_records import LEARNED_AT_ONCE
from engine.reference.wire import number_text, render_frame
from engine.replay import Replay
from engine.wire_columns import wire_columns
from engine.wire_forms import learn_form
from recorder.journal.format import build_batch
from schemas.errors import DataError
from schemas.names import Category, RecordKind, Table
from schemas.notes import Disconnected, FullBook, Subscribed, Widened, encode
from schemas.raw_tables import FORM, OPEN, REPEAT
from schemas.tables import TICKER_FIELDS, book_topic, schema_of
from schemas.wire import WireForm, decode_form, encode_form
from tests.lined import lined_runs
from tests.property.driving import full_book_of
from tests.strategies import Run, runs

START_NS = 1_700_000_000_000_000_000
Pending = tuple[int, int, int, bytes]
Tables = dict[tuple[Table, str, int], list[pa.Table]]


def replay(category: Category, records: list[Pending], cuts: tuple[int, ...] = ()) -> Tables:
    """The tables that a segment of these records gives, taken out at every cut."""
    made = Replay("linear", category, START_NS)
    tables: Tables = {}

    def take(rows: dict[Any, pa.Table]) -> None:
        for key, table in rows.items():
            tables.setdefault(key, []).append(table)

    places = sorted({0, *(cut for cut in cuts if cut < len(records)), len(records)})
    for start, end in pairwise(places):
        made.batch(build_batch(start, records[start:end]))
        take(made.take_rows())
    take(made.finish(START_NS))
    return tables


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with times as integers."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(field.type) else column
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.schema.names).to_pylist()


def raw_rows(tables: Tables) -> list[dict[str, Any]]:
    return [
        row
        for (table, _, _), parts in tables.items()
        if table is Table.RAW_RECORDS
        for part in parts
        for row in plain(part)
    ]


def rebuilt(category: Category, tables: Tables) -> list[Pending]:
    """Every record, by the readable renderer and in the plainest way."""
    records: dict[int, Pending] = {}
    forms: dict[str, list[tuple[int, WireForm]]] = {}
    opens: dict[int, str] = {}
    for row in raw_rows(tables):
        sequence, payload = row["sequence"], row["payload"]
        if row["kind"] == OPEN:
            opens[sequence] = payload.decode()
            continue
        if row["kind"] == FORM:
            form = decode_form(payload)
            forms.setdefault(form.topic, []).append((sequence, form))
            continue
        assert sequence not in records
        if row["kind"] == REPEAT:
            payload = b"repeat:" + payload
        kind = 0 if row["kind"] == REPEAT else row["kind"]
        records[sequence] = row["receive_time"], row["line"], kind, payload
    raw = set(records)
    frames: dict[int, tuple[str, str, list[dict[str, Any]]]] = {}
    for (table, symbol, _), parts in tables.items():
        for row in (row for part in parts for row in plain(part)):
            if row["sequence"] in raw or row.get("kind") == "keyframe":
                continue
            if table in (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES):
                topic = book_topic(table, row["depth"], symbol)
            elif table is Table.TRADES:
                topic = "publicTrade." + (symbol.split("-")[0] if category is Category.OPTION else symbol)
            elif table is Table.TICKERS:
                topic = f"tickers.{symbol}"
            else:
                continue
            frames.setdefault(row["sequence"], (topic, symbol, []))[2].append(row)
    for sequence, (topic, symbol, rows) in frames.items():
        form = [form for since, form in sorted(forms[topic], key=lambda item: item[0]) if since <= sequence][
            -1
        ]
        frame = render_frame(form, rows, symbol, opens.get(sequence))
        assert frame is not None
        records[sequence] = rows[0]["receive_time"], rows[0]["line"], 0, frame
    out = []
    for sequence in sorted(records):
        receive_ns, line, kind, payload = records[sequence]
        if payload.startswith(b"repeat:"):
            earlier = int(payload[len(b"repeat:") :])
            assert earlier < sequence
            payload = records[earlier][3]
            records[sequence] = receive_ns, line, kind, payload
        out.append((receive_ns, line, kind, payload))
    return out


def records_of(run: Run) -> list[Pending]:
    """Frames as they came, and what was said of their lines."""
    out: list[Pending] = []
    for step in run.steps:
        now = START_NS + 1_000_003 * len(out) + 86_400_000_000_000 * (len(out) // 25)
        if step.action == "frame":
            out.append((now, step.line, RecordKind.FRAME, step.frame))
        elif step.action == "subscribed":
            out.append((now, step.line, RecordKind.SESSION, encode(Subscribed(topics=[step.topic]))))
        elif step.action == "disconnect":
            out.append((now, step.line, RecordKind.SESSION, encode(Disconnected(reason="so it is"))))
        elif step.action == "restate" and (book := full_book_of(step)) is not None:
            body, deltas = book
            note = FullBook(
                topic=step.topic, path="", body=body.decode(), deltas=[delta.decode() for delta in deltas]
            )
            out.append((now, step.line, RecordKind.REST, encode(note)))
        elif step.action == "announce":
            price, size = step.decimals
            note_of = Widened(
                symbol=run.symbol, price_decimals=price, size_decimals=size, source="instruments"
            )
            out.append((now, step.line, RecordKind.NOTE, encode(note_of)))
    return out


@settings(max_examples=40, deadline=None)
@given(runs(length=60), st.lists(st.integers(1, 80), max_size=5))
def test_every_record_comes_back(run: Run, cuts: list[int]) -> None:
    records = records_of(run)
    if records:
        assert rebuilt(run.category, replay(run.category, records, tuple(cuts))) == records


@settings(max_examples=20, deadline=None)
@given(lined_runs(length=60))
def test_every_record_of_two_lines_comes_back(run: Run) -> None:
    records = records_of(run)
    if records:
        assert rebuilt(run.category, replay(run.category, records)) == records


@settings(max_examples=10, deadline=None)
@given(runs(length=60), st.lists(st.integers(1, 80), max_size=6))
def test_cuts_leave_no_trace(run: Run, cuts: list[int]) -> None:
    records = records_of(run)
    if records:
        one, other = replay(run.category, records), replay(run.category, records, tuple(cuts))
        assert raw_rows(one) == raw_rows(other)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=6))
def test_cuts_leave_no_trace_in_what_drivers_read_of_two_lines(cuts: list[int]) -> None:
    """A batch may hold nothing but the second line's copy of a frame, which makes no row."""
    records: list[Pending] = [
        (START_NS + line, line, RecordKind.SESSION, encode(Subscribed(topics=["priceLimit.BTCUSDT"])))
        for line in (0, 1)
    ]
    for at in range(10):
        frame = (
            b'{"topic":"priceLimit.BTCUSDT","data":{"symbol":"BTCUSDT","buyLmt":"114450.%02d","sellLmt":"103550.00"},'
            b'"ts":%d}' % (at, 1_750_059_683_782 + 300 * at)
        )
        records += [
            (START_NS + 300_000_000 * (at + 1) + line, line, RecordKind.FRAME, frame) for line in (0, 1)
        ]
    whole = replay(Category.LINEAR, records)
    # the first copy: nothing is remembered of a feed before it
    assert sum(row["kind"] == RecordKind.FRAME for row in raw_rows(whole)) == 1
    for ways in (tuple(cuts), tuple(range(1, len(records)))):
        assert raw_rows(replay(Category.LINEAR, records, ways)) == raw_rows(whole)


# ---- what the exchange really writes ---------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[Category, list[bytes]]] = {
    "linear book": (
        Category.LINEAR,
        [
            b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1687940967400,"data":{"s":"BTCUSDT","b":[["30247.20","30.028"],["30240.00","0.500"]],"a":[["30248.70","0.892"],["30249.60","1.100"]],"u":177400506,"seq":66544703301},"cts":1687940967398}',
            b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT","b":[["30240.00","0"]],"a":[["30248.70","0"],["30249.30","0.892"]],"u":177400507,"seq":66544703342},"cts":1687940967464}',
            b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1687940967486,"data":{"s":"BTCUSDT","b":[],"a":[],"u":177400508,"seq":66544703342},"cts":1687940967464}',
        ],
    ),
    "level 1": (
        Category.LINEAR,
        [
            b'{"topic":"orderbook.1.BTCUSDT","ts":1772694601512,"type":"snapshot","data":{"s":"BTCUSDT","b":[["64474.1","1.4"]],"a":[["64474.2","7.108"]],"u":4030692,"seq":715964319629},"cts":1772694601510}',
            b'{"topic":"orderbook.1.BTCUSDT","ts":1772694601522,"type":"snapshot","data":{"s":"BTCUSDT","b":[["64475","1.45"]],"a":[["64475.2","7"]],"u":4030693,"seq":715964319630},"cts":1772694601520}',
        ],
    ),
    "spot book": (
        Category.SPOT,
        [
            b'{"topic":"orderbook.50.ETHUSDC","ts":1687940967400,"type":"snapshot","data":{"s":"ETHUSDC","b":[["83805","0.114259"],["83804.5","2"]],"a":[["83806.25","0.1"]],"u":5,"seq":66544703301},"cts":1687940967398}',
            b'{"topic":"orderbook.50.ETHUSDC","ts":1687940967420,"type":"delta","data":{"s":"ETHUSDC","b":[["83804.5","0"]],"a":[],"u":6,"seq":66544703302},"cts":1687940967398}',
        ],
    ),
    "rpi book": (
        Category.LINEAR,
        [
            b'{"topic":"orderbook.rpi.BTCUSDT","ts":1752472188075,"type":"snapshot","data":{"s":"BTCUSDT","b":[["121975.1","0.114259","0"],["121960.5","0","0.163986"]],"a":[["121990.8","0.441585","0.788210"]],"u":2258979,"seq":79683241099},"cts":1752472188067}',
            b'{"topic":"orderbook.rpi.BTCUSDT","ts":1752472188175,"type":"delta","data":{"s":"BTCUSDT","b":[["121969.9","0","0"],["121960.5","0","0.163986"]],"a":[],"u":2258980,"seq":79683241100},"cts":1752472188167}',
        ],
    ),
    "full book": (
        Category.SPOT,
        [
            b'{"topic":"orderbook.full.MNTUSDT","ts":1784103477732,"type":"delta","data":{"s":"MNTUSDT","b":[["0.4758","2342.47"],["0.4757","0"]],"a":[],"u":278547,"seq":1501100579},"cts":1784103477730}',
        ],
    ),
    "option book": (
        Category.OPTION,
        [
            b'{"topic":"orderbook.25.BTC-6JAN23-17500-C","ts":1672917511074,"id":"orderbook.25.BTC-6JAN23-17500-C-2480334983-1672917511074","type":"snapshot","data":{"s":"BTC-6JAN23-17500-C","b":[["10","5.1"]],"a":[],"u":7,"seq":2480334983},"cts":1672917510074}',
            b'{"topic":"orderbook.25.BTC-6JAN23-17500-C","ts":1672917511094,"id":"orderbook.25.BTC-6JAN23-17500-C-2480334984-1672917511094","type":"delta","data":{"s":"BTC-6JAN23-17500-C","b":[["10","0"]],"a":[["15","0.5"]],"u":8,"seq":2480334984},"cts":1672917511074}',
        ],
    ),
    "trades": (
        Category.LINEAR,
        [
            b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"RPI":false,"seq":1783284617},{"T":1672304486866,"s":"BTCUSDT","S":"Sell","v":"1.250","p":"16578.00","L":"ZeroMinusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023b0","BT":true,"RPI":true,"seq":1783284618}]}',
            b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486968,"data":[{"T":1672304486965,"s":"BTCUSDT","S":"Buy","v":"0.101","p":"16579.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023b1","BT":false,"RPI":false,"seq":1783284619}]}',
        ],
    ),
    "spot trades": (
        Category.SPOT,
        [
            b'{"topic":"publicTrade.ETHUSDC","ts":1672304486868,"type":"snapshot","data":[{"i":"2290000000068683805","T":1672304486865,"p":"1200.01","v":"0.5","S":"Buy","seq":17832846,"s":"ETHUSDC","BT":false,"RPI":false}]}',
        ],
    ),
    "option trades": (
        Category.OPTION,
        [
            b'{"topic":"publicTrade.BTC","ts":1790373961392,"type":"snapshot","id":"publicTrade.BTC-76572340339-1790373961392","data":[{"i":"44f06f5c-3628-5a2d-9a1c-0142ddf5e2ab","T":1790373961369,"p":"240","v":"0.1","S":"Buy","seq":76572340339,"s":"BTC-25JUN27-106000-C-USDT","BT":false,"mP":"238.78","iP":"83885.18","mIv":"0.1389","iv":"0.14"}]}',
        ],
    ),
    "spread": (
        Category.SPREAD,
        [
            b'{"topic":"publicTrade.SOLUSDT_SOL/USDT","ts":1744170142723,"type":"snapshot","data":[{"T":1744170142720,"s":"SOLUSDT_SOL/USDT","S":"Sell","v":"2.5","p":"-19.3928","L":"MinusTick","i":"31d0fc58-933b-57b3-8378-f73da06da843","seq":1783284617}]}',
            b'{"topic":"tickers.SOLUSDT_SOL/USDT","ts":1744168585009,"type":"snapshot","data":{"symbol":"SOLUSDT_SOL/USDT","bidPrice":"20.3359","bidSize":"1.7","askPrice":"","askSize":"","lastPrice":"21.8182","highPrice24h":"24.2356","lowPrice24h":"-3","prevPrice24h":"22.1468","volume24h":"23309.9"}}',
        ],
    ),
    "tickers": (
        Category.LINEAR,
        [
            b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"MinusTick","lastPrice":"66666.60","markPrice":"66666.60","indexPrice":"115418.19","openInterest":"492373.72","fundingIntervalHour":"8","fundingCap":"0.005","nextFundingTime":"1760342400000","fundingRate":"-0.005","bid1Price":"66666.60","bid1Size":"23789.165","ask1Price":"66666.70","ask1Size":"23775.469","preOpenPrice":"","preQty":"","curPreListingPhase":""},"cs":9532239429,"ts":1760325052630}',
            b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"66668.00","fundingRate":"0"},"cs":9532239551,"ts":1760325052730}',
            b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT"},"cs":9532239552,"ts":1760325052830}',
        ],
    ),
    "dated tickers": (
        Category.LINEAR,
        [
            b'{"topic":"tickers.BTC-26DEC25","type":"snapshot","data":{"symbol":"BTC-26DEC25","lastPrice":"66666.60","deliveryTime":"2025-12-26T08:00:00Z","basis":"-0.00","basisRate":"0.0123"},"cs":9532239429,"ts":1760325052630}'.replace(
                b'"-0.00"', b'"0.00"'
            ),
            b'{"topic":"tickers.BTC-26DEC25","type":"delta","data":{"symbol":"BTC-26DEC25","deliveryTime":"2024-02-29T23:59:59Z","basis":"12.50"},"cs":9532239430,"ts":1760325052730}',
        ],
    ),
    "spot tickers": (
        Category.SPOT,
        [
            b'{"topic":"tickers.BTCUSDT","ts":1673853746003,"type":"snapshot","cs":2588407389,"data":{"symbol":"BTCUSDT","lastPrice":"21109.77","highPrice24h":"21426.99","lowPrice24h":"20575","prevPrice24h":"20704.93","volume24h":"6780.866843","turnover24h":"141946527.22907118","price24hPcnt":"0.0196","usdIndexPrice":"21120.2400136"}}',
            b'{"topic":"tickers.BTCUSDT","ts":1673853746053,"type":"snapshot","cs":2588407390,"data":{"symbol":"BTCUSDT","lastPrice":"21109.77","highPrice24h":"21426.99","lowPrice24h":"20575","prevPrice24h":"20704.93","volume24h":"6780.866843","turnover24h":"141946527.22907118","price24hPcnt":"0.0196","usdIndexPrice":"21120.2400137"}}',
        ],
    ),
    "option tickers": (
        Category.OPTION,
        [
            b'{"id":"tickers.BTC-6JAN23-17500-C-2480334983-1672917511074","topic":"tickers.BTC-6JAN23-17500-C","ts":1672917511074,"data":{"symbol":"BTC-6JAN23-17500-C","bidPrice":"0","bidSize":"0","bidIv":"0","askPrice":"10","askSize":"5.1","askIv":"0.514","lastPrice":"10","highPrice24h":"25","lowPrice24h":"5","markPrice":"7.86976724","indexPrice":"16823.73","markPriceIv":"0.4896","underlyingPrice":"16815.1","openInterest":"49.85","turnover24h":"446802.8473","volume24h":"26.55","totalVolume":"86","totalTurnover":"1437431","delta":"0.047831","gamma":"0.00021453","vega":"0.81351067","theta":"-19.9115368","predictedDeliveryPrice":"0","change24h":"-0.33333334"},"type":"snapshot"}',
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_the_exchange_writes_is_not_kept_twice(name: str) -> None:
    """Protocol sections 3.1 to 3.12: frames as printed there come from rows and a form."""
    category, frames = LAYOUTS[name]
    topics = list(dict.fromkeys(frame.split(b'"topic":"')[1].split(b'"')[0].decode() for frame in frames))
    records: list[Pending] = [
        (START_NS, 0, RecordKind.SESSION, encode(Subscribed(topics=topics))),
        *((START_NS + at, 0, RecordKind.FRAME, frame) for at, frame in enumerate(frames)),
    ]
    tables = replay(category, records)
    kinds = [row["kind"] for row in raw_rows(tables)]
    assert kinds.count(RecordKind.FRAME) == 0
    assert kinds.count(FORM) <= 2 * len(topics)
    assert rebuilt(category, tables) == records


@pytest.mark.parametrize(
    ("name", "number"), [("option tickers", b"2480334983"), ("option trades", b"publicTrade.BTC-76572340339")]
)
def test_numbers_that_stand_in_no_column_are_all_that_is_kept(name: str, number: bytes) -> None:
    """Ids of options' frames name a sequence that their rows don't have."""
    category, (frame,) = LAYOUTS[name]
    topic = frame.split(b'"topic":"')[1].split(b'"')[0].decode()
    records: list[Pending] = [(START_NS, 0, RecordKind.SESSION, encode(Subscribed(topics=[topic])))]
    for at in range(50):
        changed = frame.replace(number, number[:-2] + b"%02d" % at).replace(b"44f06f5c", b"44f06f%02x" % at)
        records.append((START_NS + at, 0, RecordKind.FRAME, changed))
    tables = replay(category, records)
    kinds = [row["kind"] for row in raw_rows(tables)]
    assert kinds.count(RecordKind.FRAME) == 0
    assert kinds.count(FORM) == 2
    assert kinds.count(OPEN) == 49
    assert rebuilt(category, tables) == records


def test_a_copy_of_a_frame_is_a_reference() -> None:
    topics = ["orderbook.50.BTCUSDT"]
    first, second = LAYOUTS["linear book"][1][:2]
    records: list[Pending] = [
        (START_NS, line, RecordKind.SESSION, encode(Subscribed(topics=topics))) for line in (0, 1)
    ]
    records += [
        (START_NS + at, at % 2, RecordKind.FRAME, frame)
        for at, frame in enumerate([first, first, second, second])
    ]
    for u in range(177400508, 177400600):
        frame = second.replace(b"177400507", b"%d" % u)
        records += [(START_NS + u, line, RecordKind.FRAME, frame) for line in (0, 1)]
    tables = replay(Category.LINEAR, records)
    kinds = [row["kind"] for row in raw_rows(tables)]
    # the first copy says that copies come; from then on each is told by the frame before it
    assert kinds.count(RecordKind.FRAME) <= 2
    assert kinds.count(REPEAT) >= 90
    assert rebuilt(Category.LINEAR, tables) == records


def test_what_is_remembered_for_copies_takes_what_the_last_frames_take() -> None:
    """Not 32 times what the largest frame ever took."""
    topic = "orderbook.50.BTCUSDT"
    snapshot, delta = LAYOUTS["linear book"][1][:2]
    made = Replay("linear", Category.LINEAR, START_NS)
    records: list[Pending] = [
        (START_NS, line, RecordKind.SESSION, encode(Subscribed(topics=[topic]))) for line in (0, 1)
    ]
    records += [(START_NS, line, RecordKind.FRAME, snapshot) for line in (0, 1)]
    held = []
    update_id = 177400507
    for blanks in (5_000, 0, 5_000):
        for _ in range(40):
            frame = delta.replace(b"177400507", b"%d" % update_id).replace(b'"a":[', b'"a":[' + b" " * blanks)
            records += [(START_NS + update_id, line, RecordKind.FRAME, frame) for line in (0, 1)]
            update_id += 1
        made.batch(build_batch(made.records, records))
        records = []
        held.append(made.remembered_bytes)
        assert 32 * len(frame) <= held[-1] <= 32 * (len(frame) + 128)
    assert held[0] == held[2] > 10 * held[1]


def test_a_feed_that_fits_no_form_is_not_learned_from_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def count(*given: Any) -> WireForm | None:
        tried.append(given)
        return learn_form(*given)

    monkeypatch.setattr("engine.raw_records.learn_form", count)
    spaced = LAYOUTS["linear book"][1][1].replace(b'"a":[[', b'"a":[ [')
    records: list[Pending] = [
        (START_NS + at, 0, RecordKind.FRAME, spaced.replace(b"177400507", b"%d" % (at + 5)))
        for at in range(1000)
    ]
    tables = replay(
        Category.LINEAR,
        [(START_NS, 0, RecordKind.SESSION, encode(Subscribed(topics=["orderbook.50.BTCUSDT"]))), *records],
    )
    assert len([row for row in raw_rows(tables) if row["kind"] == RecordKind.FRAME]) == 1000
    assert LEARNED_AT_ONCE <= len(tried) <= LEARNED_AT_ONCE + 4


# ---- the two renderers -----------------------------------------------------------------------------------------------

STYLES = st.one_of(
    st.just("trimmed"), st.integers(0, 18).map(str), st.integers(0, 18).map(lambda places: f"{places}z")
)
INT64 = (
    st.integers(-(2**63) + 1, 2**63 - 1)
    | st.integers(-(10**6), 10**6)
    | st.sampled_from([0, 10**18, 2**63 - 1])
)
BOOK_FORM = WireForm("orderbook.50.BTCUSDT", ("[", "bids", "]"), numbers={"price": "0", "size": "0"})


def _one_level(price: int, size: int, decimals: int) -> pa.Table:
    row = {
        "sequence": 1, "collector": "c", "receive_time": 0, "push_time": 0, "match_time": None, "depth": 50,
        "kind": "delta", "applied": True, "update_id": 1, "cross_sequence": None, "bid_price_mantissa": [price],
        "bid_size_mantissa": [size], "ask_price_mantissa": [], "ask_size_mantissa": [], "price_exponent": -decimals,
        "size_exponent": -decimals, "digest": None, "line": 0,
    }  # fmt: skip
    schema = schema_of(Table.BOOK_UPDATES)
    arrays = [
        pa.array([row[f.name]], pa.string()).dictionary_encode().cast(f.type)
        if pa.types.is_dictionary(f.type)
        else pa.array([row[f.name]], f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


ONE = np.array([0], np.int64), np.array([1], np.int64)


@settings(max_examples=150, deadline=None)
@given(INT64, INT64, st.integers(0, 18), STYLES, STYLES)
def test_numbers_of_levels(price: int, size: int, decimals: int, price_style: str, size_style: str) -> None:
    form = WireForm("t", BOOK_FORM.frame, numbers={"price": price_style, "size": size_style})
    rows = _one_level(price, size, decimals)
    expected = render_frame(form, plain(rows), "BTCUSDT")
    fits = all(
        text is not None and abs(int(text.replace(".", ""))) < 2**64
        for text in (number_text(price, decimals, price_style), number_text(size, decimals, size_style))
    )
    renderer = Renderer(form, "book", "BTCUSDT")
    if expected is None or not fits:
        with pytest.raises(DataError, match="can't be written"):
            renderer.render(*wire_columns("book", rows), *ONE)
    else:
        assert renderer.render(*wire_columns("book", rows), *ONE)[0] == expected


@pytest.mark.parametrize("exponent", [1, 127, -19, -128])
def test_exponents_that_no_row_has(exponent: int) -> None:
    rows = _one_level(12, 34, 2)
    place = rows.schema.get_field_index("price_exponent")
    rows = rows.set_column(place, rows.schema.field(place), pa.array([exponent], pa.int8()))
    for style in ("2", "2z", "trimmed"):
        renderer = Renderer(
            WireForm("t", BOOK_FORM.frame, numbers={"price": style, "size": "2"}), "book", "X"
        )
        with pytest.raises(DataError):
            renderer.render(*wire_columns("book", rows), *ONE)


def test_a_symbol_that_none_has() -> None:
    with pytest.raises(DataError, match="at most 64 bytes"):
        Renderer(BOOK_FORM, "book", "X" * 65)


DECIMALS = st.decimals(-(10**19), 10**19, places=18, allow_nan=False) | st.integers(-(10**19), 10**19).map(
    Decimal
)


@settings(max_examples=60, deadline=None)
@given(DECIMALS, STYLES)
def test_numbers_of_tickers(value: Decimal, style: str) -> None:
    form = WireForm("tickers.X", ("{", "values", "}"), numbers={"lastPrice": style})
    schema = schema_of(Table.TICKERS)
    place = [field.key for field in TICKER_FIELDS].index("lastPrice")
    cells: dict[str, Any] = {
        "sequence": 1, "collector": "c", "receive_time": 0, "push_time": 0, "kind": "delta", "applied": True,
        "keys": 1 << place, "last_price": value, "line": 0,
    }  # fmt: skip
    arrays = [
        pa.array([cells.get(f.name)], pa.string()).dictionary_encode().cast(f.type)
        if pa.types.is_dictionary(f.type)
        else pa.array([cells.get(f.name)], f.type)
        for f in schema
    ]
    rows = pa.Table.from_arrays(arrays, schema=schema)
    expected = render_frame(form, plain(rows), "X")
    renderer = Renderer(form, "ticker", "X")
    if expected is None:
        with pytest.raises(DataError):
            renderer.render(*wire_columns("ticker", rows), *ONE)
        return
    try:
        found = renderer.render(*wire_columns("ticker", rows), *ONE)[0]
    except DataError:  # more digits than it has room for: then the frame is kept as it came
        assert len(expected) > 30
    else:
        assert found == expected


@given(st.text(max_size=200))
def test_whatever_is_learned_from_is_survived(text: str) -> None:
    for kind in ("book", "rpi", "trades", "ticker"):
        learned = learn_form(kind, "t", "s", text.encode("utf-8", "surrogatepass"), None)
        assert learned is None or decode_form(encode_form(learned)) == learned


@pytest.mark.parametrize(
    "form",
    [
        WireForm("t", ("", "nonsense", ""), numbers={"price": "0", "size": "0"}),
        WireForm("t", ("[", "bids", "]")),
        WireForm("t", ("[", "bids", "]"), numbers={"price": "19", "size": "0"}),
        WireForm("t", ("[", "bids", "]"), numbers={"price": "ms", "size": "0"}),
        WireForm("t", ("[", "bids", "]"), ("", "bids", ""), numbers={"price": "0", "size": "0"}),
    ],
)
def test_forms_that_are_none(form: WireForm) -> None:
    with pytest.raises(DataError):
        Renderer(form, "book", "s")


def test_a_ticker_form_that_names_a_key_often() -> None:
    with pytest.raises(DataError):
        Renderer(WireForm("t", ("{", "values", "}"), order=("lastPrice",) * 49), "ticker", "s")
    with pytest.raises(DataError):
        Renderer(WireForm("t", ("{", "values", "}"), order=("nonsense",)), "ticker", "s")


# ---- what the decoder tells the check --------------------------------------------------------------------------------


@st.composite
def spelled(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """Messages of a book as the exchange writes them, but for a number here and there."""
    decimals = draw(st.integers(0, 4))
    clock_first = draw(st.booleans())

    def number(mantissa: int) -> str:
        text = number_text(mantissa, decimals, str(decimals)) or ""
        if draw(st.integers(0, 30)):
            return text
        odd = [
            f"{text}0" if "." in text else f"{text}.0",
            text.rstrip("0").rstrip(".") or "0",
            "0." + "0" * max(decimals, 1),
        ]
        return draw(st.sampled_from([*odd, f"0{text}", f"{text}.", f" {text}", f"-{text}"]))

    frames = []
    for u in range(1, draw(st.integers(2, 8))):
        sides = []
        for side, start in (("b", 50_000), ("a", 60_000)):
            count = draw(st.integers(0, 5))
            step = -7 if side == "b" else 7
            levels = ",".join(
                f'["{number(start + step * at)}","{number(draw(st.sampled_from([0, 1, 10, 123456])))}"]'
                for at in range(count)
            )
            sides.append(f'"{side}":[{levels}]')
        kind, ts = ("snapshot" if u == 1 else "delta"), 1_700_000_000_000 + u
        head = f'"ts":{ts},"type":"{kind}"' if clock_first else f'"type":"{kind}","ts":{ts}'
        body = f'"data":{{"s":"BTCUSDT",{",".join(sides)},"u":{u},"seq":{u * 3}}}'
        frames.append(f'{{"topic":"orderbook.50.BTCUSDT",{head},{body},"cts":{ts - 1}}}'.encode())
    return frames, clock_first


@settings(max_examples=150, deadline=None)
@given(spelled())
def test_every_spelling_of_a_number_comes_back(given_frames: tuple[list[bytes], bool]) -> None:
    frames, _ = given_frames
    records: list[Pending] = [
        (START_NS, 0, RecordKind.SESSION, encode(Subscribed(topics=["orderbook.50.BTCUSDT"]))),
        *((START_NS + at, 0, RecordKind.FRAME, frame) for at, frame in enumerate(frames)),
    ]
    assert rebuilt(Category.LINEAR, replay(Category.LINEAR, records)) == records
