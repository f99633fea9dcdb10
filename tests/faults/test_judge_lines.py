"""What the judge of two lines makes of single faults, whose place in the stream matters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.names import Category
from tests.faults.scripted import Scripted
from tests.recorder.recordings import START_NS, TOP, book

START_MS = START_NS // 1_000_000
LIMIT = "priceLimit.BTCUSDT"


def top(number: int) -> bytes:
    return book("snapshot", number, [("100.0", str(number))], [("100.5", "1")], START_MS + number, TOP)


def limit(number: int) -> bytes:
    data = {"symbol": "BTCUSDT", "buyLmt": f"{100 + number}", "sellLmt": "99"}
    return json.dumps({"topic": LIMIT, "data": data, "ts": START_MS + number}).encode()


@pytest.mark.parametrize("is_told", [True, False])
def test_a_snapshot_held_back_while_another_line_is_told_the_same(tmp_path: Path, is_told: bool) -> None:
    """Both lines subscribe to the same state; the first one's snapshot comes behind the message after it. Which of two
    messages of the same words a frame was tells the fault: without one, the order of the rows is wrong."""
    run = Scripted(tmp_path, Category.LINEAR, TOP)
    run.publish(top(1), rebuilt=True)
    if is_told:
        run.befall(0, "reorder", top(1))
    run.publish(top(1), rebuilt=True)
    run.send(1, top(1), rebuilt=True)
    run.publish(top(2))
    for number in (2, 1):
        run.send(0, top(number), rebuilt=number == 1)
        run.arrive(0, top(number))
    run.send(1, top(2))
    for number in (1, 2):
        run.arrive(1, top(number))
    if not is_told:
        with pytest.raises(AssertionError, match="is recorded behind message"):
            run.account()
        return
    held, told, _ = run.account().messages[TOP]
    assert (held.befallen, held.sent, [one.line for one in held.brought]) == ({1: {"reorder"}}, {1}, [0])
    assert (told.befallen, told.sent, [one.line for one in told.brought]) == ({}, {2}, [1])


def limits(run: Scripted, fault: str | None) -> None:
    """Two lines bring price limits 1 to 4; the second one brings number 3 before number 2, ahead of the first one."""
    for number in range(1, 5):
        run.publish(limit(number))
    if fault is not None:
        run.befall(1, fault, limit(2))
    for line, number in [(0, 1), (1, 1), (0, 2), (1, 3), (1, 2), (0, 3), (0, 4), (1, 4)]:
        run.bring(line, limit(number))


def test_a_line_that_swaps_messages_without_any_order_of_their_own(tmp_path: Path) -> None:
    """Price limits aren't told apart by their time: what came too early looks like what the other line lost."""
    run = Scripted(tmp_path, Category.LINEAR, LIMIT)
    limits(run, "reorder")
    account = run.account()
    assert len(account.rows[LIMIT]) == 4


@pytest.mark.parametrize("ticks", [0, 1])
def test_a_restart_behind_a_message_of_its_time_that_its_line_lacks(tmp_path: Path, ticks: int) -> None:
    """Nobody can tell which of the two is older, so that it counts as late. Of another time it is just the next one."""
    run = Scripted(tmp_path, Category.LINEAR, TOP)
    restart = book("snapshot", 1, [("100.0", "9")], [("100.5", "1")], START_MS + 12 + ticks, TOP)
    for number in range(1, 13):
        run.publish(top(number))
    run.publish(restart)
    run.befall(1, "drop", top(12))
    for number in range(1, 12):
        run.bring(0, top(number))
        run.bring(1, top(number))
    run.bring(0, top(12))
    run.bring(1, restart)
    run.bring(0, restart)
    rows = run.account().rows[TOP]
    assert [row.applied for row in rows] == [*12 * [True], bool(ticks)]


@pytest.mark.parametrize("fault", [None, "repeat"])
def test_such_a_gap_needs_a_line_that_swaps_messages(tmp_path: Path, fault: str | None) -> None:
    run = Scripted(tmp_path, Category.LINEAR, LIMIT)
    limits(run, fault)
    with pytest.raises(AssertionError, match=r"a gap \(lost\), and no line lost anything"):
        run.account()
