"""Readers in other processes beside a writer at full speed that is killed and started again: nothing torn, nothing
backward, and a dead writer is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.core.book import Book
from engine.shared import Snapshot
from recorder.live_books import open_book
from schemas.names import FeedState
from tests.processes import wait_until
from tests.shared_books.run import Writer, run

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@needs_compiler
def test_readers_in_c() -> None:
    done = run(readers=3, reads=100_000, kills=1, seconds_between=0.3)
    assert (done["torn"], done["backward"]) == (0, 0)
    assert done["believed"] >= 300_000
    assert done["starts_seen"] == 6
    assert done["states_seen"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_compiler
def test_a_hundred_million_reads() -> None:
    done = run(readers=4, reads=25_000_000, kills=5, seconds_between=3)
    assert (done["torn"], done["backward"]) == (0, 0)
    assert done["believed"] >= 100_000_000


def _is_whole(got: Snapshot) -> bool:
    """Whether the levels are those that the digest is of."""
    book = Book(50)
    columns = [np.ascontiguousarray(side[:, column]) for side in (got.bids, got.asks) for column in (0, 1)]
    book.load(*columns, got.price_exponent, got.size_exponent)
    return book.digest == got.digest and got.held == (len(got.bids), len(got.asks))


def test_a_reader_in_python(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        book = open_book(tmp_path, "BTCUSDT")
        newest = seen = 0
        for number in range(3000):
            got = book.read()
            assert (got.state, got.trouble) == (FeedState.LIVE, ""), number
            assert _is_whole(got)
            assert got.update_id is not None
            assert got.update_id >= newest
            seen += got.update_id > newest
            newest = got.update_id
            best = book.best()
            assert best is not None
            if None not in best:
                assert best[0] < best[2]  # type: ignore[operator]
            # without a copy: what was read counts if nothing has changed since
            version = book.begin()
            bids, asks = (
                side[:count].copy() for side, count in zip((book.bids, book.asks), book.counts, strict=True)
            )
            if book.unchanged(version):
                assert (np.diff(bids[:, 0]) < 0).all()
                assert (np.diff(asks[:, 0]) > 0).all()
                assert (bids[:, 1] > 0).all()
                assert (asks[:, 1] > 0).all()
        assert seen > 1
        writer.kill()
        wait_until(lambda: book.trouble() == "writer dead", "the reader notices that the writer is dead")
        assert (book.best(), book.state(), book.read().state) == (None, FeedState.STALE, FeedState.STALE)
