"""Compaction: the same rows, in fewer files, whatever happens on the way and in whatever steps."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import restore
from recorder import compact, merged_files
from recorder.archive import open_archive
from recorder.cli import main
from recorder.compact import Compaction, compact_data, waiting_groups
from recorder.encodings import profile
from recorder.journal import segments
from recorder.manifest import append_manifest, read_manifest
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.names import Table
from tests.recorder.recordings import (
    BOOK,
    MS,
    SECOND,
    START_NS,
    TOP,
    TRADES,
    Tape,
    book,
    files_of,
    market,
    record_day,
    trade,
)

DAY_NS = 86_400 * SECOND


def roll(data: Path) -> None:
    with roll_lock(data, wait=False):
        roll_data(data)


def merged_of(data: Path) -> dict[str, bytes]:
    """The files that count, by path."""
    archive = data / "archive"
    return {file.path: (archive / file.path).read_bytes() for file in read_manifest(archive).files}


def rows_of(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row that counts, by table, in one order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in read_manifest(data / "archive").files:
        rows = restore(Table(file.table), pq.read_table(data / "archive" / file.path))
        columns = [
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            for column in rows.columns
        ]
        found.setdefault(file.table, []).extend(pa.table(columns, rows.column_names).to_pylist())
    return {table: sorted(rows, key=repr) for table, rows in sorted(found.items())}


def answers_of(data: Path) -> list[Any]:
    """What a reader gets to see of every table."""
    with open_archive(data, include_sealed=False, masked=False) as archive:
        return [
            sorted(archive.sql(f"SELECT * FROM {table.value}").table().to_pylist(), key=repr)
            for table in Table
        ]


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five segments of two runs, with a gap, rolled but not compacted."""
    data = tmp_path_factory.mktemp("rolled") / "data"
    tape = Tape(data)
    for start in (0, 60, 120):
        frames = [frame for frame in market(start, start + 60) if b'"u":1070' not in frame]
        tape.frames(frames, flush_every=25)
        tape.rotate()
    tape.frames([book("snapshot", 1180, [("90.0", "1")], [("101.0", "2")], START_NS // MS + 4000)])
    tape.stop()
    again = Tape(data, start_ns=START_NS + 3600 * SECOND)
    again.frames(market(0, 80, start_ms=START_NS // MS + 3_600_000))
    again.rotate()
    again.frames(market(80, 120, start_ms=START_NS // MS + 3_600_000))
    again.stop()
    roll(data)
    return data


@pytest.fixture
def data(rolled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rolled, tmp_path / "data"))


# ---- what a compaction makes -------------------------------------------------------------------------------------


def test_a_day_becomes_one_file_per_table_and_symbol_with_the_same_rows(data: Path) -> None:
    before, files = rows_of(data), read_manifest(data / "archive").files
    answers = answers_of(data)
    result = compact_data(data)
    assert not result.damaged
    assert rows_of(data) == before
    assert answers_of(data) == answers
    manifest = read_manifest(data / "archive")
    days = {(file.table, file.symbol, file.date) for file in files}
    assert len(files) > len(days)
    assert sorted((file.table, file.symbol, file.date) for file in manifest.files) == sorted(days)
    assert len(result.done) == len(days)
    assert {one.merged.path for one in result.done} == {file.path for file in manifest.files}
    assert waiting_groups(manifest) == []
    assert not verify(data).failures


def test_the_line_of_a_merged_file_says_what_it_holds(data: Path) -> None:
    parts = read_manifest(data / "archive").files
    compact_data(data)
    manifest = read_manifest(data / "archive")
    starts = [segment.start_ns for segment in segments(data)]
    for file in manifest.files:
        own = [part for part in parts if (part.table, part.symbol) == (file.table, file.symbol)]
        rows = pq.read_table(data / "archive" / file.path)
        assert file.rows == rows.num_rows == sum(part.rows for part in own)
        assert file.bytes == (data / "archive" / file.path).stat().st_size
        for name in ("sequence", "receive_ns", "match_ms", "push_ms", "update_id", "cross_sequence"):
            spans = [span for part in own if (span := getattr(part, name)) is not None]
            wanted = (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
            assert getattr(file, name) == wanted, name
        assert file.gaps == sum(part.gaps for part in own)
        assert (file.segment, file.last_segment) == (own[0].segment, own[-1].segment)
        assert [segment.segment for segment in manifest.segments_of(file)] == [
            start for start in starts if own[0].segment <= start <= own[-1].segment
        ]
        for topic, ends in file.feeds.items():
            pieces = [part.feeds[topic] for part in own if topic in part.feeds]
            assert ends.rows == sum(piece.rows for piece in pieces)
            assert ends.first_update_id == pieces[0].first_update_id
            assert ends.last_update_id == pieces[-1].last_update_id
            assert ends.first_digest == next((p.first_digest for p in pieces if p.first_digest), None)
            assert ends.last_digest == next((p.last_digest for p in reversed(pieces) if p.last_digest), None)
        runs = manifest.runs_of(file)
        assert sum(run.rows for run in runs) == file.rows
        assert [run.run for run in runs] == sorted(
            {manifest.segments[p.collector, p.segment].run for p in own}
        )


def test_what_there_is_of_each_run_stays_known(data: Path) -> None:
    def ranges() -> list[Any]:
        with open_archive(data) as archive:
            return [archive.ranges("linear", "BTCUSDT", table) for table in Table]

    before = ranges()
    assert len(before[0]) == 2
    compact_data(data)
    assert ranges() == before


def test_rows_are_in_order_and_row_groups_never_mix_feeds(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = profile("compact", Table.BOOK_UPDATES)._replace(row_group_rows=50, row_group_levels=200)
    monkeypatch.setattr(merged_files, "profile", lambda *_: small)
    (file,) = [one.merged for one in compact_data(data).done if one.group.table == Table.BOOK_UPDATES.value]
    with pq.ParquetFile(data / "archive" / file.path) as parquet:
        rows = parquet.read()
        depths = rows.column("depth").to_pylist()
        assert set(depths) == {1, 50}
        keys = list(zip(depths, rows.column("sequence").to_pylist(), strict=True))
        assert keys == sorted(keys)
        assert parquet.num_row_groups > 4
        last = {}
        for number in range(parquet.num_row_groups):
            group = parquet.read_row_group(number)
            (depth,) = set(group.column("depth").to_pylist())
            sides = [group.column(f"{side}_price_mantissa").to_pylist() for side in ("bid", "ask")]
            levels = [sum(map(len, pair)) for pair in zip(*sides, strict=True)]
            assert group.num_rows <= 50
            assert sum(levels[:-1]) < 200  # the row that reaches the bound is the last one
            last[depth] = group.num_rows, sum(levels)
        full = [parquet.metadata.row_group(number).num_rows == 50 for number in range(parquet.num_row_groups)]
        assert any(full)


def test_merged_files_are_bytes_of_their_rows_alone(data: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(data, tmp_path / "other"))
    compact_data(data)
    compact_data(other)
    assert merged_of(data) == merged_of(other)
    before = files_of(data / "archive")
    assert compact_data(data).done == []
    assert files_of(data / "archive") == before


@pytest.mark.parametrize("late", [(0,), (2,), (5,), (1, 3)])
def test_in_steps_is_as_at_once(tmp_path: Path, rolled: Path, late: tuple[int, ...]) -> None:
    """A segment that comes late, before, between or behind the others, gives what it would have given in time."""
    at_once, in_steps = tmp_path / "at_once", tmp_path / "in_steps"
    for place in (at_once, in_steps):
        shutil.copytree(rolled / "journal", place / "journal")
    aside = tmp_path / "aside"
    aside.mkdir()
    hidden = [segments(in_steps)[number].path for number in late]
    for path in hidden:
        shutil.move(path, aside)
    roll(in_steps)
    compact_data(in_steps)
    for path in reversed(hidden):
        shutil.move(aside / path.name, path)
        roll(in_steps)
        compact_data(in_steps)
    roll(at_once)
    compact_data(at_once)
    assert merged_of(in_steps) == merged_of(at_once)
    assert not verify(in_steps).failures


def test_days_are_compacted_by_themselves(tmp_path: Path) -> None:
    midnight_ms = (START_NS // DAY_NS + 1) * 86_400_000
    tape = Tape(tmp_path, start_ns=midnight_ms * MS - 2 * SECOND)
    tape.frames(market(0, 100, start_ms=midnight_ms - 1000), flush_every=10)
    tape.rotate()
    tape.frames(market(100, 200, start_ms=midnight_ms - 1000), flush_every=10)
    tape.stop()
    roll(tmp_path)
    before = rows_of(tmp_path)
    first = compact_data(tmp_path, before="2023-11-15")
    assert {one.group.date for one in first.done} == {"2023-11-14"}
    assert rows_of(tmp_path) == before
    assert not verify(tmp_path).failures
    second = compact_data(tmp_path, collector="linear")
    assert {one.group.date for one in second.done} == {"2023-11-15"}
    assert compact_data(tmp_path, collector="another").done == []
    assert rows_of(tmp_path) == before
    assert not verify(tmp_path).failures


def test_collectors_keep_files_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tape = Tape(tmp_path, collector=name)
        tape.frames(market(0, 30))
        tape.rotate()
        tape.frames(market(30, 60))
        tape.stop()
    roll(tmp_path)
    before = rows_of(tmp_path)
    assert {one.group.collector for one in compact_data(tmp_path).done} == {"a", "b"}
    assert rows_of(tmp_path) == before
    assert not verify(tmp_path).failures
    files = read_manifest(tmp_path / "archive").select(Table.TRADES)
    assert sorted(file.collector for file in files) == ["a", "b"]


def test_a_day_that_something_still_comes_of_waits(data: Path) -> None:
    last_ns = max(file.receive_ns[1] for file in read_manifest(data / "archive").files if file.receive_ns)
    assert compact_data(data, quiet_since_ns=last_ns - 1).done == []
    assert compact_data(data, quiet_since_ns=last_ns).done != []


# ---- what goes wrong ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process."""


def _killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End at the n-th call of the system that changes something; nothing is cleaned up behind it."""
    calls = itertools.count()

    def dying(real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(calls) == step:
                raise Killed
            return real(*arguments, **named)

        return call

    import os

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    monkeypatch.setattr(os, "pwrite", dying(os.pwrite))
    monkeypatch.setattr(os, "ftruncate", dying(os.ftruncate))
    monkeypatch.setattr(Path, "rename", dying(Path.rename))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))
    monkeypatch.setattr(Path, "mkdir", dying(Path.mkdir))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", dying(pq.ParquetWriter.write_table))
    monkeypatch.setattr(merged_files.MergedFile, "discard", merged_files.MergedFile.abandon)


def test_killed_at_any_point_it_goes_on_where_it_was(tmp_path: Path) -> None:
    rolled, whole = tmp_path / "rolled", tmp_path / "whole"
    tape = Tape(rolled, [TOP, TRADES])
    tape.frames(market(0, 8))
    tape.rotate()
    tape.frames(market(8, 16))
    tape.stop()
    roll(rolled)
    shutil.copytree(rolled, whole)
    expected = rows_of(whole)
    compact_data(whole, grace_s=0)
    wanted = merged_of(whole)
    for step in itertools.count():
        place = Path(shutil.copytree(rolled, tmp_path / "data"))
        with pytest.MonkeyPatch.context() as patch:
            _killed_at(step, patch)
            try:
                compact_data(place, grace_s=0)
                died = False
            except Killed:
                died = True
        assert rows_of(place) == expected, step
        compact_data(place, grace_s=0)
        assert merged_of(place) == wanted, step
        left = {str(path.relative_to(place / "archive")) for path in (place / "archive").rglob("*.parquet*")}
        assert left == set(wanted), step
        shutil.rmtree(place)
        if not died:
            break
    assert step > 20


def test_a_damaged_file_keeps_its_day_as_it_is(data: Path) -> None:
    before = read_manifest(data / "archive")
    bad = before.select(Table.TRADES)[1]
    path = data / "archive" / bad.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = compact_data(data, grace_s=0)
    assert list(result.damaged) == [bad.path]
    assert "the file was altered" in result.damaged[bad.path]
    after = read_manifest(data / "archive")
    assert after.select(Table.TRADES) == before.select(Table.TRADES)
    assert len(after.select(Table.BOOK_UPDATES)) == 1
    path.unlink()
    assert "missing" in compact_data(data).damaged[bad.path]


def test_a_file_that_has_other_rows_than_its_line_says_is_not_merged(data: Path) -> None:
    archive = data / "archive"
    entry = read_manifest(archive).select(Table.TRADES)[0]
    rows = pq.read_table(archive / entry.path)
    pq.write_table(rows.slice(1), archive / entry.path)
    forged = hashlib.sha256((archive / entry.path).read_bytes()).hexdigest()
    key = (entry.collector, entry.segment)
    others = [f for f in read_manifest(archive).files if (f.collector, f.segment) == key and f != entry]
    append_manifest(
        archive,
        "linear",
        [*others, msgspec.structs.replace(entry, sha256=forged), read_manifest(archive).segments[key]],
    )
    result = compact_data(data)
    assert "the manifest says" in next(iter(result.damaged.values()))
    assert len(result.damaged) == 1


def test_a_merged_file_that_does_not_hold_its_rows_is_not_taken(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*arguments: Any) -> Iterator[pa.Table]:
        pieces = real(*arguments)
        yield next(pieces).slice(1)
        yield from pieces

    real = compact.merged_rows
    monkeypatch.setattr(compact, "merged_rows", short)
    before = files_of(data / "archive")
    with pytest.raises(StoreError, match="its sources"):
        compact_data(data)
    assert files_of(data / "archive") == before


def test_it_stops_when_told_to_and_goes_on_later(data: Path) -> None:
    begun: list[str] = []
    result = compact_data(
        data, on_begun=lambda group, *_: begun.append(str(group)), should_stop=lambda: len(begun) == 2
    )
    assert result.waiting
    assert len(result.done) == len(begun) == 2
    rest = compact_data(data)
    assert not rest.waiting
    assert len(rest.done) + 2 == len(read_manifest(data / "archive").files)


# ---- what is left behind -----------------------------------------------------------------------------------------


def test_replaced_files_stay_for_their_grace_and_go_with_the_next_roll(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [data / "archive" / file.path for file in read_manifest(data / "archive").files]
    compact_data(data)
    assert all(path.exists() for path in old)
    roll(data)
    assert all(path.exists() for path in old)
    from recorder import leftovers

    later = leftovers.time.time_ns() + 3601 * SECOND
    monkeypatch.setattr(leftovers.time, "time_ns", lambda: later)
    roll(data)
    assert not any(path.exists() for path in old)
    assert not verify(data).findings


def test_what_a_crash_left_is_deleted_and_what_nobody_knows_is_not(data: Path) -> None:
    archive = data / "archive"
    directory = (archive / read_manifest(archive).select(Table.TRADES)[0].path).parent
    first = segments(data)[0].start_ns
    orphans = [
        directory / f"linear-{first}-{first}-0123456789ab.parquet",
        directory / "linear-merged.parquet.tmp",
        directory / f"linear-{first}.parquet.tmp",
    ]
    foreign = [
        directory / "linear-17.parquet",
        directory / "mine.parquet",
        directory / "other-1-2-0123456789ab.parquet",
    ]
    for path in (*orphans, *foreign):
        path.write_bytes(b"x")
    found = [
        finding for finding in verify(data).findings if "no line of the manifest names it" in finding.what
    ]
    assert {finding.where: finding.fails for finding in found} == {
        str(path): path.name != "mine.parquet" for path in foreign
    }
    result = compact_data(data)
    assert result.deleted_files == 2  # a file being merged took the name of one of the three, and lost it
    assert not any(path.exists() for path in orphans)
    assert all(path.exists() for path in foreign)


def test_one_more_roll_of_a_merged_segment_changes_nothing(data: Path) -> None:
    before = rows_of(data)
    files: list[ManifestFile] = read_manifest(data / "archive").files
    compact_data(data)
    key = (files[0].collector, files[0].segment)
    own = [file for file in files if (file.collector, file.segment) == key]
    append_manifest(data / "archive", "linear", [*own, read_manifest(data / "archive").segments[key]])
    assert rows_of(data) == before


def test_a_compaction_of_nothing(tmp_path: Path) -> None:
    record_day(tmp_path)
    assert compact_data(tmp_path) == Compaction()


def test_book_feeds_of_many_depths_and_late_trades(tmp_path: Path) -> None:
    """Segments whose feeds fall silent: their books are told again by keyframes with stamps of long ago."""
    tape = Tape(tmp_path)
    start_ms = START_NS // MS
    tape.frames(market(0, 20))
    for number in range(1, 5):
        tape.rotate()
        tape.frames([trade(f"late-{number}", "100.0", "1", start_ms + 1000 + number)])
        if number == 3:
            tape.frames([book("snapshot", 40, [("100.0", "1")], [("100.5", "3")], start_ms + 2000, TOP)])
    tape.rotate()
    tape.frames([book("delta", 1020, [("99.5", "4")], [], start_ms + 3000, BOOK)])
    tape.stop()
    roll(tmp_path)
    before = rows_of(tmp_path)
    keyframes = [row for row in before["book_updates"] if row["kind"] == "keyframe"]
    assert len(keyframes) == 5
    compact_data(tmp_path)
    assert rows_of(tmp_path) == before
    assert not verify(tmp_path).failures


def test_the_command_says_what_it_did(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["compact", "--data", str(data), *arguments])
        out = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out.out, out.err

    files = read_manifest(data / "archive").files
    assert run("--before", "2023-11-14")[:2] == (
        0,
        "nothing to compact before 2023-11-14: every day's files are merged\n",
    )
    code, _, err = run("--before", "14.11.2023")
    assert (code, "expected a date such as" in err) == (2, True)
    code, _, err = run("--collector", "spot")
    assert (code, "nothing of collector 'spot'; its collectors are linear" in err) == (1, True)
    code, out, _ = run()
    assert code == 0
    merged = read_manifest(data / "archive").files
    size, merged_size = (sum(file.bytes for file in each) for each in (files, merged))
    assert out.splitlines()[0] == (
        f"linear 2023-11-14: {len(files)} files -> {len(merged)}, {sum(file.rows for file in files):,} rows, "
        f"{size:,} -> {merged_size:,} bytes"
    )
    assert "stay for 3600 s" in out
    code, out, _ = run("--grace", "0")
    assert code == 0
    assert out.startswith(f"deleted {len(files)} files")


def test_the_command_names_segments_that_were_not_rolled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_day(tmp_path)
    with pytest.raises(SystemExit):
        main(["compact", "--data", str(tmp_path)])
    out = capsys.readouterr().out
    assert "nothing is rolled yet" in out
    assert "2 sealed segments are not in the archive yet: `tapebook roll`" in out


def test_the_command_as_json_and_with_a_damaged_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = data / "archive"
    bad = read_manifest(archive).select(Table.TRADES)[0]
    (archive / bad.path).write_bytes(b"gone")
    with pytest.raises(SystemExit) as ended:
        main(["compact", "--data", str(data), "--format", "json"])
    assert ended.value.code == 1
    out = capsys.readouterr()
    assert f"{bad.path}: sha256 is" in out.err
    lines = [msgspec.json.decode(line) for line in out.out.splitlines()]
    merged = [file for file in read_manifest(archive).files if file.last_segment is not None]
    assert sorted(line["path"] for line in lines) == sorted(file.path for file in merged)
    assert all(line["files"] > 1 and line["bytes"] > 0 for line in lines)
