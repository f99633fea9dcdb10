"""Who asks for what is being written is told that it is, wherever he asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.archive import open_archive
from recorder.book_state import book_at
from recorder.cli import main
from recorder.journal import CollectorLock, segments
from recorder.open_segments import not_asked_yet, overlooked, unread
from recorder.query import query
from schemas.errors import NoData
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, HandmadeArchive
from tests.recorder.recordings import START_NS, record_day

AFTER = "2031-01-01T00:00:00Z"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A recording whose last segment is open, and one that was killed."""
    record_day(tmp_path, steps=20, rotate_at=())
    for name in ("linear", "killed"):
        directory = tmp_path / "journal" / name
        directory.mkdir(exist_ok=True)
        for start_ns in (START_NS + 10**12, START_NS + 2 * 10**12):
            (directory / f"{start_ns}.arrows.open").touch()
    return tmp_path


def test_the_newest_of_each_collector_is_told(data: Path) -> None:
    with CollectorLock(data, "linear"):
        killed, linear = not_asked_yet([file for file in segments(data) if file.state == "open"])
    assert "can be asked once the segment that it is writing is sealed" in linear
    assert "'linear' records since" in linear
    assert f"`tapebook roll --data {data}` recovers it" in killed
    assert not_asked_yet([]) == []


def test_it_is_a_note_of_the_error(data: Path) -> None:
    with pytest.raises(NoData) as caught, open_archive(data) as archive:
        archive.ask("snapshots", "linear", "NOPE", "2030-01-01T00:00:00Z", AFTER).table()
    assert len(caught.value.__notes__) == 2
    with open_archive(data) as archive:
        assert len(archive.open_segments) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["book", "NOPE", "--at", AFTER],
        ["snapshots", "NOPE", "--from", "2030-01-01T00:00:00Z", "--to", AFTER],
        ["query", f"FROM bars('linear', 'NOPE', '2030-01-01T00:00:00Z', '{AFTER}')"],
    ],
)
def test_commands_tell_it(data: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data", str(data)])
    assert ended.value.code == 1
    error, *notes = capsys.readouterr().err.splitlines()
    assert error.startswith("tapebook: no ")
    assert len(notes) == 2
    assert all(note.startswith("  what ") for note in notes)


def test_a_query_without_rows_tells_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query("SELECT * FROM trades WHERE symbol = 'NOPE'", data)
    assert "killed: `tapebook roll" in capsys.readouterr().err


def test_rows_that_end_where_a_segment_is_being_written_are_not_all(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for end, told in ((AFTER, 1), (format_ns(START_NS + 10**9), 0)):
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "snapshots",
                    "BTCUSDT",
                    "--from",
                    format_ns(START_NS),
                    "--to",
                    end,
                    "--every",
                    "100ms",
                    "--data",
                    str(data),
                ]
            )
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert said.out.count("\n") >= 2
        assert said.err.count("since 2") == told, said.err


def said_of(sql: str, data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    query(sql, data)
    return capsys.readouterr().err


def test_rows_without_what_a_killed_recorder_left_are_not_all(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with CollectorLock(data, "linear"):
        said = said_of("SELECT count(*) FROM trades_raw", data, capsys)
        assert said.startswith("what 'killed' recorded since ")
        assert said.count("\n") == 1  # the other goes on, and the archive has most of it
        nothing = said_of("SELECT count(*), sum(size) FROM trades WHERE symbol = 'NOPE'", data, capsys)
        assert "what 'linear' records since" in nothing
        assert said_of("SELECT count(*) FROM trades WHERE category = 'linear'", data, capsys) == ""
    assert "what 'linear' recorded since" in said_of("SELECT count(*) FROM trades", data, capsys)
    for sql in ("SELECT 1", "DESCRIBE trades", "EXPLAIN SELECT count(*) FROM trades", "SHOW TABLES"):
        assert said_of(sql, data, capsys) == ""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A recording whose recorder was killed: its only segment is open, and whole."""
    data = tmp_path / "killed"
    record_day(data, steps=20, rotate_at=())
    (segment,) = segments(data)
    segment.path.rename(segment.path.with_suffix(".arrows.open"))
    HandmadeArchive(data, "other").segment(
        START_NS, {(Table.TRADES, "BTCUSDT"): [TRADE], COVERAGE: [COVERED]}
    )
    return data


TRADE = {
    "sequence": 1, "receive_time": START_NS, "push_time": START_NS // MS, "match_time": START_NS // MS,
    "trade_id": "t", "price_mantissa": 1, "size_mantissa": 1,
}  # fmt: skip
COVERAGE = (Table.COVERAGE, "BTCUSDT")
COVERED = {
    "sequence": 0, "topic": "publicTrade.BTCUSDT", "start_time": START_NS, "end_time": START_NS + 10**10,
}  # fmt: skip
LINEAR = ["--category", "linear"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "SELECT count(*) FROM trades"],
        ["query", "SELECT count(*) FROM trades WHERE category = 'linear'"],
        ["bars", "BTCUSDT", "--from", format_ns(START_NS), "--to", format_ns(START_NS + 10**9)],
        ["export", "parquet", "--symbol", "BTCUSDT", *LINEAR, "-o", "out"],
        ["export", "tardis", "--symbol", "BTCUSDT", *LINEAR, "-o", "out"],
        ["plot", "coverage", *LINEAR, "-o", "out.svg"],
    ],
    ids=lambda arguments: "-".join(arguments[:2]).split(" ")[0],
)
def test_rows_beside_a_collector_that_was_killed_are_not_all(
    killed: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[0] == "plot":
        pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
    monkeypatch.chdir(killed.parent)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data", str(killed)])
    said = capsys.readouterr().err
    assert ended.value.code == 0, said
    assert said.count("what 'linear' recorded since ") == 1
    assert "never sealed, since its recorder was killed: `tapebook roll --data" in said


def test_other_product_lines_and_collectors_are_no_concern(
    killed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_archive(killed) as archive:
        assert len(unread(archive, [])) == len(unread(archive, ["spot", "linear"])) == 1
        assert unread(archive, ["spot"]) == []
        assert unread(archive, ["linear"], collector="other") == []
        assert unread(archive, ["linear"], end_ns=archive.open_segments[0].start_ns) == []
    assert said_of("SELECT count(*) FROM trades WHERE category = 'spot'", killed, capsys) == ""


def test_a_segment_that_was_sealed_meanwhile_was_no_killed_recorders(killed: Path) -> None:
    with open_archive(killed) as archive:
        (segment,) = unread(archive, [])
        assert overlooked(archive, [segment]) == [segment]
        segment.path.rename(segment.path.with_suffix(""))
        assert overlooked(archive, [segment]) == []


def test_nothing_is_told_where_nothing_is_open(data: Path) -> None:
    for file in segments(data):
        if file.state == "open":
            file.path.unlink()
    with pytest.raises(NoData) as caught, open_archive(data) as archive:
        book_at(archive, "linear", "NOPE", "orderbook.50.NOPE", START_NS)
    assert not hasattr(caught.value, "__notes__")
