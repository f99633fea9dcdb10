"""Pages in cells: at every size exactly as wide, never live where nothing is, and nothing said by colour alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.watch.keys import KEYS, Action, View
from recorder.watch.model import BookSeen, Choice, TradeSeen, Watch
from recorder.watch.paint import HELP_NOTES, paint, verdict
from recorder.watch.text import ascii_glyphs, line_width, nice_glyphs, words
from schemas.names import FeedState
from tests.recorder.watch.statuses import NOW, SECOND, feed, line, live, look, told

BOOK = BookSeen(
    "orderbook.50.BTCUSDT", FeedState.LIVE, "", 41_177_310, 9, NOW // 10**6 - 20, NOW // 10**6 - 12, NOW, -1, -3,
    [(970_000, 1_500), (969_999, 250), (969_990, 12_000)], [(970_001, 3_000), (970_005, 40)],
)  # fmt: skip
TRADES = [
    TradeSeen(NOW // 10**6 + number, number % 2 == 1, 970_000 + number, 12, -1, -3) for number in range(3)
]


def made(view: View = View.OVERVIEW, *collectors: Any, book: BookSeen = BOOK, **more: Any) -> Watch:
    watch = Watch(view)
    watch.looked(look(*collectors, **more))
    watch.seen(book)
    watch.traded(Choice("linear", "linear", "BTCUSDT"), TRADES)
    return watch


def shown(watch: Watch, width: int = 80, height: int = 24, now_ns: int = NOW + SECOND // 100) -> list[str]:
    lines = paint(watch, width, height, now_ns, nice_glyphs())
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    return [words(line) for line in lines]


def text(watch: Watch, **options: int) -> str:
    return "\n".join(shown(watch, **options))


DEAD = told(live(written_ns=NOW - 7 * SECOND), held=False)
SICK = told(
    live(
        feed(
            "orderbook.50.BTCUSDT",
            "stale",
            gaps=3,
            gap={"cause": "disconnect", "since_ns": NOW - 12 * SECOND},
        ),
        feed("publicTrade.BTCUSDT", refused="\x1b]0;owned\x07"),
        lines=[line(0), line(1, connected=False, changed_ns=NOW - 12 * SECOND, last_reason="no pong")],
    )
)


@given(
    st.integers(1, 240),
    st.integers(1, 80),
    st.sampled_from(View),
    st.sampled_from([(), (DEAD,), (SICK,), (told(), told(name="spot", held=False))]),
    st.lists(st.sampled_from([action for action in Action if action is not Action.QUIT]), max_size=6),
    st.booleans(),
)
def test_every_page_fills_every_screen_exactly(
    width: int, height: int, view: View, collectors: Any, actions: list[Action], plain: bool
) -> None:
    watch = made(view, *collectors)
    for action in actions:
        watch.act(action)
    lines = paint(watch, width, height, NOW, ascii_glyphs() if plain else nice_glyphs())
    assert [line_width(line) for line in lines] == [width] * height
    painted = "".join(words(line) for line in lines)
    assert painted.isprintable()
    assert painted.isascii() or not plain


def test_the_overview_of_a_recorder_that_is_well() -> None:
    lines = shown(made())
    assert lines[0].startswith(" ● ALL WELL   1 overview  2 book")
    assert lines[0].endswith("12:00:00Z ")
    assert "linear RECORDING  linear of mainnet  since 11:00:00Z (60 min)" in lines[1]
    assert lines[3].strip() == "p50 / p99: to book 12.5 / 40.0 ms; to disk 12.5 / 40.0 ms; clock off +2.0 ms"
    row = next(line for line in lines if "orderbook.50" in line)
    # what was counted, with the exchange's clock 2 ms ahead of ours
    assert row.split() == [
        "orderbook.50",
        "1",
        "of",
        "1",
        "0",
        "1,000",
        "14.5",
        "ms",
        "42.0",
        "ms",
        "1.0",
        "s",
    ]
    assert "1 of 1 lines up" in "\n".join(lines)
    assert "disk: 50.0 GiB of 100.0 GiB free" in "\n".join(lines)


def test_the_overview_tells_troubles_first_with_their_beginnings() -> None:
    lines = shown(made(View.OVERVIEW, SICK))
    assert lines[0].startswith(" ▲ 3 TROUBLES ")
    assert lines[1].startswith(" ▲ linear: not connected: line 1 ")
    assert lines[1].rstrip().endswith("since 11:59:48Z (12.0 s)")
    assert "stale: orderbook.50.BTCUSDT" in lines[2]
    assert lines[3].startswith(" ▲ linear: refused by the exchange: publicTrade.BTCUSDT; check the symbols")
    assert lines[4].strip() == "since before 12:00:00Z (> 10 ms)"
    assert "0 of 1" in next(line for line in lines if line.strip().startswith("orderbook.50"))


def test_many_recorders_have_a_line_each() -> None:
    many = [told(name=f"linear-{number}") for number in range(6)]
    many[3] = told(live(feed("a.X", "stale"), feed("a.Y")), name="linear-3")
    lines = shown(made(View.OVERVIEW, *many, told(held=False, name="dead")))
    rows = [line.split() for line in lines if line.startswith(("linear-", "dead"))]
    assert len(rows) == 7
    assert rows[0][:5] == ["dead", "DEAD", "10", "ms", "-"]
    assert rows[1] == [
        "linear-0",
        "RECORDING",
        "60",
        "min",
        "2",
        "of",
        "2",
        "0",
        "-",
        "1",
        "of",
        "1",
        "42.0",
        "ms",
    ]
    assert rows[4][4:7] == ["1", "of", "2"]
    assert "orderbook.50 " not in "\n".join(lines)
    assert "orderbook.50 " in text(made(View.OVERVIEW, *many), height=80)


def test_a_trouble_that_is_long_is_told_whole_on_the_overview_and_cut_elsewhere() -> None:
    many = told(live(*(feed(f"orderbook.50.SYMBOL{number}", "stale") for number in range(40))))
    lines = shown(made(View.OVERVIEW, many))
    assert "and 35 more" in " ".join(" ".join(lines[1:4]).split())
    assert "since before 12:00:00Z (> 10 ms)" in lines[3]
    last = shown(made(View.LINES, many))[-2]
    assert "…" in last
    assert last.rstrip().endswith("since before 12:00:00Z (> 10 ms)")


def test_a_dead_recorder_is_said_on_every_page() -> None:
    for view in View:
        lines = shown(made(view, DEAD, book=BOOK._replace(trouble="writer dead")))
        assert lines[0].startswith(" ▲ DEAD "), view
        assert "its process died without a word" in "\n".join(lines), view
        assert "● LIVE" not in "\n".join(lines), view
        assert "since 11:59:53Z (7.0 s)" in "\n".join(lines), view


@pytest.mark.parametrize(
    ("collectors", "words"),
    [
        ([told()], "ALL WELL"),
        ([SICK], "3 TROUBLES"),
        ([told(live(lines=[line(0), line(1, connected=False)]))], "1 TROUBLE"),
        ([DEAD], "DEAD"),
        ([told(), told(name="spot", held=False)], "DEAD"),
        ([told(live(written_ns=NOW - 9 * SECOND))], "MUTE"),
        ([told(live(paused=True))], "PAUSED"),
        ([told(live(running=False))], "STARTING"),
        ([told(live(running=False), held=False)], "NOT RECORDING"),
    ],
)
def test_all_in_one(collectors: list[Any], words: str) -> None:
    assert verdict(made(View.OVERVIEW, *collectors))[1] == words


def test_a_status_with_the_least_that_it_can_have() -> None:
    """As another version might write it (``recorder.status`` asks for no more)."""
    least = {
        "running": True, "written_ns": NOW, "paused": False, "backlog_bytes": 0,
        "lines": [{"line": 0, "connected": True, "connects": 1}],
        "feeds": [
            {
                "topic": topic, "state": "live", "messages": 1, "gaps": 0, "bytes": 1, "refused": None,
                "last_receive_ns": None,
            }
            for topic in ("orderbook.50.BTCUSDT", "adlAlert", "")
        ],
    }  # fmt: skip
    watch = Watch()
    for second in range(2):
        watch.looked(look(told(least | {"written_ns": NOW + second * SECOND}), now_ns=NOW + second * SECOND))
    for view in View:
        watch.view = view
        assert "linear" in text(watch) or view not in (View.OVERVIEW, View.LINES)


def test_nothing_there_yet() -> None:
    watch = Watch()
    watch.looked(look()._replace(collectors=()))
    assert "NOT RECORDING" in text(watch)
    assert "No recorder has written here yet" in text(watch)
    for view in View:
        watch.view = view
        text(watch)


def test_the_ladder_of_a_live_book() -> None:
    lines = shown(made(View.BOOK))
    assert lines[1].startswith(" BTCUSDT  linear ● LIVE  orderbook.50.BTCUSDT")
    assert lines[1].rstrip().endswith("1 of 1")
    assert lines[2].strip() == "spread 0.1 (0.01 bp)  mid 97000.05"
    # pushed 12 ms before, by a clock that is 2 ms ahead of ours; looked at 10 ms later
    assert lines[3].strip().startswith("late 14 ms  age 10 ms  - messages  0 gaps  update 41177310")
    rows = [line.split("│")[0].rstrip() for line in lines[5:23]]
    kept = [row for row in rows if row.strip()]
    assert [row.split()[:4] for row in kept if "─" not in row] == [
        ["97000.5", "0.040", "3.040", "▏"],
        ["ask", "97000.1", "3.000", "3.000"],
        ["bid", "97000.0", "1.500", "1.500"],
        ["96999.9", "0.250", "1.750", "▎"],
        ["96999.0", "12.000", "13.750", "█" * kept[-1].count("█")],
    ]
    assert kept[-1].count("█") > 4 * kept[1].count("█") > 0
    tape = [line.split("│")[1] for line in lines[4:] if "│" in line]
    assert tape[1].split() == ["12:00:00", "B▲", "97000.2", "0.012"]
    assert tape[2].split() == ["12:00:00", "S▼", "97000.1", "0.012"]


@pytest.mark.parametrize(
    ("bid", "ask", "words"),
    [
        (-1_250, -1_240, "spread 1.0 (80.32 bp)  mid -124.50"),
        (-5, 5, "spread 1.0  mid 0.00"),
        (0, 10, "spread 1.0 (20000.00 bp)  mid 0.50"),
    ],
)
def test_prices_below_zero_have_no_spread_below_zero(bid: int, ask: int, words: str) -> None:
    book = BOOK._replace(bids=[(bid, 3)], asks=[(ask, 3)])
    assert shown(made(View.BOOK, book=book))[2].strip() == words


def test_price_steps() -> None:
    watch = made(View.BOOK)
    for _ in range(3):
        watch.act(Action.COARSER)
    assert watch.price_step == 10
    rows = [line.split("│")[0] for line in shown(watch)]
    assert "sum by 1.0" in "\n".join(rows)
    assert [row.split()[1] for row in rows if row.startswith((" bid", " ask"))] == ["97001.0", "97000.0"]


def test_one_side_may_be_empty() -> None:
    lines = shown(made(View.BOOK, book=BOOK._replace(asks=[])))
    assert "one side is empty" in lines[2]
    assert "bid" in "\n".join(lines)


@pytest.mark.parametrize(
    ("book", "words"),
    [
        (
            BOOK._replace(state=FeedState.STALE),
            "NOT LIVE: the feed is stale (disconnect) since 11:59:48Z (12.0 s)",
        ),
        (
            BOOK._replace(state=FeedState.STALE, trouble="writer dead"),
            "NOT LIVE: the recorder's heart has stopped",
        ),
        (BOOK._replace(trouble="writer gone"), "NOT LIVE: the recorder has ended"),
        (BOOK._replace(state=FeedState.SYNCING), "NOT LIVE: the feed is syncing"),
        (BookSeen(trouble="linear publishes no books"), "NOT LIVE: linear publishes no books"),
    ],
)
def test_no_number_of_a_book_that_is_not_live_looks_live(book: BookSeen, words: str) -> None:
    watch = made(View.BOOK, SICK, book=book)
    lines = shown(watch)
    assert words in lines[2]
    if book.topic:
        assert lines[3].strip() == "its last message came at 12:00:00Z, 10 ms ago"
    assert "● LIVE" not in lines[1]
    ladder = "\n".join(line.split("│")[0] for line in lines[4:22])
    for figure in ("spread", "mid", "late", "█"):
        assert figure not in "\n".join(lines[1:4]) + ladder
    for price in ("97000.0", "97000.1"):
        assert ladder.count(price) == ladder.count(f"({price})") == (1 if book.topic else 0)
    styles = {
        style
        for line in paint(watch, 80, 24, NOW, nice_glyphs())[5:22]
        for style, text in line
        if "(" in text
    }
    assert styles <= {"stale"}


def test_a_book_that_comes_late_does_not_say_live() -> None:
    def title(late_ms: int) -> str:
        return shown(made(View.BOOK, book=BOOK._replace(push_ms=NOW // 10**6 - late_ms)))[1]

    assert "● LIVE" in title(9_998)  # by a clock that is 2 ms ahead
    assert "▲ LATE" in title(9_999)
    assert "● LIVE" in title(-9_999)
    late = shown(made(View.BOOK, book=BOOK._replace(push_ms=NOW // 10**6 - 86_000)))
    assert late[3].startswith(" late 86.0 s  age 10 ms")
    assert "█" in "".join(late)  # it is whole all the same


def test_a_book_of_nothing_says_why() -> None:
    watch = Watch(View.BOOK)
    watch.looked(look()._replace(collectors=()))
    assert "No symbol is recorded here yet" in text(watch)


def test_a_narrow_window_has_the_ladder_alone() -> None:
    lines = shown(made(View.BOOK), width=50, height=12)
    assert "│" not in "".join(lines)
    assert "97000.1" in "".join(lines)


def test_feeds_scroll_with_the_cursor() -> None:
    many = told(live(*(feed(f"orderbook.50.S{number:03}") for number in range(100))))
    watch = made(View.FEEDS, many)
    assert "S000" in text(watch)
    watch.act(Action.PAGE_DOWN)
    watch.act(Action.PAGE_DOWN)
    lines = shown(watch)
    assert "100 feeds, all live" in lines[1]
    cursor = watch.feeds.rows[watch.feeds.cursor].topic
    (row,) = [line for line in paint(watch, 80, 24, NOW, nice_glyphs()) if line[0][0] == "cursor"]
    assert cursor in words(row)
    watch.act(Action.LAST)
    assert "S099" in text(watch)
    assert "S000" not in text(watch)


def test_feeds_tell_since_when_and_why() -> None:
    lines = shown(made(View.FEEDS, SICK), width=140)
    assert "2 feeds, 2 not live" in lines[1]
    stale = next(line for line in lines if "▲ STALE" in line)
    assert "11:59:48Z 12.0 s disconnect" in stale
    assert "11:59:48Z 12.0 s" in next(line for line in shown(made(View.FEEDS, SICK)) if "▲ STALE" in line)
    assert "?]0;owned?" in next(line for line in lines if "▲ REFUSED" in line)


def test_several_recorders_are_told_apart() -> None:
    watch = made(View.FEEDS, told(), told(live(feed("orderbook.50.BTCUSDT"), pid=3), name="second"))
    assert sum("second" in line for line in shown(watch)) == 1


def test_lines_up_and_down() -> None:
    lines = shown(made(View.LINES, SICK), width=140)
    (up,) = [line for line in lines if "▲ UP" in line]
    (down,) = [line for line in lines if "▼ DOWN" in line]
    assert up.split()[:7] == ["linear", "0", "▲", "UP", "60", "min", "3"]
    assert "no pong" in down
    assert "12.0 s" in down


def test_events_newest_first_and_scrolled() -> None:
    watch = made(View.EVENTS)
    for second in range(60):
        watch.happenings.add(NOW + second * SECOND, "linear", f"event {second}", grave=second == 59)
    assert "▲ linear: event 59" in shown(watch)[1]
    watch.act(Action.LAST)
    assert "event 0 " in text(watch)
    assert watch.offset == 60 - 22
    watch.lost = 1234
    assert "1,234 entries of the tapes were gone" in shown(watch)[1]


def test_the_prompt_shows_what_could_be_meant() -> None:
    watch = made()
    watch.act(Action.SEARCH)
    watch.type("b")
    assert shown(watch)[-1].startswith(" /b_  BTCUSDT")
    watch.type("zz")
    assert "nothing recorded is called so" in shown(watch)[-1]


def test_help_names_every_key() -> None:
    watch = made()
    watch.act(Action.HELP)
    assert "Shift-Tab" in text(watch)
    assert "Only a book that says LIVE" in text(watch)


def test_help_fits_into_a_terminal_of_80_by_24() -> None:
    watch = made()
    watch.act(Action.HELP)
    page = text(watch)
    assert all(note in page for note in HELP_NOTES)
    assert all(key.says in page for key in KEYS)
    assert "…" not in page
