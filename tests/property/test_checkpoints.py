"""Cutting a run anywhere changes nothing: not for the engine, not for a segment's rows, gaps and coverage."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.feeds import Engine
from engine.replay import Replay
from recorder.capture import Capture
from recorder.journal import JournalWriter
from recorder.journal.format import build_batch
from schemas.names import Category, GapCause, RecordKind, Table
from schemas.notes import (
    Close,
    Disconnected,
    FeedCheckpoint,
    Shared,
    Subscribed,
    Unsubscribed,
    decode_note,
    encode,
)
from tests.lined import far_runs, lined_runs
from tests.property.driving import full_book_of, moment, receive_ns
from tests.strategies import Run, Step, runs

COLLECTOR = "linear"
START_NS = receive_ns(0)


# ---- the engine by itself --------------------------------------------------------------------------------------


def _step(engine: Engine, step: Step, sequence: int, symbol: str) -> None:
    now = moment(step, sequence)
    if step.action == "frame":
        engine.apply(step.frame, now, sequence, step.line)
    elif step.action == "subscribed":
        engine.subscribed(step.topic, now, sequence, step.line)
    elif step.action == "unsubscribed":
        engine.unsubscribed(step.topic, now, sequence, step.line)
    elif step.action == "disconnect":
        engine.disconnect(step.line, now, sequence)
    elif step.action == "stale":
        engine.stale(step.topic, GapCause.SILENCE.value, now, sequence)
    elif step.action == "restate":
        engine.restate(step.topic, step.frames, now, sequence)
    else:
        engine.widen(symbol, *step.decimals, now, sequence)


def _checkpoints(engine: Engine) -> list[bytes]:
    notes: list[Any] = [engine.shared()]
    notes.extend(engine.checkpoint(feed) for feed in range(engine.feed_count))
    return [encode(note) for note in notes]


def _restored(category: Category, notes: list[bytes], *, columns: bool) -> Engine:
    engine = Engine(category, columns)
    for payload in notes:
        note = decode_note(payload)
        if isinstance(note, Shared):
            engine.restore_shared(note)
        else:
            assert isinstance(note, FeedCheckpoint)
            engine.restore(note)
    return engine


def _rows(engine: Engine) -> dict[tuple[Table, str], list[dict[str, Any]]]:
    found: dict[tuple[Table, str], list[dict[str, Any]]] = {}
    for (table, symbol, _), rows in sorted(engine.take_rows(COLLECTOR).items()):
        plain = [row for row in _plain(rows) if row.get("kind") != "keyframe"]
        found.setdefault((table, symbol), []).extend(plain)
    return {key: rows for key, rows in found.items() if rows}


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@settings(deadline=None)
@given(run=runs() | lined_runs(length=30) | far_runs(), data=st.data(), columns=st.booleans())
def test_an_engine_goes_on_from_its_checkpoints(run: Run, data: st.DataObject, columns: bool) -> None:
    cut = data.draw(st.integers(0, len(run.steps)), label="cut")
    whole = Engine(run.category, columns)
    for topic in run.topics:
        whole.add_feed(topic)
    for sequence, step in enumerate(run.steps[:cut], 1):
        _step(whole, step, sequence, run.symbol)
    whole.take_events()
    whole.take_rows(COLLECTOR)

    notes = _checkpoints(whole)
    cut_off = _restored(run.category, notes, columns=columns)
    assert _checkpoints(cut_off) == notes
    assert cut_off.take_events() == []

    for sequence, step in enumerate(run.steps[cut:], cut + 1):
        for engine in (whole, cut_off):
            _step(engine, step, sequence, run.symbol)
        assert cut_off.take_events() == whole.take_events()
        for topic in run.topics:
            there, here = whole.feed_index(topic), cut_off.feed_index(topic)
            assert cut_off.state(here) is whole.state(there)
            assert cut_off.update_id(here) == whole.update_id(there)
            assert cut_off.levels(here) == whole.levels(there)
            assert cut_off.digest(here) == whole.digest(there) == cut_off.recomputed_digest(here)
            assert cut_off.open_gap(here) == whole.open_gap(there)
        assert cut_off.exponents(run.symbol) == whole.exponents(run.symbol)
    assert _checkpoints(cut_off) == _checkpoints(whole)
    assert _rows(cut_off) == _rows(whole)


# ---- whole segments --------------------------------------------------------------------------------------------

Record = tuple[int, int, int, int, bytes]
"""sequence, receive_ns, line, kind, payload"""


class MemoryJournal:
    """Takes records as a `JournalWriter` does, and keeps its segments in memory."""

    def __init__(self) -> None:
        self.segments: list[list[Record]] = [[]]
        self.next_sequence = 0

    def append(self, receive_ns: int, line: int, kind: int, payload: bytes) -> int:
        sequence = self.next_sequence
        self.next_sequence += 1
        self.segments[-1].append((sequence, receive_ns, line, int(kind), payload))
        return sequence

    def rotate(self, start_ns: int, first_payloads: list[tuple[int, int, int, bytes]]) -> None:
        self.close("rotated")
        self.segments.append([])
        for stamp, line, kind, payload in first_payloads:
            self.append(stamp, line, kind, payload)

    def close(self, reason: str) -> None:
        records = self.segments[-1]
        note = Close(reason=reason, batches=1, rows=len(records), last_sequence=records[-1][0])
        self.append(records[-1][1], 0, RecordKind.NOTE, encode(note))


def _capture(run: Run, cuts: set[int]) -> list[list[Record]]:
    """Record a run with the recorder's own hand, rotating before the steps in ``cuts``."""
    journal = MemoryJournal()
    now = START_NS

    def clock() -> int:
        return now

    capture = Capture(
        Engine(run.category), cast(JournalWriter, journal), run=START_NS, on_event=lambda _: None, clock=clock
    )
    capture.begin(run.topics, [])
    steps = [Step("subscribed", topic=topic) for topic in run.topics] + run.steps
    for number, step in enumerate(steps, 1):
        now = moment(step, number)
        if number in cuts:
            capture.rotate()
        if step.action == "frame":
            capture.frame_list(step.line, [step.frame], now)
        elif step.action == "subscribed":
            capture.session(step.line, Subscribed(topics=[step.topic]))
        elif step.action == "unsubscribed":
            capture.session(step.line, Unsubscribed(topics=[step.topic]))
        elif step.action == "disconnect":
            capture.session(step.line, Disconnected(reason="the way is gone"))
        elif step.action == "stale":
            capture.stale(step.topic, GapCause.SILENCE.value)
        elif step.action == "restate":
            answer = full_book_of(step)
            if answer is not None:
                capture.full_book(step.topic, "/v5/market/full_orderbook", *answer)
        else:
            capture.announce(run.symbol, *step.decimals)
    now += 1_001
    capture.finish([0])
    journal.close("stopped")
    return journal.segments


def _replay(category: Category, records: list[Record], bounds: list[int], *, take: bool = False) -> Any:
    """Replay a segment whose batches end at ``bounds``; returns the replay and all its tables."""
    replay = Replay(COLLECTOR, category, records[0][1])
    tables: dict[Any, list[pa.Table]] = {}

    def keep(found: dict[Any, pa.Table]) -> None:
        for key, table in found.items():
            tables.setdefault(key, []).append(table)

    edges = sorted({0, *(bound for bound in bounds if bound < len(records)), len(records)})
    for start, stop in pairwise(edges):
        part = records[start:stop]
        if take and part[0][3] == RecordKind.FRAME:
            keep(replay.take_rows())
        replay.batch(build_batch(part[0][0], [record[1:] for record in part]))
    assert replay.close_ns is not None
    keep(replay.finish(replay.close_ns))
    return replay, {key: pa.concat_tables(parts) for key, parts in tables.items()}


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _of(tables: dict[Any, pa.Table], table: Table) -> list[dict[str, Any]]:
    return [row for key in sorted(tables) if key[0] is table for row in _plain(tables[key])]


def _market(segments: list[dict[Any, pa.Table]]) -> dict[Any, list[dict[str, Any]]]:
    """Rows of the market tables by file, in order, keyframes and sequences aside."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for tables in segments:
        for key, table in tables.items():
            if key[0] in (Table.GAPS, Table.COVERAGE, Table.RAW_RECORDS):  # that holds the checkpoints too
                continue
            rows = [_without(row, "sequence") for row in _plain(table) if row.get("kind") != "keyframe"]
            found.setdefault(key, []).extend(rows)
    return {key: rows for key, rows in found.items() if rows}


def _gaps(segments: list[dict[Any, pa.Table]]) -> list[dict[str, Any]]:
    """Gaps of all segments: one that was open at a segment's end is told again by the next."""
    merged: list[dict[str, Any]] = []
    for number, tables in enumerate(segments, 1):
        merged.extend(
            _without(row, "sequence")
            for row in _of(tables, Table.GAPS)
            if row["end_time"] is not None or number == len(segments)
        )
    return sorted(merged, key=str)


def _coverage(segments: list[dict[Any, pa.Table]]) -> list[dict[str, Any]]:
    """Coverage spans, joined where one begins when the one before ended."""
    merged: list[dict[str, Any]] = []
    for tables in segments:
        for row in _of(tables, Table.COVERAGE):
            before = next(
                (
                    span
                    for span in merged
                    if span["topic"] == row["topic"] and span["end_time"] == row["start_time"]
                ),
                None,
            )
            if before is None:
                merged.append(_without(row, "sequence"))
            else:
                before["end_time"] = row["end_time"]
                before["messages"] += row["messages"]
                before["lines"] = max(before["lines"], row["lines"])
    return sorted(merged, key=str)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs() | lined_runs(length=30), data=st.data())
def test_a_rotation_changes_no_row(run: Run, data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(1, len(run.steps) + len(run.topics)), max_size=2), label="cuts")
    (records,) = _capture(run, set())
    whole, tables = _replay(run.category, records, [])
    parts = []
    for segment in _capture(run, cuts):
        replay, found = _replay(run.category, segment, [])
        assert replay.mismatches == []
        parts.append(found)
    assert whole.mismatches == []
    assert len(parts) == len(cuts) + 1

    assert _market(parts) == _market([tables])
    assert _gaps(parts) == _gaps([tables])
    # The lines of a span are those that a segment saw, and a checkpoint names the last one only.
    assert [_without(span, "lines") for span in _coverage(parts)] == [
        _without(span, "lines") for span in _coverage([tables])
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs() | lined_runs(length=30), data=st.data())
def test_every_part_of_a_file_begins_with_a_book(run: Run, data: st.DataObject) -> None:
    """In each file the first applied row of a feed of consecutive ids is a snapshot or a keyframe."""
    cut = data.draw(st.integers(1, len(run.steps) + len(run.topics)), label="cut")
    for segment in _capture(run, {cut}):
        _, tables = _replay(run.category, segment, [])
        for (table, _, _), rows in tables.items():
            if table is not Table.BOOK_UPDATES:
                continue
            begun: set[int] = set()
            with_deltas = {row["depth"] for row in _plain(rows) if row["kind"] == "delta"}
            for row in _plain(rows):
                if row["applied"] and row["depth"] not in begun:
                    assert row["kind"] in ("snapshot", "keyframe")
                    begun.add(row["depth"])
                # none for feeds that come as snapshots alone; a quiet book begins its segment with one
                assert row["kind"] != "keyframe" or row["depth"] > 1 or row["depth"] in with_deltas


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs() | lined_runs(length=30), data=st.data())
def test_batches_leave_no_trace(run: Run, data: st.DataObject) -> None:
    (records,) = _capture(run, set())
    bounds = data.draw(st.lists(st.integers(1, len(records)), max_size=12), label="bounds")
    replay, tables = _replay(run.category, records, [])
    other, cut = _replay(run.category, records, bounds, take=data.draw(st.booleans(), label="take"))
    assert cut.keys() == tables.keys()
    for key, table in tables.items():
        assert cut[key].combine_chunks().equals(table.combine_chunks()), key
    for name in ("records", "frames", "digests", "first_sequence", "last_sequence", "mismatches", "close_ns"):
        assert getattr(other, name) == getattr(replay, name)
