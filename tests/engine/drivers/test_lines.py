"""Driven feeds over several lines: their frames are told apart by their bytes, and make one row whoever brings them."""

from __future__ import annotations

import json

from engine.core.feeds import Engine
from engine.events import EventKind
from schemas.names import FeedState, Table

TOPIC = "allLiquidation.ROSEUSDT"
SECOND_NS = 10**9


def liquidation(number: int, *, ts: int | None = None) -> bytes:
    ms = 1_739_502_303_204 + (number if ts is None else ts)
    data = [{"T": ms - 100, "s": "ROSEUSDT", "S": "Sell", "v": str(number), "p": "0.04"}]
    message = {"topic": TOPIC, "type": "snapshot", "ts": ms, "data": data}
    return json.dumps(message, separators=(",", ":")).encode()


class Lines:
    def __init__(self, lines: int = 2) -> None:
        self.engine = Engine("linear", columns=True)
        self.now_ns = 60 * SECOND_NS
        self.count = 0
        for line in range(lines):
            self.engine.subscribed(TOPIC, 0, 0, line)

    def hear(self, line: int, *frames: bytes) -> None:
        for frame in frames:
            self.count += 1
            self.now_ns += 1_000
            assert self.engine.apply(frame, self.now_ns, self.count, line) == 0

    def sizes(self) -> list[int]:
        """Sizes of the liquidations in the order of their rows."""
        sizes: list[int] = []
        for (table, _, _), rows in self.engine.take_rows("c").items():
            assert table is Table.LIQUIDATIONS
            sizes += [int(size) for size in rows.column("size").to_pylist()]
        return sizes

    def gaps(self) -> list[str]:
        return [event.detail for event in self.engine.take_events() if event.kind is EventKind.GAP_OPENED]


def test_a_frame_makes_one_row_whoever_brings_it_first() -> None:
    lines = Lines()
    for number in range(1, 21):
        first, second = (0, 1) if number % 3 else (1, 0)
        lines.hear(first, liquidation(number))
        lines.hear(second, liquidation(number))
    assert lines.sizes() == list(range(1, 21))
    assert lines.engine.messages(0) == 40
    assert not lines.gaps()


def test_what_one_line_lost_is_a_row_of_the_other_and_no_gap() -> None:
    lines = Lines()
    for number in range(1, 21):
        lines.hear(0, liquidation(number))
        lines.hear(1, liquidation(number))
    lines.sizes()
    lines.hear(0, liquidation(22))
    lines.hear(1, liquidation(21), liquidation(22), liquidation(23))
    assert lines.sizes() == [22, 21, 23]
    assert not lines.gaps()


def test_a_line_that_joins_later_makes_no_gap_of_what_comes_late() -> None:
    lines = Lines(1)
    lines.hear(0, liquidation(1))
    lines.engine.subscribed(TOPIC, lines.now_ns, 2, 1)
    for number in range(2, 21):
        lines.hear(0, liquidation(number))
        lines.hear(1, liquidation(number))
    lines.hear(0, liquidation(22))
    lines.hear(1, liquidation(21), liquidation(22))
    assert lines.sizes() == [*range(1, 21), 22, 21]
    assert not lines.gaps()


def test_a_line_that_is_cut_costs_nothing() -> None:
    lines = Lines()
    lines.hear(0, liquidation(1))
    lines.hear(1, liquidation(1))
    lines.engine.disconnect(0, lines.now_ns, 100)
    assert lines.engine.state(0) is FeedState.LIVE
    lines.hear(1, liquidation(2))
    assert lines.sizes() == [1, 2]
    lines.engine.disconnect(1, lines.now_ns, 101)
    assert lines.gaps() == ["disconnect"]


def test_lines_with_words_of_their_own_are_not_mixed() -> None:
    lines = Lines()
    for number in range(1, 30):
        lines.hear(0, liquidation(number))
        lines.hear(1, liquidation(number, ts=number + 1_000))
    assert lines.sizes() == list(range(1, 30))
