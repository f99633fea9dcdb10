from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.journal import (
    HeaderDamaged,
    JournalOptions,
    Record,
    SegmentReader,
    checksum,
    next_sequence,
    read_frames,
    segments,
)
from recorder.journal.format import BatchEncoder, ClosingNote, build_batch
from schemas.errors import Corrupt, StoreError
from schemas.names import RecordKind
from tests.recorder.journal.support import (
    INFO,
    NIGHTLY,
    START_NS,
    fill,
    left_open,
    payload,
    place,
    sealed_segment,
    writer,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.tuples(INT64, st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=100))


def read(path: Path) -> list[Record]:
    with SegmentReader(path) as reader:
        return list(reader.records())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(RECORDS, min_size=1, max_size=6), max_size=5), st.integers(0, 2**62))
def test_what_is_written_is_read(batches: list[list[tuple[int, int, int, bytes]]], first: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        journal = writer(data, next_sequence=first, options=JournalOptions(fsync_interval_s=3600))
        expected = []
        for batch in batches:
            expected += [Record(journal.append(*record), *record) for record in batch]
            journal.flush()
        journal.close()
        with SegmentReader(segments(data)[0].path) as reader:
            assert reader.info == INFO
            assert list(reader.records())[:-1] == expected
            assert [batch.number for batch in reader] == list(range(len(batches) + 1))
            assert (reader.batches, reader.rows) == (len(batches), len(expected))
        assert next_sequence(data, "linear") == first + len(expected) + 1


def test_batches_tell_where_they_end_and_iterating_starts_over(tmp_path: Path) -> None:
    with SegmentReader(sealed_segment(tmp_path)) as reader:
        first = [(batch.number, batch.offset_bytes, batch.monotonic_ns) for batch in reader]
        assert first == [(batch.number, batch.offset_bytes, batch.monotonic_ns) for batch in reader]
        assert [ends for _, ends, _ in first] == sorted(ends for _, ends, _ in first)
        assert first[-1][1] == reader.size_bytes - 8
        assert {stamp for _, _, stamp in first} == {1000}
        assert "batches=3 rows=12" in repr(reader)


def test_every_flipped_byte_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=2, rows=3)
    content = path.read_bytes()
    expected = read(path)
    masks = (0x01, 0x80, 0xFF)
    found = tried = 0
    for offset in range(len(content)):
        for mask in masks if NIGHTLY else (masks[offset % 3],):
            tried += 1
            altered = bytearray(content)
            altered[offset] ^= mask
            path.write_bytes(altered)
            try:
                assert read(path) == expected, f"offset {offset} mask {mask:#x}"
            except StoreError:
                found += 1
    assert found > tried / 3  # the rest is padding and optional metadata


def test_every_flip_in_a_column_is_found(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=1, rows=5)
    content = path.read_bytes()
    with SegmentReader(path) as reader:
        batch = next(iter(reader))
    begin = content.find((0).to_bytes(8, "little") + (1).to_bytes(8, "little"))  # sequences 0, 1, ...
    sizes = [40, 40, 10, 5, 24, sum(len(payload(i)) for i in range(5))]
    offset = begin
    for size in sizes:
        for at in range(offset, offset + size):
            altered = bytearray(content)
            altered[at] ^= 0x10
            path.write_bytes(altered)
            with pytest.raises(Corrupt):
                read(path)
        offset = (offset + size + 7) // 8 * 8
    assert offset == batch.offset_bytes


def test_every_truncation_of_a_sealed_file_is_corrupt(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=2, rows=2)
    content = path.read_bytes()
    for length in range(0, len(content), 1 if NIGHTLY else 3):
        path.write_bytes(content[:length])
        with pytest.raises(Corrupt):
            read(path)


def test_bytes_after_the_end_are_corrupt(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path)
    content = path.read_bytes()
    for more in (b"x", bytes(8), content[:-8]):
        path.write_bytes(content + more)
        with pytest.raises(Corrupt, match="after the end-of-stream marker"):
            read(path)


def batches_of(*groups: tuple[int, int, list[bytes]]) -> bytes:
    """A segment of batches (number, first sequence, payloads of kind 0) without an end."""
    encoder = BatchEncoder(INFO, 0)
    parts = [encoder.header]
    for number, first, payloads in groups:
        parts.append(
            bytes(encoder.encode(number, 0, build_batch(first, [(1, 0, 0, data) for data in payloads])))
        )
    return b"".join(parts)


def ending(note: ClosingNote, sequence: int) -> bytes:
    return BatchEncoder(INFO, 0).encode_closing(note, sequence=sequence, receive_ns=1, monotonic_ns=0)


GOOD = ClosingNote("stopped", 1, 2, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (batches_of((1, 0, [b"a", b"b"])) + ending(GOOD, 2), "batch 1 at offset .* expected number 0"),
        (batches_of((0, 5, [b"a", b"b"])) + ending(GOOD, 2), "sequences 5 to 6, expected 0 to 1"),
        (batches_of((0, 0, [b"a"]), (1, 2, [b"b"])) + ending(GOOD, 3), "sequences 2 to 2, expected 1 to 1"),
        (
            batches_of((0, 0, [b"a", b"b"])) + ending(ClosingNote("stopped", 1, 3, 2), 2),
            "tells of 1 batches, 3 rows",
        ),
        (batches_of((0, 0, [b"a", b"b"])) + ending(GOOD, 9), "closing note has sequence 9, expected 2"),
        (batches_of((0, 0, [b"a", b"b"])) + b"\xff\xff\xff\xff\0\0\0\0", "no closing note"),
        (batches_of((0, 0, [b"a", b"b"])) + ending(GOOD, 2)[:-8] * 2, "after the closing note"),
        (batches_of((0, 0, [b"a", b"b"])) + batches_of(), "type 1 at offset"),
        (batches_of((0, 0, [b"a", b"b"])), "without an end-of-stream marker"),
    ],
)
def test_whole_batches_in_the_wrong_place_are_corrupt(content: bytes, words: str, tmp_path: Path) -> None:
    path = place(tmp_path, content)
    with pytest.raises(Corrupt, match=words):
        read(path)


@pytest.mark.parametrize(
    "note", [b'{"note":"close"', b'{"note":"close","reason":1}', b'{"note":"close","reason":"\xff"}']
)
def test_a_closing_note_that_cannot_be_read_is_corrupt(note: bytes, tmp_path: Path) -> None:
    encoder = BatchEncoder(INFO, 0)
    batch = bytes(encoder.encode(0, 0, build_batch(0, [(1, 0, RecordKind.NOTE, note)])))
    path = place(tmp_path, encoder.header + batch + b"\xff\xff\xff\xff\0\0\0\0")
    with pytest.raises(Corrupt, match="closing note at offset"):
        read(path)
    assert next_sequence(tmp_path, "linear") > 0


def arrow_file(metadata: dict[bytes | str, bytes | str] | None, *names: str) -> bytes:
    sink = pa.BufferOutputStream()
    schema = pa.schema([(name, pa.int64()) for name in names], metadata=metadata)
    pa.ipc.new_stream(sink, schema).close()
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", HeaderDamaged, "no segment header"),
        (bytes(5000), HeaderDamaged, "no segment header"),
        (b"PAR1" + bytes(100), HeaderDamaged, "no segment header"),
        (batches_of()[:200], HeaderDamaged, "cut short"),
        (batches_of((0, 0, [b"x"]))[len(batches_of()) :], HeaderDamaged, "no schema message"),
        (batches_of().replace(b"gateway", b"mainnet"), HeaderDamaged, "fails its checksum"),
        (arrow_file(None, "x"), Corrupt, "not a journal segment"),
        (arrow_file({"format_version": "1.0"}, "x"), Corrupt, "not a journal segment"),
        (
            arrow_file({"format_version": "3", "collector": "linear"}, "x"),
            StoreError,
            "written by a newer tapebook",
        ),
    ],
)
def test_what_is_no_segment_is_refused_by_name(
    content: bytes, error: type[StoreError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words) as caught:
        read(place(tmp_path, content))
    assert type(caught.value) is error


def test_a_moved_segment_is_corrupt(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path)
    renamed = path.with_name("17.arrows")
    path.rename(renamed)
    with pytest.raises(Corrupt, match=f"start {START_NS}; expected at linear/{START_NS}.arrows"):
        read(renamed)
    elsewhere = tmp_path / "journal/spot" / path.name
    elsewhere.parent.mkdir()
    renamed.rename(elsewhere)
    with pytest.raises(Corrupt, match="collector 'linear'"):
        read(elsewhere)


def test_a_missing_file_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file") as caught:
        SegmentReader(tmp_path / "1.arrows")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(StoreError):
        SegmentReader(tmp_path)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_joined_and_compressed_batches_read_the_same(codec: Literal["zstd", "lz4"], tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=5, rows=4)
    expected = read(path)
    with SegmentReader(path) as reader:
        tables = [batch.table for batch in reader]
    joined = pa.Table.from_batches(tables[:-1]).combine_chunks().to_batches()[0]
    note = ClosingNote("stopped", 1, 20, 19)
    closing = build_batch(20, [(expected[-1].receive_ns, 0, 3, msgspec.json.encode(note))])
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        schema = stream.schema
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as stream:
        for number, batch in enumerate((joined, closing)):
            metadata = {b"batch": b"%d" % number, b"monotonic_ns": b"0", b"crc32c": b"%08x" % checksum(batch)}
            stream.write_batch(batch, custom_metadata=pa.KeyValueMetadata(metadata))
    path.write_bytes(sink.getvalue())
    assert read(path)[:-1] == expected[:-1]
    assert next_sequence(tmp_path, "linear") == 21
    content = path.read_bytes()
    for offset in range(0, len(content), 3):
        altered = bytearray(content)
        altered[offset] ^= 0x41
        path.write_bytes(altered)
        try:
            assert read(path)[:-1] == expected[:-1]
        except StoreError:
            continue


def test_an_open_segment_is_read_as_far_as_it_is_good(tmp_path: Path) -> None:
    path, commits = left_open(tmp_path, batches=3, rows=2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with SegmentReader(path, lenient=True) as reader:
        assert [record.sequence for record in reader.records()] == [0, 1, 2, 3]
        assert reader.good_bytes == reader.data_bytes == commits[1].offset_bytes
        assert reader.stopped is not None
        assert "cut short" in reader.stopped
    with pytest.raises(Corrupt, match="cut short"):
        read(path)


def test_an_open_segment_is_read_while_it_is_written(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    seen = []
    for count in range(1, 6):
        fill(journal, batches=1, rows=2)
        while journal.backlog_bytes:
            pass
        with SegmentReader(segments(tmp_path)[0].path, lenient=True) as reader:
            seen.append(len(list(reader.records())))
        assert seen[-1] == 2 * count
    journal.close()


def test_records_of_one_kind(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    for kind in (0, 3, 2, 0, 1):
        journal.append(1, 0, kind, b"%d" % kind)
    journal.close()
    with SegmentReader(segments(tmp_path)[0].path) as reader:
        assert [record.sequence for record in reader.records(RecordKind.FRAME)] == [0, 3]
        assert [record.sequence for record in reader.records(RecordKind.NOTE)] == [1, 5]


def test_a_frame_that_looks_like_a_closing_note_is_a_frame(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    hostile = b'{"note":"close","reason":"x","batches":0,"rows":0,"last_sequence":-1}'
    journal.append(1, 0, 0, hostile)
    journal.flush()
    journal.append(2, 0, 0, b"after")
    journal.close()
    assert list(read_frames(tmp_path)) == [(1, hostile), (2, b"after")]
