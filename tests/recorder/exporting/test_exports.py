"""Exports say what was recorded: exactly where the form can, and as the peer that reads them wants it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder.archive import open_archive
from recorder.cli import main
from recorder.exporting.hftbacktest import EVENT, export_hftbacktest
from recorder.exporting.parquet import decimals, export_parquet
from recorder.exporting.selection import ExportSelection
from recorder.exporting.tardis import export_tardis
from recorder.roll import roll_data
from schemas.errors import ConfigError, NoData
from schemas.names import Category
from tests.processes import ROOT
from tests.recorder.recordings import BOOK, START_NS, TRADES, Tape, book, trade

MS = 1_000_000
START_MS = START_NS // MS
CHOSEN = ExportSelection("linear", "BTCUSDT")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of three messages and two trades; the second trade happened before a change and came after it."""
    directory = tmp_path_factory.mktemp("recorded")
    tape = Tape(directory, [BOOK, TRADES])
    for at_ms, frame in (
        (10, book("snapshot", 1, [("100.5", "1"), ("100.0", "2")], [("101.0", "3")], START_MS + 5)),
        (20, trade("t-1", "101.0", "0.25", START_MS + 12)),
        (30, book("delta", 2, [("100.5", "0")], [("101.0", "2.75")], START_MS + 25)),
        (35, trade("t-2", "100.0", "0.001", START_MS + 20)),
        (50, book("snapshot", 9, [("90.0", "4")], [("91.0", "5"), ("92.0", "6")], START_MS + 45)),
    ):
        tape.now_ns = START_NS + at_ms * MS
        tape.capture.frame_list(0, [frame], tape.now_ns)
    tape.stop()
    roll_data(directory)
    return directory


# Frames are made with `cts`, or `T`, 1 ms before `ts`.
CLEAR_BID, CLEAR_ASK = 3 | 1 << 29, 3 | 1 << 28
SET_BID, SET_ASK = 4 | 1 << 29, 4 | 1 << 28
BID, ASK, BOUGHT = 1 | 1 << 29, 1 | 1 << 28, 2 | 1 << 29
EXCHANGE, LOCAL = 1 << 31, 1 << 30
BOTH = EXCHANGE | LOCAL


def test_hftbacktest_gets_snapshots_deltas_and_trades_in_both_orders(data: Path, tmp_path: Path) -> None:
    with open_archive(data) as archive:
        done = export_hftbacktest(archive, CHOSEN, tmp_path / "x.npz")
    assert done[1:] == (15, 3, 2, 0)
    array = np.load(tmp_path / "x.npz")["data"]
    assert array.dtype == EVENT
    found = [
        (
            int(e["ev"]),
            (int(e["exch_ts"]) - START_NS) // MS,
            (int(e["local_ts"]) - START_NS) // MS,
            e["px"],
            e["qty"],
        )
        for e in array
    ]
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert found == [
        (CLEAR_BID | BOTH, 4, 10, nan, 0),
        (SET_BID | BOTH, 4, 10, 100.5, 1),
        (SET_BID | BOTH, 4, 10, 100.0, 2),
        (CLEAR_ASK | BOTH, 4, 10, nan, 0),
        (SET_ASK | BOTH, 4, 10, 101.0, 3),
        (BOUGHT | BOTH, 11, 20, 101.0, 0.25),
        (BOUGHT | EXCHANGE, 19, 35, 100.0, 0.001),
        (BID | BOTH, 24, 30, 100.5, 0),
        (ASK | BOTH, 24, 30, 101.0, 2.75),
        (BOUGHT | LOCAL, 19, 35, 100.0, 0.001),
        (CLEAR_BID | BOTH, 44, 50, nan, 0),
        (SET_BID | BOTH, 44, 50, 90.0, 4),
        (CLEAR_ASK | BOTH, 44, 50, nan, 0),
        (SET_ASK | BOTH, 44, 50, 91.0, 5),
        (SET_ASK | BOTH, 44, 50, 92.0, 6),
    ]


def test_a_clock_that_is_behind_is_moved(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "data", [BOOK])
    for at_ms, update in ((10, 1), (20, 2)):
        tape.now_ns = START_NS + at_ms * MS
        frame = book("snapshot", update, [("100.5", "1")], [("101.0", "3")], START_MS + at_ms + 6)
        tape.capture.frame_list(0, [frame], tape.now_ns)
    tape.stop()
    with open_archive(tmp_path / "data") as archive:
        done = export_hftbacktest(archive, CHOSEN, tmp_path / "x.npz")
    assert done.shifted_ns == 5 * MS  # cts is 1 ms before ts
    array = np.load(tmp_path / "x.npz")["data"]
    assert (array["local_ts"] >= array["exch_ts"]).all()


def test_hftbacktest_itself_arrives_at_the_book(data: Path, tmp_path: Path) -> None:
    own = ROOT / ".venv" / "peer" / "bin" / "python"
    peer = sys.executable if importlib.util.find_spec("hftbacktest") else str(own)
    if not Path(peer).exists():
        pytest.skip("hftbacktest is not installed: `make peer` does it, in an environment of its own")
    with open_archive(data) as archive:
        export_hftbacktest(archive, CHOSEN, tmp_path / "x.npz")
    script = ROOT / "tests" / "interop" / "clients" / "hftbacktest_book.py"
    done = subprocess.run([peer, str(script), str(tmp_path / "x.npz")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen = {(int(ns) - START_NS) // MS: book for ns, book in json.loads(done.stdout).items()}
    assert seen[15] == [100.5, 1, 101.0, 3]
    assert seen[32] == [100.0, 2, 101.0, 2.75]
    # The snapshot took the place of everything, better prices too. The array ends with it.
    assert seen[50] == [90.0, 4, 91.0, 5]


def test_plain_parquet_has_decimals(data: Path, tmp_path: Path) -> None:
    with open_archive(data) as archive:
        done = export_parquet(archive, CHOSEN, tmp_path / "out")
    # the gap: updates 3 to 8 never came
    assert {one.table: one.rows for one in done} == {"book_updates": 3, "trades": 2, "gaps": 1, "coverage": 2}
    trades = pq.read_table(tmp_path / "out" / "trades.parquet")
    assert trades.schema.field("price").type == pa.decimal128(38, 18)
    assert trades["price"].to_pylist() == [Decimal(101), Decimal(100)]
    assert trades["size"].to_pylist() == [Decimal("0.25"), Decimal("0.001")]
    assert trades["trade_id"].to_pylist() == ["t-1", "t-2"]
    assert not [name for name in trades.schema.names if "mantissa" in name or "exponent" in name]
    books = pq.read_table(tmp_path / "out" / "book_updates.parquet")
    assert books["bid_price"].to_pylist() == [
        [Decimal("100.5"), Decimal(100)],
        [Decimal("100.5")],
        [Decimal(90)],
    ]
    assert books["bid_size"].to_pylist() == [[Decimal(1), Decimal(2)], [Decimal(0)], [Decimal(4)]]
    assert books["ask_price"].to_pylist() == [[Decimal(101)], [Decimal(101)], [Decimal(91), Decimal(92)]]


def test_gaps_and_coverage_that_reach_into_a_span_are_exported_with_it(tmp_path: Path) -> None:
    """An option's trades are a topic of its base coin; a frame whose topic can't be told may have been anybody's."""
    option, other = "BTC-26DEC25-100000-C", "ETH-26DEC25-4000-C"
    trades, level = "publicTrade.BTC", f"orderbook.25.{option}"
    tape = Tape(tmp_path / "data", [level, trades, f"orderbook.25.{other}"], category=Category.OPTION)
    for at_ms, frame in (
        (10, book("snapshot", 1, [("100", "1")], [("101", "1")], START_MS + 10, level)),
        (20, book("delta", 3, [("100", "2")], [], START_MS + 20, level)),
        (30, b"\x00"),
        (40, book("delta", 4, [("100", "2")], [], START_MS + 40, level)),
    ):
        tape.now_ns = START_NS + at_ms * MS
        tape.capture.frame_list(0, [frame], tape.now_ns)
    tape.now_ns = START_NS + 50 * MS
    tape.stop()
    roll_data(tmp_path / "data")

    def exported(symbol: str, name: str) -> list[str]:
        with open_archive(tmp_path / "data") as archive:
            chosen = ExportSelection("option", symbol, START_NS + 25 * MS, START_NS + 45 * MS)
            export_parquet(archive, chosen, tmp_path / symbol)
        return sorted(pq.read_table(tmp_path / symbol / f"{name}.parquet")["topic"].to_pylist())

    assert exported(option, "gaps") == ["", level]
    assert exported(option, "coverage") == [level, trades]
    assert exported(other, "gaps") == [""]
    assert exported(other, "coverage") == [f"orderbook.25.{other}"]
    with pytest.raises(NoData):
        exported("SOL-26DEC25-100-C", "gaps")


def test_decimals_are_exact_at_the_ends_of_int64() -> None:
    mantissas = pa.array([-(2**63), 2**63 - 1, 0, -1, 7], pa.int64())
    exponents = pa.array([-18, -18, 0, 0, -3], pa.int8())
    assert decimals(mantissas, exponents).to_pylist() == [
        Decimal("-9.223372036854775808"),
        Decimal("9.223372036854775807"),
        Decimal(0),
        Decimal(-1),
        Decimal("0.007"),
    ]
    lists = pa.array([[1, 2], [], [3]], pa.list_(pa.int64()))
    assert decimals(lists.slice(1), pa.array([-1, -2, -2], pa.int8()).slice(1)).to_pylist() == [
        [],
        [Decimal("0.03")],
    ]


def test_a_span_is_a_span_of_receipt(data: Path, tmp_path: Path) -> None:
    span = CHOSEN._replace(from_ns=START_NS + 20 * MS, to_ns=START_NS + 35 * MS)
    with open_archive(data) as archive:
        export_parquet(archive, span, tmp_path / "out", ["trades", "book_updates"])
        with pytest.raises(NoData, match="no book and no trades in that span"):
            export_hftbacktest(archive, CHOSEN._replace(from_ns=START_NS + 60 * MS), tmp_path / "x.npz")
        with pytest.raises(NoData, match="there is linear BTCUSDT"):
            export_hftbacktest(archive, ExportSelection("linear", "NOPE"), tmp_path / "x.npz")
        with pytest.raises(ConfigError, match="--depth 200: found 50 in that span"):
            export_hftbacktest(archive, CHOSEN._replace(depth=200), tmp_path / "x.npz")
        with pytest.raises(ConfigError, match="--tables nothing: expected some of"):
            export_parquet(archive, CHOSEN, tmp_path / "out", ["nothing"])
        with pytest.raises(NoData, match="no rows of linear ETHUSDT"):
            export_parquet(archive, ExportSelection("linear", "ETHUSDT"), tmp_path / "other")
    assert pq.read_table(tmp_path / "out" / "trades.parquet")["trade_id"].to_pylist() == ["t-1"]
    assert pq.read_table(tmp_path / "out" / "book_updates.parquet")["update_id"].to_pylist() == [2]
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "x.npz").exists()


def test_two_collectors_are_not_mixed(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        tape = Tape(tmp_path / "data", [TRADES], collector=name)
        tape.frames([trade(f"t-{name}", "1", "1", START_MS)])
        tape.stop()
    with open_archive(tmp_path / "data") as archive:
        with pytest.raises(ConfigError, match="recorded by one, two: name one with --collector"):
            export_hftbacktest(archive, CHOSEN, tmp_path / "x.npz")
        assert export_hftbacktest(archive, CHOSEN._replace(collector="two"), tmp_path / "x.npz").trades == 1
        with pytest.raises(ConfigError, match="recorded by one, two: name one with --collector"):
            export_parquet(archive, CHOSEN, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        export_parquet(archive, CHOSEN._replace(collector="two"), tmp_path / "out", ["trades"])
        for export, to in ((export_hftbacktest, "x.npz"), (export_tardis, "t"), (export_parquet, "p")):
            with pytest.raises(ConfigError, match=r"found 'three', expected one of .* BTCUSDT: one, two"):
                export(archive, CHOSEN._replace(collector="three"), tmp_path / to)
    assert pq.read_table(tmp_path / "out" / "trades.parquet")["trade_id"].to_pylist() == ["t-two"]


def test_nothing_of_an_earlier_export_stays_beside_a_later_one(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with open_archive(data) as archive:
        export_parquet(archive, CHOSEN, out)
        (out / "mine.parquet").write_bytes(b"x")
        early = CHOSEN._replace(to_ns=START_NS + 25 * MS)  # the gap begins later
        export_parquet(archive, early, out, ["trades"])
        assert (out / "gaps.parquet").exists()  # not asked for: not touched
        told: list[str] = []
        export_parquet(archive, early, out, told=told.append)
        assert [sentence.partition(": ")[0] for sentence in told] == [str(out / "gaps.parquet")]
        with pytest.raises(NoData):
            export_parquet(archive, CHOSEN._replace(to_ns=START_NS - MS), out)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["book_updates.parquet", "coverage.parquet", "mine.parquet", "trades.parquet"]
    with open_archive(data) as archive:
        export_tardis(archive, CHOSEN, out)
    command = ["export", "tardis", "--data", str(data), "--category", "linear", "--symbol", "BTCUSDT"]
    capfd.readouterr()
    assert run([*command, "-o", str(out), "--to", "2023-11-14T22:13:20.015Z"]) == 0
    assert "bybit_trades_BTCUSDT.csv.gz: of an earlier export, removed" in capfd.readouterr().err
    assert [path.name for path in out.glob("bybit*")] == ["bybit_incremental_book_L2_BTCUSDT.csv.gz"]


@pytest.mark.parametrize("form", ["parquet", "tardis"])
def test_a_directory_that_can_be_none(
    data: Path, tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["export", form, "--data", str(data), "--category", "linear", "--symbol", "BTCUSDT", "-o"]
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    for place in (file, file / "below"):
        assert run([*command, str(place)]) == 2
        told = capfd.readouterr().err
        assert told.count("\n") == 1
        assert f"{file}: expected a directory, found a file" in told
    inside = data / "archive" / "trades" / "out"
    assert run([*command, str(inside)]) == 2
    assert "holds the recording; choose another directory" in capfd.readouterr().err
    assert not inside.exists()
    assert run([*command, "/proc/tapebook"]) == 4
    assert "/proc/tapebook: the directory cannot be made: " in capfd.readouterr().err
    assert file.read_bytes() == b"mine"


def test_the_commands(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    common = ["--data", str(data), "--category", "linear", "--symbol", "BTCUSDT", "--format", "json"]
    assert run(["export", "hftbacktest", *common, "-o", str(tmp_path / "x.npz")]) == 0
    assert run(["export", "hftbacktest", *common, "-o", str(tmp_path / "x.bin")]) == 2
    told = json.loads(capfd.readouterr().out)
    assert (told["book_rows"], told["trades"]) == (3, 2)
    assert run(["export", "parquet", *common, "-o", str(tmp_path / "out"), "--tables", "trades"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == 2
    assert (
        run(
            [
                "export",
                "parquet",
                *common,
                "-o",
                str(tmp_path / "out"),
                "--from",
                "2026-01-02T00:00:00Z",
                "--to",
                "2026-01-01T00:00:00Z",
            ]
        )
        == 2
    )
    assert "--from must lie before --to" in capfd.readouterr().err


def run(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_trades_of_one_frame_keep_their_order(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "data", [TRADES])
    template = json.loads(trade("id", "1.5", "1", START_MS))
    for number in range(60):
        rows = [template["data"][0] | {"i": f"{number * 500 + place:08d}"} for place in range(500)]
        tape.frames([json.dumps(template | {"data": rows}).encode()])
    tape.stop()
    with open_archive(tmp_path / "data") as archive:
        export_parquet(archive, CHOSEN, tmp_path / "out", ["trades"])
    ids = pq.read_table(tmp_path / "out" / "trades.parquet")["trade_id"].to_pylist()
    assert ids == [f"{number:08d}" for number in range(60 * 500)]
