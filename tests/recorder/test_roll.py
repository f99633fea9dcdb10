"""Roll: the same segment gives the same bytes, and shows up in the archive whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder import parquet_files, roll, roll_files
from recorder.journal import segments
from recorder.journal.format import FORMAT_VERSION
from recorder.manifest import append_manifest, read_manifest
from recorder.roll import pending_segments, roll_data, roll_lock, roll_segment
from recorder.verify import verify
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.manifest import ManifestFile, ManifestSegment, SegmentHeader
from schemas.names import RecordKind, Table
from schemas.tables import schema_of
from tests.recorder.archives import small_row_groups
from tests.recorder.recordings import (
    BOOK,
    MS,
    SECOND,
    START_NS,
    Tape,
    book,
    files_of,
    market,
    record_day,
    ticker,
    trade,
)


def _rolled(data: Path) -> dict[str, bytes]:
    """Every file of the archive, Parquet and manifest."""
    return {name: content for name, content in files_of(data / "archive").items() if name != "roll.lock"}


def _roll(data: Path) -> list[roll.Rolled]:
    with roll_lock(data, wait=False):
        return roll_data(data)


def _rows(data: Path, table: Table) -> list[dict[str, Any]]:
    manifest = read_manifest(data / "archive")
    out: list[dict[str, Any]] = []
    for file in manifest.select(table):
        found = pq.read_table(data / "archive" / file.path)
        for name in found.column_names:
            if pa.types.is_timestamp(found.schema.field(name).type):
                at = found.column_names.index(name)
                found = found.set_column(at, name, found.column(name).cast(pa.int64()))
        out += found.to_pylist()
    return sorted(out, key=lambda row: row["sequence"])


# ---- the same bytes ----------------------------------------------------------------------------------------------


def test_rolled_twice_the_bytes_are_the_same(tmp_path: Path) -> None:
    record_day(tmp_path / "data")
    _roll(tmp_path / "data")
    first = _rolled(tmp_path / "data")
    assert len(first) > 6
    shutil.rmtree(tmp_path / "data" / "archive")
    _roll(tmp_path / "data")
    assert _rolled(tmp_path / "data") == first


@pytest.mark.parametrize("flush_every", [1, 7, 0])
def test_commit_boundaries_leave_no_trace(tmp_path: Path, flush_every: int) -> None:
    for name, every in (("one", 13), ("other", flush_every)):
        tape = Tape(tmp_path / name)
        tape.frames(market(0, 120), flush_every=every)
        tape.stop()
        _roll(tmp_path / name)
    (one,), (other,) = (segments(tmp_path / name) for name in ("one", "other"))
    assert one.path.read_bytes() != other.path.read_bytes()
    assert _rolled(tmp_path / "one") == _rolled(tmp_path / "other")


def test_neither_do_held_rows_nor_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows handed over at every batch, in files of many row groups, give what rows handed over at the end give."""
    tape = Tape(tmp_path / "data")
    tape.frames(market(0, 150), flush_every=4)
    tape.stop()
    small_row_groups(monkeypatch, rows=11)
    (segment,) = segments(tmp_path / "data")
    expected = roll_segment(segment.path, tmp_path / "held")
    monkeypatch.setattr(roll, "MAX_HELD_BYTES", 0)
    assert roll_segment(segment.path, tmp_path / "handed over") == expected
    assert files_of(tmp_path / "handed over") == files_of(tmp_path / "held")
    monkeypatch.setattr(parquet_files, "MAX_WAITING_BYTES", 0)
    assert roll_segment(segment.path, tmp_path / "set aside") == expected
    assert files_of(tmp_path / "set aside") == files_of(tmp_path / "held")
    groups = [
        pq.read_metadata(tmp_path / "held" / entry.path).num_row_groups
        for entry in expected
        if isinstance(entry, ManifestFile) and entry.table == "book_updates"
    ]
    assert max(groups) > 5


@pytest.mark.parametrize(("steps", "jobs"), [(150, 1), (900, 1), (900, 2)])
def test_no_more_rows_are_held_however_long_the_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, jobs: int
) -> None:
    """Counted where they are: in the core, on their way, and where they wait for row groups that never fill."""
    tape = Tape(tmp_path)
    tape.frames(market(0, steps), flush_every=64)
    tape.stop()
    limit = 20_000
    monkeypatch.setattr(roll, "MAX_HELD_BYTES", limit)
    monkeypatch.setattr(roll, "MAX_RECORDS", 5)
    monkeypatch.setattr(parquet_files, "MAX_WAITING_BYTES", limit)
    in_core: list[int] = []
    grown: list[int] = []
    helds: list[parquet_files.Held] = []
    replay_batch, original = roll.Replay.batch, parquet_files.Held

    def batch(replay: roll.Replay, records: pa.RecordBatch) -> None:
        before = replay.row_bytes
        replay_batch(replay, records)
        in_core.append(replay.row_bytes)
        grown.append(replay.row_bytes - before)

    def held(archive: Path, most_bytes: int | None) -> parquet_files.Held:
        helds.append(original(archive, most_bytes))
        return helds[0]

    monkeypatch.setattr(roll.Replay, "batch", batch)
    monkeypatch.setattr(roll_files, "Held", held)
    (segment,) = segments(tmp_path)
    found = roll_segment(segment.path, tmp_path / "bounded", jobs=jobs)
    limit //= jobs  # what threads are writing is in memory besides
    assert sum(entry.rows for entry in found if isinstance(entry, ManifestFile)) > steps
    # a slice of records with a note in front is waited for, so two of them may come on top
    assert max(in_core) <= limit + 2 * max(grown)
    # what comes at once is what the core held, a piece of each table; Arrow's offsets, names and objects come on top
    of_columns = parquet_files.COLUMN_BYTES * sum(len(schema_of(table)) for table in Table)
    assert max(helds[0].peak_bytes, 1) <= limit + 2 * max(in_core) + of_columns
    assert helds[0].scratch.written_bytes > limit
    monkeypatch.undo()
    assert roll_segment(segment.path, tmp_path / "free") == found
    assert files_of(tmp_path / "free") == files_of(tmp_path / "bounded")


# ---- whole or not at all -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a kill looks like from within: nothing runs after it."""


class Steps:
    """Counts the calls that make bytes last, and dies at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, die_at: int, error: type[BaseException]) -> None:
        self.made = 0
        self._die_at = die_at
        self._error = error
        fsync, rename = os.fsync, Path.rename

        def counted_fsync(descriptor: int) -> None:
            self._count()
            fsync(descriptor)

        def counted_rename(path: Path, target: Path) -> Path:
            self._count()
            return rename(path, target)

        monkeypatch.setattr(os, "fsync", counted_fsync)
        monkeypatch.setattr(Path, "rename", counted_rename)

    def _count(self) -> None:
        self.made += 1
        if self.made == self._die_at:
            raise self._error(5, "the step that failed")


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A directory with one sealed segment of one feed, so that few steps roll it."""
    tape = Tape(tmp_path / "short", ["orderbook.50.BTCUSDT"])
    tape.frames(frame for frame in market(0, 80) if b"orderbook.50" in frame)
    tape.stop()
    return tmp_path / "short"


def _deaths(short: Path, tmp_path: Path, error: type[BaseException]) -> Iterator[tuple[Path, int]]:
    """The directory after dying at each step in turn, until a roll runs through."""
    for die_at in range(1, 200):
        data = tmp_path / f"died at {die_at}"
        shutil.copytree(short, data)
        with pytest.MonkeyPatch.context() as monkeypatch:
            steps = Steps(monkeypatch, die_at, error)
            if error is Killed:
                monkeypatch.setattr(parquet_files.ArchiveFile, "discard", parquet_files.ArchiveFile.abandon)
            try:
                _roll(data)
            except (Killed, StoreError):
                pass
            else:
                assert steps.made < die_at
                return
        yield data, die_at
    pytest.fail("a roll of this little takes no 200 steps")


@pytest.mark.parametrize("error", [Killed, OSError])
def test_a_roll_that_dies_leaves_no_segment(short: Path, tmp_path: Path, error: type[BaseException]) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(short, whole)
    _roll(whole)
    expected = _rolled(whole)
    counted = []
    for data, die_at in _deaths(short, tmp_path, error):
        manifest = read_manifest(data / "archive")
        counted.append(bool(manifest.segments))
        if manifest.segments:
            # Only behind the manifest's own line: then the segment is there whole.
            assert all((data / "archive" / file.path).exists() for file in manifest.files)
        else:
            assert manifest.files == []
        assert len(pending_segments(data)) == (not manifest.segments)
        _roll(data)
        assert _rolled(data) == expected, die_at
        assert verify(data).failures == []
    assert len(counted) > 6
    assert not any(counted[:-2])
    assert counted == sorted(counted)


def test_a_failing_disk_is_named(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Steps(monkeypatch, 1, OSError)
    with pytest.raises(StoreError, match=r"the journal still has everything.*`tapebook roll` again"):
        _roll(short)
    assert not list((short / "archive").rglob("*.tmp"))


def test_one_roller_at_a_time(short: Path) -> None:
    with roll_lock(short, wait=False), pytest.raises(ConfigError, match="another process is rolling"):
        roll_lock(short, wait=False).__enter__()
    _roll(short)


def test_a_torn_segment_is_not_rolled(short: Path) -> None:
    (segment,) = segments(short)
    with segment.path.open("r+b") as file:
        file.truncate(segment.size - 20)
    with pytest.raises(Corrupt):
        _roll(short)
    assert read_manifest(short / "archive").segments == {}
    assert not list((short / "archive").rglob("*.parquet*"))


def test_a_damaged_segment_keeps_no_other_from_being_rolled(tmp_path: Path) -> None:
    record_day(tmp_path, rotate_at=(30, 60))
    first, second, third = segments(tmp_path)
    with first.path.open("r+b") as file:
        file.truncate(first.size - 20)
    tape = Tape(tmp_path, collector="odd")
    tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, b'{"note":"feeds","topics":7}')
    tape.stop()
    with pytest.raises(Corrupt, match=first.path.name):
        roll_data(tmp_path)
    assert {start for _, start in read_manifest(tmp_path / "archive").segments} == {
        second.start_ns,
        third.start_ns,
    }
    first.path.unlink()
    with pytest.raises(Corrupt, match=r"odd/.*holds a record that can't be read"):
        roll_data(tmp_path)


def test_rolling_stops_between_segments_when_told(tmp_path: Path) -> None:
    record_day(tmp_path / "data", rotate_at=(40, 80))
    done = roll_data(tmp_path / "data", should_stop=lambda: bool(pending_segments(tmp_path / "data")[2:]))
    assert done == []
    told: list[roll.Rolled] = []
    assert roll_data(tmp_path / "data", on_rolled=told.append, should_stop=lambda: len(told) == 1) == told
    assert len(pending_segments(tmp_path / "data")) == 2
    assert roll_data(tmp_path / "data", collector="nobody") == []
    assert len(_roll(tmp_path / "data")) == 2


# ---- what a segment becomes --------------------------------------------------------------------------------------


def test_the_manifest_says_what_the_files_hold(tmp_path: Path) -> None:
    record_day(tmp_path, steps=200, rotate_at=(90,))
    rolled = _roll(tmp_path)
    assert [r.mismatches for r in rolled] == [[], []]
    assert [r.digests for r in rolled] == [2, 3]  # the snapshot and update 64; 128, 192 and the 64th top
    manifest = read_manifest(tmp_path / "archive")
    segment_lines = [manifest.segments[key] for key in sorted(manifest.segments)]
    assert [line.ended for line in segment_lines] == ["rotated", "stopped"]
    assert sum(line.frames for line in segment_lines) == len(market(0, 200))
    for line in segment_lines:
        assert line.files == sum(file.segment == line.segment for file in manifest.files)
        assert line.records == line.sequence[1] - line.sequence[0] + 1
    assert segment_lines[1].sequence[0] == segment_lines[0].sequence[1] + 1
    for line in segment_lines:
        assert line.header == SegmentHeader(
            "ws://127.0.0.1:1", "tapebook test", line.sequence[0], FORMAT_VERSION
        )
    for file in manifest.files:
        rows = pq.read_table(tmp_path / "archive" / file.path)
        assert rows.num_rows == file.rows > 0
        sequences = rows.column("sequence").to_pylist()
        assert file.sequence == (min(sequences), max(sequences))
        assert sequences == sorted(sequences)
        if file.table == "book_updates":
            ends = file.feeds[BOOK]
            kept = [row for row in rows.to_pylist() if row["depth"] == 50]
            assert ends.rows == len(kept)
            assert (ends.first_update_id, ends.last_update_id) == (
                kept[0]["update_id"],
                kept[-1]["update_id"],
            )
            digests = [f"{row['digest']:016x}" for row in kept if row["digest"] is not None]
            assert (ends.first_digest, ends.last_digest) == (digests[0], digests[-1])


def test_gaps_are_counted_with_their_symbol(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    frames = market(0, 30)
    tape.frames(frame for frame in frames if b'"u":1010' not in frame)
    tape.stop()
    _roll(tmp_path)
    manifest = read_manifest(tmp_path / "archive")
    assert {file.gaps for file in manifest.files if file.symbol == "BTCUSDT"} == {1}
    (gap,) = _rows(tmp_path, Table.GAPS)
    assert (gap["topic"], gap["cause"], gap["first_update_id"], gap["end_time"]) == (BOOK, "lost", 1010, None)
    unapplied = [row["update_id"] for row in _rows(tmp_path, Table.BOOK_UPDATES) if not row["applied"]]
    assert unapplied == list(range(1011, 1030))


def test_a_damaged_frame_without_a_topic_has_a_gap_of_its_own(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames([*market(0, 5), b"\xff\xfe", *market(5, 9)])
    tape.stop()
    (rolled,) = _roll(tmp_path)
    segment = rolled.entries[-1]
    assert isinstance(segment, ManifestSegment)
    assert segment.undecodable == {"not_json": 1}
    (gap,) = _rows(tmp_path, Table.GAPS)
    assert (gap["topic"], gap["cause"], gap["healed_by"]) == ("", "undecodable", "message")
    assert "gaps/category=linear/symbol=_/date=2023-11-14/linear-" in str(
        [file.path for file in rolled.entries if isinstance(file, ManifestFile) and file.table == "gaps"]
    )


# ---- keyframes ---------------------------------------------------------------------------------------------------


def _keyframes(data: Path) -> list[dict[str, Any]]:
    return [row for row in _rows(data, Table.BOOK_UPDATES) if row["kind"] == "keyframe"]


def _deltas(data: Path, at_ms: list[int], levels: int) -> None:
    """A book of two levels, and deltas that change some at these moments after the snapshot."""
    tape = Tape(data, [BOOK])
    start_ms = START_NS // MS
    tape.frames([book("snapshot", 10, [("99.0", "1")], [("101.0", "1")], start_ms)])
    for number, later_ms in enumerate(at_ms, 1):
        bids = [("99.0", str(1 + number))][:levels]
        tape.frames([book("delta", 10 + number, bids, [], start_ms + later_ms)])
    tape.stop()
    _roll(data)


def test_a_busy_feed_has_a_keyframe_after_ten_seconds(tmp_path: Path) -> None:
    _deltas(tmp_path, [1_000, 9_999, 10_000, 19_000, 20_000], levels=1)
    # Two changes at 9,999 ms are as many as the book holds, but the time is not up; the next one begins at 10,000.
    assert [row["update_id"] for row in _keyframes(tmp_path)] == [13, 15]


def test_a_feed_that_changes_little_waits(tmp_path: Path) -> None:
    _deltas(tmp_path, [10_000, 50_000], levels=1)
    assert [row["update_id"] for row in _keyframes(tmp_path)] == [12]


def test_a_quiet_feed_has_one_after_five_minutes(tmp_path: Path) -> None:
    _deltas(tmp_path, [299_999, 300_000, 599_999, 600_000], levels=0)
    assert [row["update_id"] for row in _keyframes(tmp_path)] == [12, 14]


def test_a_keyframe_is_the_book(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 900, step_ms=100))
    levels = tape.engine.levels(tape.engine.feed_index(BOOK))
    tape.rotate()
    tape.frames(market(900, 901, step_ms=100))
    tape.stop()
    _roll(tmp_path)
    book_at: dict[int, dict[str, dict[int, int]]] = {}
    state: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
    seen = 0
    for row in [r for r in _rows(tmp_path, Table.BOOK_UPDATES) if r["depth"] == 50]:
        scale = 10 ** (2 + row["size_exponent"])
        sides = {
            side: {
                price * 10 ** (1 + row["price_exponent"]): size * scale
                for price, size in zip(
                    row[f"{side}_price_mantissa"], row[f"{side}_size_mantissa"], strict=True
                )
            }
            for side in ("bid", "ask")
        }
        if row["kind"] == "keyframe":
            seen += 1
            assert sides == book_at[row["update_id"]]
            assert list(sides["bid"]) == sorted(sides["bid"], reverse=True)
            assert list(sides["ask"]) == sorted(sides["ask"])
            continue
        if row["kind"] == "snapshot":
            state = {"bid": {}, "ask": {}}
        for side, changes in sides.items():
            for price, size in changes.items():
                state[side].pop(price, None)
                if size:
                    state[side][price] = size
        book_at[row["update_id"]] = {side: dict(held) for side, held in state.items()}
    assert seen >= 5  # of 90 s of push time, and one at the beginning of the second segment
    last = _keyframes(tmp_path)[-1]
    assert last["update_id"] == 1899
    assert list(zip(last["bid_price_mantissa"], last["bid_size_mantissa"], strict=True)) == levels[0]


def test_a_new_day_is_a_new_file_that_begins_with_a_keyframe(tmp_path: Path) -> None:
    midnight_ms = (START_NS // (86_400 * SECOND) + 1) * 86_400_000
    tape = Tape(tmp_path, start_ns=midnight_ms * MS - SECOND)
    tape.frames(market(0, 60, start_ms=midnight_ms - 600))
    tape.stop()
    _roll(tmp_path)
    manifest = read_manifest(tmp_path / "archive")
    files = manifest.select(Table.BOOK_UPDATES)
    assert sorted(file.date for file in files) == ["2023-11-14", "2023-11-15"]
    rows = pq.read_table(tmp_path / "archive" / files[-1].path).to_pylist()
    kinds = [row["kind"] for row in rows if row["depth"] == 50]
    assert kinds[:2] == ["keyframe", "delta"]
    assert "keyframe" not in [row["kind"] for row in rows if row["depth"] == 1]
    # It carries the stamps of the frame whose book it is, of the day before.
    keyframe = next(row for row in rows if row["kind"] == "keyframe")
    assert keyframe["update_id"] == 1029
    assert verify(tmp_path).failures == []


def test_rows_of_frames_that_go_back_a_day_stay_in_order(tmp_path: Path) -> None:
    """Push times of two connections needn't rise together: each file's sequences do."""
    midnight_ms = (START_NS // (86_400 * SECOND) + 1) * 86_400_000
    tape = Tape(tmp_path)
    for number in range(6):
        tape.frames([trade(f"i{number}", "1.5", "1", midnight_ms - 1 + number % 2)])
        tape.frames([ticker("snapshot", midnight_ms - 1 + number % 2, lastPrice="1")])
    tape.stop()
    _roll(tmp_path)
    for table in (Table.TRADES, Table.TICKERS):
        files = read_manifest(tmp_path / "archive").select(table)
        assert sorted((file.date, file.rows) for file in files) == [("2023-11-14", 3), ("2023-11-15", 3)]
    assert verify(tmp_path).failures == []


def test_a_segment_of_nothing_is_rolled_too(tmp_path: Path) -> None:
    Tape(tmp_path, []).stop()
    (rolled,) = _roll(tmp_path)
    raw, _ = rolled.entries
    assert isinstance(raw, ManifestFile)
    assert raw.table == "raw_records"
    assert rolled.rows == raw.rows == 6
    append_manifest(tmp_path / "archive", "linear", rolled.entries)  # once more: the later commit counts
    assert len(read_manifest(tmp_path / "archive").segments) == 1
    assert verify(tmp_path).failures == []
