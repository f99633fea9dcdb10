"""The generated market: legal frames, without gaps, with the level statistics of a liquid perpetual."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from statistics import mean, median
from typing import Any

import pytest

from benchmarks.feed import Feed, feed_of, with_books
from benchmarks.market import generated_feed, generated_topic
from engine.reference import ReferenceFeeds
from schemas.errors import ConfigError
from schemas.names import Category, FeedState

SIDES = (("b", True), ("a", False))


def deltas(feed: Feed) -> list[dict[str, Any]]:
    return [message for message in map(json.loads, feed.frames) if message["type"] == "delta"]


def levels(message: dict[str, Any]) -> int:
    return len(message["data"]["b"]) + len(message["data"]["a"])


@pytest.mark.parametrize("topic", ["orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers"])
def test_the_reference_takes_every_frame(topic: str) -> None:
    feed = feed_of(*generated_topic(topic, 400))
    reference = ReferenceFeeds(Category.LINEAR)
    for name in feed.topics:
        reference.add_feed(name)
    reference.on_subscribed(feed.topics, 0, 0)
    for sequence, frame in enumerate(feed.frames):
        reference.on_frame(frame, feed.receive_ns[sequence], sequence)
    assert (reference.undecodable, reference.gaps, reference.open_gaps()) == (0, [], [])
    assert [reference.state(name) for name in feed.topics] == [FeedState.LIVE] * 2
    assert all(row["applied"] for rows in reference.rows.values() for row in rows if "applied" in row)
    if topic.startswith("orderbook."):
        depth = int(topic.split(".")[1])
        assert {len(side) for name in feed.topics for side in reference.levels(name)} == {depth}


def test_books_are_never_crossed_and_sides_are_sorted() -> None:
    feed = feed_of(*generated_topic("orderbook.50.BTCUSDT", 1_000))
    books: dict[str, dict[Decimal, Decimal]] = {"b": {}, "a": {}}
    for message in map(json.loads, feed.frames):
        for key, falls in SIDES:
            prices = [Decimal(price) for price, _ in message["data"][key]]
            assert prices == sorted(set(prices), reverse=falls)
            for price, size in message["data"][key]:
                known = Decimal(price) in books[key]
                assert known or Decimal(size), "a level that was never there is taken away"
                books[key].pop(Decimal(price), None)
                if Decimal(size):
                    books[key][Decimal(price)] = Decimal(size)
        assert max(books["b"]) < min(books["a"])


@pytest.mark.parametrize(
    ("topic", "mean_levels", "median_levels", "p90"), [("50", 9.6, 2, 25), ("200", 58.0, 33, 141)]
)
def test_levels_per_frame_are_those_of_a_liquid_perpetual(
    topic: str, mean_levels: float, median_levels: int, p90: int
) -> None:
    counts = sorted(map(levels, deltas(feed_of(*generated_topic(f"orderbook.{topic}", 4_000)))))
    assert mean(counts) == pytest.approx(mean_levels, rel=0.15)
    assert median(counts) == pytest.approx(median_levels, rel=0.2)
    assert counts[len(counts) * 9 // 10] == pytest.approx(p90, rel=0.25)


def test_half_of_the_levels_are_updates_and_a_quarter_each_comes_and_goes() -> None:
    feed = feed_of(*generated_topic("orderbook.50.BTCUSDT", 3_000))
    held: dict[str, set[str]] = {"b": set(), "a": set()}
    kinds: Counter[str] = Counter()
    for message in map(json.loads, feed.frames):
        for key, _ in SIDES:
            for price, size in message["data"][key]:
                kind = "delete" if size == "0" else "update" if price in held[key] else "insert"
                kinds[kind] += message["type"] == "delta"
                (held[key].discard if size == "0" else held[key].add)(price)
    total = kinds.total()
    assert kinds["update"] / total == pytest.approx(0.5, abs=0.06)
    assert kinds["insert"] / total == pytest.approx(0.25, abs=0.04)
    assert kinds["delete"] / total == pytest.approx(0.25, abs=0.04)


def test_the_same_seed_makes_the_same_frames() -> None:
    def made(seed: int) -> list[tuple[int, bytes]]:
        return list(generated_feed(200, seed)[1])

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_the_whole_feed_has_every_topic_in_order_of_time() -> None:
    feed = feed_of(*generated_feed(2_000))
    assert len(feed.topics) == 10
    assert feed.receive_ns == sorted(feed.receive_ns)
    assert with_books(feed).counters()["undecodable"] == {}


@pytest.mark.parametrize("topic", ["orderbook.500", "orderbook.5", "kline.1", "orderbook.50.SOLUSDT", ""])
def test_a_topic_that_it_does_not_have_is_refused(topic: str) -> None:
    with pytest.raises(ConfigError, match=r"orderbook\.50"):
        generated_topic(topic, 10)
