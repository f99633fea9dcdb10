"""The log of what happened."""

from __future__ import annotations

from recorder.watch.condition import condition
from recorder.watch.happenings import KEPT, Happenings
from recorder.watch.look import Look
from tests.recorder.watch.statuses import NOW, SECOND, feed, line, live, look, told


def see(log: Happenings, seen: Look, told_of_feeds: frozenset[str] = frozenset()) -> None:
    conditions = {one.collector: condition(one, seen.now_ns) for one in seen.collectors}
    log.look(seen, conditions, told_of_feeds=told_of_feeds)


def words(log: Happenings) -> list[str]:
    return [each.words for each in log.all()]


def test_a_first_look_is_no_event() -> None:
    log = Happenings()
    see(log, look(told(live(feed("a.X", "stale"), lines=[line(connected=False)]))))
    see(log, look(told(live(feed("a.X", "stale"), lines=[line(connected=False)]))))
    assert log.all() == []


def test_death_and_a_new_life() -> None:
    log = Happenings()
    see(log, look())
    see(log, look(told(held=False)))
    see(log, look(told(live(running=False))))
    see(log, look(told(live(feed("orderbook.50.BTCUSDT", messages=0), pid=78, lines=[line(connects=1)]))))
    assert words(log) == [
        "records again, as process 78",
        "starting -> recording",
        "dead -> starting",
        "recording -> dead",
    ]
    assert [each.grave for each in log.all()] == [False, False, True, True]


def test_lines_with_their_reasons_and_moments() -> None:
    log = Happenings()
    see(log, look())
    lost = line(connected=False, changed_ns=NOW + 7, last_reason="no \x1b[31mpong")
    see(log, look(told(live(lines=[lost]))))
    see(log, look(told(live(lines=[line(connects=2, changed_ns=NOW + 9)]))))
    see(log, look(told(live(lines=[line(connects=3, changed_ns=NOW + 11)]))))
    assert words(log) == [
        "line 0 was lost and is up again",
        "line 0 is up",
        "line 0 lost: no ?[31mpong",
    ]
    assert [each.time_ns for each in log.all()] == [NOW + 11, NOW + 9, NOW + 7]


def test_what_happens_to_many_feeds_is_one_line() -> None:
    log = Happenings()
    names = [f"a.S{number}" for number in range(8)]
    see(log, look(told(live(*(feed(name) for name in names)))))
    gap = {"cause": "disconnect", "since_ns": NOW}
    see(log, look(told(live(*(feed(name, "stale", gaps=1, gap=gap) for name in names)))))
    assert words(log) == ["-> stale (disconnect): a.S0, a.S1, a.S2, a.S3, a.S4 and 3 more"]
    assert log.all()[0].grave
    see(log, look(told(live(*(feed(name, gaps=2) for name in names)))))
    see(log, look(told(live(*(feed(name, gaps=3) for name in names)))))
    assert [text.partition(":")[0] for text in words(log)[:2]] == [
        "had a gap that is closed again",
        "-> live",
    ]


def test_feeds_whose_tape_is_read_are_told_of_once() -> None:
    log = Happenings()
    see(log, look())
    log.add(NOW, "linear", "-> stale (lost)", "orderbook.50.BTCUSDT", grave=True)
    later = NOW + SECOND
    seen = look(told(live(feed("orderbook.50.BTCUSDT", "stale", gaps=1), written_ns=later)), now_ns=later)
    see(log, seen, frozenset({"linear"}))
    assert words(log) == ["-> stale (lost): orderbook.50.BTCUSDT"]


def test_only_what_is_close_in_time_is_told_together() -> None:
    log = Happenings()
    for second in (0, 1, 5, 6):
        log.add(NOW + second * SECOND, "linear", "x", f"a.S{second}")
    assert words(log) == ["x: a.S5, a.S6", "x: a.S0, a.S1"]
    log.add(NOW + 6 * SECOND, "linear", "x", "a.S6")
    assert words(log)[0] == "x: a.S5, a.S6"


def test_what_is_told_late_stands_where_it_belongs() -> None:
    log = Happenings()
    log.add(NOW + SECOND, "linear", "now")
    log.add(NOW, "linear", "-> live\x1b", "a.\x07X")
    assert words(log) == ["now", "-> live?: a.?X"]


def test_the_log_is_bounded() -> None:
    log = Happenings()
    for second in range(2 * KEPT):
        log.add(NOW + second * SECOND, "linear", str(second))
    assert len(log.all()) == KEPT
    assert log.all()[0].what == str(2 * KEPT - 1)
