"""The format, held against its description by means that share nothing with the code but Arrow itself."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import recorder.journal
from recorder.journal.format import BatchEncoder, ClosingNote, build_batch, checksum, payloads_of
from tests.recorder.journal.support import INFO, START_NS, fill, payload, writer

RECORDS = [(5, 0, 0, b"abc"), (6, 1, 3, b""), (7, 65535, 255, b"defg")]


def crc32c_bit_by_bit(data: bytes) -> int:
    """CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) as the books define it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def logical_bytes(rows: list[tuple[int, int, int, int, bytes]]) -> bytes:
    columns = list(zip(*rows, strict=True))
    offsets = [0]
    for data in columns[4]:
        offsets.append(offsets[-1] + len(data))
    count = len(rows)
    return b"".join(
        (
            struct.pack(f"<{count}q", *columns[0]),
            struct.pack(f"<{count}q", *columns[1]),
            struct.pack(f"<{count}H", *columns[2]),
            struct.pack(f"<{count}B", *columns[3]),
            struct.pack(f"<{count + 1}i", *offsets),
            *columns[4],
        )
    )


def test_the_reference_crc_is_crc32c() -> None:
    assert crc32c_bit_by_bit(b"123456789") == 0xE3069283


def test_checksum_covers_the_documented_bytes() -> None:
    rows = [(100 + i, *record) for i, record in enumerate(RECORDS)]
    assert checksum(build_batch(100, RECORDS)) == crc32c_bit_by_bit(logical_bytes(rows))


def test_checksum_of_a_slice_is_that_of_its_rows() -> None:
    whole = build_batch(0, [(i, 0, 0, payload(i)) for i in range(50)])
    alone = build_batch(20, [(i, 0, 0, payload(i)) for i in range(20, 30)])
    assert checksum(whole.slice(20, 10)) == checksum(alone)


def test_payloads_of_a_slice_start_at_zero() -> None:
    offsets, data = payloads_of(build_batch(0, RECORDS).slice(1, 2))
    assert offsets.tolist() == [0, 0, 4]
    assert bytes(data) == b"defg"


@pytest.mark.parametrize(
    "record", [(0, 65536, 0, b""), (0, 0, 256, b""), (1 << 63, 0, 0, b""), (0, -1, 0, b"")]
)
def test_numbers_that_do_not_fit_their_column_are_refused(record: tuple[int, int, int, bytes]) -> None:
    with pytest.raises((OverflowError, ValueError)):
        build_batch(0, [record])


def test_a_sealed_segment_reads_with_arrow_alone(tmp_path: Path) -> None:
    sealed: list[Path] = []
    journal = writer(tmp_path, next_sequence=7, on_sealed=sealed.append, clock=lambda: 4321)
    fill(journal, batches=2, rows=3)
    journal.close()
    content = sealed[0].read_bytes()
    assert content[-8:] == b"\xff\xff\xff\xff\0\0\0\0"
    with pa.ipc.open_stream(content) as stream:
        metadata = {key.decode(): value.decode() for key, value in stream.schema.metadata.items()}
        columns = [(field.name, str(field.type), field.nullable) for field in stream.schema]
        batches = [stream.read_next_batch_with_custom_metadata() for _ in range(3)]
        with pytest.raises(StopIteration):
            stream.read_next_batch()
    told = metadata.pop("crc32c")
    lines = "".join(f"{key}={metadata[key]}\n" for key in sorted(metadata))
    assert told == f"{crc32c_bit_by_bit(lines.encode()):08x}"
    assert metadata == {
        "format_version": "1",
        "collector": "linear",
        "category": "linear",
        "environment": "gateway",
        "endpoint": "ws://127.0.0.1:1",
        "software": "tapebook test",
        "run_start_ns": str(START_NS),
        "start_ns": str(START_NS),
        "first_sequence": "7",
        "kinds": "0=frame,1=rest,2=session,3=note",
    }
    assert columns == [
        ("sequence", "int64", False),
        ("receive_ns", "int64", False),
        ("line", "uint16", False),
        ("kind", "uint8", False),
        ("payload", "binary", False),
    ]
    for number, read in enumerate(batches):
        rows = [tuple(row.values()) for row in read.batch.to_pylist()]
        assert dict(read.custom_metadata) == {
            b"batch": str(number).encode(),
            b"monotonic_ns": b"4321",
            b"crc32c": f"{crc32c_bit_by_bit(logical_bytes(rows)):08x}".encode(),
        }
    (closing,) = batches[2].batch.to_pylist()
    assert (closing["sequence"], closing["kind"]) == (13, 3)
    note = json.loads(closing["payload"])
    assert re.fullmatch("[0-9a-f]{64}", note.pop("content_sha256"))  # tests/recorder/journal/test_content.py
    assert note == {
        "note": "close",
        "reason": "stopped",
        "batches": 2,
        "rows": 6,
        "last_sequence": 12,
        "bytes_set_aside": 0,
    }


def test_an_encoder_gives_the_same_bytes_each_time() -> None:
    first, second = (BatchEncoder(INFO, 0) for _ in range(2))
    note = ClosingNote("recovered", 0, 0, -1)
    assert first.header == second.header
    assert first.encode_closing(note, sequence=0, receive_ns=1, monotonic_ns=2) == second.encode_closing(
        note, sequence=0, receive_ns=1, monotonic_ns=2
    )


def test_public_names_are_complete_and_sorted() -> None:
    names = recorder.journal.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in names:
        assert hasattr(recorder.journal, name)


def test_the_documented_check_runs_as_printed(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "journal.md"
    script = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert script is not None
    sealed: list[Path] = []
    journal = writer(tmp_path, next_sequence=7, on_sealed=sealed.append)
    fill(journal, batches=3, rows=5)
    journal.close()

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script[1], str(sealed[0])]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert check().stdout.startswith('3 batches, 15 records; {"note":"close","reason":"stopped"')
    content = bytearray(sealed[0].read_bytes())
    content[content.index(payload(9))] ^= 1
    sealed[0].write_bytes(content)
    assert "batch 0: checksum" in check().stderr
