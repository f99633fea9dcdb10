"""A recorder that ends, is killed and is started again, seen by a reader of its live books."""

from __future__ import annotations

from pathlib import Path

from engine.shared import BookChange, StateChange
from recorder import live_books
from recorder.live_books import open_book, open_tape
from schemas.errors import ConfigError
from schemas.names import FeedState
from tests.processes import Running, gateway, recording, tapebook

OPTIONS = ("--symbols", "BTCUSDT", "--topics", "orderbook.50,publicTrade", "--no-roll")


def _live(data: Path, running: Running) -> live_books.SharedBook:
    """The book, once it is live."""

    def is_live() -> bool:
        try:
            return open_book(data, "BTCUSDT").best() is not None
        except ConfigError:
            return False

    running.until(is_live, "the book was live")
    return open_book(data, "BTCUSDT")


def test_ends_deaths_and_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with gateway(tmp_path / "gateway", "--simulate", 7) as exchange:
        with recording(tmp_path / "first", exchange.url, data, *OPTIONS) as recorder:
            book, tape = _live(data, recorder), open_tape(data)
            seen: list[BookChange] = []

            def follows() -> bool:
                seen.extend(entry for entry in tape.read() if isinstance(entry, BookChange))
                return len(seen) >= 5

            recorder.until(follows, "the tape told of changes")
            assert [each.update_id for each in seen] == list(
                range(seen[0].update_id or 0, (seen[-1].update_id or 0) + 1)
            )
            assert recorder.stop().code == 0
        assert (book.trouble(), book.state(), tape.trouble()) == (
            "writer gone",
            FeedState.STALE,
            "writer gone",
        )
        assert list((data / "live").iterdir()) == []

        with recording(tmp_path / "second", exchange.url, data, *OPTIONS) as recorder:
            book = _live(data, recorder)
            recorder.kill()
        with recording(tmp_path / "third", exchange.url, data, *OPTIONS) as recorder:
            recorder.until(lambda: book.trouble() == "writer replaced", "another start took its place")
            assert book.best() is None
            again, tape = _live(data, recorder), open_tape(data)
            exchange.running.process.terminate()  # and with it every connection
            recorder.until(lambda: again.state() is FeedState.STALE, "the book is stale")
            assert exchange.running.wait().code == 0  # or another signal would meet it at its very end
            assert (again.trouble(), again.best(), again.read().cause) == ("", None, "disconnect")
            states = [entry.state for entry in tape.read(10**6) if isinstance(entry, StateChange)]
            assert states[-1] is FeedState.STALE
            assert recorder.stop().code == 0


def test_a_depth_that_is_none_is_refused_before_anything_begins(tmp_path: Path) -> None:
    refused = tapebook(
        "record", "--endpoint", "ws://127.0.0.1:1", "--data", tmp_path / "d", *OPTIONS, "--live-depth", "some"
    )
    assert refused.code == 2
    assert "--live-depth: found 'some', expected 1 to 32767 levels a side, or 'all'" in refused.err
    assert not (tmp_path / "d").exists()
