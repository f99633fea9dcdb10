"""Growth: however many books there are, the deltas are the same, and every book is a book."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks.contenders import decimals_of
from benchmarks.feed import Feed, feed_of, topic_of, with_books
from benchmarks.growth import Batches, Calls, growth
from benchmarks.growth_traffic import BUSY, Readdressed, Traffic, readdress, weights_of
from benchmarks.market import generated_topic
from engine.core.feeds import Engine
from schemas.errors import DataError
from schemas.names import Category, FeedState


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(*generated_topic("orderbook.50", 600))


def applied(readdressed: Readdressed) -> Engine:
    engine = Engine(Category.LINEAR)
    frames = readdressed.snapshots.frames + readdressed.deltas.frames
    for sequence, frame in enumerate(frames):
        engine.add_feed(topic_of(frame))
        engine.apply(frame, sequence, sequence)
    return engine


def evenly(feed: Feed, books: int, seed: int = 1) -> Readdressed:
    return readdress(feed, weights_of(Traffic.EVEN, books), seed)


@pytest.mark.parametrize("books", [2, 3, 10, 250])
def test_every_book_lives_and_the_last_pieces_end_where_the_feed_ends(feed: Feed, books: int) -> None:
    engine = applied(evenly(feed, books))
    assert engine.feed_count == books
    assert {engine.state(index) for index in range(books)} == {FeedState.LIVE}
    assert engine.counters()["undecodable"] == {}
    whole = with_books(feed)
    ends = {whole.digest(index) for index in range(2)}
    assert ends <= {engine.digest(index) for index in range(books)}
    assert set(decimals_of(whole, feed).values()) == {(2, 3)}


def test_the_deltas_are_those_of_the_feed_whatever_the_number_of_books(feed: Feed) -> None:
    def changes(frames: list[bytes]) -> Counter[str]:
        messages = [message for message in map(json.loads, frames) if message["type"] == "delta"]
        return Counter(json.dumps([message["data"][key] for key in ("b", "a", "u")]) for message in messages)

    for traffic, books in itertools.product(Traffic, (2, 17, 250)):
        readdressed = readdress(feed, weights_of(traffic, books))
        assert changes(readdressed.deltas.frames) == changes(feed.frames)
        assert len({len(topic) for topic in readdressed.deltas.topics}) == 1


def test_books_are_visited_in_random_order_but_the_same_each_time(feed: Feed) -> None:
    first, again, other = (evenly(feed, 20, seed).deltas.frames for seed in (1, 1, 2))
    assert first == again
    assert first != other
    topics = [topic_of(frame) for frame in first]
    repeats = sum(topic == before for topic, before in zip(topics[1:], topics, strict=False))
    assert repeats < len(topics) / 5


@pytest.mark.parametrize("books", [1, 601, 5_000])
def test_too_few_frames_for_so_many_books_are_refused(feed: Feed, books: int) -> None:
    with pytest.raises(DataError, match="expected a delta for each"):
        evenly(feed, books)


def received(readdressed: Readdressed) -> Counter[str]:
    return Counter(map(topic_of, readdressed.deltas.frames))


def test_some_books_have_all_frames_and_the_others_are_held(feed: Feed) -> None:
    readdressed = readdress(feed, weights_of(Traffic.HELD, 250))
    engine = applied(readdressed)
    assert {engine.state(index) for index in range(250)} == {FeedState.LIVE}
    counts = received(readdressed)
    assert len(counts) == BUSY
    # as many each, but for the two chains' lengths
    assert list(counts.values()) == pytest.approx([598 / BUSY] * BUSY, rel=0.15)
    # anywhere among the others, not beside each other
    places = [int(topic.split(".")[2][1:7]) for topic in counts]
    assert max(places) - min(places) > 100


def test_the_busiest_book_has_twice_as_many_frames_as_the_next(feed: Feed) -> None:
    counts = sorted(received(readdress(feed, weights_of(Traffic.RANKED, 40))).values(), reverse=True)
    assert len(counts) == 40
    shares = [598 / rank / sum(1 / other for other in range(1, 41)) for rank in range(1, 41)]
    # each of the two chains is shared out by itself, and nobody goes without
    assert counts == pytest.approx(shares, rel=0.25, abs=3)


@pytest.mark.parametrize("traffic", Traffic)
def test_few_books_are_all_busy(feed: Feed, traffic: Traffic) -> None:
    assert len(received(readdress(feed, weights_of(traffic, 4)))) == 4


@pytest.mark.parametrize("way", [Calls, Batches])
def test_what_is_timed_is_every_delta_applied(feed: Feed, way: type[Calls | Batches]) -> None:
    readdressed = readdress(feed, weights_of(Traffic.RANKED, 20))
    case = way(readdressed, "20")
    case.prepare()
    processor_ns, wall_ns = case.timed()
    assert processor_ns > 0 < wall_ns
    case.check()
    expected = applied(readdressed)
    assert [case.engine.digest(index) for index in range(20)] == [
        expected.digest(index) for index in range(20)
    ]
    case.prepare()
    with pytest.raises(DataError, match="took 0 deltas, expected 598"):
        case.check()


def test_the_result_has_times_and_memory_of_each(feed: Feed) -> None:
    found = growth(feed, 1, (4, 40))
    assert set(found["figures"]) == {"held", "ranked", "even"}
    assert set(found["figures"]["held"]["tapebook_live"]) == {"4", "40"}
    assert set(found["ratio_to_4_books"]["even"]["tapebook_batch"]) == {"40"}
    memory = found["memory"]
    assert memory["books"] == 36
    assert memory["levels_per_book"] == 100.0
    # 100 levels of two int64 each can't take less
    assert memory["allocated_bytes_per_book"] is None or memory["allocated_bytes_per_book"] > 1_600
