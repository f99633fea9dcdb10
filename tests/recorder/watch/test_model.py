"""What is shown, moved by keys: no terminal, no clock."""

from __future__ import annotations

import pytest

from recorder.watch.feed_list import Sort, symbol_of
from recorder.watch.keys import KEYS, Action, View, keys_text
from recorder.watch.model import (
    SYMBOLS_KEPT,
    TRADES_KEPT,
    BookSeen,
    Choice,
    TradeSeen,
    Watch,
)
from schemas.names import FeedState
from tests.recorder.watch.statuses import NOW, SECOND, feed, live, look, told

BTC, ETH, SPOT = (
    Choice("linear", "linear", "BTCUSDT"),
    Choice("linear", "linear", "ETHUSDT"),
    Choice("spot", "spot", "BTCUSDT"),
)
LINEAR = told(
    live(
        feed("orderbook.50.BTCUSDT"),
        feed("orderbook.200.BTCUSDT"),
        feed("orderbook.1.BTCUSDT"),
        feed("publicTrade.BTCUSDT"),
        feed("orderbook.50.ETHUSDT", "stale", gaps=2, gap={"cause": "lost", "since_ns": NOW - 9 * SECOND}),
        feed("tickers.ETHUSDT"),
    )
)
OF_SPOT = told(live(feed("orderbook.200.BTCUSDT"), category="spot", pid=88), name="spot")


def made(**options: str) -> Watch:
    watch = Watch(**options)
    watch.looked(look(LINEAR, OF_SPOT))
    return watch


def press(watch: Watch, *actions: Action) -> None:
    for action in actions:
        watch.act(action)


def test_what_can_be_chosen_and_what_is_first() -> None:
    watch = made()
    assert watch.choices == [BTC, SPOT, ETH]
    assert watch.chosen == BTC
    assert made(symbol="ETHUSDT").chosen == ETH
    assert made(symbol="BTCUSDT", category="spot").chosen == SPOT
    assert made(symbol="BTCUSDT", collector="spot").chosen == SPOT
    missing = made(symbol="BTCUSD")
    assert missing.chosen is None
    assert missing.nearest("BTCUSD")[0] == "BTCUSDT"
    assert Watch().chosen is None


def test_of_two_recorders_of_a_symbol_the_one_that_records_is_first() -> None:
    watch = Watch(symbol="BTCUSDT")
    watch.looked(look(told(held=False), told(live(feed("orderbook.50.BTCUSDT"), pid=9), name="second")))
    assert watch.chosen == Choice("second", "linear", "BTCUSDT")


def test_a_symbol_that_comes_later_is_shown_then_and_one_that_goes_is_kept() -> None:
    watch = Watch(symbol="ETHUSDT")
    watch.looked(look(told(live(feed("orderbook.50.BTCUSDT")))))
    assert watch.chosen is None
    watch.looked(look(LINEAR))
    assert watch.chosen == ETH
    watch.looked(look(told(live(feed("orderbook.50.BTCUSDT")))))
    assert watch.chosen == ETH


def test_symbols_go_round() -> None:
    watch = made()
    press(watch, Action.NEXT_SYMBOL)
    assert (watch.chosen, watch.view) == (SPOT, View.BOOK)
    press(watch, Action.NEXT_SYMBOL, Action.NEXT_SYMBOL)
    assert watch.chosen == BTC
    press(watch, Action.PREVIOUS_SYMBOL)
    assert watch.chosen == ETH


def test_another_symbol_does_not_show_the_last_ones_book() -> None:
    watch = made()
    watch.seen(BookSeen("orderbook.200.BTCUSDT", FeedState.LIVE))
    press(watch, Action.NEXT_SYMBOL)
    assert watch.book == BookSeen()


def test_depths_go_round_from_the_deepest() -> None:
    watch = made()
    assert watch.topics == ["orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.200.BTCUSDT"]
    assert watch.topic == ""  # whoever reads takes the deepest
    watch.seen(BookSeen("orderbook.200.BTCUSDT", FeedState.LIVE))
    for expected in ("orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.200.BTCUSDT"):
        press(watch, Action.DEPTH)
        assert watch.topic == expected
        watch.seen(BookSeen(watch.topic, FeedState.LIVE))
    press(watch, Action.NEXT_SYMBOL)
    assert watch.topic == ""
    assert made(topic="orderbook.50").topic == "orderbook.50.BTCUSDT"
    assert made(topic="orderbook.50.BTCUSDT").topic == "orderbook.50.BTCUSDT"
    assert made(topic="orderbook.500").topic == ""


def test_views_by_number_and_in_turn() -> None:
    watch = made()
    press(watch, Action.LINES)
    assert watch.view is View.LINES
    press(watch, Action.NEXT_VIEW, Action.NEXT_VIEW)
    assert watch.view is View.OVERVIEW
    press(watch, Action.PREVIOUS_VIEW)
    assert watch.view is View.EVENTS


def test_a_search_takes_the_likeliest() -> None:
    watch = made()
    press(watch, Action.SEARCH)
    for character in "ethx":
        watch.type(character)
    assert watch.matches == []
    watch.type("")
    assert watch.matches == [ETH]
    watch.take()
    assert (watch.chosen, watch.view, watch.search) == (ETH, View.BOOK, None)
    press(watch, Action.SEARCH)
    watch.type("btc")
    press(watch, Action.BACK)
    assert (watch.chosen, watch.search) == (ETH, None)
    press(watch, Action.SEARCH)
    watch.take()  # nothing was typed
    assert watch.chosen == ETH
    watch.type("x")
    assert watch.search is None


def test_feeds_with_trouble_come_first() -> None:
    watch = made()
    rows = watch.feeds.rows
    assert len(rows) == 7
    assert (rows[0].topic, rows[0].state, rows[0].cause, rows[0].gaps) == (
        "orderbook.50.ETHUSDT",
        "stale",
        "lost",
        2,
    )
    assert rows[0].since_ns == NOW - 9 * SECOND
    assert [row.is_troubled for row in rows] == [True] + [False] * 6
    press(watch, Action.SORT)
    assert watch.feeds.sort is Sort.NAME
    assert [row.topic for row in watch.feeds.rows][-1] == "tickers.ETHUSDT"


def test_the_fastest_feeds_come_first_where_rates_are_asked_for() -> None:
    watch = Watch()
    faster = live(
        *(
            feed(
                f"a.S{number}",
                messages=1000 + number,
            )
            for number in range(3)
        )
    )
    watch.looked(look(told(live(*(feed(f"a.S{number}") for number in range(3))))))
    watch.looked(look(told(faster | {"written_ns": NOW + SECOND, "frames": 5003})))
    press(watch, Action.SORT, Action.SORT)
    assert [(row.topic, row.rate) for row in watch.feeds.rows] == [
        ("a.S2", 2.0),
        ("a.S1", 1.0),
        ("a.S0", 0.0),
    ]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (told(LINEAR.live, held=False), "dead"),
        (told(LINEAR.live | {"written_ns": NOW - 60 * SECOND} if LINEAR.live else None), "mute"),
    ],
)
def test_no_feed_of_a_recorder_that_is_dead_or_mute_looks_live(status: object, state: str) -> None:
    watch = Watch()
    watch.looked(look(status))  # type: ignore[arg-type]
    assert {row.state for row in watch.feeds.rows} == {state}
    assert all(row.is_troubled and row.rate is None for row in watch.feeds.rows)


def test_feeds_of_a_recorder_that_was_stopped_are_not_in_the_list() -> None:
    watch = Watch()
    watch.looked(look(told(live(running=False), held=False)))
    assert watch.feeds.rows == []


def test_enter_opens_the_book_under_the_cursor() -> None:
    watch = made()
    press(watch, Action.FEEDS, Action.SORT, Action.DOWN, Action.DOWN)
    row = watch.feeds.rows[2]
    press(watch, Action.OPEN)
    assert watch.view is View.BOOK
    assert watch.chosen is not None
    assert watch.chosen.symbol == symbol_of(row.topic)
    press(watch, Action.OPEN)  # no list here
    assert watch.view is View.BOOK


def test_the_cursor_stays_on_its_feed_and_within_the_list() -> None:
    watch = made()
    press(watch, Action.FEEDS, Action.LAST)
    assert watch.feeds.cursor == 6
    marked = watch.feeds.rows[6].topic
    press(watch, Action.DOWN)
    assert watch.feeds.cursor == 6
    second = live(feed("orderbook.50.AAA", "stale"), *(LINEAR.live or {})["feeds"])
    watch.looked(look(told(second), OF_SPOT))
    assert watch.feeds.rows[watch.feeds.cursor].topic == marked
    assert watch.feeds.cursor == 7
    watch.looked(look(told(live(feed("a.X")))))
    assert watch.feeds.rows[watch.feeds.cursor].topic == "a.X"
    press(watch, Action.FIRST)
    assert watch.feeds.cursor == 0


def test_at_the_top_new_trouble_comes_into_sight() -> None:
    watch = made()
    press(watch, Action.FEEDS, Action.DOWN, Action.UP)
    worse = [
        feed("a.X", "stale", gap={"cause": "lost", "since_ns": NOW - 99 * SECOND}),
        *(LINEAR.live or {})["feeds"],
    ]
    watch.looked(look(told(live(*worse)), OF_SPOT))
    assert watch.feeds.rows[watch.feeds.cursor].topic == "a.X"


def test_tapes_are_bounded() -> None:
    watch = made()
    trade = TradeSeen(1, False, 100, 1, -1, -3)
    watch.traded(BTC, [trade._replace(match_ms=number) for number in range(2 * TRADES_KEPT)])
    assert [trade.match_ms for trade in watch.trades[:2]] == [199, 198]
    assert len(watch.trades) == TRADES_KEPT
    for number in range(SYMBOLS_KEPT):
        watch.traded(Choice("linear", "linear", str(number)), [trade])
    assert watch.trades == []


def test_every_action_has_a_key_and_does_something_that_cannot_fail() -> None:
    bound = {action for key in KEYS for action in key.bound.values()}
    assert bound == set(Action)
    names = [name for key in KEYS for name in key.bound]
    assert len(names) == len(set(names))
    for empty in (Watch(), made()):
        for action in Action:
            empty.act(action)
        assert empty.done
    assert len(keys_text().splitlines()) == len(KEYS)


def test_help_goes_with_any_page() -> None:
    watch = made()
    press(watch, Action.HELP)
    assert watch.helping
    press(watch, Action.FEEDS)
    assert not watch.helping
    press(watch, Action.HELP, Action.BACK)
    assert not watch.helping
