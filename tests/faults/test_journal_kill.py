"""Real kills: a process that appends as fast as it can dies by SIGKILL; every witnessed commit is recovered.

The child writes each returned commit's last sequence to a pipe with ``os.write`` before the writer goes on;
whatever the parent reads from that pipe was returned before the kill.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.journal import CollectorLock, SegmentReader, next_sequence, recover, segments
from schemas.names import RecordKind

CHILD = """
import os, sys, time
from pathlib import Path
from recorder.journal import CollectorLock, JournalOptions, JournalWriter, SegmentInfo
from recorder.journal import journal_directory, next_sequence
from tests.faults.test_journal_kill import payload

data = Path(sys.argv[1])
with CollectorLock(data, "linear"):
    first = next_sequence(data, "linear")
    journal = JournalWriter(
        journal_directory(data, "linear"),
        SegmentInfo("linear", "linear", "gateway", "ws://x", "test", 1, 1),
        next_sequence=first,
        options=JournalOptions(commit_bytes=int(sys.argv[2]), fsync_interval_s=0.01),
        on_commit=lambda commit: os.write(1, commit.last_sequence.to_bytes(8, "little")),
    )
    sequence = journal.append(0, 0, 0, payload(first))
    while True:
        sequence = journal.append(sequence + 1, 0, 0, payload(sequence + 1))
        if sequence % 1000 == 0:
            journal.rotate(journal.segment_start_ns + 1, [])
            sequence = journal.append(0, 0, 0, payload(sequence + 2))
        while journal.backlog_bytes > 1 << 20:
            time.sleep(0.0005)
"""


def payload(sequence: int) -> bytes:
    """What record ``sequence`` carries: derivable, of varying length, different in every byte."""
    return random.Random(sequence).randbytes(sequence % 97) + struct.pack("<q", sequence)


def kill_after(data: Path, witnesses: int, commit_bytes: int) -> int:
    """Run the child until it has witnessed so many commits, kill it; return the last sequence witnessed."""
    command = [sys.executable, "-c", CHILD, str(data), str(commit_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        told = b""
        while len(told) < 8 * witnesses:
            more = child.stdout.read(4096)
            assert more, "the child ended by itself"
            told += more
        child.kill()
        told += child.stdout.read() or b""
        while more := child.stdout.read():
            told += more
    assert child.returncode == -9
    return max(struct.unpack(f"<{len(told) // 8}q", told[: len(told) // 8 * 8]), default=-1)


@pytest.mark.parametrize("seed", range(10))
def test_every_witnessed_commit_survives_a_kill(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    commit_bytes = chance.choice([200, 5_000, 262_144])
    witnessed = kill_after(tmp_path, chance.randrange(1, 60), commit_bytes)
    with CollectorLock(tmp_path, "linear"):
        behind = next_sequence(tmp_path, "linear")
        recoveries = recover(tmp_path, "linear")
    assert len(recoveries) <= 1
    found = {}
    last = -1
    for file in segments(tmp_path):
        if file.state != "sealed":
            assert file.state == "torn"
            continue
        with SegmentReader(file.path) as reader:
            for record in reader.records():
                assert record.sequence > last
                last = record.sequence
                found[record.sequence] = record
    assert witnessed <= last < next_sequence(tmp_path, "linear")
    assert behind <= next_sequence(tmp_path, "linear")
    for sequence in range(witnessed + 1):
        record = found[sequence]
        if record.kind == RecordKind.FRAME:
            assert record.payload == payload(sequence), f"record {sequence} of {witnessed} witnessed"
    notes = sum(record.kind == RecordKind.NOTE for record in found.values())
    assert notes == sum(file.state == "sealed" for file in segments(tmp_path))


def test_killed_again_and_again_the_collector_goes_on(tmp_path: Path) -> None:
    witnessed = -1
    for _ in range(3):
        told = kill_after(tmp_path, witnesses=3, commit_bytes=2_000)
        assert told > witnessed
        witnessed = told
        recover(tmp_path, "linear")
    sequences = []
    for file in segments(tmp_path):
        if file.state == "sealed":
            with SegmentReader(file.path) as reader:
                sequences += [record.sequence for record in reader.records()]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] >= witnessed
