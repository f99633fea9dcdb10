"""Lines merged in the core: the cases by name. tests/property holds it against the model, and against what was said."""

from __future__ import annotations

import pytest

from engine.core.feeds import Engine
from engine.events import Event, EventKind
from engine.lines import LineShare
from schemas.names import FeedState
from tests.strategies import write

SYMBOL = "BTCUSDT"
BOOK, LEVEL_1 = f"orderbook.50.{SYMBOL}", f"orderbook.1.{SYMBOL}"
TRADES, TICKER, LIMIT = f"publicTrade.{SYMBOL}", f"tickers.{SYMBOL}", f"priceLimit.{SYMBOL}"
LIQUIDATIONS = f"allLiquidation.{SYMBOL}"
SECOND_NS = 10**9


def book(u: int, kind: str = "delta", *, seq: int | None = None, topic: str = BOOK) -> bytes:
    data = {
        "s": SYMBOL,
        "b": [[str(u), "1"]],
        "a": [["99999", "1"]],
        "u": u,
        "seq": u if seq is None else seq,
    }
    return write({"topic": topic, "type": kind, "ts": 1_700_000_000_000 + u, "data": data, "cts": 1})


def trade(*ids: str) -> bytes:
    fills = [
        {"T": 1, "s": SYMBOL, "S": "Buy", "v": "1", "p": "7", "i": name, "BT": False, "seq": 1}
        for name in ids
    ]
    return write({"topic": TRADES, "type": "snapshot", "ts": 1_700_000_000_000, "data": fills})


def ticker(ts: int, kind: str = "delta", *, price: str = "5") -> bytes:
    data = {"symbol": SYMBOL, "lastPrice": price}
    return write({"topic": TICKER, "type": kind, "ts": 1_700_000_000_000 + ts, "cs": ts, "data": data})


def limit(ts: int) -> bytes:
    data = {"symbol": SYMBOL, "buyLmt": "9", "sellLmt": "1"}
    return write({"topic": LIMIT, "data": data, "ts": 1_700_000_000_000 + ts})


def liquidation(ts: int) -> bytes:
    order = {"T": ts, "s": SYMBOL, "S": "Buy", "v": "1", "p": "7"}
    return write({"topic": LIQUIDATIONS, "type": "snapshot", "ts": 1_700_000_000_000 + ts, "data": [order]})


class Lines:
    """An engine with two lines, both subscribed to everything for a long time, and a clock of its own."""

    def __init__(self, lines: int = 2, *, topic: str = BOOK) -> None:
        self.engine = Engine("linear", columns=True)
        self.topic = topic
        self.now_ns = 0
        self.count = 0
        for line in range(lines):
            self.engine.subscribed(topic, self.now_ns, 0, line)
        self.now_ns = 60 * SECOND_NS

    def hear(self, line: int, *frames: bytes) -> None:
        for frame in frames:
            self.count += 1
            self.now_ns += 1_000
            self.engine.apply(frame, self.now_ns, self.count, line)

    def cut(self, line: int) -> None:
        self.count += 1
        self.engine.disconnect(line, self.now_ns, self.count)

    def subscribe(self, line: int) -> None:
        self.count += 1
        self.engine.subscribed(self.topic, self.now_ns, self.count, line)

    @property
    def state(self) -> FeedState:
        return self.engine.state(self.engine.feed_index(self.topic))

    @property
    def update_id(self) -> int | None:
        return self.engine.update_id(self.engine.feed_index(self.topic))

    @property
    def shares(self) -> list[LineShare]:
        return self.engine.lines(self.engine.feed_index(self.topic))

    def gaps(self) -> list[Event]:
        kinds = (EventKind.GAP_OPENED, EventKind.GAP_CLOSED)
        return [event for event in self.engine.take_events() if event.kind in kinds]

    def rows(self) -> list[tuple[int, int, bool]]:
        """(sequence of the frame, line, applied) of the topic's rows, keyframes aside."""
        rows = []
        for table in self.engine.take_rows("c").values():
            names = [name for name in ("sequence", "line", "applied", "kind") if name in table.column_names]
            rows += table.select(names).to_pylist()
        return [
            (row["sequence"], row["line"], row.get("applied", True))
            for row in sorted(rows, key=lambda row: row["sequence"])
            if row.get("kind") != "keyframe"
        ]


@pytest.fixture
def lines() -> Lines:
    """Two lines that have both brought the snapshot."""
    lines = Lines()
    lines.hear(0, book(10, "snapshot"))
    lines.hear(1, book(10, "snapshot"))
    return lines


def test_a_delta_makes_one_row_whoever_brings_it_first(lines: Lines) -> None:
    lines.hear(0, book(11))
    lines.hear(1, book(11), book(12))
    lines.hear(0, book(12))
    assert lines.rows() == [(1, 0, True), (3, 0, True), (5, 1, True)]
    assert [share[:5] for share in lines.shares] == [(0, True, 3, 2, 1), (1, True, 3, 1, 2)]


def test_what_one_line_lost_another_brings(lines: Lines) -> None:
    lines.hear(0, book(12), book(13))
    assert lines.update_id == 10
    lines.hear(1, book(11), book(12), book(13))
    lines.hear(0, book(14))
    assert lines.update_id == 14
    assert not lines.gaps()
    assert [share.ahead for share in lines.shares] == [2, 0]
    assert [share.saved for share in lines.shares] == [0, 2]


def test_what_both_lines_lost_is_a_gap_as_soon_as_neither_can_bring_it(lines: Lines) -> None:
    lines.hear(0, book(12))
    assert lines.state is FeedState.LIVE
    lines.hear(1, book(13))
    (gap,) = lines.gaps()
    assert (gap.detail, gap.first_update_id) == ("lost", 11)
    assert lines.state is FeedState.STALE


def test_a_line_that_says_nothing_is_waited_for_a_second(lines: Lines) -> None:
    lines.hear(0, book(12))
    lines.now_ns += SECOND_NS - 10_000
    lines.hear(0, book(13))
    assert not lines.gaps()
    lines.now_ns += 20_000
    lines.hear(0, book(14))
    assert [gap.detail for gap in lines.gaps()] == ["lost"]


def test_the_last_line_that_is_cut_leaves_a_gap(lines: Lines) -> None:
    lines.cut(0)
    lines.hear(1, book(11))
    assert not lines.gaps()
    lines.cut(1)
    assert [(gap.detail, gap.first_update_id) for gap in lines.gaps()] == [("disconnect", 12)]


def test_a_line_that_is_cut_while_the_other_is_ahead_of_a_hole_leaves_a_gap(lines: Lines) -> None:
    lines.hear(0, book(12))
    lines.cut(1)
    assert [(gap.detail, gap.first_update_id) for gap in lines.gaps()] == [("disconnect", 11)]


def test_the_snapshot_of_a_line_that_comes_back_is_no_news(lines: Lines) -> None:
    lines.cut(0)
    lines.hear(1, book(11), book(12))
    lines.subscribe(0)
    lines.hear(0, book(12, "snapshot"), book(13))
    lines.hear(1, book(13))
    assert lines.rows() == [(1, 0, True), (4, 1, True), (5, 1, True), (8, 0, True)]
    assert not lines.gaps()


def test_what_a_line_missed_while_it_was_gone_the_other_has_saved(lines: Lines) -> None:
    lines.hear(1, book(11))
    lines.cut(1)
    lines.hear(0, book(11), book(12), book(13))
    lines.subscribe(1)
    lines.hear(0, book(14))
    lines.hear(1, book(13, "snapshot"), book(14))
    assert [share.saved for share in lines.shares] == [2, 0]


def test_what_a_line_missed_counts_though_it_was_cut_again_before_it_said_anything(lines: Lines) -> None:
    lines.cut(1)
    lines.hear(0, book(11))
    lines.subscribe(1)
    lines.cut(1)
    lines.hear(0, book(12))
    lines.subscribe(1)
    lines.hear(1, book(12, "snapshot"))
    assert [share.saved for share in lines.shares] == [2, 0]


def test_of_a_new_chain_a_line_that_was_gone_missed_what_it_holds(lines: Lines) -> None:
    lines.cut(1)
    lines.hear(0, book(1, "snapshot", seq=50), *(book(u, seq=50 + u) for u in range(2, 30)))
    lines.subscribe(1)
    lines.hear(1, book(29, "snapshot", seq=79))
    assert [share.saved for share in lines.shares] == [29, 0]


def test_the_snapshot_of_a_line_that_is_ahead_takes_nothing_from_the_other(lines: Lines) -> None:
    lines.cut(0)
    lines.subscribe(0)
    lines.hear(0, book(13, "snapshot"), book(14))
    lines.hear(1, book(11), book(12), book(13), book(14))
    assert [row[1:] for row in lines.rows()] == [(0, True)] + 4 * [(1, True)]
    assert lines.update_id == 14
    assert not lines.gaps()


def test_the_line_that_leads_begins_anew_and_skips_nothing_that_the_other_may_bring(lines: Lines) -> None:
    lines.hear(0, book(13, "snapshot"), book(14))
    assert lines.update_id == 10
    lines.hear(1, book(11), book(12), book(13), book(14))
    assert [row[1:] for row in lines.rows()] == [(0, True)] + 4 * [(1, True)]
    assert (lines.update_id, lines.gaps()) == (14, [])


def test_what_the_line_that_leads_skips_and_the_other_does_not_bring_is_a_gap(lines: Lines) -> None:
    lines.hear(0, book(13, "snapshot"))
    lines.now_ns += 2 * SECOND_NS
    lines.hear(0, book(13, "snapshot"))
    opened, closed = lines.gaps()
    assert (opened.detail, closed.detail) == ("lost", "lost")
    assert (closed.first_update_id, closed.last_update_id) == (11, 12)
    assert (lines.state, lines.update_id) == (FeedState.LIVE, 13)


def test_a_snapshot_over_what_nobody_brought_closes_the_gap_that_it_shows() -> None:
    lines = Lines()
    lines.hear(0, book(10, "snapshot"))
    lines.cut(1)
    lines.hear(0, book(11))
    lines.subscribe(1)
    lines.hear(0, book(16))  # 12 to 15 are lost on this line, and the other has not begun yet
    lines.hear(1, book(15, "snapshot"))
    opened, closed = lines.gaps()
    assert (opened.detail, closed.detail) == ("lost", "lost")
    assert (closed.first_update_id, closed.last_update_id) == (12, 14)
    assert lines.update_id == 15


def test_a_restart_is_followed_once_and_the_old_chain_no_more(lines: Lines) -> None:
    lines.hear(0, book(11))
    lines.hear(0, book(1, "snapshot", seq=50), book(2, seq=51))
    lines.hear(1, book(11), book(1, "snapshot", seq=50), book(2, seq=51), book(3, seq=52))
    assert lines.update_id == 3
    assert not lines.gaps()
    assert [row[1:] for row in lines.rows()] == 4 * [(0, True)] + [(1, True)]


def test_a_restart_of_a_quiet_book_is_one_although_its_sequence_is_known() -> None:
    lines = Lines()
    lines.hear(0, book(1, "snapshot", seq=7), book(2, seq=8), book(3, seq=9))
    lines.hear(1, book(1, "snapshot", seq=7), book(2, seq=8), book(3, seq=9))
    lines.hear(1, book(1, "snapshot", seq=9), book(2, seq=10))  # the one that isn't followed tells it first
    lines.hear(0, book(1, "snapshot", seq=9), book(2, seq=10))
    assert [row[:2] for row in lines.rows()] == [(1, 0), (2, 0), (3, 0), (7, 1), (8, 1)]
    assert (lines.state, lines.gaps()) == (FeedState.LIVE, [])


def test_a_restart_whose_snapshot_is_lost_is_a_reset() -> None:
    lines = Lines(1)
    lines.hear(0, book(10, "snapshot"), book(2, seq=51))
    (gap,) = lines.gaps()
    assert (gap.detail, gap.first_update_id) == ("reset", 11)


def test_trades_of_any_line_are_rows_once() -> None:
    lines = Lines(topic=TRADES)
    lines.hear(0, trade("a", "b"))
    lines.hear(1, trade("a", "b"), trade("c"))
    lines.hear(0, trade("c", "d"))
    assert lines.rows() == [(1, 0, True), (1, 0, True), (3, 1, True), (4, 0, True)]


def test_a_burst_of_trades_on_one_line_is_still_known_when_the_other_brings_it() -> None:
    lines = Lines(topic=TRADES)
    messages = [trade(*(f"{number}-{i}" for i in range(1_024))) for number in range(3)]
    lines.hear(0, *messages)
    lines.hear(1, *messages)
    assert [row[1] for row in lines.rows()] == [0] * 3 * 1_024


def test_trades_need_a_line_that_was_there_before_the_other_was_cut() -> None:
    lines = Lines(topic=TRADES)
    lines.hear(0, trade("a"))
    lines.cut(0)
    assert not lines.gaps()
    lines.subscribe(0)
    lines.now_ns += SECOND_NS // 4
    lines.cut(1)
    assert [gap.detail for gap in lines.gaps()] == ["disconnect"]


def alike(topic: str, frames: list[bytes]) -> Lines:
    """Lines that have shown to carry the same bytes."""
    lines = Lines(topic=topic)
    for frame in frames:
        lines.hear(0, frame)
        lines.hear(1, frame)
    lines.rows()
    assert not lines.gaps()
    return lines


def test_feeds_without_ids_follow_the_elected_line_at_first() -> None:
    lines = Lines(topic=LEVEL_1)
    lines.hear(1, book(10, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(10, "snapshot", topic=LEVEL_1), book(11, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1))
    assert lines.rows() == [(2, 0, True), (3, 0, True)]


def test_lines_with_the_same_bytes_are_followed_as_they_come() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(1, book(40, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(40, "snapshot", topic=LEVEL_1), book(41, "snapshot", topic=LEVEL_1))
    assert [row[1:] for row in lines.rows()] == [(1, True), (0, True)]


def test_what_was_on_its_way_on_the_line_that_is_cut_the_other_has_saved() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(0, *(book(u, "snapshot", topic=LEVEL_1) for u in (40, 41, 42)))
    lines.hear(1, book(40, "snapshot", topic=LEVEL_1))
    assert [share.saved for share in lines.shares] == [0, 0]
    lines.cut(1)
    assert [share.saved for share in lines.shares] == [2, 0]
    lines.hear(0, book(43, "snapshot", topic=LEVEL_1))
    lines.subscribe(1)
    lines.cut(1)
    assert [share.saved for share in lines.shares] == [3, 0]


def test_what_the_first_line_skipped_is_a_gap_and_a_row_that_is_not_applied() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(0, book(41, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(40, "snapshot", topic=LEVEL_1), book(41, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(42, "snapshot", topic=LEVEL_1))
    assert [row[1:] for row in lines.rows()] == [(0, True), (1, False), (0, True)]
    opened, closed = lines.gaps()
    assert opened.detail == closed.detail == "lost"
    assert opened.start_ns < lines.now_ns - 3_000  # before the frame that was followed too early


def test_what_a_line_brought_before_the_elected_one_began_is_missed_when_that_skips_it() -> None:
    lines = Lines(topic=LEVEL_1)
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (10, 11)))
    lines.hear(0, book(10, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(12, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(12, "snapshot", topic=LEVEL_1))
    assert [event.detail for event in lines.gaps()] == ["lost", "lost"]


def test_a_loss_begins_behind_the_last_frame_that_was_followed() -> None:
    """However long it is since the line that lost it was compared: one that is always first never is."""
    lines = Lines(topic=LEVEL_1)
    for u in range(10, 16):
        lines.now_ns += SECOND_NS
        last_good_ns = lines.now_ns + 1_000
        lines.hear(0, book(u, "snapshot", topic=LEVEL_1))
        lines.hear(1, book(u, "snapshot", topic=LEVEL_1))
    lines.now_ns += SECOND_NS
    lines.hear(1, book(16, "snapshot", topic=LEVEL_1), book(17, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(17, "snapshot", topic=LEVEL_1))
    opened, closed = lines.gaps()
    assert (opened.detail, closed.detail) == ("lost", "lost")
    assert opened.start_ns == last_good_ns


def test_what_a_line_that_joins_brought_first_is_taken_of_the_line_that_leads() -> None:
    """Though it isn't the elected one: that one would bring it behind what is newer."""
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.subscribe(2)
    lines.hear(2, ticker(20, "snapshot"), ticker(21), ticker(22))
    for line in (1, 0):
        lines.hear(line, ticker(21), ticker(22), ticker(23))
    assert [row[1:] for row in lines.rows()] == [(1, True)] * 3
    assert not lines.gaps()


def test_a_line_that_joins_does_not_lead_while_what_it_brought_is_not_followed() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.subscribe(2)
    lines.hear(2, ticker(20, "snapshot"), ticker(21), ticker(22))
    lines.hear(0, ticker(21))
    lines.hear(2, ticker(23))
    lines.hear(0, ticker(22), ticker(23))
    lines.hear(2, ticker(24))  # now it is as far as what is followed
    assert [row[1:] for row in lines.rows()] == [(0, True)] * 3 + [(2, True)]
    assert not lines.gaps()


def test_what_answers_the_subscription_of_a_line_is_not_missed_on_others() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.hear(0, ticker(20))
    lines.hear(1, ticker(20))
    lines.hear(2, ticker(20, "snapshot"), ticker(20))  # ahead of the acknowledgement
    lines.subscribe(2)
    lines.hear(2, ticker(21))
    lines.hear(0, ticker(21))
    assert not lines.gaps()


def test_lines_that_join_together_do_not_lead_before_they_meet_what_is_followed() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    for line in (2, 3):
        lines.subscribe(line)
    for line in (2, 3):
        lines.hear(line, ticker(21, "snapshot"), ticker(22))
    lines.hear(3, ticker(23))
    lines.hear(0, ticker(20), ticker(21), ticker(22), ticker(23))
    assert [row[1:] for row in lines.rows()] == [(0, True)] * 4
    assert not lines.gaps()


def test_a_line_that_is_ahead_of_what_is_followed_can_not_take_over() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.cut(1)
    lines.subscribe(1)
    lines.now_ns += SECOND_NS
    lines.hear(1, ticker(22, "snapshot"), ticker(23))
    lines.hear(0, ticker(20))  # and what was on its way behind it is lost
    lines.cut(0)
    assert [gap.detail for gap in lines.gaps()] == ["disconnect"]


def test_two_frames_of_the_same_time_of_which_a_line_lost_the_first_are_a_gap() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.hear(0, ticker(20, price="7"))
    lines.hear(1, ticker(20, price="6"), ticker(20, price="7"))
    assert [row[1:] for row in lines.rows()] == [(0, True), (1, False)]
    (gap,) = lines.gaps()
    assert gap.detail == "lost"


def stale(lines: Lines) -> None:
    lines.count += 1
    lines.engine.stale(lines.topic, "silence", lines.now_ns, lines.count)


def test_what_was_lost_ahead_of_the_gap_in_which_it_shows_is_a_gap_up_to_it() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(0, book(40, "snapshot", topic=LEVEL_1))
    good_ns = lines.now_ns
    lines.hear(0, book(43, "snapshot", topic=LEVEL_1))
    end_ns = lines.now_ns
    stale(lines)
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (40, 41, 42, 43)))
    assert lines.state is FeedState.STALE
    lines.hear(0, book(44, "snapshot", topic=LEVEL_1))
    assert [row[1:] for row in lines.rows()] == [(0, True), (0, True), (1, False), (1, False), (0, True)]
    told = [(gap.kind, gap.detail, gap.start_ns, gap.healed_by) for gap in lines.gaps()]
    assert told == [
        (EventKind.GAP_OPENED, "silence", end_ns, None),
        (EventKind.GAP_OPENED, "lost", good_ns, None),
        (EventKind.GAP_CLOSED, "lost", good_ns, "gap"),
        (EventKind.GAP_CLOSED, "silence", end_ns, "snapshot"),  # as each message at level 1
    ]


def test_gaps_that_are_told_in_a_gap_neither_repeat_nor_overlap() -> None:
    lines = Lines(3, topic=LEVEL_1)
    for u in range(10, 30):
        for line in (0, 1, 2):
            lines.hear(line, book(u, "snapshot", topic=LEVEL_1))
    lines.gaps()
    times = []
    for u in (40, 42, 44):
        lines.hear(0, book(u, "snapshot", topic=LEVEL_1))
        times.append(lines.now_ns)
    stale(lines)
    lines.hear(2, *(book(u, "snapshot", topic=LEVEL_1) for u in (43, 44)))
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (40, 41, 42, 43, 44)))
    spans = [(gap.start_ns, gap.receive_ns) for gap in lines.gaps() if gap.kind is EventKind.GAP_CLOSED]
    assert spans == [(times[1], times[2]), (times[0], times[1])]


def test_what_a_standby_shows_in_a_gap_was_lost_ahead_of_it() -> None:
    """Nobody follows what it brings: the lines have not shown to be alike."""
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, book(12, "snapshot", topic=LEVEL_1))
    stale(lines)
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1), book(12, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(13, "snapshot", topic=LEVEL_1))
    assert [(gap.detail, gap.healed_by) for gap in lines.gaps()] == [
        ("silence", None),
        ("lost", None),
        ("lost", "gap"),
        ("silence", "snapshot"),
    ]


def test_a_ticker_that_was_lost_ahead_of_a_gap_is_told_in_it() -> None:
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    lines.hear(0, ticker(20))
    good_ns = lines.now_ns
    lines.hear(0, ticker(22))
    end_ns = lines.now_ns
    stale(lines)
    lines.hear(1, ticker(20), ticker(21), ticker(22))
    closed = [gap for gap in lines.gaps() if gap.kind is EventKind.GAP_CLOSED]
    assert [(gap.detail, gap.start_ns, gap.receive_ns) for gap in closed] == [("lost", good_ns, end_ns)]
    assert lines.state is FeedState.STALE


def test_a_line_that_was_ahead_of_the_healing_snapshot_can_not_take_over() -> None:
    """What it brought before that, and the line that is followed had yet to bring, is lost when that one is cut."""
    lines = alike(TICKER, [ticker(ts, "delta" if ts else "snapshot") for ts in range(20)])
    stale(lines)
    lines.hear(1, ticker(21), ticker(22))
    lines.hear(0, ticker(20, "snapshot", price="7"), ticker(21))
    assert lines.state is FeedState.LIVE
    lines.gaps()
    lines.now_ns += SECOND_NS
    lines.cut(0)
    assert [gap.detail for gap in lines.gaps()] == ["disconnect"]


def test_what_was_told_ahead_of_a_gap_is_kept_in_checkpoints() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(0, *(book(u, "snapshot", topic=LEVEL_1) for u in (40, 43)))
    stale(lines)
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (40, 41)))
    index = lines.engine.feed_index(LEVEL_1)
    gap = lines.engine.checkpoint(index).gap
    assert gap is not None
    assert gap.reach_ns is not None
    assert gap.reach_ns < gap.start_ns
    again = Engine("linear")
    again.restore(lines.engine.checkpoint(index))
    assert again.checkpoint(again.feed_index(LEVEL_1)) == lines.engine.checkpoint(index)


def test_what_comes_late_heals_nothing() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(10, 30)])
    lines.hear(0, book(42, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(40, "snapshot", topic=LEVEL_1), book(41, "snapshot", topic=LEVEL_1))
    assert lines.state is FeedState.STALE
    lines.hear(1, book(42, "snapshot", topic=LEVEL_1), book(43, "snapshot", topic=LEVEL_1))
    assert [row[1:] for row in lines.rows()] == [(0, True), (1, False), (1, False), (1, True)]
    assert [gap.detail for gap in lines.gaps()] == ["lost", "lost"]


def test_a_line_alone_whose_exchange_sets_its_clock_back_is_followed() -> None:
    lines = alike(LEVEL_1, [book(u, "snapshot", topic=LEVEL_1) for u in range(50, 70)])
    for u in (10, 11, 12):
        for line in (0, 1):
            lines.hear(line, book(u, "snapshot", topic=LEVEL_1))
    assert lines.state is FeedState.LIVE
    assert [row[2] for row in lines.rows()] == [False, True, True]


def test_what_the_elected_line_lost_shows_once_the_other_has_brought_the_next_that_both_have() -> None:
    """Also where the lines have not shown to be alike: the standby lags behind, and nobody follows what it brings."""
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, book(12, "snapshot", topic=LEVEL_1), book(13, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1))
    assert not lines.gaps()
    lines.hear(1, book(12, "snapshot", topic=LEVEL_1))
    (gap,) = lines.gaps()
    assert gap.detail == "lost"
    assert gap.start_ns == 60 * SECOND_NS + 1_000  # when the last one before it was followed
    lines.hear(1, book(13, "snapshot", topic=LEVEL_1))
    lines.hear(0, book(14, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(14, "snapshot", topic=LEVEL_1))
    assert [gap.detail for gap in lines.gaps()] == ["lost"]  # healed, and told once
    assert lines.state is FeedState.LIVE


def test_that_each_line_brings_what_the_other_lacks_is_no_loss_before_they_are_alike() -> None:
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, book(12, "snapshot", topic=LEVEL_1), book(13, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1), book(13, "snapshot", topic=LEVEL_1))
    assert not lines.gaps()


def test_a_repeat_hides_no_loss() -> None:
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, *2 * [book(12, "snapshot", topic=LEVEL_1)], book(13, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1), book(13, "snapshot", topic=LEVEL_1))
    assert not lines.gaps()  # the other has lost 12
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, *2 * [book(12, "snapshot", topic=LEVEL_1)], book(13, "snapshot", topic=LEVEL_1))
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (11, 12, 13)))
    assert [gap.detail for gap in lines.gaps()] == ["lost"]


def test_what_came_before_the_first_common_frame_says_nothing() -> None:
    """A line that was subscribed a little earlier, and is slower."""
    lines = Lines(topic=LEVEL_1)
    lines.hear(0, *(book(u, "snapshot", topic=LEVEL_1) for u in (11, 12)))
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (9, 10, 12, 13)))
    lines.hear(0, book(13, "snapshot", topic=LEVEL_1))
    assert not lines.gaps()


def test_what_only_the_line_that_stays_has_brought_makes_a_gap_of_a_cut() -> None:
    lines = alike(LEVEL_1, [book(10, "snapshot", topic=LEVEL_1)])
    lines.hear(0, book(12, "snapshot", topic=LEVEL_1), book(13, "snapshot", topic=LEVEL_1))
    lines.hear(1, book(11, "snapshot", topic=LEVEL_1))
    lines.cut(0)
    (gap,) = lines.gaps()
    assert (gap.detail, gap.start_ns) == ("disconnect", 60 * SECOND_NS + 1_000)
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in (12, 13, 14)))
    assert [gap.detail for gap in lines.gaps()] == ["disconnect"]


def test_the_line_that_takes_over_does_not_go_back_in_time() -> None:
    """What it had yet to bring is older than what the other, which is cut now, had said with its snapshot."""
    lines = Lines(topic=TICKER)
    lines.hear(0, ticker(3, "snapshot", price="8"), ticker(4))
    lines.cut(0)
    lines.hear(1, ticker(3, price="6"), ticker(4), ticker(5))
    assert [row[1:] for row in lines.rows()] == [(0, True), (0, True), (1, True)]
    assert not lines.gaps()


def test_lines_with_words_of_their_own_are_not_mixed() -> None:
    lines = Lines(topic=TICKER)
    for ts in range(0, 300, 10):
        lines.hear(0, ticker(ts, "delta" if ts else "snapshot"))
        lines.hear(1, ticker(ts + 3, "delta" if ts else "snapshot"))
    assert {row[1] for row in lines.rows()} == {0}
    assert [share.taken for share in lines.shares] == [30, 0]
    assert not lines.gaps()


def test_the_other_line_takes_over_without_saying_anything_twice() -> None:
    lines = Lines(topic=TICKER)
    for ts in range(0, 100, 10):
        lines.hear(0, ticker(ts, "delta" if ts else "snapshot"))
        if ts < 80:
            lines.hear(1, ticker(ts, "delta" if ts else "snapshot"))
    lines.rows()
    lines.cut(0)
    lines.hear(1, ticker(80), ticker(90), ticker(100))
    assert len(lines.rows()) == 1
    assert not lines.gaps()


def test_an_elected_line_that_falls_silent_is_left() -> None:
    lines = Lines(topic=TICKER)
    lines.hear(0, ticker(0, "snapshot"))
    lines.now_ns += 11 * SECOND_NS
    lines.hear(1, ticker(10, "snapshot"), ticker(20), ticker(30), ticker(40, "snapshot"))
    opened, closed = lines.gaps()
    assert (opened.detail, closed.healed_by) == ("silence", "snapshot")
    assert lines.state is FeedState.LIVE


def test_a_line_of_rare_messages_is_not_silent_because_it_has_had_none_yet() -> None:
    """Another line joins and is three messages ahead within a second: the first one is late, not silent."""
    lines = Lines(1, topic=LIQUIDATIONS)
    lines.subscribe(1)
    said = [liquidation(ts) for ts in (10, 20, 30, 40)]
    lines.hear(1, *said)
    lines.hear(0, *said)
    assert [(line, applied) for _, line, applied in lines.rows()] == [(0, True)] * 4
    assert not lines.gaps()


def test_an_elected_line_that_is_silent_in_a_gap_is_left_too() -> None:
    """The other one was cut before this one could be trusted, and comes back: one second, there is nothing to lose."""
    lines = Lines(topic=LEVEL_1)
    lines.cut(0)
    lines.hear(1, book(10, "snapshot", topic=LEVEL_1))
    lines.subscribe(0)
    lines.hear(0, book(10, "snapshot", topic=LEVEL_1))
    lines.cut(1)
    lines.subscribe(1)
    assert lines.state is FeedState.STALE
    lines.now_ns += SECOND_NS // 2
    lines.hear(1, *(book(u, "snapshot", topic=LEVEL_1) for u in range(11, 15)))
    assert lines.state is FeedState.STALE
    lines.now_ns += SECOND_NS
    lines.hear(1, book(15, "snapshot", topic=LEVEL_1))
    opened, closed = lines.gaps()
    assert (opened.detail, closed.healed_by) == ("disconnect", "snapshot")
    assert lines.state is FeedState.LIVE


def test_damage_on_one_line_is_covered_by_another(lines: Lines) -> None:
    lines.hear(0, book(11)[:-5])
    lines.hear(1, book(11))
    lines.hear(0, b"\xff", book(12))
    assert not lines.gaps()
    assert lines.update_id == 12


def test_damage_on_both_lines_is_a_gap(lines: Lines) -> None:
    lines.hear(0, book(11)[:-5], book(12))
    lines.hear(1, book(11)[:-5])
    (gap,) = lines.gaps()
    assert (gap.detail, gap.first_update_id) == ("undecodable", 11)


def test_a_line_that_leaves_on_purpose_leaves_no_gap(lines: Lines) -> None:
    lines.engine.unsubscribed(BOOK, lines.now_ns, 100, 0)
    assert not lines.engine.has_left(0)
    lines.hear(1, book(11))
    lines.engine.unsubscribed(BOOK, lines.now_ns, 101, 1)
    assert lines.engine.has_left(0)
    assert not lines.gaps()


def test_more_lines_than_there_is_room_for_are_not_followed() -> None:
    lines = Lines(9)
    lines.hear(8, book(10, "snapshot"))
    assert lines.state is FeedState.SYNCING
    lines.cut(3)
    lines.hear(8, book(10, "snapshot"))
    assert lines.state is FeedState.LIVE


def test_what_stands_for_itself_is_lost_behind_the_frame_before_it() -> None:
    lines = Lines(topic=LIMIT)
    lines.hear(0, limit(1))
    good_ns = lines.now_ns
    lines.hear(1, limit(1), limit(2))
    lines.hear(0, limit(3))
    lines.hear(1, limit(3))
    (gap,) = lines.gaps()
    assert (gap.detail, gap.start_ns) == ("lost", good_ns)
