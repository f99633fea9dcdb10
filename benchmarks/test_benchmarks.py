"""The benchmarks under pytest-benchmark: ``pytest benchmarks``; short, run by CI beside the tests.

A round is a pass over the whole feed: divide by ``extra_info["frames"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("pytest_benchmark", reason="install the test extra: pip install 'tapebook[test]'")
pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks import book, decode, replay
from benchmarks.columns import CoreColumns
from benchmarks.contenders import CoreBatch, Orjson, quotes_of
from benchmarks.feed import Feed, feed_of, with_books
from benchmarks.growth import Calls
from benchmarks.growth_traffic import Traffic, readdress, weights_of
from benchmarks.market import generated_feed, generated_topic
from benchmarks.timing import Contender, check_quotes

FRAMES = 3_000
Time = Callable[[Contender, int], None]


@pytest.fixture(scope="module")
def feed() -> Feed:
    """Order-book frames for all contenders."""
    return feed_of(*generated_topic("orderbook.50", FRAMES))


@pytest.fixture(scope="module")
def whole() -> Feed:
    """Frames of all topics."""
    return feed_of(*generated_feed(FRAMES))


@pytest.fixture(scope="module")
def segment(feed: Feed) -> Iterator[replay.Segment]:
    """The feed as a sealed journal segment."""
    with replay.Segment(feed) as segment:
        yield segment


@pytest.fixture
def time(benchmark: Any) -> Time:
    """Time passes of a contender; preparing one is not timed."""

    def run(contender: Contender, frames: int) -> None:
        benchmark.extra_info["frames"] = frames
        benchmark.pedantic(contender.run, setup=contender.prepare, rounds=5, warmup_rounds=1)

    return run


def chosen(contenders: list[Contender], name: str) -> Contender:
    """The contender of that name."""
    return next(contender for contender in contenders if contender.name == name)


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize(
    "name", ["tapebook_live", "tapebook_batch", "orjson", "msgspec_typed", "orjson_reference_book"]
)
def test_decode(time: Time, feed: Feed, name: str) -> None:
    """Bytes to books."""
    time(chosen(decode.contenders_of(feed), name), FRAMES)


@pytest.mark.benchmark(group="columns, whole feed")
@pytest.mark.parametrize("kind", [CoreColumns, CoreBatch, Orjson])
def test_columns(time: Time, whole: Feed, kind: Callable[[Feed], Contender]) -> None:
    """Bytes to Arrow tables."""
    contender = kind(whole)
    check_quotes([contender], quotes_of(with_books(whole), whole))
    time(contender, FRAMES)


@pytest.mark.benchmark(group="replay")
@pytest.mark.parametrize(
    "name", ["tapebook_journal_to_tables", "tapebook_batches_to_tables", "tapebook_tables_to_books", "orjson"]
)
def test_replay(time: Time, feed: Feed, segment: replay.Segment, name: str) -> None:
    """Journal to tables, tables to books."""
    time(chosen(replay.contenders_of(feed, segment), name), FRAMES)


@pytest.mark.benchmark(group="book")
@pytest.mark.parametrize(
    "name", ["tapebook_book_call", "tapebook_tables_to_books", "reference_book", "orjson"]
)
def test_book(time: Time, feed: Feed, name: str) -> None:
    """Decoded changes to books."""
    time(chosen(book.contenders_of(feed), name), FRAMES)


@pytest.mark.benchmark(group="growth")
@pytest.mark.parametrize("books", [10, 1_000])
def test_growth(time: Time, feed: Feed, books: int) -> None:
    """The same deltas to ten books, whether they are all or some of many."""
    case = Calls(readdress(feed, weights_of(Traffic.HELD, books)), str(books))
    time(case, case.frames)
