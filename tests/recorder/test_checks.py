"""The side work of a collector: what ends it, and by which name."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Self

import pytest

from engine.freshness import Resyncs
from recorder.checks import Checks
from recorder.warnings import Warnings
from schemas.config import RecordConfig
from schemas.errors import ConnectError, StoreError
from tests.recorder.recordings import Tape


class Rest:
    """A client that reaches nobody."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def timed_server_time(self) -> tuple[int, int, int]:
        raise ConnectError("nobody listens")


def checks_of(tape: Tape) -> Checks:
    resyncs = Resyncs(tape.engine)
    return Checks(RecordConfig(), tape.capture, [], resyncs, Warnings(logging.getLogger("tapebook")))


async def test_an_exchange_that_answers_nothing_ends_nothing(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    checks, rest = checks_of(tape), Rest()
    client: Any = rest
    task = asyncio.create_task(checks.run(client))
    while not checks.status()["clock"]["failures"]:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0.005)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    checks.finish()
    tape.stop()


async def test_a_disk_that_fails_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape(tmp_path)
    checks, rest = checks_of(tape), Rest()
    client: Any = rest

    def full() -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(checks.clock, "look", full)
    with pytest.raises(StoreError, match="the disk is full"):
        await checks.run(client)
    tape.stop()


async def test_a_bug_is_no_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape(tmp_path)
    checks, rest = checks_of(tape), Rest()
    client: Any = rest

    def bug() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(checks.clock, "look", bug)
    with pytest.raises(BaseExceptionGroup):
        await checks.run(client)
    tape.stop()
