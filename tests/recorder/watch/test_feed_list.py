"""The list of feeds: orders, and a cursor that stays where somebody put it."""

from __future__ import annotations

from recorder.watch.condition import Condition
from recorder.watch.feed_list import FeedList, FeedRow, Sort, feed_rows, symbol_of
from recorder.watch.rates import Rates
from tests.recorder.watch.statuses import NOW, SECOND, feed, live, told


def test_symbols_of_topics() -> None:
    assert [symbol_of(topic) for topic in ("orderbook.50.BTCUSDT", "publicTrade.BTC-26DEC.1", "adlAlert")] == [
        "BTCUSDT", "BTC-26DEC.1", "",
    ]  # fmt: skip


def rows(*feeds: dict[str, object], found: Condition = Condition.RECORDING) -> list[FeedRow]:
    return list(feed_rows(told(live(*feeds)), found, Rates(), NOW))


def names(made: FeedList) -> list[str]:
    return [row.topic for row in made.rows]


STALE = feed("a.Z", "stale", gap={"cause": "lost", "since_ns": NOW - 9 * SECOND})
OLDER = feed("b.Y", "stale", gap={"cause": "silence", "since_ns": NOW - 99 * SECOND})
WELL = feed("a.A")


def test_what_a_row_says() -> None:
    (row,) = rows(STALE)
    assert (row.state, row.is_troubled, row.since_ns, row.cause) == ("stale", True, NOW - 9 * SECOND, "lost")
    assert (row.rate, row.last_ns) == (None, SECOND)
    (row,) = rows(feed("a.X", refused="no\x1b such"))
    assert (row.state, row.cause, row.since_ns) == ("refused", "no? such", NOW - SECOND)
    (row,) = rows(WELL)
    assert (row.state, row.is_troubled, row.since_ns, row.cause) == ("live", False, None, "")


def test_nothing_of_a_recorder_that_is_not_at_work_is_live() -> None:
    for found in Condition:
        states = {row.state for row in rows(WELL, STALE, found=found)}
        if found is Condition.STOPPED:
            assert states == set()
        elif found in (Condition.RECORDING, Condition.PAUSED):
            assert states == {"live", "stale"}
        else:
            assert states == {found.value}


def test_the_oldest_trouble_is_at_the_top() -> None:
    made = FeedList()
    made.put(rows(WELL, STALE, OLDER))
    assert names(made) == ["b.Y", "a.Z", "a.A"]
    made.next_sort()
    assert (made.sort, names(made)) == (Sort.NAME, ["a.A", "b.Y", "a.Z"])


def test_the_cursor_follows_its_feed_and_stays_within_the_list() -> None:
    made = FeedList()
    made.move(5)
    assert (made.cursor, made.marked()) == (0, None)
    made.put(rows(WELL, STALE))
    made.move(1)
    assert made.marked() == rows(WELL)[0]
    made.put(rows(WELL, STALE, OLDER))
    assert (made.cursor, made.marked()) == (2, rows(WELL)[0])
    made.put(rows(STALE))
    assert made.marked() == rows(STALE)[0]
    made.move(-9)
    made.put(rows(STALE, OLDER))
    assert made.marked() == rows(OLDER)[0]  # at the top it stays at the top
