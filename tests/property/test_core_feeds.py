"""The core equals the reference model: states, books, digests, rows and gaps, step by step."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reference import Outcome, ReferenceFeeds
from schemas.errors import DecimalError
from schemas.names import Category, GapCause, Table
from schemas.tables import SCHEMAS, book_topic
from tests.lined import far_runs, lined_runs
from tests.property.driving import drive, moment
from tests.strategies import Run, Step, runs

core = pytest.importorskip("engine.core.feeds", reason="the extensions are not built (make build)")
events = pytest.importorskip("engine.events")
parse_feed = core.parse_feed

OUTCOMES = {
    core.UNDECODABLE: Outcome.UNDECODABLE,
    core.CONTROL: Outcome.OTHER,
    core.UNKNOWN_TOPIC: Outcome.OTHER,
}


class Pair:
    """The core and the model, taking the same steps."""

    def __init__(self, category: Category, symbol: str, topics: list[str]) -> None:
        self.symbol = symbol
        self.topics = topics
        self.core = core.Engine(category, columns=True)
        self.model = ReferenceFeeds(category)
        for topic in topics:
            self.core.add_feed(topic)
            self.model.add_feed(topic)
        self.books: dict[tuple[int, str], Any] = {}

    def step(self, step: Step, sequence: int) -> None:
        outcome = drive(self.model, step, sequence, self.symbol)
        now = moment(step, sequence)
        if step.action == "frame":
            status = self.core.apply(step.frame, now, sequence, step.line)
            assert OUTCOMES.get(status, Outcome.DATA) is outcome, step.frame
        elif step.action == "subscribed":
            self.core.subscribed(step.topic, now, sequence, step.line)
        elif step.action == "unsubscribed":
            self.core.unsubscribed(step.topic, now, sequence, step.line)
        elif step.action == "disconnect":
            self.core.disconnect(step.line, now, sequence)
        elif step.action == "stale":
            self.core.stale(step.topic, GapCause.SILENCE.value, now, sequence)
        elif step.action == "restate":
            self.core.restate(step.topic, step.frames, now, sequence)
        else:
            with contextlib.suppress(DecimalError):
                self.core.widen(self.symbol, *step.decimals, now, sequence)
        self.compare_states()
        for topic in self.topics:
            if topic.startswith("orderbook"):
                self.books[sequence, topic] = self.model.levels(topic)

    def compare_states(self) -> None:
        for topic in self.topics:
            feed = self.core.feed_index(topic)
            assert self.core.state(feed) == self.model.state(topic), topic
            if not topic.startswith("orderbook"):
                continue
            assert self.core.update_id(feed) == self.model.update_id(topic)
            assert self.core.exponents(self.symbol) == tuple(
                -item for item in self.model.decimals(self.symbol)
            )
            assert self.core.digest(feed) == self.core.recomputed_digest(feed) == self.model.digest(topic)
            if topic.startswith("orderbook.rpi."):
                assert self.core.rpi_levels(feed) == self.model.levels(topic)
                continue
            depth = parse_feed(self.core.category, topic)[1]
            bids, asks = self.core.levels(feed, depth)
            assert (bids, asks) == self.model.top(topic, 10_000)
            best = tuple(side[0] if side else (None, None) for side in (bids, asks))
            assert self.core.best(feed) == best[0] + best[1]

    def compare_gaps(self) -> None:
        healed, still_open = [], {}
        for event in self.core.take_events():
            if event.kind is events.EventKind.GAP_OPENED:
                still_open[_place(event)] = event
            elif event.kind is events.EventKind.GAP_CLOSED:
                still_open.pop(_place(event))
                healed.append(_gap_of(event))
        # Two gaps that one frame heals come in either order.
        key = lambda gap: (gap["sequence"], gap["topic"])  # noqa: E731
        assert sorted(healed, key=key) == sorted(self.model.gaps, key=key)
        assert sorted((_open_gap_of(event) for event in still_open.values()), key=str) == sorted(
            (_open_part(gap) for gap in self.model.open_gaps()), key=str
        )

    def compare_rows(self) -> None:
        rows: dict[tuple[Table, str], list[dict[str, Any]]] = {}
        for (table, symbol, _), found in self.core.take_rows("linear").items():
            assert found.schema.equals(SCHEMAS[table])
            plain = _plain(found)
            self.compare_keyframes(table, symbol, [row for row in plain if row.get("kind") == "keyframe"])
            rows.setdefault((table, symbol), []).extend(row for row in plain if row.get("kind") != "keyframe")
        expected: dict[tuple[Table, str], list[dict[str, Any]]] = {}
        for table, made in self.model.rows.items():
            for row in made:
                kept = {name: value for name, value in row.items() if name not in ("topic", "symbol")}
                expected.setdefault((table, row["symbol"]), []).append(kept)
        assert {name: _sorted(found) for name, found in rows.items()} == expected

    def compare_keyframes(self, table: Table, symbol: str, keyframes: list[dict[str, Any]]) -> None:
        """A keyframe is the whole book after the row that it follows."""
        names = ["price", "size", "rpi_size"] if table is Table.RPI_BOOK_UPDATES else ["price", "size"]
        for row in keyframes:
            bids, asks = self.books[row["sequence"], book_topic(table, row["depth"], symbol)]
            for side, levels in (("bid", bids), ("ask", asks)):
                columns = (row[f"{side}_{name}_mantissa"] for name in names)
                assert list(zip(*columns, strict=True)) == levels


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A frame's rows stand together; files of several dates are joined by sequence."""
    return sorted(rows, key=lambda row: row["sequence"])


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in ("collector", "digest"):
            columns[name] = (
                column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            ).to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _open_gap_of(event: Any) -> dict[str, Any]:
    return {
        "topic": event.topic,
        "start_time": event.start_ns,
        "start_match_time": event.start_match_ms,
        "first_update_id": event.first_update_id,
        "cause": event.detail,
    }


def _place(event: Any) -> tuple[Any, ...]:
    """Of which gap an event tells: one may be told while another of its feed is open."""
    return event.topic, event.line if not event.topic else 0, event.start_ns


def _gap_of(event: Any) -> dict[str, Any]:
    return _open_gap_of(event) | {
        "sequence": event.sequence,
        "end_time": event.receive_ns,
        "end_match_time": event.match_ms,
        "last_update_id": event.last_update_id,
        "healed_by": event.healed_by,
    }


def _open_part(gap: dict[str, Any]) -> dict[str, Any]:
    return {
        name: gap[name] for name in ("topic", "start_time", "start_match_time", "first_update_id", "cause")
    }


def _drive(run: Run) -> Pair:
    """Let a run happen to both."""
    pair = Pair(run.category, run.symbol, run.topics)
    for sequence, step in enumerate(run.steps, 1):
        pair.step(step, sequence)
    return pair


@settings(deadline=None)
@given(run=runs())
def test_states_books_and_gaps(run: Run) -> None:
    _drive(run).compare_gaps()


@settings(deadline=None)
@given(run=runs())
def test_rows(run: Run) -> None:
    _drive(run).compare_rows()


@settings(deadline=None)
@given(run=lined_runs())
def test_several_lines(run: Run) -> None:
    pair = _drive(run)
    pair.compare_gaps()
    pair.compare_rows()


@settings(deadline=None, max_examples=30)
@given(run=far_runs())
def test_lines_that_are_far_apart(run: Run) -> None:
    pair = _drive(run)
    pair.compare_gaps()
    pair.compare_rows()


@settings(deadline=None)
@given(frames=st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes(frames: list[bytes]) -> None:
    _drive(
        Run(Category.LINEAR, "BTCUSDT", ["orderbook.50.BTCUSDT"], [Step("frame", frame) for frame in frames])
    ).compare_gaps()
