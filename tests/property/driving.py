"""How the steps of a run reach the reference model, with one clock for all comparisons."""

from __future__ import annotations

import contextlib
import json

from engine.bybit.full_sync import frames_of
from engine.reference import Outcome, ReferenceFeeds
from schemas.errors import DecimalError, ExchangeError
from schemas.names import GapCause
from schemas.notes import FullBook
from tests.strategies import Step

__all__ = ["drive", "full_book_of", "moment", "receive_ns"]


def receive_ns(sequence: int) -> int:
    """When the step of this number happened: one per microsecond and a bit, from 2023 on."""
    return 1_700_000_000_000_000_000 + 1_001 * sequence


def moment(step: Step, sequence: int) -> int:
    """When this step of this number happened."""
    return receive_ns(sequence) + step.late_ms * 1_000_000


def drive(feeds: ReferenceFeeds, step: Step, sequence: int, symbol: str) -> Outcome | None:
    """Let one step happen; return what a frame was."""
    now = moment(step, sequence)
    if step.action == "frame":
        return feeds.on_frame(step.frame, now, sequence, step.line)
    if step.action == "subscribed":
        feeds.on_subscribed([step.topic], now, sequence, step.line)
    elif step.action == "unsubscribed":
        feeds.on_unsubscribed(step.topic, step.line, now)
    elif step.action == "disconnect":
        feeds.on_disconnect(step.line, now)
    elif step.action == "stale":
        feeds.on_stale(step.topic, GapCause.SILENCE, now)
    elif step.action == "restate":
        feeds.on_restate(step.topic, step.frames, now, sequence)
    else:
        with contextlib.suppress(DecimalError):
            feeds.announce(symbol, *step.decimals)
    return None


def full_book_of(step: Step) -> tuple[bytes, list[bytes]] | None:
    """The REST answer and the deltas that a ``restate`` step stands for; None for one that nobody would record."""
    try:
        snapshot = json.loads(step.frames[0], parse_float=str)
        data = snapshot["data"]
        result = {key: data[key] for key in ("s", "b", "a", "u", "seq")} | {"ts": snapshot["ts"]}
        body = json.dumps({"retCode": 0, "result": result})
        frames_of(
            FullBook(topic=step.topic, path="", body=body, deltas=[d.decode() for d in step.frames[1:]])
        )
    except (ValueError, KeyError, TypeError, RecursionError, ExchangeError):
        return None
    return body.encode(), list(step.frames[1:])
