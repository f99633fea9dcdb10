"""``bars``: what a slow reference adds up, over files of all kinds, and when a bar may be believed."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import Archive, open_archive
from recorder.compact import compact_data
from recorder.ranges.function import Arguments
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

NOON_MS = NOON_NS // MS
TRADES = (Table.TRADES, "BTCUSDT")
COVERAGE = (Table.COVERAGE, "BTCUSDT")
GAPS = (Table.GAPS, "BTCUSDT")
TOPIC = "publicTrade.BTCUSDT"
SECOND = 1_000
Row = dict[str, Any]


def trade(sequence: int, match: int, price: int, size: int, **columns: Any) -> Row:
    return {
        "sequence": sequence,
        "receive_time": NOON_NS + (match + 5) * MS,
        "push_time": NOON_MS + match + 1,
        "match_time": NOON_MS + match,
        "trade_id": f"{sequence:08d}-0000-4000-8000-{match:012d}",
        "price_mantissa": price,
        "size_mantissa": size,
    } | columns


def cover(start: int, end: int, **columns: Any) -> Row:
    times = {"start_time": NOON_NS + start * MS, "end_time": NOON_NS + end * MS}
    return {"sequence": 1, "topic": TOPIC} | times | columns


def moment(ms: int) -> str:
    return format_ns(NOON_NS + ms * MS)


def bars(archive: Archive, t0: int, t1: int, every: str = "1s", *, mark: bool = True) -> list[Row]:
    untrusted = "mark" if mark else "leave out"
    sql = "SELECT * REPLACE (epoch_ms(time) AS time) FROM bars('linear', 'BTCUSDT', $1, $2, $3, untrusted := $4)"
    return archive.sql(sql, [moment(t0), moment(t1), every, untrusted]).table().to_pylist()


def reference(trades: list[Row], t0: int, t1: int, every: int) -> list[Row]:
    """Bars of trades in the order in which they were recorded, each given once."""
    of_bar: dict[int, list[Row]] = {}
    for row in sorted(trades, key=lambda row: row["match_time"]):  # stable: as recorded within a moment
        if NOON_MS + t0 <= row["match_time"] < NOON_MS + t1:
            of_bar.setdefault(row["match_time"] // every * every, []).append(row)
    out = []
    for start, rows in sorted(of_bar.items()):
        prices = [Fraction(row["price_mantissa"]) * Fraction(10) ** row["price_exponent"] for row in rows]
        sizes = [Fraction(row["size_mantissa"]) * Fraction(10) ** row["size_exponent"] for row in rows]
        volume = sum(sizes)
        bought = sum(size for size, row in zip(sizes, rows, strict=True) if row["side"] == "buy")
        out.append(
            {
                "time": start,
                "open": float(prices[0]),
                "high": float(max(prices)),
                "low": float(min(prices)),
                "close": float(prices[-1]),
                "volume": float(volume),
                "vwap": pytest.approx(
                    float(sum(p * s for p, s in zip(prices, sizes, strict=True)) / volume), rel=1e-15
                ),
                "trades": len(rows),
                "buy_volume": float(bought),
            }
        )
    return out


@pytest.mark.parametrize("seed", range(10))
def test_random_trades_agree_with_the_reference(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    archive = HandmadeArchive(tmp_path)
    trades: list[Row] = []
    match, sequence = 0, 1
    price, size = (-2, -3) if seed % 2 else (-1, 0)
    for segment in range(rng.randrange(1, 5)):
        rows = []
        for _ in range(rng.randrange(1, 80)):
            match += rng.choice((0, 0, 1, 3, 40, 700))
            sequence += rng.choice((0, 1))
            late = rng.choice((0, 0, 0, -400))  # fetched back, as after a gap
            rows.append(
                trade(
                    sequence,
                    match + late,
                    rng.randrange(1, 2_000),
                    rng.randrange(1, 10**6),
                    side=rng.choice(("buy", "sell")),
                    price_exponent=price,
                    size_exponent=size,
                    trade_id=str(len(trades) + len(rows) + 1000),
                )
            )
        version = rng.choice((1, 2)) if seed % 3 else 2
        archive.segment(NOON_NS + segment, {TRADES: rows}, schema_version=version)
        trades += rows
        if rng.random() < 0.4:  # the exponents are widened
            price, size = price - 1, size - 1
    if seed in (3, 6):
        compact_data(tmp_path)
    with open_archive(tmp_path, threads=1 + seed % 2) as opened:
        for every, text in ((SECOND, "1s"), (250, "250ms"), (60_000, "1min")):
            t0, t1 = rng.randrange(-600, match // 2 + 1), match + 600
            try:
                found = bars(opened, t0, t1, text)
            except NoData:
                assert not reference(trades, t0, t1, every)
                continue
            assert [row.pop("trusted") for row in found] == [False] * len(
                found
            )  # nothing says it was recorded
            assert found == reference(trades, t0, t1, every)


def test_sums_that_doubles_would_lose_are_exact(tmp_path: Path) -> None:
    rows = [trade(1, 0, 100, 2**53), *(trade(2 + i, 1 + i, 100, 1) for i in range(10))]
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: [row | {"size_exponent": 0} for row in rows]})
    with open_archive(tmp_path) as archive:
        (found,) = bars(archive, 0, SECOND)
    assert found["volume"] == float(2**53 + 10) != sum([float(2**53), *[1.0] * 10])


def test_trades_of_one_moment_keep_their_order_across_files(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    archive.segment(NOON_NS, {TRADES: [trade(1, 10, 100, 1), trade(2, 10, 200, 1)]})
    archive.segment(NOON_NS + 1, {TRADES: [trade(3, 10, 300, 1), trade(4, 10, 50, 1)]})
    with open_archive(tmp_path) as opened:
        (found,) = bars(opened, 0, SECOND)
    assert (found["open"], found["close"], found["trades"]) == (1.0, 0.5, 4)


def test_trades_that_two_collectors_recorded_count_once(tmp_path: Path) -> None:
    rows = [trade(i, 100 * i, 100 + i, 10, trade_id=str(i)) for i in range(1, 8)]
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: rows[:5]}, schema_version=1)
    other = HandmadeArchive(tmp_path, collector="other")
    theirs = [row | {"collector": "other", "sequence": row["sequence"] + 50} for row in rows[2:]]
    other.segment(NOON_NS + 5, {TRADES: theirs}, schema_version=2)
    with open_archive(tmp_path) as archive:
        (found,) = bars(archive, 0, SECOND)
    assert (found["trades"], found["volume"], found["open"], found["close"]) == (7, 0.07, 1.01, 1.07)


def trusted(archive: Archive, t0: int = 0, t1: int = 10 * SECOND) -> str:
    """One letter a bar: T, or f for those that may lack trades."""
    marked = bars(archive, t0, t1)
    assert bars(archive, t0, t1, mark=False) == [row for row in marked if row["trusted"]]
    return "".join("T" if row["trusted"] else "f" for row in marked)


EACH_SECOND = [trade(1 + i, 500 + i * SECOND, 100, 1) for i in range(10)]


@pytest.mark.parametrize(
    ("coverage", "gaps", "expected"),
    [
        ([], [], "ffffffffff"),
        ([cover(0, 20_000)], [], "TTTTTTTTTT"),
        ([cover(1_500, 9_000)], [], "ffTTTTTTff"),  # the last second may have been under way
        ([cover(0, 4_000), cover(4_000, 11_000)], [], "TTTTTTTTTT"),
        ([cover(0, 4_000), cover(4_001, 11_000)], [], "TTTffTTTTT"),
        ([cover(0, 11_000, topic="orderbook.50.BTCUSDT")], [], "ffffffffff"),
        ([cover(0, 11_000)], [(2_500, 4_200)], "TTfffTTTTT"),
        ([cover(0, 11_000)], [(6_000, None)], "TTTTTTffff"),
    ],
)
def test_a_bar_is_trusted_if_no_trade_can_be_missing(
    tmp_path: Path, coverage: list[Row], gaps: list[tuple[int, int | None]], expected: str
) -> None:
    rows = [
        {
            "sequence": 50,
            "topic": TOPIC,
            "start_time": NOON_NS + start * MS,
            "start_match_time": NOON_MS + start,
            "end_time": None if end is None else NOON_NS + end * MS,
            "end_match_time": None if end is None else NOON_MS + end,
            "healed_by": None if end is None else "message",
        }
        for start, end in gaps
    ]
    tables = (
        {TRADES: EACH_SECOND} | ({COVERAGE: coverage} if coverage else {}) | ({GAPS: rows} if rows else {})
    )
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == expected


def test_trades_fetched_back_and_other_collectors_make_up_for_a_gap(tmp_path: Path) -> None:
    lost = {
        "sequence": 50,
        "topic": TOPIC,
        "start_time": NOON_NS + 2_500 * MS,
        "end_time": NOON_NS + 4_200 * MS,
        "healed_by": "message",
    }
    first = HandmadeArchive(tmp_path)
    first.segment(NOON_NS, {TRADES: EACH_SECOND, COVERAGE: [cover(0, 20_000)], GAPS: [lost]})
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == "TffffTTTTT"
    first.segment(NOON_NS + 1, {GAPS: [lost | {"sequence": 60, "healed_by": "backfill"}]})
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == "TTTTTTTTTT"
    other = HandmadeArchive(tmp_path, collector="other")
    other.segment(NOON_NS + 2, {GAPS: [lost], COVERAGE: [cover(0, 20_000)]})
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == "TTTTTTTTTT"


def test_the_last_millisecond_of_a_gap_may_lack_trades(tmp_path: Path) -> None:
    times = {"start_time": NOON_NS + 2_500 * MS, "end_time": NOON_NS + 4_005 * MS}
    lost = {
        "sequence": 50,
        "topic": TOPIC,
        **times,
        "end_match_time": NOON_MS + 4_000,
        "healed_by": "message",
    }
    HandmadeArchive(tmp_path).segment(
        NOON_NS, {TRADES: EACH_SECOND, COVERAGE: [cover(0, 20_000)], GAPS: [lost]}
    )
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == "TffffTTTTT"


def test_a_frame_that_may_have_been_anything_may_have_brought_trades(tmp_path: Path) -> None:
    damaged = {
        "sequence": 50,
        "topic": "",
        "cause": "undecodable",
        "start_time": NOON_NS + 4_600 * MS,
        "end_time": NOON_NS + 4_700 * MS,
        "healed_by": "message",
    }
    tables = {TRADES: EACH_SECOND, COVERAGE: [cover(0, 20_000)], (Table.GAPS, "_"): [damaged]}
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    with open_archive(tmp_path) as archive:
        assert trusted(archive) == "TTTffTTTTT"


def test_a_bar_that_the_range_cuts_is_judged_by_what_is_in_the_range(tmp_path: Path) -> None:
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: EACH_SECOND, COVERAGE: [cover(450, 5_600)]})
    with open_archive(tmp_path) as archive:
        assert trusted(archive, 0, 4_600) == "fTTTT"
        assert trusted(archive, 450, 4_600) == "TTTTT"


def test_only_files_of_the_range_are_opened(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    for number in range(3):
        archive.segment(NOON_NS + number, {TRADES: [trade(number + 1, number * 10 * SECOND, 100, 1)]})
    with open_archive(tmp_path) as opened:
        opened.sql("SELECT 1").table()
        for file in opened.files(Table.TRADES):
            if file.segment != NOON_NS + 1:
                path = opened.path(file)
                assert isinstance(path, Path)
                path.write_bytes(b"not Parquet")
        assert [row["trades"] for row in bars(opened, 5 * SECOND, 15 * SECOND)] == [1]


def test_no_trades_are_said_plainly(tmp_path: Path) -> None:
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: EACH_SECOND})
    with open_archive(tmp_path) as archive:
        with pytest.raises(NoData, match=r"no trades of linear BTCUSD were recorded; symbols .* BTCUSDT"):
            archive.sql("FROM bars('linear', 'BTCUSD', '2024-08-08T00:00:00Z', '2024-08-09T00:00:00Z')")
        with pytest.raises(NoData, match=r"some between 2024-08-08T12:00:00\.500000000Z and"):
            archive.sql("FROM bars('linear', 'BTCUSDT', '2023-08-08T00:00:00Z', '2023-08-09T00:00:00Z')")
        with pytest.raises(
            ConfigError, match=r"(?s)^bars: every: match times are milliseconds.*bars\(category"
        ):
            bars(archive, 0, SECOND, "1500us")
        assert bars(archive, 600, 1_400) == []


def test_as_a_range_function_it_says_the_same(tmp_path: Path) -> None:
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: EACH_SECOND, COVERAGE: [cover(0, 20_000)]})
    function = TABLE_FUNCTIONS["bars"]
    arguments: Arguments = function.bind(
        ["linear", "BTCUSDT", moment(0), moment(5 * SECOND)], {"every": "2s"}
    )
    with open_archive(tmp_path) as archive:
        batches = list(function.run(archive, arguments))
    assert [row["trades"] for batch in batches for row in batch.to_pylist()] == [2, 2, 1]
    assert all(batch.schema.equals(function.schema(arguments)) for batch in batches)
