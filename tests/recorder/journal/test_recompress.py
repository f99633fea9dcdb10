"""Recompression changes how a segment lies on the disk, and nothing of what it says."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recorder.journal import (
    Disk,
    Record,
    SegmentFile,
    SegmentReader,
    next_sequence,
    recompress,
    segments,
)
from recorder.journal import recompress as recompress_function
from recorder.journal.format import (
    COMPRESSED_VERSION,
    MAX_COMMITS,
    Commits,
    SegmentGone,
    decode_commits,
    encode_commits,
)
from recorder.journal.lock import try_lock
from recorder.journal.recompress import LEAST_BYTES, Stopped, held, remove_leavings
from schemas.errors import Corrupt, StoreError
from tests.recorder.journal.support import (
    START_NS,
    FailingDisk,
    Killed,
    KillingDisk,
    left_open,
    sealed_segment,
    writer,
)

MODULE = "recorder.journal.recompress"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of tests are small; so are their batches."""
    import sys

    monkeypatch.setattr(sys.modules[MODULE], "LEAST_BYTES", 0)
    monkeypatch.setattr(sys.modules[MODULE], "BATCH_BYTES", 3_000)


def one(data: Path) -> SegmentFile:
    (found,) = segments(data)
    return found


def made(data: Path) -> Path:
    """A segment of 40 commits of 1 to 7 records, with stamps that go on unevenly and once back."""
    now = [10**13]
    journal = writer(data, next_sequence=5, clock=lambda: now[0])
    chance = random.Random(3)
    number = 5
    for commit in range(40):
        now[0] += chance.randrange(20_000_000) - (10**12 if commit == 20 else 0)
        for _ in range(chance.randrange(1, 8)):
            journal.append(
                START_NS + number * 1000, number % 3, number % 4 if number % 4 != 3 else 0, b"%d" % number * 9
            )
            number += 1
        journal.flush()
    journal.close()
    return segments(data)[-1].path


def commits_of(path: Path) -> tuple[list[Record], list[tuple[int, int]], str]:
    """Records, (rows, stamp) of each group commit, content hash."""
    with SegmentReader(path, hashed=True) as reader:
        grouped = [
            pair
            for batch in reader
            for pair in zip(batch.commits.rows, batch.commits.monotonic_ns, strict=True)
        ]
        assert reader.content is not None
        digest = reader.content.hexdigest()
        return list(reader.records()), grouped, digest


def test_records_commits_and_content_stay(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = commits_of(path)
    with SegmentReader(path) as reader:
        header, first = reader.info, reader.first_sequence
        closing = reader.read_closing()
    following = next_sequence(tmp_path, "linear")
    done = recompress(one(tmp_path), level=9)
    assert done is not None
    assert commits_of(path) == before
    assert (done.segment, done.records, done.batches_before) == (path, len(before[0]), 41)
    assert 2 < done.batches_after < 12
    assert done.bytes_after == path.stat().st_size < done.bytes_before / 3
    with SegmentReader(path) as reader:
        batches = list(reader)
        assert [batch.number for batch in batches] == list(range(done.batches_after))
        assert (reader.batches, reader.rows) == (40, len(before[0]) - 1)
        assert reader.info.format_version == COMPRESSED_VERSION
        assert (reader.info.start_ns, reader.info.endpoint, reader.first_sequence) == (
            header.start_ns, header.endpoint, first,
        )  # fmt: skip
        assert len(batches[-1].table) == 1  # the closing note, found from the end
        assert reader.read_closing() == closing
        assert reader.closing_sequence == before[0][-1].sequence
    assert next_sequence(tmp_path, "linear") == following
    assert recompress(one(tmp_path)) is None
    assert list(path.parent.iterdir()) == [path]


def test_plain_arrow_reads_it(tmp_path: Path) -> None:
    path = made(tmp_path)
    records = commits_of(path)[0]
    recompress(one(tmp_path))
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    assert table.column("payload").to_pylist() == [record.payload for record in records]
    assert table.column("sequence").to_pylist() == [record.sequence for record in records]


@pytest.mark.parametrize("rows", [[1], [3, 1, 2], [1] * MAX_COMMITS])
def test_commits_as_text(rows: list[int]) -> None:
    chance = random.Random(len(rows))
    stamps = [chance.randrange(2**62) for _ in rows]
    text = encode_commits(Commits(7, rows, stamps))
    assert decode_commits(7, text) == Commits(7, rows, stamps)
    assert len(
        encode_commits(Commits(0, rows, np.cumsum([10**7 + chance.randrange(10**6) for _ in rows]).tolist()))
    ) < (40_000)  # below the reader's limit of metadata


@pytest.mark.parametrize("text", [b"", b"?", b"AAAA", encode_commits(Commits(0, [1], [1]))[:-4]])
def test_text_that_is_no_commits(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whichever part of it stumbles)
        decode_commits(0, text)


def test_a_bomb_of_commits_is_no_allocation() -> None:
    import base64
    import zlib

    with pytest.raises(ValueError, match="4096"):
        decode_commits(0, base64.b64encode(zlib.compress(bytes(1 << 28))))


def test_killed_anywhere_the_old_file_or_the_new_is_there(tmp_path: Path) -> None:
    path = made(tmp_path / "made")
    wanted = commits_of(path)
    old = path.read_bytes()
    new = b""
    for survive in range(200):
        data = tmp_path / str(survive)
        shutil.copytree(tmp_path / "made", data)
        try:
            recompress(one(data), disk=KillingDisk(survive))
        except Killed:
            pass
        else:
            assert survive > 8
            break
        left = one(data)
        assert commits_of(left.path) == wanted
        content = left.path.read_bytes()
        assert content == old or SegmentReader(left.path).info.format_version == COMPRESSED_VERSION
        # the next pass finishes what was begun
        remove_leavings(data)
        again = recompress(one(data))
        assert (again is None) == (content != old)
        assert commits_of(left.path) == wanted
        assert [each.name for each in left.path.parent.iterdir()] == [path.name]
        new = new or left.path.read_bytes()
        assert left.path.read_bytes() == new
    else:
        raise AssertionError("it never came to its end")


@pytest.mark.parametrize(("call", "after"), [("write_at", 0), ("write_at", 3), ("sync", 0), ("rename", 0)])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses(call: str, after: int, code: int, tmp_path: Path) -> None:
    path = made(tmp_path)
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"\.arrows\.tmp: .* failed: .*recompress again; the segment is as it was"
    ) as caught:
        recompress(one(tmp_path), disk=FailingDisk(call, after, code))
    assert caught.value.exit_code == 4
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_copy_that_came_out_differently_is_thrown_away(tmp_path: Path) -> None:
    """A batch with a right checksum and a wrong number, as bad memory would make one."""

    class Bends(Disk):
        def rename(self, source: Path, target: Path) -> None:
            raise AssertionError("it must not get that far")

    path = made(tmp_path)
    before = path.read_bytes()
    import sys

    module = sys.modules[MODULE]
    real = module._joined

    def bent(tables: list[pa.RecordBatch]) -> pa.RecordBatch:
        joined = real(tables)
        lines = joined.column(2).to_numpy().copy()
        lines[-1] ^= 1
        columns = [*joined.columns[:2], pa.array(lines, pa.uint16()), *joined.columns[3:]]
        return pa.RecordBatch.from_arrays(columns, schema=joined.schema)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_joined", bent)
        with pytest.raises(StoreError, match="differs from the segment at batch 0"):
            recompress(one(tmp_path), disk=Bends())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_segment_is_left_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"100" * 9)] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="fails its checksum"):
        recompress(one(tmp_path))
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_what_is_open_small_gone_or_held_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = left_open(tmp_path / "open")
    assert recompress(one(tmp_path / "open")) is None
    sealed = sealed_segment(tmp_path / "sealed")
    found = one(tmp_path / "sealed")
    descriptor = os.open(sealed, os.O_RDONLY)
    try:
        assert try_lock(descriptor)
        assert recompress(found) is None
        with held(sealed) as is_ours:
            assert not is_ours
    finally:
        os.close(descriptor)
    import sys

    monkeypatch.setattr(sys.modules[MODULE], "LEAST_BYTES", LEAST_BYTES)
    assert recompress(found) is None
    monkeypatch.setattr(sys.modules[MODULE], "LEAST_BYTES", 0)
    before = sealed.read_bytes()
    sealed.unlink()
    assert recompress(found) is None
    assert path.exists()
    assert before


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), OSError("bad"), SegmentGone(errno.ENOENT, "gone")]
)
@pytest.mark.parametrize("there", [True, False])
def test_what_its_user_meets_is_no_error_of_the_lock(tmp_path: Path, error: Exception, there: bool) -> None:
    segment = tmp_path / "1.arrows"
    if there:
        segment.touch()

    def use() -> None:
        with held(segment) as is_ours:
            assert is_ours is there
            raise error

    with pytest.raises(type(error)) as raised:
        use()
    assert raised.value is error


def test_it_can_be_asked_to_end(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = path.read_bytes()
    turns = iter([False, False, True])
    with pytest.raises(Stopped):
        recompress(one(tmp_path), should_stop=lambda: next(turns))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_leavings_of_a_pass_that_lives_stay(tmp_path: Path) -> None:
    path = made(tmp_path)
    leaving = path.with_name(path.name + ".tmp")
    leaving.write_bytes(b"half")
    with held(path) as is_ours:
        assert is_ours
        remove_leavings(tmp_path)
        assert leaving.exists()
    remove_leavings(tmp_path)
    assert not leaving.exists()
    assert segments(tmp_path) == [one(tmp_path)]


def test_any_flipped_byte_of_a_compressed_segment_is_found_or_harmless(tmp_path: Path) -> None:
    path = made(tmp_path)
    wanted = commits_of(path)[0]
    recompress(one(tmp_path))
    content = path.read_bytes()
    chance = random.Random(1)
    damaged = 0
    for at in sorted({*range(0, len(content), 17), *range(len(content) - 40, len(content))}):
        flipped = bytearray(content)
        flipped[at] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            with SegmentReader(path) as reader:
                found = list(reader.records())
        except StoreError:
            damaged += 1
        else:
            assert found == wanted, f"byte {at}"
    assert damaged > 100


def test_every_cut_of_a_compressed_segment_is_found(tmp_path: Path) -> None:
    path = made(tmp_path)
    recompress(one(tmp_path))
    content = path.read_bytes()
    for length in range(0, len(content), 61):
        path.write_bytes(content[:length])
        with pytest.raises(Corrupt), SegmentReader(path) as reader:
            for _ in reader:
                pass


def test_the_function_is_the_packages(tmp_path: Path) -> None:
    assert recompress_function is recompress
