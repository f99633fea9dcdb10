"""Frames to measure with: recordings read, topics chosen, batches cut."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.feed import Feed, batches, feed_of, load, recorded, topic_of, with_books
from benchmarks.market import generated_feed, generated_topic
from engine.core.feeds import Engine
from schemas.errors import ConfigError, DataError
from schemas.names import Category


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(*generated_feed(600))


def written(path: Path, feed: Feed) -> Path:
    lines = b"".join(b"%d %s\n" % pair for pair in zip(feed.receive_ns, feed.frames, strict=True))
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("name", ["feed.jsonl", "feed.jsonl.gz"])
def test_a_recording_is_read_as_it_was_written(tmp_path: Path, feed: Feed, name: str) -> None:
    found = recorded(written(tmp_path / name, feed))
    assert (found.frames, found.receive_ns, found.topics) == (feed.frames, feed.receive_ns, feed.topics)


@pytest.mark.parametrize(
    "other", [b'{"op":"pong"}', b'{"topic":"kline.1.X","data":[]}', b'{"topic":"markPrice.X"}']
)
def test_frames_that_the_core_does_not_read_are_left_out(tmp_path: Path, other: bytes) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b'1 %s\n3 {"topic":"tickers.X"}\n' % other)
    assert recorded(path).frames == [b'{"topic":"tickers.X"}']


@pytest.mark.parametrize("text", [b"", b"no number {}\n", b"12\n", b'1 {"op":"pong"}\n'])
def test_what_is_no_recording_is_refused_with_its_form(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "feed"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match="<receive_ns> <frame>"):
        recorded(path)


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable file"):
        recorded(tmp_path / "none")
    (tmp_path / "bad.gz").write_bytes(b"not gzip")
    with pytest.raises(ConfigError, match="readable file"):
        recorded(tmp_path / "bad.gz")


def test_topics_are_chosen_with_and_without_symbol(feed: Feed) -> None:
    assert set(feed.only("orderbook.50").topics) == {"orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"}
    one = feed.only("orderbook.50.ETHUSDT", 3)
    assert (one.topics, len(one.frames)) == (["orderbook.50.ETHUSDT"], 3)
    with pytest.raises(ConfigError, match=r"no frame of orderbook\.5;"):
        feed.only("orderbook.5")


def test_load_takes_what_was_asked_for(tmp_path: Path, feed: Feed) -> None:
    path = written(tmp_path / "feed.gz", feed)
    assert load(path, "tickers", 5).frames == feed.only("tickers", 5).frames
    assert load(path, None, 50).frames == feed.frames[:50]
    assert load(None, "orderbook.50", 50).frames == [
        frame for _, frame in generated_topic("orderbook.50", 50)[1]
    ]
    assert load(None, None, 50).frames == feed.frames[:50]


@pytest.mark.parametrize("batch_bytes", [1, 5_000, 1 << 20])
def test_batches_hold_the_frames_in_order_and_within_the_limit(feed: Feed, batch_bytes: int) -> None:
    made = batches(feed, batch_bytes)
    frames = [
        batch.payloads[start:end].tobytes()
        for batch in made
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ]
    assert frames == feed.frames
    assert [n for batch in made for n in batch.sequences] == list(range(len(feed.frames)))
    assert [n for batch in made for n in batch.receive_ns] == feed.receive_ns
    assert all(len(batch.payloads) <= batch_bytes or len(batch.kinds) == 1 for batch in made)


def test_a_feed_is_described_by_its_own_numbers() -> None:
    frames = [
        b'{"topic":"orderbook.50.X","data":{"b":[["1","1"],["2","1"]],"a":[["3","1"]]}}',
        b'{"topic":"tickers.X","data":{}}',
    ]
    described = feed_of("here", [(1, frame) for frame in frames]).describe()
    assert described == {
        "source": "here",
        "topics": 2,
        "frames": 2,
        "bytes_per_frame": round(sum(map(len, frames)) / 2, 1),
        "levels_per_frame": 3.0,
    }


def test_a_feed_with_a_gap_is_no_feed_to_measure_with(feed: Feed) -> None:
    books = feed.only("orderbook.50.BTCUSDT")
    frames = books.frames[:3] + books.frames[4:]
    with pytest.raises(DataError, match="without gaps"):
        with_books(feed_of("cut", [(1, frame) for frame in frames]))
    assert isinstance(with_books(books), Engine)
    assert with_books(books).category is Category.LINEAR


def test_the_topic_of_a_frame() -> None:
    assert topic_of(b'{"topic":"tickers.X","ts":1}') == "tickers.X"
    assert topic_of(b'{"op":"pong"}') == ""
