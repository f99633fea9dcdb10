"""The content hash: of the records alone, as docs/journal.md describes it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.journal import ContentHash, SegmentReader, chain_value, segments
from recorder.journal.format import build_batch
from tests.recorder.journal.support import fill, writer

INT64 = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.tuples(INT64, st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=40))


def documented(first: int, records: list[tuple[int, int, int, bytes]]) -> str:
    """The hash from the words of the page: one digest a column, and one over them."""
    n = len(records)
    receive, lines, kinds, payloads = zip(*records, strict=True)
    columns = (
        struct.pack(f"<{n}q", *range(first, first + n)),
        struct.pack(f"<{n}q", *receive),
        struct.pack(f"<{n}H", *lines),
        bytes(kinds),
        struct.pack(f"<{n}I", *map(len, payloads)),
        b"".join(payloads),
    )
    return hashlib.sha256(b"".join(hashlib.sha256(column).digest() for column in columns)).hexdigest()


@given(
    st.lists(RECORDS, min_size=1, max_size=12),
    st.integers(0, 2**62),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_batches_leave_no_trace(
    records: list[tuple[int, int, int, bytes]], first: int, cuts: list[int]
) -> None:
    whole = build_batch(first, records)
    places = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    made, sliced = ContentHash(), ContentHash()
    for start, end in pairwise(places):
        made.update(build_batch(first + start, records[start:end]))
        sliced.update(whole.slice(start, end - start))
    assert made.hexdigest() == sliced.hexdigest() == documented(first, records)


@given(st.lists(RECORDS, min_size=1, max_size=6), st.data())
def test_whatever_changes_shows(records: list[tuple[int, int, int, bytes]], data: st.DataObject) -> None:
    other = list(records)
    at = data.draw(st.integers(0, len(records) - 1))
    other[at] = data.draw(RECORDS)
    one, two = ContentHash(), ContentHash()
    one.update(build_batch(5, records))
    two.update(build_batch(5, other))
    assert (one.hexdigest() == two.hexdigest()) == (records == other)
    differing = {name for name, value in one.columns().items() if value != two.columns()[name]}
    assert ("line" in differing) == (records[at][1] != other[at][1])


def test_bytes_can_not_move_from_one_payload_to_the_next() -> None:
    one, two = ContentHash(), ContentHash()
    one.update(build_batch(0, [(1, 0, 0, b"ab"), (1, 0, 0, b"c")]))
    two.update(build_batch(0, [(1, 0, 0, b"a"), (1, 0, 0, b"bc")]))
    assert one.hexdigest() != two.hexdigest()


def test_a_reader_hashes_what_it_yields(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    fill(journal, 3, 4)
    journal.close()
    with SegmentReader(segments(tmp_path)[0].path, hashed=True) as reader:
        records = list(reader.records())
        assert reader.content is not None
        found = reader.content.hexdigest()
        note = msgspec.json.decode(records[-1].payload) | {"batches": 0}
        assert note.pop("content_sha256") == found  # the writer has told it
        counted = [
            *records[:-1],
            records[-1]._replace(payload=json.dumps(note, separators=(",", ":")).encode()),
        ]
        assert found == documented(0, [record[1:] for record in counted])
        assert list(reader.records()) == records  # once more: it starts over
        assert reader.content.hexdigest() == found
    with SegmentReader(segments(tmp_path)[0].path) as reader:
        assert len(list(reader)) == 4
        assert reader.content is None


def test_commits_leave_no_trace(tmp_path: Path) -> None:
    hashes = set()
    for batches, rows in ((2, 6), (3, 4), (12, 1)):
        journal = writer(tmp_path / str(rows))
        fill(journal, batches, rows)
        journal.close()
        with SegmentReader(segments(tmp_path / str(rows))[0].path, hashed=True) as reader:
            assert len(list(reader)) == batches + 1
            assert reader.content is not None
            hashes.add(reader.content.hexdigest())
    assert len(hashes) == 1


def test_the_documented_hash_runs_as_printed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "journal.md").read_text()
    section = page[page.index("## Content hash and chain") :]
    script = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert script is not None
    journal = writer(tmp_path, next_sequence=3)
    fill(journal, 3, 5)
    journal.close()
    path = segments(tmp_path)[0].path
    with SegmentReader(path, hashed=True) as reader:
        assert sum(batch.table.num_rows for batch in reader) == 16
        assert reader.content is not None
        expected = reader.content.hexdigest()
    command = [sys.executable, "-c", script[1], str(path)]
    assert (
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        == expected
    )


def test_a_link_hangs_on_all_it_names() -> None:
    content = "ab" * 32
    first = chain_value(None, "linear", 17, content)
    assert first == hashlib.sha256(bytes(32) + b"linear\n17\n" + bytes.fromhex(content)).hexdigest()
    others = {
        chain_value(first, "linear", 17, content),
        chain_value(None, "spot", 17, content),
        chain_value(None, "linear", 18, content),
        chain_value(None, "linear", 17, "cd" * 32),
    }
    assert len(others | {first}) == 5
    with pytest.raises(ValueError, match="hex"):
        chain_value(None, "linear", 17, "no hash")
