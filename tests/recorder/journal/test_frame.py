"""Message boundaries: right on good bytes, an error (never a hang, never a wild length) on all others."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.journal.format import BatchEncoder, build_batch
from recorder.journal.frame import END_OF_STREAM, RECORD_BATCH, SCHEMA, Frame, FrameError, frame_at
from tests.recorder.journal.support import INFO

ENCODER = BatchEncoder(INFO, 0)
BATCH = bytes(ENCODER.encode(0, 1, build_batch(0, [(1, 0, 0, b"x" * 300)])))


def look(data: bytes, offset: int = 0) -> Frame | None:
    return frame_at(lambda count, at: data[at : at + count], offset, len(data))


def test_schema_batch_and_end_follow_each_other() -> None:
    data = ENCODER.header + BATCH + END_OF_STREAM
    schema = look(data)
    assert schema == Frame(SCHEMA, len(ENCODER.header))
    assert look(data, len(ENCODER.header)) == Frame(RECORD_BATCH, len(BATCH))
    assert look(data, len(ENCODER.header) + len(BATCH)) is None


def test_metadata_longer_than_the_first_read() -> None:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, pa.schema([("x", pa.int8())], metadata={"long": "y" * 5000})).close()
    data = sink.getvalue().to_pybytes()
    assert look(data) == Frame(SCHEMA, len(data) - 8)


def test_every_cut_is_an_error() -> None:
    for length in range(len(BATCH)):
        with pytest.raises(FrameError):
            look(BATCH[:length])


@given(st.binary(max_size=64), st.integers(0, len(BATCH) - 1))
def test_overwritten_bytes_give_an_error_or_a_frame_inside_the_file(noise: bytes, at: int) -> None:
    data = BATCH[:at] + noise + BATCH[at + len(noise) :]
    try:
        frame = look(data)
    except FrameError:
        return
    assert frame is None or 8 < frame.length_bytes <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(4096),
        b"\xff" * 64,
        b"\xff\xff\xff\xff\xf8\xff\xff\xff" + bytes(64),
        b"\xff\xff\xff\xff\x00\x00\x00\x7f" + bytes(64),
        b"\xff\xff\xff\xff\x08\x00\x00\x00" + b"\xf0\xff\xff\x7f" + bytes(60),
    ],
)
def test_hostile_prefixes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        look(data)
