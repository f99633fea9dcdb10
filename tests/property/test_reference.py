"""What must hold of the reference model whatever happens to its feeds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reference import Outcome, ReferenceFeeds
from schemas.names import Category, FeedState, Table
from tests.property.driving import drive, receive_ns
from tests.strategies import Run, Step, categories, layouts, messages, runs, write


@given(category=categories, layout=layouts, data=st.data())
def test_the_layout_of_a_frame_means_nothing(category: Category, layout: int, data: st.DataObject) -> None:
    topic, message = data.draw(messages(category))
    plain, dressed = ReferenceFeeds(category), ReferenceFeeds(category)
    for feeds, frame in ((plain, write(message)), (dressed, write(message, layout))):
        feeds.add_feed(topic)
        feeds.on_frame(frame, receive_ns(1), 1)
    assert dressed.rows == plain.rows
    assert dressed.undecodable == plain.undecodable


@settings(deadline=None)
@given(run=runs())
def test_what_always_holds(run: Run) -> None:
    feeds = ReferenceFeeds(run.category)
    for topic in run.topics:
        feeds.add_feed(topic)
    for number, step in enumerate(run.steps, 1):
        before = _observed(feeds, run)
        outcome = drive(feeds, step, number, run.symbol)
        if outcome is Outcome.UNDECODABLE:
            after = _observed(feeds, run)
            assert (after["digests"], after["rows"]) == (before["digests"], before["rows"])
        open_topics = [gap["topic"] for gap in feeds.open_gaps()]
        for topic in run.topics:
            state = feeds.state(topic)
            assert (state is FeedState.STALE) <= (topic in open_topics)
            assert (state is FeedState.LIVE) <= (topic not in open_topics)
    for gap in feeds.gaps:
        assert gap["start_time"] <= gap["end_time"]
        assert gap["healed_by"] is not None
    for row in feeds.rows[Table.BOOK_UPDATES]:
        for side in ("bid", "ask"):
            assert len(row[f"{side}_price_mantissa"]) == len(row[f"{side}_size_mantissa"])


def _observed(feeds: ReferenceFeeds, run: Run) -> dict[str, Any]:
    return {
        "digests": [feeds.digest(topic) for topic in run.topics],
        "rows": [len(rows) for rows in feeds.rows.values()],
    }


@settings(deadline=None)
@given(run=runs(), data=st.data())
def test_repeats_of_deltas_and_trades_leave_no_trace(run: Run, data: st.DataObject) -> None:
    """A frame sent twice in a row makes the rows of one, unless it is a snapshot or restarts the chain."""
    once, twice = ReferenceFeeds(run.category), ReferenceFeeds(run.category)
    for topic in run.topics:
        once.add_feed(topic)
        twice.add_feed(topic)
    for number, step in enumerate(run.steps, 1):
        outcome = drive(once, step, number, run.symbol)
        assert drive(twice, step, number, run.symbol) is outcome
        last = once.rows[Table.BOOK_UPDATES][-1:]
        is_delta = bool(last) and last[0]["sequence"] == number and last[0]["kind"] == "delta"
        is_trade = outcome is Outcome.DATA and b"publicTrade" in step.frame
        is_repeatable = (is_delta and last[0]["update_id"] != 1) or is_trade
        if step.action == "frame" and is_repeatable:  # what REST answers is no message of the stream
            drive(twice, step, number, run.symbol)
    assert once.rows == twice.rows
    assert once.gaps == twice.gaps


def test_frames_reach_no_feed_that_nobody_added() -> None:
    feeds = ReferenceFeeds("linear")
    step = Step("frame", b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot"}')
    assert drive(feeds, step, 1, "BTCUSDT") is Outcome.OTHER
