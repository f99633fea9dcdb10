"""Feeds that end and begin anew at any moment: alike frame by frame, in batches and in threads; silent in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.feeds import UNKNOWN_TOPIC, Engine
from schemas.names import Category, FeedState
from tests.property import test_core_batches as batches
from tests.property.driving import moment
from tests.strategies import Step

Ends = list[tuple[int, int, bool]]
"""Before which step, which feed, and whether it ends (or begins anew)."""


def _ends(feeds: int, steps: int) -> st.SearchStrategy[Ends]:
    one = st.tuples(st.integers(0, steps), st.integers(0, feeds - 1), st.booleans())
    return st.lists(one, max_size=6).map(lambda ends: sorted(ends, key=lambda end: end[0]))


def _run(engine: Engine, topics: Sequence[str], steps: list[Step], ends: Ends, threads: int | None) -> None:
    """Stretches of steps between ends, each as the other test drives them; sequences begin anew, which nobody minds."""
    at = 0
    for until, feed, is_end in [*ends, (len(steps), -1, False)]:
        stretch = steps[at:until]
        if threads is None:
            batches._one_by_one(engine, topics, stretch)
        elif stretch:
            batches._in_batches(engine, topics, stretch, threads, 1)
        at = until
        if feed >= 0 and is_end:
            engine.end_feed(topics[feed], moment(Step("end"), until), until)
        elif feed >= 0:
            engine.add_feed(topics[feed])


@settings(max_examples=25)
@given(market=batches.markets(), columns=st.booleans(), data=st.data())
def test_alike_in_every_way(
    market: tuple[Category, list[str], list[Step]], columns: bool, data: st.DataObject
) -> None:
    category, topics, steps = market
    ends = data.draw(_ends(len(topics), len(steps)))
    found = []
    for threads in (None, 1, 3):
        engine = Engine(category, columns=columns)
        for topic in topics:
            engine.add_feed(topic)
        _run(engine, topics, steps, ends, threads)
        found.append(batches._everything(engine))
    assert found[0] == found[1]
    assert found[0] == found[2]


@settings(max_examples=25)
@given(market=batches.markets(), data=st.data())
def test_an_ended_feed_is_empty_whatever_comes(
    market: tuple[Category, list[str], list[Step]], data: st.DataObject
) -> None:
    category, topics, steps = market
    feed, at = data.draw(st.integers(0, len(topics) - 1)), data.draw(st.integers(0, len(steps)))
    engine = Engine(category)
    for topic in topics:
        engine.add_feed(topic)
    batches._one_by_one(engine, topics, steps[:at])
    engine.end_feed(topics[feed], 0, at)
    messages = engine.messages(feed)
    for sequence, step in enumerate(steps[at:], at):
        if step.action != "frame":
            continue  # an acknowledgement of the topic would begin it anew
        result = engine.apply(step.frame, moment(step, sequence), sequence, step.line)
        assert result != feed
        engine.disconnect(step.line, moment(step, sequence), sequence)
        assert engine.state(feed) is FeedState.EMPTY
        assert engine.open_gap(feed) is None
    assert engine.messages(feed) == messages
    assert engine.ended(feed)
    engine.add_feed(topics[feed])
    assert not engine.ended(feed)


@pytest.mark.parametrize(
    "topic", ["orderbook.50.BTCUSDT", "tickers.BTCUSDT", "publicTrade.BTCUSDT", "kline.1.BTCUSDT"]
)
def test_frames_of_an_ended_feed_are_those_of_an_unknown_topic(topic: str) -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed(topic)
    engine.end_feed(topic, 1, 1)
    engine.end_feed("orderbook.50.NEVERADDED", 1, 1)
    assert (
        engine.apply(f'{{"topic":"{topic}","type":"snapshot","ts":1,"data":[]}}'.encode(), 2, 2)
        == UNKNOWN_TOPIC
    )
    # damage that names it is nobody's
    engine.apply(f'{{"topic":"{topic}",'.encode(), 3, 3)
    assert engine.open_gap(0) is None
    assert engine.counters()["unattributed"] == 1


def test_damage_under_the_name_of_what_has_ended_is_the_lines_own() -> None:
    topic = "orderbook.1.BTCUSDT"
    steps = [Step("frame", frame=b'{"topic":"orderbook.1.BTCUSDT"') for _ in range(3)]
    found = []
    for threads in (None, 1, 3):
        engine = Engine(Category.LINEAR)
        engine.add_feed(topic)
        _run(engine, [topic], steps, [(0, 0, True)], threads)
        assert [line.gap is not None for line in engine.shared().lines] == [True]
        found.append(batches._everything(engine))
    assert found[0] == found[1] == found[2]
