"""What the judge of two lines makes of single faults, whose place in the stream matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.names import Category
from tests.faults.scripted import Scripted
from tests.recorder.recordings import START_NS, TOP, book

START_MS = START_NS // 1_000_000


def top(number: int) -> bytes:
    return book("snapshot", number, [("100.0", str(number))], [("100.5", "1")], START_MS + number, TOP)


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
