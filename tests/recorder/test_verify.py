"""Verify: what is untouched passes, and whatever is altered is found, with feed, file and row."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from recorder.crashes import crashed_feeds
from recorder.journal import recover, segments
from recorder.manifest import append_manifest, manifest_path, read_manifest
from recorder.report import verify_and_report
from recorder.roll import roll_data
from recorder.verify import Finding, Verification, verify
from schemas.event_tables import EVENT_SCHEMAS
from schemas.history_tables import HISTORY_SCHEMAS
from schemas.manifest import ManifestFile, ManifestSegment, decode_line, encode_lines
from schemas.names import RecordKind, Table
from schemas.notes import Audited, ClockOffset, Digest, encode
from schemas.stored import stored_schema
from tests.engine.drivers.messages import SAMPLES
from tests.engine.drivers.messages import TOPICS as EVENT_TOPICS
from tests.recorder.recordings import BOOK, START_NS, TRADES, Tape, book, market, record_day

RPI = "orderbook.rpi.BTCUSDT"


pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of all feeds, rolled."""
    data = tmp_path_factory.mktemp("pristine") / "data"
    record_day(data, steps=210, rotate_at=(70, 140))
    roll_data(data)
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "data")


def _file(data: Path, table: Table, index: int = 0) -> ManifestFile:
    symbol = "_" if table in (Table.INSTRUMENTS, Table.CLOCK_OFFSETS) else "BTCUSDT"
    return read_manifest(data / "archive").select(table, symbol=symbol)[index]


def _rewrite(
    data: Path, entry: ManifestFile, change: Callable[[pa.Table], pa.Table], *, forge: bool
) -> pa.Table:
    """Write a file anew with other rows; forged, the manifest speaks of the new bytes."""
    path = data / "archive" / entry.path
    rows = change(pq.read_table(path))
    pq.write_table(rows, path, compression="zstd")
    if forge:
        content = path.read_bytes()
        forged = msgspec.structs.replace(
            entry, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), rows=rows.num_rows
        )
        _replace_lines(data, lambda line: forged if getattr(line, "path", None) == entry.path else line)
    return rows


def _replace_lines(data: Path, change: Callable[[Any], Any]) -> None:
    path = manifest_path(data / "archive", "linear")
    lines = [change(decode_line(line)) for line in path.read_bytes().splitlines()]
    path.write_bytes(encode_lines([line for line in lines if line is not None]))


def _failures(data: Path) -> list[Finding]:
    result = verify(data)
    assert verify_and_report(data, json=True) == (1 if result.failures else 0)
    return result.failures


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)


# ---- what is fine ------------------------------------------------------------------------------------------------


def test_an_untouched_directory(data: Path) -> None:
    steps: list[str] = []
    result = verify(data, progress=steps.append)
    assert result.findings == []
    assert result.segments == 3
    assert result.frames == len(market(0, 210))
    assert result.files == len(read_manifest(data / "archive").files)
    assert result.live_digests == result.archive_digests == 5
    assert result.keyframes == 2  # at the beginning of the second segment and of the third
    assert len(steps) == 6  # the files' bytes, their lines, three segments, the books of a symbol
    assert verify_and_report(data, json=False) == 0


def test_nothing_recorded_is_nothing_wrong(tmp_path: Path) -> None:
    assert verify(tmp_path).findings == []


def test_recorded_gaps_and_damaged_frames_are_no_failure(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    frames = [frame for frame in market(0, 60) if b'"u":1010' not in frame]
    tape.frames([*frames, b"\xff", b'{"topic":"orderbook.50.BTCUSDT"}'])
    tape.disconnect()
    tape.stop()
    roll_data(tmp_path)
    result = verify(tmp_path)
    assert result.failures == []
    assert result.gaps >= 4
    assert result.undecodable == 2


def test_a_crash_is_no_failure(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 60), flush_every=10)
    opened = tape.crash()
    with opened.open("ab") as file:
        file.write(b"the last write came through in part")
    (recovery,) = recover(tmp_path)
    assert recovery.bytes_set_aside == 35
    after = Tape(tmp_path, start_ns=tape.now_ns + 10**9, crashed=crashed_feeds(tmp_path, "linear"))
    after.frames(market(0, 30))
    after.stop()
    roll_data(tmp_path)
    result = verify(tmp_path)
    assert result.failures == []
    assert [Path(finding.where).suffix for finding in result.findings] == [".torn"]
    assert result.gaps == 4


def test_segments_that_are_open_or_not_rolled_are_told(data: Path) -> None:
    tape = Tape(data, start_ns=segments(data)[-1].start_ns + 10**12)
    tape.frames(market(0, 20))
    tape.rotate()
    tape.frames(market(20, 30))
    while segments(data)[-1].state != "open":  # the journal's thread begins it
        time.sleep(0.001)
    result = verify(data)
    assert result.failures == []
    assert sorted(finding.what[:10] for finding in result.findings) == ["not rolled", "open: bein"]
    tape.stop()


def test_archived_segments_may_leave_the_journal(data: Path) -> None:
    """A journal may be moved away; what is left of the witnesses is still heard."""
    first = segments(data)[0]
    first.path.unlink()
    result = verify(data)
    assert result.failures == []
    assert ["not in the journal" in finding.what for finding in result.findings] == [True]
    entry = _file(data, Table.BOOK_UPDATES)
    _rewrite(data, entry, lambda rows: pa.concat_tables([rows.slice(0, 40), rows.slice(42)]), forge=True)
    (failure,) = _failures(data)
    assert "is applied after" in failure.what


# ---- altered files -----------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_wherever_it_is(data: Path) -> None:
    manifest = read_manifest(data / "archive")
    entry = _file(data, Table.BOOK_UPDATES, 1)
    path = data / "archive" / entry.path
    content = path.read_bytes()
    for offset in [0, 3, *range(40, len(content), len(content) // 11), len(content) - 5, len(content) - 1]:
        altered = bytearray(content)
        altered[offset] ^= 0x10
        path.write_bytes(altered)
        result = verify(data)
        assert any(finding.where == str(path) and "sha256" in finding.what for finding in result.failures), (
            offset
        )
    path.write_bytes(content)
    assert verify(data).findings == []
    assert len(manifest.files) == verify(data).files


def _rpi_recording(data: Path) -> Path:
    tape = Tape(data, topics=[RPI])
    at_ms = START_NS // 1_000_000
    tape.frames(
        [book("snapshot", 5, [("100.5", "1", "0.5"), ("99", "0", "2")], [("101", "1", "0")], at_ms, RPI)]
        + [
            book(
                "delta",
                5 + i,
                [("99", str(i % 2), str(i))],
                [(str(101 + i % 7), "0", str(i % 3))],
                at_ms + i,
                RPI,
            )
            for i in range(1, 200)
        ]
    )
    tape.rotate()
    tape.frames([book("delta", 205, [("99", "0", "0")], [], at_ms + 300, RPI)])
    tape.stop()
    roll_data(data)
    return data


def test_rpi_rows_make_rpi_books(tmp_path: Path) -> None:
    """One size altered, in the files and in what the manifest says of them, and the digests disagree."""
    data = _rpi_recording(tmp_path / "rpi")
    result = verify(data)
    assert result.findings == []
    assert (result.books, result.keyframes, result.archive_digests) == (202, 1, 4)
    entry = _file(data, Table.RPI_BOOK_UPDATES)

    def alter(rows: pa.Table) -> pa.Table:
        sizes = rows.column("bid_rpi_size_mantissa").to_pylist()
        sizes[5] = [sizes[5][0] + 1]
        return _with(
            rows, "bid_rpi_size_mantissa", pa.array(sizes, rows.schema.field("bid_rpi_size_mantissa").type)
        )

    # a size that a later row sets anew shows in no digest; one that stays does
    _rewrite(data, entry, alter, forge=True)
    assert any("bid_rpi_size_mantissa is" in finding.what for finding in _failures(data))
    shutil.rmtree(data / "journal")
    assert _failures(data) == []

    def alter_first(rows: pa.Table) -> pa.Table:
        sizes = rows.column("bid_rpi_size_mantissa").to_pylist()
        sizes[0] = [sizes[0][0] + 1, *sizes[0][1:]]
        return _with(
            rows, "bid_rpi_size_mantissa", pa.array(sizes, rows.schema.field("bid_rpi_size_mantissa").type)
        )

    _rewrite(data, _file(data, Table.RPI_BOOK_UPDATES), alter_first, forge=True)
    (finding,) = _failures(data)
    assert finding.feed == RPI
    assert "the rows make a book with digest" in finding.what


@pytest.mark.parametrize("table", list(Table))
def test_each_table_is_checked(data: Path, table: Table, tmp_path: Path) -> None:
    if table in (Table.GAPS, Table.CLOCK_OFFSETS, Table.AUDITS):  # the pristine recording has none
        tape = Tape(tmp_path / "gaps")
        tape.frames(frame for frame in market(0, 30) if b'"u":1010' not in frame)
        tape.capture.note(ClockOffset(offset_ns=5, error_ns=3, method="rest", round_trip_ns=6))
        tape.capture.note(Audited(topic=BOOK, against="rest", outcome="agreed", update_id=1))
        tape.stop()
        data = tmp_path / "gaps"
        roll_data(data)
    elif table is Table.INSTRUMENTS:  # and nobody asked for any
        tape = Tape(tmp_path / "instruments")
        body = b'{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT"},{"symbol":"ETHUSDT"}]}}'
        tape.capture.rest("/v5/market/instruments-info?category=linear", body)
        tape.stop()
        data = tmp_path / "instruments"
        roll_data(data)
    elif table in HISTORY_SCHEMAS:
        tape = Tape(tmp_path / "histories")
        funding = b'{"fundingRate":"1","fundingRateTimestamp":"5"}'
        interest = b'{"openInterest":"1","timestamp":"5"}'
        delivery = b'{"deliveryPrice":"1","deliveryTime":"5"}'
        for path, item in (
            ("funding/history?", funding),
            ("kline?interval=60&", b'["5","1","1","1","1","1","1"]'),
            ("open-interest?intervalTime=1h&", interest),
            ("delivery-price?", delivery),
        ):
            answer = b'{"retCode":0,"result":{"list":[' + item + b"]}}"
            tape.capture.rest(f"/v5/market/{path}symbol=BTCUSDT", answer)
        tape.stop()
        data = tmp_path / "histories"
        roll_data(data)
    elif table is Table.RPI_BOOK_UPDATES:
        data = _rpi_recording(tmp_path / "rpi")
    elif table in EVENT_SCHEMAS:
        tape = Tape(tmp_path / "events", EVENT_TOPICS)
        tape.frames(SAMPLES * 3)
        tape.stop()
        data = tmp_path / "events"
        roll_data(data)
        assert _failures(data) == []
    entry = read_manifest(data / "archive").select(table)[0]
    row = entry.rows // 2

    def later(rows: pa.Table) -> pa.Table:
        sequences = rows.column("sequence").to_pylist()
        sequences[row] += 1
        return _with(rows, "sequence", pa.array(sequences, pa.int64()))

    _rewrite(data, entry, later, forge=True)
    found = [finding for finding in _failures(data) if finding.where.endswith(entry.path)]
    assert (found[0].row, "sequence is" in found[0].what) == (row, True)
    assert found[0].feed is not None
    assert table not in EVENT_SCHEMAS or found[0].feed in EVENT_TOPICS


@pytest.mark.parametrize("forge", [False, True])
def test_a_dropped_row(data: Path, forge: bool) -> None:
    entry = _file(data, Table.TRADES)

    def drop(rows: pa.Table) -> pa.Table:
        return pa.concat_tables([rows.slice(0, 7), rows.slice(8)])

    _rewrite(data, entry, drop, forge=forge)
    found = _failures(data)
    assert {finding.where for finding in found} == {str(data / "archive" / entry.path)}
    (told,) = [finding for finding in found if finding.row is not None]
    assert (told.row, told.feed) == (7, TRADES)
    assert f"({entry.rows - 1} rows, the journal holds {entry.rows})" in told.what
    assert any("sha256" in finding.what for finding in found) == (not forge)


@pytest.mark.parametrize("forge", [False, True])
def test_a_missing_end(data: Path, forge: bool) -> None:
    entry = _file(data, Table.TRADES)
    _rewrite(data, entry, lambda rows: rows.slice(0, rows.num_rows - 1), forge=forge)
    told = [finding for finding in _failures(data) if finding.row is not None]
    assert [finding.row for finding in told] == [entry.rows - 1]
    assert f"ends after {entry.rows - 1} rows, the journal holds {entry.rows}" in told[0].what


@pytest.mark.parametrize("forge", [False, True])
def test_two_swapped_rows(data: Path, forge: bool) -> None:
    entry = _file(data, Table.BOOK_UPDATES)

    def swap(rows: pa.Table) -> pa.Table:
        order = list(range(rows.num_rows))
        order[20], order[21] = order[21], order[20]
        return rows.take(pa.array(order))

    _rewrite(data, entry, swap, forge=forge)
    told = [finding for finding in _failures(data) if finding.row is not None]
    assert told[0].row == 20
    assert told[0].feed in (BOOK, "orderbook.1.BTCUSDT")


@pytest.mark.parametrize("forge", [False, True])
@pytest.mark.parametrize(
    "name", ["bid_size_mantissa", "ask_price_mantissa", "update_id", "applied", "push_time", "line"]
)
def test_one_changed_value(data: Path, name: str, forge: bool) -> None:
    entry = _file(data, Table.BOOK_UPDATES)
    rows = pq.read_table(data / "archive" / entry.path)
    row = 11
    while name.endswith("mantissa") and not rows.column(name)[row].as_py():
        row += 1

    def change(table: pa.Table) -> pa.Table:
        values = table.column(name).to_pylist()
        if name.endswith("mantissa"):
            values[row][0] += 1
        elif name == "applied":
            values[row] = not values[row]
        elif name == "push_time":
            values = table.column(name).cast(pa.int64()).to_pylist()
            values[row] += 1
            return _with(table, name, pa.array(values, pa.int64()).cast(table.schema.field(name).type))
        else:
            values[row] += 1
        return _with(table, name, pa.array(values, table.schema.field(name).type))

    _rewrite(data, entry, change, forge=forge)
    told = [finding for finding in _failures(data) if finding.row is not None]
    assert told[0].where.endswith(entry.path)
    assert told[0].row == row
    assert told[0].what.startswith(f"{name} is ")
    assert told[0].feed == f"orderbook.{rows.column('depth')[row].as_py()}.BTCUSDT"


@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS])
def test_a_time_moved_by_a_nanosecond(data: Path, table: Table) -> None:
    """No datetime object holds such a time, and the row is named all the same."""
    entry = _file(data, table)

    def change(rows: pa.Table) -> pa.Table:
        values = rows.column("receive_time").cast(pa.int64()).to_pylist()
        values[3] += 1
        kind = rows.schema.field("receive_time").type
        return _with(rows, "receive_time", pa.array(values, pa.int64()).cast(kind))

    _rewrite(data, entry, change, forge=True)
    told = [finding for finding in _failures(data) if finding.row is not None]
    assert told[0].where.endswith(entry.path)
    assert told[0].row == 3
    assert told[0].what.startswith("receive_time is 20")


@pytest.mark.parametrize("forge", [False, True])
@pytest.mark.parametrize("journal", [True, False])
def test_a_changed_digest(data: Path, forge: bool, journal: bool) -> None:
    """Also without the journal: then the archive's own rows are the witnesses."""
    entry = _file(data, Table.BOOK_UPDATES, 1)
    rows = pq.read_table(data / "archive" / entry.path)
    row = pc.index(pc.is_valid(rows.column("digest")), True).as_py()
    assert row > 0

    def change(table: pa.Table) -> pa.Table:
        values = table.column("digest").to_pylist()
        values[row] ^= 1
        return _with(table, "digest", pa.array(values, pa.uint64()))

    _rewrite(data, entry, change, forge=forge)
    if not journal:
        for segment in segments(data):
            segment.path.unlink()
    told = [finding for finding in _failures(data) if finding.row is not None]
    assert told
    feed = f"orderbook.{rows.column('depth')[row].as_py()}.BTCUSDT"
    assert {(finding.row, finding.feed) for finding in told} == {(row, feed)}
    assert "the live book had" in told[-1].what


@pytest.mark.parametrize("name", ["bid_size_mantissa", "update_id", "bid_price_mantissa"])
def test_without_the_journal_the_rows_speak(data: Path, name: str) -> None:
    """A forged value in a keyframe or a delta is found by the books that the rows make."""
    for segment in segments(data):
        segment.path.unlink()
    entry = _file(data, Table.BOOK_UPDATES, 1)

    def change(table: pa.Table) -> pa.Table:
        values = table.column(name).to_pylist()
        if name == "update_id":
            values[9] += 1
        else:
            values[0][3] += 1
        return _with(table, name, pa.array(values, table.schema.field(name).type))

    _rewrite(data, entry, change, forge=True)
    told = _failures(data)
    assert told[0].where == str(data / "archive" / entry.path)
    if name == "update_id":
        assert "is applied after" in told[0].what
    else:
        assert told[0].row == 0
        assert "keyframe" in told[0].what


@pytest.mark.parametrize("forge", [False, True])
def test_other_columns(data: Path, forge: bool) -> None:
    entry = _file(data, Table.BOOK_UPDATES)
    _rewrite(data, entry, lambda rows: rows.drop_columns(["digest"]), forge=forge)
    assert any("other columns" in finding.what for finding in _failures(data))


@pytest.mark.parametrize("name", ["sequence", "update_id", "price_exponent", "kind", "bid_price_mantissa"])
def test_values_that_can_not_be(data: Path, name: str) -> None:
    """Nulls where none may be, exponents and lists beyond reason: failures, never a crash."""
    entry = _file(data, Table.BOOK_UPDATES)

    def change(table: pa.Table) -> pa.Table:
        type_ = table.schema.field(name).type
        values = table.column(name).to_pylist()
        values[5] = None if name != "price_exponent" else 127
        at = table.column_names.index(name)
        return table.set_column(at, pa.field(name, type_), pa.array(values, type_))

    _rewrite(data, entry, change, forge=True)
    assert _failures(data)


def test_not_even_parquet(data: Path) -> None:
    entry = _file(data, Table.TICKERS)
    (data / "archive" / entry.path).write_bytes(b"PAR1 and then nothing PAR1")
    assert any("no Parquet file" in finding.what for finding in _failures(data))


def test_the_same_rows_in_other_bytes_are_only_a_note(data: Path) -> None:
    entry = _file(data, Table.BOOK_UPDATES)
    _rewrite(data, entry, lambda rows: rows, forge=True)
    result = verify(data)
    assert result.failures == []
    assert "other bytes" in result.findings[0].what


# ---- files, segments and manifest lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.COVERAGE])
def test_a_deleted_file(data: Path, table: Table) -> None:
    entry = _file(data, table, 1)
    (data / "archive" / entry.path).unlink()
    found = [finding for finding in _failures(data) if finding.where.endswith(entry.path)]
    assert found[0].what.startswith(f"missing, although the manifest lists it with {entry.rows} rows")


def test_a_file_line_that_is_gone(data: Path) -> None:
    entry = _file(data, Table.TRADES, 1)
    _replace_lines(data, lambda line: None if getattr(line, "path", None) == entry.path else line)
    assert any(
        finding.where.endswith(entry.path) and f"holds {entry.rows} rows" in finding.what
        for finding in _failures(data)
    )


def test_a_file_line_too_many(data: Path) -> None:
    manifest = read_manifest(data / "archive")
    entry = _file(data, Table.TRADES, 1)
    other = entry.path.replace("date=2023-11-14", "date=2023-11-15")
    (data / "archive" / other).parent.mkdir()
    shutil.copy(data / "archive" / entry.path, data / "archive" / other)
    segment = manifest.segments["linear", entry.segment]
    files = [file for file in manifest.files if file.segment == entry.segment]
    append_manifest(
        data / "archive",
        "linear",
        [*files, msgspec.structs.replace(entry, path=other, date="2023-11-15"), segment],
    )
    assert any(
        finding.where.endswith(other) and "the journal holds none" in finding.what
        for finding in _failures(data)
    )


def test_a_segment_line_without_files(data: Path) -> None:
    """A segment that is in the manifest alone: it claims files that no line names."""
    last = read_manifest(data / "archive").segments["linear", segments(data)[-1].start_ns]
    end = last.sequence[1]
    invented = msgspec.structs.replace(last, segment=last.segment + 10**9, sequence=(end + 1, end + 10))
    append_manifest(data / "archive", "linear", [invented])
    (failure,) = _failures(data)
    assert str(invented.segment) in failure.where
    assert f"{invented.files} files" in failure.what


@pytest.mark.parametrize("field", ["records", "frames", "repeats", "files"])
def test_a_segment_line_that_miscounts(data: Path, field: str) -> None:
    def change(line: Any) -> Any:
        if isinstance(line, ManifestSegment):
            return msgspec.structs.replace(line, **{field: getattr(line, field) + 1})
        return line

    _replace_lines(data, change)
    assert sum(f"the manifest says {field} = " in finding.what for finding in _failures(data)) == 3


def test_an_unreadable_manifest(data: Path) -> None:
    path = manifest_path(data / "archive", "linear")
    path.write_bytes(path.read_bytes()[:-10] + b"nonsense\n")
    (failure,) = _failures(data)
    assert "manifest" in failure.where


def test_a_truncated_sealed_segment(data: Path) -> None:
    segment = segments(data)[1]
    for size in (segment.size - 1, segment.size // 2, 100, 0):
        os.truncate(segment.path, size)
        assert any(finding.where == str(segment.path) for finding in _failures(data)), size


def test_a_flipped_byte_in_a_segment(data: Path) -> None:
    segment = segments(data)[1]
    content = segment.path.read_bytes()
    unseen = []
    for offset in range(9, segment.size, segment.size // 20):
        altered = bytearray(content)
        altered[offset] ^= 0x40
        segment.path.write_bytes(altered)
        if not any(finding.where == str(segment.path) for finding in verify(data).failures):
            unseen.append((offset, content[offset]))
    # What no check covers is padding of the Arrow stream, which says nothing.
    assert all(value == 0 for _, value in unseen)
    assert len(unseen) < 5


@pytest.mark.parametrize("rolled", [True, False])
def test_a_hole_in_the_sequences(data: Path, rolled: bool) -> None:
    """A segment in the middle is gone without a trace: from the journal, and from the manifest if it was rolled."""
    gone = segments(data)[1]
    gone.path.unlink()
    if rolled:
        _replace_lines(data, lambda line: None if line.segment == gone.start_ns else line)
    else:
        shutil.rmtree(data / "archive")
    failures = _failures(data)
    unnamed = [failure for failure in failures if "no line of the manifest names it" in failure.what]
    assert bool(unnamed) == rolled
    *chain, failure = failures[: len(failures) - len(unnamed)]
    assert "a segment is missing" in failure.what
    assert str(segments(data)[1].start_ns) in failure.where
    assert ["link 2 of the chain" in broken.what for broken in chain] == [True] * rolled


def test_a_wrong_live_digest(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    feed = tape.engine.feed_index(BOOK)
    wrong = f"{tape.engine.digest(feed) ^ 1:016x}"
    update_id = tape.engine.update_id(feed)
    assert update_id is not None
    note = Digest(topic=BOOK, update_id=update_id, digest=wrong)
    sequence = tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, encode(note))
    tape.frames(market(20, 30))
    tape.stop()
    (rolled,) = roll_data(tmp_path)
    assert [mismatch.sequence for mismatch in rolled.mismatches] == [sequence]
    found = _failures(tmp_path)
    assert [(finding.feed, finding.row is None) for finding in found] == [(BOOK, True), (BOOK, False)]
    assert f"record {sequence}" in found[0].what
    assert wrong in found[0].what
    assert wrong in found[1].what  # the archive holds what the live engine said


def test_a_digest_of_a_state_that_never_was(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    for topic in (BOOK, "orderbook.50.NOBODY"):
        note = Digest(topic=topic, update_id=7, digest="00000000000000ff")
        tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, encode(note))
    tape.stop()
    roll_data(tmp_path)
    (failure,) = _failures(tmp_path)
    assert failure.feed == BOOK
    assert "(and 1 more)" in failure.what


def test_a_note_that_is_none(tmp_path: Path) -> None:
    """A sealed segment whose checksums hold and whose words make no sense: a failure, not a crash."""
    tape = Tape(tmp_path)
    tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, b'{"note":"feed","topic":7}')
    tape.stop()
    (failure,) = _failures(tmp_path)
    assert failure.where == str(segments(tmp_path)[0].path)


def test_days_may_alternate(tmp_path: Path) -> None:
    """Push times of a feed need not rise: around midnight its rows go to and fro between two files."""
    midnight_ms = (START_NS // 10**9 // 86_400 + 1) * 86_400_000
    tape = Tape(tmp_path, [BOOK])
    tape.frames([book("snapshot", 1, [("1.0", "1")], [("2.0", "1")], midnight_ms - 1)])
    tape.frames(
        book("delta", 1 + number, [("1.0", str(number))], [], midnight_ms - number % 2)
        for number in range(1, 9)
    )
    tape.rotate()
    tape.frames([book("delta", 10, [("1.0", "10")], [], midnight_ms)])
    tape.stop()
    roll_data(tmp_path)
    files = read_manifest(tmp_path / "archive").select(Table.BOOK_UPDATES)
    assert [file.date for file in files] == ["2023-11-14", "2023-11-15", "2023-11-15"]
    result = verify(tmp_path)
    assert result.findings == []
    assert result.keyframes == 8  # at each change of file: the first delta lies in the snapshot's


# ---- how it is told ----------------------------------------------------------------------------------------------


def test_a_finding_as_a_line() -> None:
    finding = Finding(fails=True, where="a.parquet", what="is wrong", feed=BOOK, row=3)
    assert str(finding) == f"FAIL  a.parquet, row 3, {BOOK}: is wrong"
    assert str(Finding(fails=False, where="b", what="is so")) == "note  b: is so"


def test_only_failures_fail() -> None:
    result = Verification()
    result.note("here", "is so")
    assert result.failures == []
    result.fail("there", "is not so")
    assert [finding.where for finding in result.failures] == ["there"]


def test_tables_on_disk_are_those_of_the_schema(data: Path) -> None:
    for file in read_manifest(data / "archive").files:
        assert pq.read_schema(data / "archive" / file.path).equals(stored_schema(Table(file.table)))
