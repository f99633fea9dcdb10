"""The table of feeds: states, rates, what moved since when."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recorder.serving.feed_table import FeedTable, Told
from recorder.serving.history import Trust
from schemas.names import FeedState
from tests.recorder.serving.pretend import (
    NOW_NS,
    SECOND_NS,
    PretendBook,
    PretendRecorder,
    pretend_feed,
    pretend_status,
)

STATE, BID, ASK, SPREAD, LAG, LAST, MESSAGES, GAPS, RATE, TRUSTED = range(10)
BOOK = "orderbook.50.BTCUSDT"


def _told(*feeds: dict[str, Any], held: bool = True, **changes: Any) -> Told:
    return Told("linear", held, pretend_status(feeds, **changes))


def _cells(table: FeedTable, since: int = -1) -> dict[str, list[Any]]:
    message = json.loads(table.encode(since))
    return {table.rows[number].topic: cell for number, cell in message["cells"]}


def test_rows_of_a_status() -> None:
    table = FeedTable()
    table.take([_told(pretend_feed("tickers.X", gaps=3, messages=9), pretend_feed("publicTrade.X", "stale"))])
    message = json.loads(table.encode(-1))
    assert message["whole"] is True
    assert [row[2:5] for row in message["fixed"]] == [
        ["publicTrade.X", "publicTrade", "X"],
        ["tickers.X", "tickers", "X"],
    ]
    assert _cells(table)["tickers.X"][: LAST + 3] == ["live", None, None, None, None, NOW_NS // 10**6, 9, 3]
    assert _cells(table)["publicTrade.X"][STATE] == "stale"


@pytest.mark.parametrize(
    ("feed", "held", "running", "state"),
    [
        (pretend_feed("tickers.X"), True, True, "live"),
        (pretend_feed("tickers.X", refused="no such symbol"), True, True, "refused"),
        (pretend_feed("tickers.X"), False, True, "dead"),
        (pretend_feed("tickers.X"), False, False, "ended"),
        (pretend_feed("tickers.X"), True, False, "ended"),
    ],
)
def test_states_of_the_page(feed: dict[str, Any], held: bool, running: bool, state: str) -> None:
    table = FeedTable()
    table.take([_told(feed, held=held, running=running)])
    assert _cells(table)["tickers.X"][STATE] == state


def test_only_what_moved_is_told() -> None:
    table = FeedTable()
    feeds = [pretend_feed("tickers.X"), pretend_feed("tickers.Y")]
    assert table.take([_told(*feeds)]) == []
    first = table.version
    assert table.take([_told(*feeds)]) == []
    assert table.version == first
    feeds[1]["gaps"] = 1
    table.take([_told(*feeds)])
    second = table.version
    assert second > first
    assert set(_cells(table, first)) == {"tickers.Y"}
    assert _cells(table, second) == {}
    assert set(_cells(table)) == {"tickers.X", "tickers.Y"}
    assert json.loads(table.encode(first))["whole"] is False


def test_rows_that_come_and_go_are_told_whole() -> None:
    table = FeedTable()
    table.take([_told(pretend_feed("tickers.X"))])
    first = table.version
    table.take([_told(pretend_feed("tickers.A"), pretend_feed("tickers.X"))])
    assert json.loads(table.encode(first))["whole"] is True
    second = table.version
    table.take([_told(pretend_feed("tickers.A"))])
    message = json.loads(table.encode(second))
    assert message["whole"] is True
    assert [row[2] for row in message["fixed"]] == ["tickers.A"]
    assert table.row("linear", "tickers.X") is None
    table.take([])
    assert json.loads(table.encode(table.version - 1))["fixed"] == []


def test_changes_of_state_are_returned_once() -> None:
    table = FeedTable()
    assert table.take([_told(pretend_feed("tickers.X"))]) == []
    changes = table.take([_told(pretend_feed("tickers.X", "stale"))])
    assert [tuple(change) for change in changes] == [("linear", "tickers.X", "live", "stale")]
    assert table.take([_told(pretend_feed("tickers.X", "stale"))]) == []
    assert [change.after for change in table.take([_told(pretend_feed("tickers.X"), held=False)])] == ["dead"]


def test_rates_are_over_a_few_seconds_of_the_recorders_own_clock() -> None:
    table = FeedTable()
    for second in range(10):
        table.take(
            [_told(pretend_feed("tickers.X", messages=20 * second), written_ns=NOW_NS + second * SECOND_NS)]
        )
    assert _cells(table)["tickers.X"][RATE] == 20.0
    table.take([_told(pretend_feed("tickers.X", messages=3), written_ns=NOW_NS + 10 * SECOND_NS)])
    assert _cells(table)["tickers.X"][RATE] is None, "the recorder began anew"
    table.take([_told(pretend_feed("tickers.X", messages=3), held=False)])
    assert _cells(table)["tickers.X"][RATE] is None


def test_shared_books_are_looked_into() -> None:
    recorder = PretendRecorder([pretend_feed(BOOK), pretend_feed("tickers.BTCUSDT")])
    table = FeedTable()
    table.take(recorder.read())
    assert table.look(recorder.books) == []
    cell = _cells(table)[BOOK]
    assert cell[: LAST + 1] == ["live", "61799.9", "61800.1", 0.032, 3.0, NOW_NS // 10**6]
    seen = table.version
    table.look(recorder.books)
    assert table.version == seen
    book = recorder.books["linear", BOOK]
    assert book.reads == 1, "a book that has not changed is not read again"
    book.move(NOW_NS + SECOND_NS)
    table.look(recorder.books)
    assert _cells(table, seen)[BOOK][LAST] == NOW_NS // 10**6 + 1000


def test_a_book_that_must_not_be_believed_shows_no_prices() -> None:
    recorder = PretendRecorder([pretend_feed(BOOK)])
    table = FeedTable()
    table.take(recorder.read())
    table.look(recorder.books)
    recorder.books["linear", BOOK].turn(FeedState.STALE, "writer dead")
    changes = table.look(recorder.books)
    assert [change.after for change in changes] == ["stale"]
    assert _cells(table)[BOOK][:LAST] == ["stale", None, None, None, None]
    assert recorder.books["linear", BOOK].reads == 1, "it need not be read for that"
    # what the status says later doesn't bring prices back
    table.take(recorder.read())
    assert _cells(table)[BOOK][:LAST] == ["stale", None, None, None, None]


def test_a_dead_recorders_books_are_not_looked_into() -> None:
    recorder = PretendRecorder([pretend_feed(BOOK)])
    table = FeedTable()
    table.take(recorder.read())
    table.look(recorder.books)
    recorder.held = False
    table.take(recorder.read())
    assert table.look(recorder.books) == []
    assert _cells(table)[BOOK][:LAST] == ["dead", None, None, None, None]


def test_a_book_that_is_shared_no_longer_shows_nothing_any_more() -> None:
    """Its recorder runs without live books now, or has none to share: its status says how things are."""
    table, book = FeedTable(), PretendBook(1)
    table.take([_told(pretend_feed(BOOK))])
    table.look({("linear", BOOK): book})
    assert _cells(table)[BOOK][BID] is not None
    table.let_go({("linear", BOOK): book})
    table.take([_told(pretend_feed(BOOK))])
    assert _cells(table)[BOOK][BID] is not None
    table.let_go({})
    table.take([_told(pretend_feed(BOOK, "stale"))])
    table.look({})
    assert _cells(table)[BOOK][: ASK + 1] == ["stale", None, None]
    # another one in its place may be as many changes old
    table.look({("linear", BOOK): book})
    other = PretendBook(2, middle=1_000)
    table.look({("linear", BOOK): other})
    assert _cells(table)[BOOK][BID] == "99.9"


@pytest.mark.parametrize(
    ("bid", "ask", "points"), [(-1_250, -1_240, 80.321), (0, 10, 20_000.0), (-5, 5, None)]
)
def test_prices_may_be_below_zero(bid: int, ask: int, points: float | None) -> None:
    class Below(PretendBook):
        def read(self, depth: int | None = None) -> Any:
            found = super().read(depth)
            return found._replace(bids=np.array([[bid, 3]]), asks=np.array([[ask, 3]]))

    table = FeedTable()
    table.take([_told(pretend_feed(BOOK))])
    table.look({("linear", BOOK): Below(1)})
    assert _cells(table)[BOOK][SPREAD] == points


@pytest.mark.parametrize("empty", ["bids", "asks"])
def test_one_side_may_be_empty(empty: str) -> None:
    class Half(PretendBook):
        def read(self, depth: int | None = None) -> Any:
            return super().read(depth)._replace(**{empty: super().read(0).bids})

    table = FeedTable()
    table.take([_told(pretend_feed(BOOK))])
    table.look({("linear", BOOK): Half(1)})
    cell = _cells(table)[BOOK]
    assert (cell[BID] is None, cell[ASK] is None, cell[SPREAD]) == (empty == "bids", empty == "asks", None)


def test_which_book_is_shown_for_which_feed() -> None:
    topics = [
        "orderbook.1.X", "orderbook.200.X", "orderbook.full.X", "orderbook.rpi.X", "publicTrade.X", "tickers.Y",
        "system.status", "orderbook.rpi.Y",
    ]  # fmt: skip
    table = FeedTable()
    table.take([_told(*map(pretend_feed, topics))])
    books = {row.topic: row.book for row in table.rows}
    assert books["publicTrade.X"] == "orderbook.full.X"
    assert books["orderbook.1.X"] == "orderbook.1.X"
    assert books["orderbook.rpi.X"] == "orderbook.rpi.X"
    assert books["tickers.Y"] == "orderbook.rpi.Y"
    assert books["system.status"] is None


def test_what_is_shown_first() -> None:
    """Of the busiest symbol, the deepest book."""
    table = FeedTable()
    assert json.loads(table.encode(-1))["first"] is None
    table.take(
        [
            _told(
                pretend_feed("orderbook.200.X", messages=50),
                pretend_feed("orderbook.1.Y", messages=90),
                pretend_feed("orderbook.50.Y", messages=70),
                pretend_feed("orderbook.rpi.Y", messages=10),
                pretend_feed("orderbook.50.Z", "stale", messages=900),
                pretend_feed("tickers.Z", messages=900),
            )
        ]
    )
    assert table.rows[json.loads(table.encode(-1))["first"]].topic == "orderbook.50.Y"


def test_what_the_archive_says_of_the_last_day() -> None:
    table = FeedTable()
    table.take([_told(pretend_feed("tickers.X"))])
    seen = table.version
    table.take([_told(pretend_feed("tickers.X"))], {("linear", "tickers.X"): Trust(0.9999, "#x..")})
    message = json.loads(table.encode(seen))
    assert message["whole"]
    assert message["fixed"][0][-1] == "#x.."
    assert message["cells"][0][1][TRUSTED] == 0.9999
    seen = table.version
    table.take([_told(pretend_feed("tickers.X"))], {("linear", "tickers.X"): Trust(0.9999, "#x..")})
    assert table.version == seen
