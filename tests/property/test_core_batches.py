"""A batch is its frames one by one, and several threads are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.core.feeds import Engine
from schemas.names import Category
from schemas.notes import FeedCheckpoint
from tests.lined import lined_runs
from tests.property.driving import moment
from tests.strategies import Step, runs

SYMBOLS = (b"BTCUSDT", b"ETHUSDT", b"SOLUSDT")


@st.composite
def markets(draw: st.DrawFn) -> tuple[Category, list[str], list[Step]]:
    """(category, topics, steps): several symbols' runs, their frames mixed, each run's in order.

    In most of them nothing stands between the frames, so that threads have something to share.
    """
    category = draw(st.sampled_from([Category.LINEAR, Category.LINEAR, Category.OPTION]))
    unbroken = draw(st.integers(0, 3)) > 0
    topics: dict[str, None] = {}
    queues: list[list[Step]] = []
    for symbol in SYMBOLS[: draw(st.sampled_from([3, 2, 1]))]:
        run = draw(runs(category=category, length=25) | lined_runs(category=category, length=25))
        own = run.symbol.encode()
        steps = [replace(step, frame=step.frame.replace(own, symbol)) for step in run.steps]
        queues.append([step for step in steps if not unbroken or step.frame.startswith(b'{"topic":"')])
        topics.update(dict.fromkeys(topic.replace(run.symbol, symbol.decode()) for topic in run.topics))
    mixed: list[Step] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        mixed.extend(queue[:2])
        del queue[:2]
    return category, list(topics), mixed


def _with_feeds(topics: Sequence[str], category: Category = Category.LINEAR, columns: bool = False) -> Engine:
    engine = Engine(category, columns=columns)
    for topic in topics:
        engine.add_feed(topic)
    return engine


def _act(engine: Engine, step: Step, topics: Sequence[str], sequence: int) -> None:
    """What stands between frames."""
    now = moment(step, sequence)
    if step.action == "disconnect":
        engine.disconnect(step.line, now, sequence)
    elif step.action == "unsubscribed":
        engine.unsubscribed(topics[sequence % len(topics)], now, sequence, step.line)
    else:
        engine.subscribed(topics[sequence % len(topics)], now, sequence, step.line)


def _one_by_one(engine: Engine, topics: Sequence[str], steps: Sequence[Step]) -> None:
    for sequence, step in enumerate(steps):
        if step.action == "frame":
            engine.apply(step.frame, moment(step, sequence), sequence, step.line)
        else:
            _act(engine, step, topics, sequence)


def _in_batches(
    engine: Engine, topics: Sequence[str], steps: Sequence[Step], threads: int, least_run: int
) -> None:
    frames = [step.frame if step.action == "frame" else b"?" for step in steps]
    sequences = np.arange(len(steps), dtype=np.int64)
    columns = (
        np.frombuffer(b"".join(frames) or b" ", np.uint8),
        np.cumsum([0, *map(len, frames)], dtype=np.int32),
        np.array([moment(step, i) for i, step in enumerate(steps)], np.int64),
        sequences,
        np.array([step.line for step in steps], np.uint16),
        np.array([step.action != "frame" for step in steps], np.uint8),
    )
    at = 0
    while at < len(steps):
        at = engine.apply_batch(*columns, at, threads, least_run)
        if at < len(steps):
            _act(engine, steps[at], topics, at)
            at += 1


def _everything(engine: Engine) -> dict[str, Any]:
    checkpoints: list[FeedCheckpoint] = [engine.checkpoint(feed) for feed in range(engine.feed_count)]
    return {
        "events": engine.take_events(),
        "checkpoints": checkpoints,
        "feeds": [engine.feed_counters(feed) for feed in range(engine.feed_count)],
        "lines": [engine.lines(feed) for feed in range(engine.feed_count)],
        "shared": engine.shared(),
        "counters": engine.counters(),
        "rows": engine.take_rows("c"),
    }


@given(
    market=markets(), columns=st.booleans(), threads=st.integers(2, 5), least_run=st.sampled_from([1, 2, 9])
)
def test_batches_and_threads(
    market: tuple[Category, list[str], list[Step]], columns: bool, threads: int, least_run: int
) -> None:
    category, topics, steps = market
    found = []
    for way in (None, (1, 512), (threads, least_run)):
        engine = _with_feeds(topics, category, columns)
        if way is None:
            _one_by_one(engine, topics, steps)
        else:
            _in_batches(engine, topics, steps, *way)
        found.append(_everything(engine))
    assert found[0] == found[1]
    assert found[0] == found[2]


def test_a_line_that_only_one_thread_has_met() -> None:
    """A thread that meets a later line must not speak for the only good frame of an earlier one."""
    topics = ["orderbook.1.BTCUSDT", "orderbook.1.ETHUSDT"]
    steps = []
    for line, topic in enumerate(topics):
        data = f'"data":{{"s":"{topic[-7:]}","b":[],"a":[],"u":1,"seq":1}}'
        frame = f'{{"topic":"{topic}","ts":10,"type":"snapshot",{data}}}'
        steps.append(Step("frame", line=line, frame=frame.encode()))
    for order in (steps, steps[::-1]):
        shared = []
        for threads in (1, 2):
            engine = _with_feeds(topics)
            _in_batches(engine, topics, order, threads, 1)
            shared.append(engine.shared())
        assert shared[0] == shared[1]
        assert all(line.good_ns is not None for line in shared[1].lines)


def test_what_threads_count_is_added_up() -> None:
    """Each of them meets values that nobody knows, in one batch after the other."""
    topics = [f"publicTrade.{symbol.decode()}" for symbol in SYMBOLS]
    steps = [
        Step(
            "frame",
            frame=(
                f'{{"topic":"{topic}","type":"snapshot","ts":1,"data":[{{"T":1,"s":"{topic[12:]}","S":"Buy",'
                f'"v":"1","p":"2","L":"Sideways","i":"{number}","BT":false}}]}}'
            ).encode(),
        )
        for number in range(8)
        for topic in topics
    ]
    steps += [Step("frame", frame=step.frame[:-1]) for step in steps[:6]]
    steps[9] = Step("subscribed")
    found = []
    for threads in (1, 3):
        engine = _with_feeds(topics)
        _in_batches(engine, topics, steps, threads, 1)
        found.append(engine.counters())
    assert found[0]["drift"] == 23
    assert found[0]["undecodable"] == {"not_json": 6}
    assert found[1] == found[0]
