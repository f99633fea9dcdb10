"""Deliberate damage to data frames, drawn from a seed so that a run repeats. Pure: bytes in, deeds out."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.errors import ConfigError

__all__ = ["SHARES", "Deed", "FaultInjector", "FaultPlan", "Outcome", "corrupted", "parse_faults"]


class Deed(StrEnum):
    """A fault, under the name that the command line and the ledger use."""

    DROP = "drop"
    REPEAT = "repeat"
    REORDER = "reorder"
    CORRUPT = "corrupt"
    CUT = "cut"
    STALL = "stall"
    CLOSE = "close"


SHARES: Final = (Deed.DROP, Deed.REPEAT, Deed.REORDER, Deed.CORRUPT, Deed.CUT, Deed.STALL)
"""Faults given as a share of data frames."""

_MEANINGS: Final = {
    "drop": "share of frames not sent",
    "repeat": "share sent twice",
    "reorder": "share held back until after the next frame of the same topic",
    "corrupt": "share made undecodable",
    "cut": "share of which half goes out before the TCP connection is aborted",
    "stall": "share that silence their topic on the connection until it is subscribed again",
    "close": "close every connection each N seconds",
    "seed": "whole number that decides which frames",
}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What to do to which share of frames.

    Attributes:
        shares: per fault, its share of data frames; they exclude one another and add up to at most 1.
        seed: of the generators; each connection has its own, by its number.
        close_seconds: life of a connection, None for ever.
    """

    shares: dict[Deed, float]
    seed: int = 0
    close_seconds: float | None = None


def parse_faults(specs: Iterable[str]) -> FaultPlan | None:
    """Read ``--fault`` values such as ``drop=0.001,repeat=0.001,seed=7``; None when there is none.

    Raises:
        ConfigError: with the list of what is valid.
    """
    shares: dict[Deed, float] = {}
    seed, close_seconds, given = 0, None, False
    for part in (part.strip() for spec in specs for part in spec.split(",")):
        given = True
        name, equals, text = part.partition("=")
        if not equals or name not in _MEANINGS:
            raise _bad(part, "no such fault")
        if name == "seed":
            if not re.fullmatch(r"-?\d{1,18}", text):
                raise _bad(part, "a seed is a whole number")
            seed = int(text)
            continue
        try:
            value = float(text)
        except ValueError:
            raise _bad(part, f"{text!r} is not a number") from None
        if name == "close":
            if not 0 < value <= 1e6:
                raise _bad(part, "expected seconds above 0")
            close_seconds = value
        elif 0 <= value <= 1:
            shares[Deed(name)] = value
        else:
            raise _bad(part, "a share lies between 0 and 1")
    if sum(shares.values()) > 1:
        raise _bad(",".join(specs), "the shares add up to more than 1")
    return FaultPlan(shares, seed, close_seconds) if given else None


def _bad(part: str, why: str) -> ConfigError:
    valid = "; ".join(
        f"{name}={'N' if name in ('close', 'seed') else 'SHARE'} ({meaning})"
        for name, meaning in _MEANINGS.items()
    )
    return ConfigError(f"fault {part!r}: {why}. Valid: {valid}")


Tag = TypeVar("Tag")


class Outcome(NamedTuple, Generic[Tag]):
    """One thing to do to one frame.

    Attributes:
        deed: the fault to note, or None.
        payload: bytes to send; None when nothing is sent.
        original: the frame that was handed in.
        tag: what came with the frame, handed back.
    """

    deed: Deed | None
    payload: bytes | None
    original: bytes
    tag: Tag


class FaultInjector(Generic[Tag]):
    """The faults of one connection.

    Args:
        plan: what to do.
        connection: its number; with the seed it decides which frames are hit.
    """

    def __init__(self, plan: FaultPlan, connection: int) -> None:
        self._random = random.Random(f"fault/{plan.seed}/{connection}")
        self._thresholds: list[tuple[float, Deed]] = []
        total = 0.0
        for deed in SHARES:
            total += plan.shares.get(deed, 0.0)
            self._thresholds.append((total, deed))
        self._held: dict[str, tuple[bytes, Tag]] = {}
        self._stalled: set[str] = set()

    def pass_frame(self, topic: str, payload: bytes, tag: Tag) -> list[Outcome[Tag]]:
        """Decide what becomes of a data frame; what was held back for it follows it."""
        if topic in self._stalled:
            return [Outcome(Deed.STALL, None, payload, tag)]
        held = self._held.pop(topic, None)
        outcomes = self._draw(topic, payload, tag, may_hold=held is None)
        if held is not None:
            outcomes.append(Outcome(None, held[0], *held))
        return outcomes

    def _draw(self, topic: str, payload: bytes, tag: Tag, *, may_hold: bool) -> list[Outcome[Tag]]:
        draw = self._random.random()
        deed = next((deed for threshold, deed in self._thresholds if draw < threshold), None)
        if deed is None:
            return [Outcome(None, payload, payload, tag)]
        if deed is Deed.REPEAT:
            return [Outcome(deed, payload, payload, tag), Outcome(None, payload, payload, tag)]
        if deed is Deed.CORRUPT:
            return [Outcome(deed, corrupted(payload, self._random), payload, tag)]
        if deed is Deed.REORDER:
            if not may_hold:
                return [Outcome(None, payload, payload, tag)]
            self._held[topic] = (payload, tag)
        elif deed is Deed.STALL:
            self._stalled.add(topic)
        return [Outcome(deed, None, payload, tag)]

    def subscribe(self, topic: str) -> None:
        """A new subscription ends a stall."""
        self._stalled.discard(topic)

    def unsubscribe(self, topic: str) -> list[Outcome[Tag]]:
        """End a topic; a frame still held back for it is lost, and told as dropped."""
        held = self._held.pop(topic, None)
        return [] if held is None else [Outcome(Deed.DROP, None, *held)]

    def release(self) -> list[Outcome[Tag]]:
        """Let go of every frame held back, as when no further frame will come."""
        outcomes = [Outcome(None, held[0], *held) for held in self._held.values()]
        self._held.clear()
        return outcomes


_STRING_OR_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|([{}\[\]:,])', re.DOTALL)


def corrupted(payload: bytes, generator: random.Random) -> bytes:
    """Damage a JSON object so that no decoder may accept it.

    Four ways, each invalid by construction: a strict prefix of an object is no JSON text; a structural byte
    with its lowest bit flipped is no JSON token there; the bytes 0xFE and 0xFF are never UTF-8; a NUL is
    allowed nowhere in JSON.
    """
    way = generator.randrange(4)
    position = generator.randrange(1, len(payload)) if len(payload) > 1 else 0
    if way == 0 and position:
        return payload[:position]
    if way == 1:
        places = [found.start(1) for found in _STRING_OR_STRUCTURE.finditer(payload) if found.start(1) >= 0]
        if places:
            place = generator.choice(places)
            return payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
    if way == 2:
        garbage = bytes(generator.choice(b"\xfe\xff") for _ in range(generator.randint(1, 8)))
        return payload[:position] + garbage + payload[position:]
    return payload[:position] + b"\x00" + payload[position:]
