"""Audits at work, without a network: what is asked, noted and declared stale."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from engine.audit import Candidate
from engine.bybit.rest import RestBook
from engine.freshness import Resyncs
from recorder.audits import Audits
from recorder.roll import roll_data
from recorder.verify import verify
from recorder.warnings import Warnings
from schemas.errors import ConnectError
from schemas.names import FeedState, RecordKind
from schemas.notes import Audited, Stale, decode_note
from tests.recorder.lines import until
from tests.recorder.recordings import BOOK, START_NS, Tape, book
from tests.recorder.test_capture import _records

MS = START_NS // 1_000_000
OTHER = "orderbook.200.BTCUSDT"
CANDIDATE = Candidate("BTCUSDT", BOOK, False, 50)


class Rest:
    """Answers with books that a test made, in turn."""

    def __init__(self, *answers: RestBook | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def order_book(self, _: Any, symbol: str, depth: int) -> tuple[bytes, RestBook]:
        await asyncio.sleep(0)
        self.asked.append((symbol, depth))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return b'{"retCode":0}', answer


def told(seq: int, size: str = "1", symbol: str = "BTCUSDT") -> RestBook:
    return RestBook(symbol, (("99.50", size),), (("100.5", "2"),), seq // 10, seq, MS, MS)


class Work:
    def __init__(self, data: Path, topics: tuple[str, ...] = (BOOK,)) -> None:
        self.tape = Tape(data, topics)
        self.resyncs = Resyncs(self.tape.engine)
        self.audits = Audits(self.tape.capture, self.resyncs, 1, Warnings(logging.getLogger("tapebook")))

    def books(self, update_id: int, topics: tuple[str, ...] = (BOOK,), size: str = "1") -> None:
        self.tape.frames(
            book("snapshot", update_id, [("99.5", size)], [("100.5", "2")], MS, topic) for topic in topics
        )

    async def audit(self, *answers: RestBook | Exception) -> list[str]:
        rest: Any = Rest(*answers)
        return [await self.audits.audit(rest, CANDIDATE) for _ in answers]

    def notes(self) -> list[Any]:
        self.tape.stop()
        said = [decode_note(r.payload) for r in _records(self.tape.data) if r.kind == RecordKind.NOTE]
        return [note for note in said if isinstance(note, Audited | Stale)]


async def test_a_book_that_agrees_is_noted_and_the_answer_recorded(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.books(7)
    assert await work.audit(told(70)) == ["agreed"]
    (note,) = work.notes()
    assert note == Audited(
        topic=BOOK, against="rest", outcome="agreed", update_id=7, cross_sequence=70, levels=50
    )
    kinds = [record.kind for record in _records(tmp_path)]
    assert kinds.count(RecordKind.REST) == 1
    assert work.audits.status()["rest"] == {"agreed": 1}


async def test_three_disagreements_in_a_row_and_the_feed_is_not_believed(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.books(7)
    wrong = told(70, size="3")
    assert await work.audit(wrong, wrong, told(70), wrong, wrong) == [
        "disagreed", "disagreed", "agreed", "disagreed", "disagreed",
    ]  # fmt: skip
    assert work.tape.engine.state(0) is FeedState.LIVE
    await work.audit(wrong)
    assert work.tape.engine.state(0) is FeedState.STALE
    assert work.resyncs.due(10**18) == [BOOK]
    *_, last, stale = work.notes()
    assert last.disbelieved
    assert (last.side, last.level, last.ours, last.theirs) == ("bid", 1, ("99.5", "1"), ("99.50", "3"))
    assert stale == Stale(topic=BOOK, cause="disagreement")
    roll_data(tmp_path)
    result = verify(tmp_path)
    assert result.findings == []
    assert result.gaps == 1


async def test_no_answer_is_a_failure_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = Work(tmp_path)
    work.books(7)
    assert await work.audit(ConnectError("nobody listens"), told(70, symbol="ETHUSDT")) == [
        "failed",
        "failed",
    ]
    assert "a book could not be audited: nobody listens" in caplog.text
    assert [note.outcome for note in work.notes()] == ["failed", "failed"]
    assert RecordKind.REST not in {record.kind for record in _records(tmp_path)}


async def test_a_book_that_passes_the_answer_or_is_lost_meanwhile_is_missed(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.books(7)
    assert await work.audit(told(60)) == ["missed"]
    work.tape.capture.stale(BOOK, "silence")
    assert await work.audit(told(70)) == ["missed"]
    work.tape.stop()


async def test_a_state_that_comes_after_the_answer_is_waited_for(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.books(7)
    rest: Any = Rest(told(80))
    audit = asyncio.create_task(work.audits.audit(rest, CANDIDATE))
    await until(lambda: rest.asked)
    work.books(8)
    assert await asyncio.wait_for(audit, 60) == "agreed"
    work.tape.stop()


def test_books_take_turns_and_a_doubtful_one_comes_first(tmp_path: Path) -> None:
    topics = tuple(f"orderbook.50.{symbol}" for symbol in ("A", "B", "C"))
    work = Work(tmp_path, topics)
    assert work.audits._choose() is None
    for topic in topics[:2]:
        work.books(7, (topic,))

    def chosen() -> str:
        candidate = work.audits._choose()
        assert candidate is not None
        return candidate.symbol

    assert [chosen() for _ in range(3)] == ["A", "B", "A"]  # C is not LIVE
    work.audits._streaks["orderbook.50.A"] = 1
    assert [chosen() for _ in range(2)] == ["A", "A"]
    work.audits._streaks["orderbook.50.A"] = 3
    assert [chosen() for _ in range(2)] == ["B", "A"]
    work.tape.stop()


def test_a_deeper_book_that_is_not_live_does_not_stand_before_one_that_is(tmp_path: Path) -> None:
    """What an earlier run recorded and a crash left open is known, and will not be LIVE again."""
    work = Work(tmp_path, (BOOK, OTHER))
    work.books(7)
    chosen = work.audits._choose()
    assert chosen is not None
    assert (chosen.topic, chosen.levels) == (BOOK, 50)
    work.books(7, (OTHER,))
    deeper = work.audits._choose()
    assert deeper is not None
    assert (deeper.topic, deeper.levels) == (OTHER, 200)
    work.tape.stop()


async def test_depths_that_differ_are_noted_and_both_stale(tmp_path: Path) -> None:
    work = Work(tmp_path, (BOOK, OTHER))
    watch = asyncio.create_task(work.audits.watch_depths())
    work.books(5, (BOOK, OTHER))
    await until(lambda: work.audits.agreement.compared == 1)
    for compared, update_id in enumerate((6, 7, 8), 2):
        work.books(update_id, (BOOK,))
        work.books(update_id, (OTHER,), size="2")
        await until(lambda compared=compared: work.audits.agreement.compared == compared)
    await asyncio.sleep(0)
    watch.cancel()
    assert {work.tape.engine.state(feed) for feed in (0, 1)} == {FeedState.STALE}
    work.audits.finish()
    notes = work.notes()
    stale = [note.topic for note in notes if isinstance(note, Stale)]
    assert stale == [BOOK, OTHER]
    audits = [note for note in notes if isinstance(note, Audited)]
    assert [(note.outcome, note.disbelieved) for note in audits] == [
        ("disagreed", False), ("disagreed", False), ("disagreed", True), ("agreed", False),
    ]  # fmt: skip
    assert (audits[0].ours, audits[0].theirs, audits[0].against) == (("99.5", "1"), ("99.5", "2"), OTHER)
    assert work.audits.status()["depths"] == {"pairs": 1, "compared": 4, "agreed": 1, "disagreed": 3}


async def test_a_disk_that_is_behind_comes_first(tmp_path: Path) -> None:
    """While audits wait nothing is compared and nobody asked; then they go on."""
    work = Work(tmp_path, (BOOK, OTHER))
    work.audits.waiting = True
    rest: Any = Rest(*[told(50 + n) for n in range(5)])
    work.audits._every_s = 0.001
    tasks = [asyncio.create_task(work.audits.watch_depths()), asyncio.create_task(work.audits.ask(rest))]
    work.books(5, (BOOK, OTHER))
    for _ in range(30):
        await asyncio.sleep(0.01)
    assert (rest.asked, work.audits.agreement.compared) == ([], 0)
    work.audits.waiting = False
    await until(lambda: rest.asked and work.audits.agreement.compared)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    work.tape.stop()
