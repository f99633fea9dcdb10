"""What an export says of its span beside its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.cli import main
from recorder.exporting.left_out import left_out
from recorder.exporting.selection import ExportSelection
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, GAPS, cover, gap, row

TRADE_TOPIC = "publicTrade.BTCUSDT"


def moment(ms: int) -> int:
    return NOON_NS + ms * MS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of one collector two recordings, from 1 to 4 s and 6 to 9 s after noon, the second with a gap; of another one."""
    rows = [row(1, 1000, "snapshot"), row(2, 6500, "snapshot"), row(3, 7500, "snapshot")]
    recorded = [cover(0, 1000, 4000), cover(0, 1000, 3900, topic=TRADE_TOPIC), cover(2, 6000, 9000)]
    tables = {BOOK: rows, COVERAGE: recorded, GAPS: [gap(3, rows[1], rows[2], healed_by="message")]}
    HandmadeArchive(tmp_path, "one").segment(NOON_NS, tables)
    whole: dict[Any, list[dict[str, Any]]] = {BOOK: rows, COVERAGE: [cover(0, 0, 20_000)]}
    HandmadeArchive(tmp_path, "two").segment(NOON_NS, whole)
    return tmp_path


BEYOND = "the range reaches beyond what was recorded, which "
HOLES = "in what is exported lie 1 break and 1 gap (views coverage and gaps)"


@pytest.mark.parametrize(
    ("collector", "start", "end", "said"),
    [
        ("one", None, None, HOLES),
        ("one", 1000, 9000, HOLES),
        ("one", 1000, 3000, ""),
        ("one", 500, 3000, f"{BEYOND}begins at {format_ns(moment(1000))}"),
        ("one", 7700, 9500, f"{BEYOND}ends at {format_ns(moment(9000))}"),
        ("one", 7000, 8000, "in what is exported lie 1 gap (views coverage and gaps)"),
        (
            "one", 0, 20_000,
            f"{BEYOND}begins at {format_ns(moment(1000))} and ends at {format_ns(moment(9000))}; {HOLES}",
        ),
        ("two", 0, 20_000, ""),
        ("two", None, None, ""),
        ("none", 0, 20_000, ""),
    ],
)  # fmt: skip
def test_what_the_rows_do_not_say(
    data: Path, collector: str, start: int | None, end: int | None, said: str
) -> None:
    start_ns, end_ns = (None if ms is None else moment(ms) for ms in (start, end))
    with open_archive(data) as archive:
        assert left_out(archive, ExportSelection("linear", "BTCUSDT", start_ns, end_ns, collector)) == said


@pytest.mark.parametrize("form", ["parquet", "tardis", "hftbacktest"])
def test_it_is_one_line_beside_the_report(
    data: Path, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / ("out.npz" if form == "hftbacktest" else "out")
    span = ["--from", format_ns(moment(0)), "--to", format_ns(moment(9000)), "--collector", "one"]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "export", form, "--category", "linear", "--symbol", "BTCUSDT", *span,
                "--data", str(data), "-o", str(output),
            ]
        )  # fmt: skip
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    assert said.err == f"{BEYOND}begins at {format_ns(moment(1000))}; {HOLES}\n"
    assert BEYOND not in said.out


def test_a_history_that_was_fetched_has_no_coverage(tmp_path: Path) -> None:
    fetched = {
        "sequence": 1,
        "receive_time": NOON_NS,
        "push_time": NOON_NS // MS,
        "match_time": NOON_NS // MS,
    }
    HandmadeArchive(tmp_path).segment(
        NOON_NS, {(Table.TRADES, "BTCUSDT"): [fetched | {"price_mantissa": 1, "size_mantissa": 1}]}
    )
    with open_archive(tmp_path) as archive:
        assert left_out(archive, ExportSelection("linear", "BTCUSDT", moment(0), moment(1))) == ""
