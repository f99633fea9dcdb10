"""Notes about clocks and audits, replayed into rows."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from engine.replay import Replay
from schemas.names import Category, RecordKind, Table
from schemas.notes import Audited, Begin, ClockOffset, ClockStepped, Digest, Note, encode

DAY_NS = 86_400 * 10**9
NOON_NS = 19_000 * DAY_NS + DAY_NS // 2
BOOK = "orderbook.50.BTCUSDT"


def replayed(*notes: tuple[int, Note]) -> dict[tuple[Table, str, int], pa.Table]:
    replay = Replay("mine", Category.LINEAR, NOON_NS)
    columns = {
        "sequence": pa.array(range(len(notes)), pa.int64()),
        "receive_ns": pa.array([receive_ns for receive_ns, _ in notes], pa.int64()),
        "line": pa.array([0] * len(notes), pa.uint16()),
        "kind": pa.array([int(RecordKind.NOTE)] * len(notes), pa.uint8()),
        "payload": pa.array([encode(note) for _, note in notes], pa.binary()),
    }
    replay.batch(pa.RecordBatch.from_pydict(columns))
    return replay.finish(notes[-1][0])


def test_estimates_and_jumps_of_the_clock_are_rows_by_day() -> None:
    tables = replayed(
        (NOON_NS, Begin(run=NOON_NS, continued=False)),
        (NOON_NS + 1, ClockOffset(offset_ns=-7, error_ns=3, method="rest", round_trip_ns=5)),
        (NOON_NS + 2, ClockStepped(step_ns=-(10**9))),
        (NOON_NS + DAY_NS, ClockOffset(offset_ns=9, error_ns=4, method="pong")),
    )
    first, second = (tables[Table.CLOCK_OFFSETS, "_", day] for day in (19_000, 19_001))
    assert first.drop_columns(["receive_time"]).to_pylist() == [
        {"sequence": 1, "collector": "mine", "method": "rest", "offset_ns": -7, "error_ns": 3,
         "round_trip_ns": 5, "step_ns": None},
        {"sequence": 2, "collector": "mine", "method": "step", "offset_ns": None, "error_ns": None,
         "round_trip_ns": None, "step_ns": -10**9},
    ]  # fmt: skip
    assert first.column("receive_time").cast(pa.int64()).to_pylist() == [NOON_NS + 1, NOON_NS + 2]
    assert second.column("offset_ns").to_pylist() == [9]


def test_an_audit_is_a_row_under_its_symbol() -> None:
    tables = replayed(
        (NOON_NS, Audited(topic=BOOK, against="rest", outcome="agreed", update_id=4, levels=50)),
        (
            NOON_NS + 1,
            Audited(
                topic=BOOK, against="orderbook.200.BTCUSDT", outcome="disagreed", comparisons=3, cross_sequence=8,
                side="bid", level=2, ours=("100.50", "1.000"), theirs=None, disbelieved=True,
            ),
        ),
    )  # fmt: skip
    assert set(tables) == {(Table.AUDITS, "BTCUSDT", 19_000), (Table.RAW_RECORDS, "_", 19_000)}
    agreed, disagreed = tables[Table.AUDITS, "BTCUSDT", 19_000].drop_columns(["receive_time"]).to_pylist()
    assert (agreed["outcome"], agreed["levels"], agreed["disbelieved"]) == ("agreed", 50, False)
    assert agreed["our_price"] is agreed["level"] is None
    assert disagreed["our_price"] == Decimal("100.5")
    assert disagreed["their_size"] is None
    assert (disagreed["side"], disagreed["level"], disagreed["comparisons"]) == ("bid", 2, 3)
    assert disagreed["disbelieved"]


@pytest.mark.parametrize("text", ["", "1e400", "NaN", "x", "1" * 30, "0." + "1" * 30, "1,5", "٣"])
def test_what_the_other_side_wrote_may_be_no_decimal(text: str) -> None:
    note = Audited(topic=BOOK, against="rest", outcome="disagreed", theirs=(text, "1.5"))
    (row,) = (
        replayed((NOON_NS, note))[Table.AUDITS, "BTCUSDT", 19_000].drop_columns(["receive_time"]).to_pylist()
    )
    assert row["their_price"] is None
    assert row["their_size"] == Decimal("1.5")


def test_other_notes_make_no_rows() -> None:
    tables = replayed((NOON_NS, Digest(topic=BOOK, update_id=1, digest="0" * 16)))
    assert set(tables) == {(Table.RAW_RECORDS, "_", 19_000)}
