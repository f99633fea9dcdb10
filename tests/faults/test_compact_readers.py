"""Readers beside rolls and compactions in other processes: at no moment do they see nothing, or anything twice."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from recorder.archive import Archive, open_archive
from recorder.book_state import book_at
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from recorder.manifest import read_manifest
from recorder.roll import pending_segments, roll_data, roll_lock
from recorder.verify import verify
from tests.recorder.recordings import BOOK, MS, START_NS, Tape, market

SEGMENTS = 6
STEPS = 40
QUERIES = (
    "SELECT count(*), count(DISTINCT trade_id), sum(price_mantissa) FROM trades",
    "SELECT depth, count(*), count(DISTINCT update_id), sum(len(bid_price_mantissa)) FROM book_updates "
    "WHERE kind <> 'keyframe' GROUP BY depth ORDER BY depth",
    "SELECT count(*), min(push_time), max(push_time) FROM tickers",
    "SELECT topic, count(*), sum(messages) FROM coverage GROUP BY topic ORDER BY topic",
)
MOMENTS = [START_NS + number * 997 * MS for number in range(1, 5)]


def answers(archive: Archive) -> list[Any]:
    """What a reader is told."""
    rows: list[Any] = [archive.sql(query).table().to_pylist() for query in QUERIES]
    return rows + [book_at(archive, "linear", "BTCUSDT", BOOK, at_ns, Clock.PUSH) for at_ns in MOMENTS]


def write(data: Path) -> None:
    """Roll one segment after the other, each followed by a compaction of everything."""
    while pending_segments(data):
        with roll_lock(data, wait=True):
            told: list[Any] = []
            roll_data(data, on_rolled=told.append, should_stop=lambda told=told: bool(told))
        compact_data(data)


def read(data: Path, expected: list[Any], done: Event, found: Any) -> None:
    """Open, ask and close, again and again; and ask an archive that stays open."""
    rounds = 0
    with open_archive(data) as opened:
        while True:
            last = done.is_set()
            with open_archive(data) as archive:
                told = answers(archive)
                warnings = archive.warnings
            if told != expected or warnings or answers(opened) != expected:
                found.put((rounds, warnings, told))
                return
            rounds += 1
            if last:
                found.put(rounds)
                return


def test_readers_see_everything_once_at_any_moment(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    for number in range(SEGMENTS):
        tape.frames(market(number * STEPS, (number + 1) * STEPS), flush_every=30)
        if number < SEGMENTS - 1:
            tape.rotate()
    tape.stop()
    with open_archive(tmp_path) as archive:
        expected = answers(archive)
    spawn = multiprocessing.get_context("spawn")
    done, found = spawn.Event(), spawn.Queue()
    readers = [spawn.Process(target=read, args=(tmp_path, expected, done, found)) for _ in range(2)]
    writers = [spawn.Process(target=write, args=(tmp_path,)) for _ in range(2)]
    for process in readers:
        process.start()
    time.sleep(0.5)  # readers are better off with a head start, and need none
    for process in writers:
        process.start()
    for process in writers:
        process.join(300)
    done.set()
    told = [found.get(timeout=300) for _ in readers]
    for process in (*readers, *writers):
        process.join(60)
        assert process.exitcode == 0
    assert all(isinstance(rounds, int) and rounds >= 1 for rounds in told), told
    manifest = read_manifest(tmp_path / "archive")
    assert len(manifest.segments) == SEGMENTS
    assert all(file.last_segment is not None for file in manifest.files)
    assert not verify(tmp_path).failures
