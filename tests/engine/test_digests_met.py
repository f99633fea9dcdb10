"""Digest notes that the core takes in passing: just those that agree with their book, in the recorder's spelling; what
comes of them is what comes of each by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.feeds import Engine
from engine.replay import Replay
from recorder.journal.format import build_batch
from schemas.names import Category, RecordKind, Table
from schemas.notes import Begin, Digest, Feeds, encode
from tests.engine.test_replay import BOOK, START, _book

TOP = "orderbook.1.BTCUSDT"
BEGIN = [
    (int(RecordKind.NOTE), encode(Begin(run=START, continued=False))),
    (int(RecordKind.NOTE), encode(Feeds(topics=[BOOK, TOP]))),
    (int(RecordKind.FRAME), _book(5, "snapshot")),
]
Step = tuple[int, bytes]


def _live(*frames: bytes) -> str:
    engine = Engine(Category.LINEAR)
    engine.add_feed(BOOK)
    for frame in frames:
        engine.apply(frame, 1, 1)
    return f"{engine.digest(0):016x}"


LIVE = {u: _live(_book(5, "snapshot"), *(_book(i) for i in range(6, u + 1))) for u in range(5, 13)}


def _played(steps: list[Step], cuts: set[int]) -> tuple[Replay, dict[Any, pa.Table]]:
    records = [(START + at, 0, kind, payload) for at, (kind, payload) in enumerate([*BEGIN, *steps])]
    replay = Replay("linear", Category.LINEAR, START)
    places = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for start, stop in pairwise(places):
        replay.batch(build_batch(start, records[start:stop]))
    return replay, replay.finish(START + len(records))


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from([BOOK, BOOK, BOOK, TOP, "orderbook.50.ETHUSDT", ""]),
                st.integers(-1, 1),
                st.sampled_from(["live", "live", "live", "other", "upper"]),
            ),
        ),
        max_size=7,
    ),
    st.sets(st.integers(1, 12)),
)
def test_taken_in_passing_or_one_by_one_is_the_same(
    choices: list[tuple[str, int, str] | None], cuts: set[int]
) -> None:
    update_id, met = 5, 0
    passing: list[Step] = []
    for choice in choices:
        if choice is None:
            update_id += 1
            passing.append((0, _book(update_id)))
            continue
        topic, ahead, what = choice
        digest = LIVE[update_id] if what == "live" else "00000000000000aa"
        digest = LIVE[update_id].upper() if what == "upper" else digest
        note = Digest(topic=topic, update_id=update_id + ahead, digest=digest)
        met += topic == BOOK and ahead == 0 and digest == LIVE[update_id]
        passing.append((3, encode(note)))
    # in another spelling the core leaves them to be read one by one
    one_by_one = [(kind, b" " + payload if kind == 3 else payload) for kind, payload in passing]
    replay, tables = _played(passing, cuts)
    expected, expected_tables = _played(one_by_one, set())
    assert (replay.engine.digests_met, expected.engine.digests_met) == (met, 0)
    assert replay.digests == expected.digests == sum(kind == 3 for kind, _ in passing)
    assert replay.mismatches == expected.mismatches
    raw, expected_raw = (
        [table for key, table in found.items() if key[0] is Table.RAW_RECORDS]
        for found in (tables, expected_tables)
    )
    assert [table.drop(["payload"]) for table in raw] == [table.drop(["payload"]) for table in expected_raw]
    assert [[text.strip() for text in table["payload"].to_pylist()] for table in raw] == [
        [text.strip() for text in table["payload"].to_pylist()] for table in expected_raw
    ]
    for key, table in expected_tables.items():
        if key[0] is not Table.RAW_RECORDS:
            assert tables[key].equals(table)
    assert tables.keys() == expected_tables.keys()


GOOD = encode(Digest(topic=BOOK, update_id=5, digest=LIVE[5]))


@given(st.integers(0, len(GOOD)), st.integers(0, 3), st.binary(max_size=3))
@example(0, 0, b"")
@example(len(GOOD), 0, b"\n")
@example(GOOD.index(b":5,") + 1, 0, b"0")
@example(GOOD.index(b":5,") + 1, 1, b"18446744073709551621")  # 5, when it overflows
@example(GOOD.index(b":5,") + 1, 1, b"")
@example(GOOD.index(b"BTC"), 0, b'"')
def test_one_that_is_written_in_any_other_way_is_left_alone(at: int, gone: int, put: bytes) -> None:
    payload = GOOD[:at] + put + GOOD[at + gone :]
    records = [(START, 0, kind, content) for kind, content in [BEGIN[2], (3, payload)]]
    batch = build_batch(1, records)
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(BOOK)
    columns = [batch.column(at).to_numpy() for at in range(4)]
    offsets = pa.array([0, len(records[0][3]), len(records[0][3]) + len(payload)], pa.int32()).to_numpy()
    data = np.frombuffer(records[0][3] + payload, np.uint8)
    made = np.full((2, 5), 7, np.int32)
    stopped = engine.apply_batch(data, offsets, columns[1], columns[0], columns[2], columns[3], made=made)
    assert stopped == (2 if payload == GOOD else 1)
    assert engine.digests_met == (payload == GOOD)
    assert made[1].tolist() == ([-1, -1, 0, -2, 0] if payload == GOOD else [7] * 5)
    # nor is any taken by who isn't told what was made
    assert engine.apply_batch(data, offsets, columns[1], columns[0], columns[2], columns[3], start=1) == 1
