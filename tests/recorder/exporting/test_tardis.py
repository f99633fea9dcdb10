"""Tardis's CSV: what goes out comes in again, level for level and trade for trade."""

from __future__ import annotations

import gzip
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.market import Market
from recorder.archive import open_archive
from recorder.exporting.selection import ExportSelection
from recorder.exporting.tardis import exact, export_tardis, snapshot_header
from recorder.importing.run import ImportPlan, Report, run_import
from recorder.importing.tardis_files import TardisFile
from recorder.verify import verify
from schemas.errors import ConfigError, DataError
from schemas.names import Category
from tests.recorder.recordings import BOOK, START_NS, TRADES, Tape, book, trade

MS = 1_000_000
START_MS = START_NS // MS
CHOSEN = ExportSelection("linear", "BTCUSDT")


def export(data: Path, directory: Path, collector: str | None = None) -> list[str]:
    with open_archive(data) as archive:
        return [one.path for one in export_tardis(archive, CHOSEN._replace(collector=collector), directory)]


def import_tardis(data: Path, *files: str | Path, **options: object) -> Report:
    sources = [TardisFile(Path(path), depth=50) for path in files]
    return run_import(ImportPlan(sources, "back", Category.LINEAR, **options), data)  # type: ignore[arg-type]


def told(data: Path) -> tuple[list[Any], list[Any]]:
    """The book's messages that name levels, and the trades: stamps to the microsecond, numbers exactly."""
    with open_archive(data) as archive:
        books = archive.sql(
            "SELECT kind, epoch_ms(push_time) pushed, epoch_ns(receive_time) // 1000 received, applied, "
            "price_exponent pe, size_exponent se, bid_price_mantissa bp, bid_size_mantissa bs, "
            "ask_price_mantissa ap, ask_size_mantissa az "
            "FROM book_updates_raw WHERE kind <> 'keyframe' AND len(bp) + len(ap) > 0 ORDER BY sequence"
        ).table()
        trades = archive.sql(
            "SELECT epoch_ms(match_time) matched, epoch_ns(receive_time) // 1000 received, trade_id, side, "
            "price_mantissa p, price_exponent pe, size_mantissa s, size_exponent se FROM trades ORDER BY sequence"
        ).table()

    keys = ("kind", "pushed", "received", "applied")

    def levels(row: dict[str, Any], prices: str, sizes: str) -> list[tuple[Decimal, Decimal]]:
        return [
            (Decimal(price).scaleb(row["pe"]), Decimal(size).scaleb(row["se"]))
            for price, size in zip(row[prices], row[sizes], strict=True)
        ]

    return (
        [
            (*(row[key] for key in keys), levels(row, "bp", "bs"), levels(row, "ap", "az"))
            for row in books.to_pylist()
        ],
        [
            (
                row["matched"], row["received"], row["trade_id"], row["side"], Decimal(row["p"]).scaleb(row["pe"]),
                Decimal(row["s"]).scaleb(row["se"]),
            )
            for row in trades.to_pylist()
        ],
    )  # fmt: skip


def test_the_files_are_tardis_s(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "data", [BOOK, TRADES])
    for at_us, frame in (
        (10_001, book("snapshot", 1, [("100.5", "1"), ("100.0", "2")], [("101.0", "3")], START_MS + 5)),
        (20_002, trade("t-1", "101.0", "0.25", START_MS + 12)),
        (30_003, book("delta", 2, [("100.5", "0")], [], START_MS + 25)),
        (40_004, book("delta", 3, [], [], START_MS + 35)),
    ):
        tape.now_ns = START_NS + at_us * 1000 + 999
        tape.capture.frame_list(0, [frame], tape.now_ns)
    tape.stop()
    with open_archive(tmp_path / "data") as archive:
        done = export_tardis(archive, CHOSEN, tmp_path / "out")
    assert [(one.rows, one.messages, one.empty) for one in done] == [(4, 3, 1), (1, 1, 0)]
    # START_NS is 2023-11-14T22:13:20Z: 1,700,000,000 s
    text = gzip.decompress(
        (tmp_path / "out" / "bybit_incremental_book_L2_BTCUSDT.csv.gz").read_bytes()
    ).decode()
    assert text == (
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
        "bybit,BTCUSDT,1700000000005000,1700000000010001,true,bid,100.5,1\n"
        "bybit,BTCUSDT,1700000000005000,1700000000010001,true,bid,100,2\n"
        "bybit,BTCUSDT,1700000000005000,1700000000010001,true,ask,101,3\n"
        "bybit,BTCUSDT,1700000000025000,1700000000030003,false,bid,100.5,0\n"
    )
    lines = (
        gzip.decompress((tmp_path / "out" / "bybit_trades_BTCUSDT.csv.gz").read_bytes()).decode().splitlines()
    )
    assert lines[0] == "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
    assert lines[1:] == ["bybit,BTCUSDT,1700000000011000,1700000000020002,t-1,buy,101,0.25"]


def test_numbers_are_exact() -> None:
    assert [exact(*pair) for pair in ((5, -1), (-5, -3), (0, -2), (7, 0), (7, 2), (2**63 - 1, -18), (1, -18))] == [
        "0.5", "-0.005", "0", "7", "700", "9.223372036854775807", "0.000000000000000001",
    ]  # fmt: skip


_SIZE = st.sampled_from(["0", "1", "0.001", "25.5", "9000000"])
_LEVELS = st.dictionaries(st.integers(0, 9), _SIZE, max_size=6)
_MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), _LEVELS, _LEVELS),
        st.tuples(st.just("snapshot"), _LEVELS.filter(bool), _LEVELS),
        st.tuples(st.just("trade"), st.integers(0, 9), st.sampled_from(["1", "0.001", "25.5"])),
    ),
    max_size=12,
)


@settings(max_examples=4, deadline=None)
@given(_MESSAGES, st.integers(1, 40_000_000))
def test_out_and_in_again_loses_nothing(messages: list[Any], step_ns: int) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        tape = Tape(root / "data", [BOOK, TRADES])
        frames = [book("snapshot", 10, [("100.0", "1")], [("120.0", "1")], START_MS)]
        for number, (kind, one, two) in enumerate(messages, 11):
            at_ms = START_MS + 20 * number  # messages differ by this stamp, however near each other they came
            if kind == "trade":
                frames.append(trade(f"t-{number}", f"11{one}.25", two, at_ms))
                continue
            sizes = {"0": "3"} if kind == "snapshot" else {}  # a snapshot has no empty levels
            bids = [
                (f"10{price}.0", sizes.get(size, size)) for price, size in sorted(one.items(), reverse=True)
            ]
            asks = [(f"12{price}.5", sizes.get(size, size)) for price, size in sorted(two.items())]
            frames.append(book(kind, number, bids, asks, at_ms))
        # update ids without holes: trades took numbers too
        update = 10
        for place, frame in enumerate(frames):
            if b'"orderbook' in frame:
                frames[place] = frame.replace(b'"u":%d,' % (place + 10), b'"u":%d,' % update)
                update += 1
        tape.frames(frames, step_ns=step_ns)
        tape.stop()
        files = export(root / "data", root / "out")
        report = import_tardis(root / "back", *files)
        assert report.undecodable == 0
        assert told(root / "back") == told(root / "data")
        again = export(root / "back", root / "again")
        assert [Path(path).read_bytes() for path in again] == [Path(path).read_bytes() for path in files]


SAMPLE = """exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
bybit,BTCUSDT,1700000000005000,1700000000010001,true,bid,100.5,1
bybit,BTCUSDT,1700000000005000,1700000000010001,true,ask,101,1e-3
bybit,BTCUSDT,1700000000025000,1700000000030003,false,bid,100.5,0
bybit,BTCUSDT,1700000000025000,1700000000030003,false,bid,100.5,7
"""


def test_rows_of_one_stamp_are_one_message_unless_a_price_comes_again(tmp_path: Path) -> None:
    file = tmp_path / "l2.csv"
    file.write_text(SAMPLE)
    import_tardis(tmp_path / "data", file)
    assert not verify(tmp_path / "data", deep=True).failures
    books, trades = told(tmp_path / "data")
    price, ask = Decimal("100.5"), Decimal(101)
    assert books == [
        ("snapshot", 1_700_000_000_005, 1_700_000_000_010_001, True, [(price, 1)], [(ask, Decimal("0.001"))]),
        ("delta", 1_700_000_000_025, 1_700_000_000_030_003, True, [(price, 0)], []),
        ("delta", 1_700_000_000_025, 1_700_000_000_030_003, True, [(price, 7)], []),
    ]
    assert trades == []


def test_bad_rows_are_named(tmp_path: Path) -> None:
    head, good, *_ = SAMPLE.splitlines()
    bad = [
        good.replace("bybit,", "binance,"),
        good.replace("bid", "buy"),
        good.replace("true", "1"),
        good.replace("100.5", "nan"),
        good.replace("1700000000005000", "now"),
        good + ",",
    ]
    file = tmp_path / "l2.csv"
    file.write_text("\n".join([head, good, *bad]))
    with pytest.raises(DataError) as caught:
        import_tardis(tmp_path / "data", file)
    for number, why in enumerate(
        ("exchange 'binance'", "side 'buy'", "is_snapshot '1'", "price 'nan'", "stamp 'now'", "9 columns"), 3
    ):
        assert why in next(line for line in str(caught.value).splitlines() if f"line {number}:" in line)
    assert import_tardis(tmp_path / "data", file, skip_bad=True).files[0].refused == len(bad)
    file.write_text("price,amount\n")
    with pytest.raises(
        DataError, match="line 1: found 'price,amount', expected the header of incremental_book_L2"
    ):
        import_tardis(tmp_path / "other", file)


def test_snapshots_are_the_best_levels_whenever_they_change(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "data", [BOOK, TRADES])
    for at_us, frame in (
        (10_001, book("snapshot", 1, [("100.5", "1"), ("100.0", "2")], [("101.0", "3")], START_MS + 5)),
        (
            20_002,
            book("delta", 2, [("99.75", "4")], [], START_MS + 15),
        ),  # behind the best two, with a decimal more
        (30_003, book("delta", 3, [("100.5", "0")], [("101.25", "0.5")], START_MS + 25)),  # another decimal
        (40_004, book("delta", 4, [], [], START_MS + 35)),
        (50_005, book("snapshot", 9, [("98.0", "1")], [("99.0", "2")], START_MS + 45)),
    ):
        tape.now_ns = START_NS + at_us * 1000 + 999
        tape.capture.frame_list(0, [frame], tape.now_ns)
    tape.stop()
    with open_archive(tmp_path / "data") as archive:
        *_, done = export_tardis(archive, CHOSEN, tmp_path / "out", snapshots=2)
        with pytest.raises(ConfigError, match="--snapshots 51: the book of BTCUSDT has 50 levels"):
            export_tardis(archive, CHOSEN, tmp_path / "out", snapshots=51)
    assert (done.rows, done.messages, done.empty) == (3, 5, 2)
    text = gzip.decompress((tmp_path / "out" / "bybit_book_snapshot_2_BTCUSDT.csv.gz").read_bytes()).decode()
    assert text == (
        "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,"
        "asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n"
        "bybit,BTCUSDT,1700000000005000,1700000000010001,101,3,100.5,1,,,100,2\n"
        "bybit,BTCUSDT,1700000000025000,1700000000030003,101,3,100,2,101.25,0.5,99.75,4\n"
        "bybit,BTCUSDT,1700000000045000,1700000000050005,99,2,98,1,,,,\n"
    )
    assert snapshot_header(25).endswith(",asks[24].price,asks[24].amount,bids[24].price,bids[24].amount")


def test_snapshots_are_what_the_increments_make(tmp_path: Path) -> None:
    """Tardis's own rule: the L2 rows, applied by their stamps and cut to the best levels, are the snapshots."""
    tape = Tape(tmp_path / "data", [BOOK])
    market = Market(3, Category.LINEAR, start_ns=START_NS, symbol_count=1)
    first = market.follow(BOOK)
    assert first is not None
    for number, frame in enumerate([first, *market.advance(START_NS + 10 * 10**9)]):
        tape.now_ns = frame.time_ns + 1000 * number
        tape.capture.frame_list(0, [frame.payload], tape.now_ns)
    tape.stop()
    with open_archive(tmp_path / "data") as archive:
        increments, snapshots = export_tardis(archive, CHOSEN, tmp_path / "out", snapshots=5)
    sides: dict[str, dict[Decimal, str]] = {"ask": {}, "bid": {}}
    made: list[list[str]] = []
    last: list[str] = []
    rows = gzip.decompress(Path(increments.path).read_bytes()).decode().splitlines()[1:]
    was_snapshot = False
    for (pushed, received), message in groupby(rows, lambda row: tuple(row.split(",")[2:4])):
        for *_, whole, side, price, amount in (row.split(",") for row in message):
            if whole == "true" and not was_snapshot:
                sides["ask"].clear()
                sides["bid"].clear()
            was_snapshot = whole == "true"
            sides[side].pop(Decimal(price), None)
            if amount != "0":
                sides[side][Decimal(price)] = f"{price},{amount}"
        best = [
            [levels[price] for price in sorted(levels, reverse=side == "bid")][:5]
            for side, levels in sides.items()
        ]
        padded = [levels + [","] * (5 - len(levels)) for levels in best]
        told = [f"{ask},{bid}" for ask, bid in zip(*padded, strict=True)]
        if told != last:
            made.append(["bybit", "BTCUSDT", pushed, received, *told])
            last = told
    found = gzip.decompress(Path(snapshots.path).read_bytes()).decode().splitlines()[1:]
    assert found == [",".join(row) for row in made]
    assert snapshots.messages > len(found) == snapshots.rows > 50
