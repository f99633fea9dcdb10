"""The judge of fault schedules can fail: what is wrong with a recording it says, whatever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import uvloop

from recorder.roll import roll_data, roll_lock
from schemas.names import Category, Table
from tests.faults.account import account_of
from tests.faults.judge import Sample, hold_recording
from tests.faults.schedules import Schedule, record_schedule
from tests.ledger import Entry, read_ledger
from tests.recorded import Recorded

PREFIXES = ("orderbook.50", "orderbook.1", "tickers", "publicTrade", "priceLimit")
BOOK, LEVEL_1, TICKER, TRADES, LIMIT = (f"{prefix}.BTCUSDT" for prefix in PREFIXES)
ATTEMPTS = 5
FAULTS = "drop=0.03,repeat=0.01,corrupt=0.003,close=0.6,until=0.9,seed=5"
"""Every connection is closed once, and frames are lost on each; then it is calm."""

Rows = list[dict[str, Any]]


class Doctored(Recorded):
    """A recording whose archive somebody has changed."""

    def __init__(self, original: Recorded) -> None:
        super().__init__(original.data, original.collector)
        self.records = original.records
        self.gaps = [dict(gap) for gap in original.gaps]
        self.tables: dict[Table, Rows] = {
            table: list(original.rows(table))
            for table in (Table.BOOK_UPDATES, Table.TICKERS, Table.TRADES, Table.PRICE_LIMITS)
        }

    def rows(self, table: Table, symbol: str | None = None) -> Iterator[dict[str, Any]]:
        """The changed rows."""
        return (row for row in self.tables.get(table, ()) if symbol in (None, row["symbol"]))

    def late(self, topic: str) -> tuple[Rows, int]:
        """A topic's table, and where in it one of its rows stands that is from after the faults."""
        rows, chosen = self.tables[Table.TRADES], []
        if topic.startswith("orderbook."):
            rows, depth = self.tables[Table.BOOK_UPDATES], int(topic.split(".")[1])
            chosen = [
                at for at, row in enumerate(rows) if row["depth"] == depth and row["kind"] != "keyframe"
            ]
        elif topic.startswith("tickers."):
            rows = self.tables[Table.TICKERS]
        elif topic.startswith("priceLimit."):
            rows = self.tables[Table.PRICE_LIMITS]
        chosen = chosen or list(range(len(rows)))
        return rows, chosen[-4]


class Made(NamedTuple):
    recorded: Recorded
    entries: list[Entry]
    samples: list[Sample]
    lines: int

    def judge(self, recorded: Recorded, samples: list[Sample] | None = None) -> None:
        wanted = self.samples if samples is None else samples
        hold_recording(recorded, self.entries, Category.LINEAR, wanted, lines=self.lines)


@pytest.fixture(scope="module", params=[1, 2], ids=["one line", "two lines"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A recording that is right, of a time in which something was lost; a stalling machine may need some attempts."""
    lines: int = request.param
    schedule = Schedule(
        5, Category.LINEAR, PREFIXES, 1, FAULTS, replays=False, speed=3.0, rate=1.0, seconds=1.6,
        lines=lines, tls=True,
    )  # fmt: skip
    for _ in range(ATTEMPTS):
        scratch = tmp_path_factory.mktemp("recording")
        result = uvloop.run(asyncio.wait_for(record_schedule(schedule, scratch), 60))
        with roll_lock(scratch / "data", wait=True):
            roll_data(scratch / "data")
        recorded = Recorded(scratch / "data", "linear")
        if not result.void and {gap["topic"] for gap in recorded.gaps} >= {BOOK, LEVEL_1, TICKER}:
            break
    assert not result.failure
    made = Made(recorded, read_ledger(scratch / "ledger.jsonl"), result.samples, lines)
    made.judge(Doctored(recorded))  # as it is, it is right
    assert {gap["topic"] for gap in recorded.gaps} >= {BOOK, LEVEL_1, TICKER}, "nothing was lost"
    return made


def complaint(made: Made, change: Callable[[Doctored], None]) -> str:
    """What the judge says of a changed archive."""
    recorded = Doctored(made.recorded)
    change(recorded)
    with pytest.raises(AssertionError) as told:
        made.judge(recorded)
    return str(told.value)


@pytest.mark.parametrize("topic", [BOOK, LEVEL_1, TICKER, TRADES])
def test_a_row_that_is_missing(made: Made, topic: str) -> None:
    def remove(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        del rows[at]

    said = complaint(made, remove)
    if made.lines == 1:
        assert said.startswith((f"{topic}: row ", "trades of BTCUSDT: row "))
    elif topic == TRADES:
        assert "arrived and are no rows" in said
    else:
        assert said.startswith(f"{topic}: message ")
        assert "is missing between the rows of message" in said


def test_a_price_limit_that_is_missing(made: Made) -> None:
    """The last one that every line brought."""
    messages = account_of(made.recorded, made.entries).messages[LIMIT]
    sequences = next(
        {one.sequence for one in message.brought}
        for message in reversed(messages)
        if {one.line for one in message.brought} == set(range(made.lines))
    )

    def remove(recorded: Doctored) -> None:
        rows, _ = recorded.late(LIMIT)
        rows[:] = [row for row in rows if row["sequence"] not in sequences]

    said = complaint(made, remove)
    assert ("is no row, and no gap says so" if made.lines > 1 else "makes 0 rows, expected 1") in said


@pytest.mark.parametrize("topic", [LEVEL_1, TICKER])
def test_a_row_that_is_missing_before_the_lines_know_each_other(made: Made, topic: str) -> None:
    """The first one that every line brought, between two others outside all gaps."""
    rows = account_of(made.recorded, made.entries).rows[topic]
    gaps = [gap for gap in made.recorded.gaps if gap["topic"] == topic]
    chosen = next(
        row.sequence
        for before, row, after in zip(rows, rows[1:], rows[2:], strict=False)
        if {one.line for one in row.message.brought} == set(range(made.lines))
        and not any(
            gap["start_ns"] <= after.receive_ns
            and (gap["end_ns"] is None or before.receive_ns <= gap["end_ns"])
            for gap in gaps
        )
    )

    def remove(recorded: Doctored) -> None:
        table, _ = recorded.late(topic)
        table[:] = [row for row in table if row["sequence"] != chosen]

    said = complaint(made, remove)
    assert said.startswith(f"{topic}: ")
    assert made.lines == 1 or "is missing between the rows of message" in said


@pytest.mark.parametrize("topic", [BOOK, LEVEL_1, TICKER, TRADES])
def test_a_row_that_is_twice(made: Made, topic: str) -> None:
    def repeat(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        rows.insert(at, rows[at])

    said = complaint(made, repeat)
    if made.lines == 1:
        assert said.startswith((f"{topic}: row ", "trades of BTCUSDT: row "))
    else:
        assert ("twice" if topic == TRADES else f"{topic}: records") in said


@pytest.mark.parametrize("topic", [BOOK, LEVEL_1, TICKER])
def test_a_row_that_no_frame_made(made: Made, topic: str) -> None:
    def invent(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        rows.insert(at, rows[at] | {"sequence": recorded.records[0].sequence})

    assert f"{topic}: a row of record" in complaint(made, invent)


def test_a_trade_that_never_was(made: Made) -> None:
    def invent(recorded: Doctored) -> None:
        rows, at = recorded.late(TRADES)
        rows.append(rows[at] | {"trade_id": "never"})

    said = complaint(made, invent)
    assert ("never arrived" if made.lines > 1 else "trades of BTCUSDT: row ") in said


@pytest.mark.parametrize("topic", [LEVEL_1, TICKER])
def test_rows_in_another_order(made: Made, topic: str) -> None:
    def swap(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        before = max(n for n in range(at) if rows[n].get("depth") == rows[at].get("depth"))
        rows[at], rows[before] = rows[before], rows[at]

    said = complaint(made, swap)
    assert said.startswith(f"{topic}: row")


@pytest.mark.parametrize("topic", [BOOK, LEVEL_1])
def test_a_level_that_nobody_said(made: Made, topic: str) -> None:
    def change(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        side = "bid" if rows[at]["bid_size_mantissa"] else "ask"
        first, *rest = rows[at][f"{side}_size_mantissa"]
        rows[at] = rows[at] | {f"{side}_size_mantissa": [first + 1, *rest]}

    said = complaint(made, change)
    assert said.startswith(topic)
    assert made.lines == 1 or "has other levels than the message" in said


def test_a_live_book_that_is_another(made: Made) -> None:
    last = made.samples[-1]
    price, size = last.bids[0]
    wrong = last._replace(bids=[(price, size + 1), *last.bids[1:]])
    with pytest.raises(AssertionError, match=f"the live book at u={last.update_id} differs"):
        made.judge(made.recorded, [wrong])


@pytest.mark.parametrize("topic", [BOOK, TICKER, TRADES])
@pytest.mark.parametrize("cause", ["lost", "disconnect", "silence", "undecodable", "crossed"])
def test_a_gap_without_a_fault(made: Made, topic: str, cause: str) -> None:
    """From one row to the next, while nothing went wrong."""

    def add(recorded: Doctored) -> None:
        rows, at = recorded.late(topic)
        rows = [
            row for row in rows if row.get("depth") == rows[at].get("depth") and row.get("kind") != "keyframe"
        ]
        gap = dict.fromkeys(recorded.gaps[0]) | {
            "topic": topic, "cause": cause, "healed_by": "snapshot",
            "sequence": rows[-1]["sequence"],
            "start_ns": rows[-2]["receive_time"], "end_ns": rows[-1]["receive_time"],
        }  # fmt: skip
        recorded.gaps.append(gap)

    said = complaint(made, add)
    assert topic in said
    if made.lines > 1:
        assert said.startswith(f"{topic}: a gap") or "no fault makes a gap" in said


def test_a_gap_over_what_only_one_line_lost(made: Made) -> None:
    """Of a book, a fault on one line excuses no gap if the other one brought the message; a line alone needs one."""
    rows = account_of(made.recorded, made.entries).applied(BOOK)
    before, hit = next(
        (before, row)
        for before, row in pairwise(rows)
        if row.message.place == before.message.place + 1
        and len(row.message.befallen) == made.lines - 1
        and all(faults <= {"drop", "corrupt"} for faults in row.message.befallen.values())
        and row.receive_ns > before.receive_ns
    )

    def add(recorded: Doctored) -> None:
        gap = dict.fromkeys(recorded.gaps[0]) | {
            "topic": BOOK, "cause": "lost", "healed_by": "snapshot", "sequence": hit.sequence,
            "start_ns": before.receive_ns, "end_ns": hit.receive_ns,
        }  # fmt: skip
        recorded.gaps.append(gap)

    said = complaint(made, add)
    if made.lines == 1:
        assert said.startswith("unexplained")
    else:
        assert said.startswith(
            f"{BOOK}: a gap (lost) at {hit.message}, which line {hit.message.brought[0].line} brought"
        )


@pytest.mark.parametrize("topic", [BOOK, LEVEL_1, TICKER])
def test_a_loss_that_is_no_gap(made: Made, topic: str) -> None:
    def hide(recorded: Doctored) -> None:
        recorded.gaps = [gap for gap in recorded.gaps if gap["topic"] != topic]

    said = complaint(made, hide)
    assert topic in said
    assert made.lines == 1 or "no gap says" in said
