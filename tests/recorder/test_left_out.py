"""What is said of moments and bars that are no rows, held against counting them one by one."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import left_out
from recorder.archive import open_archive
from recorder.left_out import MomentWatch, bars_left_out
from recorder.ranges.function import Untrusted
from recorder.ranges.snapshots import SNAPSHOTS
from recorder.sql.trade_functions import BARS
from recorder.sql.trusted import UNDER_WAY_MS, Span, without
from schemas.names import Table
from schemas.time import NS_PER_MS, format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, GAPS, NOON_MS, cover, gap, row

TRADES = (Table.TRADES, "BTCUSDT")
TRADE_TOPIC = "publicTrade.BTCUSDT"


def moment(ms: int) -> str:
    return format_ns(NOON_NS + ms * MS)


def counted(sentence: str) -> int:
    """How many the sentence says are left out: in all, which is the sum of its parts."""
    if not sentence:
        return 0
    found = re.match(r"([0-9,]+) of [0-9,]+ \w+ (?:is|are) left out: (.*)", sentence)
    assert found is not None, sentence
    count = int(found[1].replace(",", ""))
    parts = [int(part.split()[0].replace(",", "")) for part in re.split(r", (?=[0-9])", found[2])]
    assert sum(parts) == count
    assert all(parts)
    return count


@pytest.fixture
def snapshots_of(tmp_path: Path) -> Any:
    """Asks for the snapshots of two recordings, from 1 to 4 s and 6 to 9 s after noon, with a gap from 2.5 to 3.5."""
    rows = [
        row(1, 1000, "snapshot"),
        row(2, 2500, bid=101),
        row(3, 3500, "snapshot"),
        row(4, 6000, "snapshot"),
    ]
    recorded = [cover(0, 900, 4000), cover(4, 5900, 9000)]
    HandmadeArchive(tmp_path).segment(
        NOON_NS, {BOOK: rows, COVERAGE: recorded, GAPS: [gap(3, rows[1], rows[2])]}
    )

    def ask(start: int, end: int, every: str, untrusted: Untrusted) -> tuple[int, str]:
        with open_archive(tmp_path) as archive:
            arguments = SNAPSHOTS.bind(
                ["linear", "BTCUSDT", moment(start), moment(end), every], {"untrusted": untrusted.value}
            )
            watch = MomentWatch(arguments)
            marked = {**arguments, "untrusted": Untrusted.MARK}
            passed = list(watch.pass_on(SNAPSHOTS.run(archive, marked)))
            wanted = list(SNAPSHOTS.run(archive, arguments))
        schema = SNAPSHOTS.schema(arguments)
        assert pa.Table.from_batches(passed, schema) == pa.Table.from_batches(wanted, schema)
        return sum(batch.num_rows for batch in passed), watch.left_out()

    return ask


def test_moments_are_told_by_where_they_lie(snapshots_of: Any) -> None:
    rows, said = snapshots_of(0, 10_000, "500ms", Untrusted.LEAVE_OUT)
    # Of 20: 0 and 0.5 s; 4 to 5.5, since what is received up to 4 s was matched 7 ms before it; 9 and 9.5; and 3.0
    # alone, since at 2.5 the book was good still.
    assert (rows, counted(said)) == (11, 9)
    assert said == (
        f"9 of 20 moments are left out: 2 before the first recorded one ({moment(1000)}), "
        f"2 behind the last ({moment(8500)}), 4 between recordings, 1 in gaps (--mark-untrusted shows them)"
    )
    rows, said = snapshots_of(0, 10_000, "500ms", Untrusted.MARK)
    assert (rows, counted(said)) == (12, 8)
    assert "gaps" not in said
    assert snapshots_of(1000, 2500, "500ms", Untrusted.LEAVE_OUT) == (3, "")
    outside = "1 of 1 moments is left out: 1 outside of what was recorded"
    assert snapshots_of(500, 1500, "5s", Untrusted.LEAVE_OUT) == (0, outside)


@pytest.mark.parametrize("every", [30, 70, 333, 1000, 20_000])
@pytest.mark.parametrize("untrusted", list(Untrusted))
def test_rows_and_moments_left_out_are_all_moments(
    snapshots_of: Any, every: int, untrusted: Untrusted
) -> None:
    for start, end in ((0, 10_000), (1000, 9001), (950, 2600), (3100, 6100), (2700, 2800)):
        rows, said = snapshots_of(start, end, f"{every}ms", untrusted)
        assert rows + counted(said) == len(range(start, end, every))


def apart(edges: list[int]) -> list[Span]:
    """Spans that do not touch."""
    return [Span(low, high) for low, high in list(pairwise(sorted(set(edges))))[::2]]


@given(
    recorded=st.lists(st.integers(0, 30_000), max_size=8).map(apart),
    holes=st.lists(st.integers(0, 30_000), max_size=6).map(apart),
    ends=st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)).map(sorted),
    every=st.integers(1, 12_000),
)
def test_bars_are_counted_as_the_function_judges_them(
    recorded: list[Span], holes: list[Span], ends: list[int], every: int
) -> None:
    start, end = ends
    trusted = without(
        [Span(low, high - UNDER_WAY_MS) for low, high in recorded if high - low > UNDER_WAY_MS], holes
    )
    arguments = {
        "category": "linear", "symbol": "BTCUSDT", "t0": start * NS_PER_MS, "t1": end * NS_PER_MS,
        "every": every * NS_PER_MS, "untrusted": Untrusted.LEAVE_OUT,
    }  # fmt: skip
    expected = 0
    for bar in range(start // every * every, end, every):
        low, high = max(bar, start), min(bar + every, end)
        expected += not any(span.start_ms <= low and high <= span.end_ms for span in trusted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(left_out, "recorded_spans", lambda *_: recorded)
        patch.setattr(left_out, "trusted_spans", lambda *_: trusted)
        assert counted(bars_left_out(None, arguments)) == (expected if start < end else 0)  # type: ignore[arg-type]


def test_bars_are_told_by_where_they_lie(tmp_path: Path) -> None:
    trades = [
        {
            "sequence": number, "receive_time": NOON_NS + ms * MS, "push_time": NOON_MS + ms,
            "match_time": NOON_MS + ms, "trade_id": f"t{number}", "price_mantissa": 1, "size_mantissa": 1,
        }
        for number, ms in enumerate(range(1000, 9001, 250))
    ]  # fmt: skip
    lost = gap(5, trades[10], trades[12], topic=TRADE_TOPIC, healed_by="message")  # to 4.0 s
    HandmadeArchive(tmp_path).segment(
        NOON_NS, {TRADES: trades, COVERAGE: [cover(0, 900, 9000, topic=TRADE_TOPIC)], GAPS: [lost]}
    )

    def ask(start: int, end: int, untrusted: Untrusted = Untrusted.LEAVE_OUT) -> tuple[int, str]:
        with open_archive(tmp_path) as archive:
            arguments = BARS.bind(
                ["linear", "BTCUSDT", moment(start), moment(end), "1s"], {"untrusted": untrusted.value}
            )
            return sum(batch.num_rows for batch in BARS.run(archive, arguments)), bars_left_out(
                archive, arguments
            )

    # Of 12: 0 s; 8 to 11 s; and 3 and 4, in whose first millisecond the gap ends.
    assert ask(0, 12_000) == (
        5,
        f"7 of 12 bars are left out: 1 from before the recording ({moment(900)}) on, "
        f"4 to its last second or beyond its end ({moment(9000)}), 2 in gaps or between recordings"
        "; --mark-untrusted shows those that have trades",
    )
    assert ask(1000, 3000) == (2, "")
    assert ask(1000, 9000, Untrusted.MARK) == (8, "")
    beyond = "the range reaches beyond what was recorded, which "
    assert ask(0, 9000, Untrusted.MARK) == (8, f"{beyond}begins at {moment(900)}")
    assert ask(0, 12_000, Untrusted.MARK) == (
        9,
        f"{beyond}begins at {moment(900)} and ends at {moment(9000)}",
    )
