"""Deliberate damage, drawn from a seed so that a run repeats: what is planned, and what befalls data frames. Pure:
bytes in, deeds out."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.errors import ConfigError

__all__ = [
    "FRAME_DEEDS",
    "HANDSHAKE_DEEDS",
    "PRIVATE_DEEDS",
    "REQUEST_DEEDS",
    "TRADE_DEEDS",
    "Deed",
    "FaultInjector",
    "FaultPlan",
    "Outcome",
    "choose",
    "corrupted",
    "parse_faults",
]


class Deed(StrEnum):
    """A fault, under the name that the command line and the ledger use."""

    DROP = "drop"
    REPEAT = "repeat"
    REORDER = "reorder"
    CORRUPT = "corrupt"
    CUT = "cut"
    STALL = "stall"
    HALF_OPEN = "half_open"
    LATE = "late"
    REFUSE = "refuse"
    SLOW_ACK = "slow_ack"
    DATA_FIRST = "data_first"
    LOST_ACK = "lost_ack"
    DOUBLE_ACK = "double_ack"
    FORBIDDEN = "forbidden"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"
    CLOSE = "close"
    CUT_ONE = "cut_one"
    RESTART = "restart"
    SLOW_READER = "slow_reader"
    ORDER_SLOW_ACK = "order_slow_ack"
    ORDER_HELD = "order_held"
    ORDER_LOST = "order_lost"
    ORDER_LOST_ACK = "order_lost_ack"
    ORDER_DOUBLE_ACK = "order_double_ack"
    ORDER_CUT_BEFORE = "order_cut_before"
    ORDER_CUT = "order_cut"
    ORDER_ERROR = "order_error"
    ORDER_LIMITED = "order_limited"
    ORDER_HALF_OPEN = "order_half_open"
    PRIVATE_CUT = "private_cut"
    PRIVATE_HALF_OPEN = "private_half_open"
    TRADE_RESTART = "trade_restart"


FRAME_DEEDS: Final = (
    Deed.DROP,
    Deed.REPEAT,
    Deed.REORDER,
    Deed.CORRUPT,
    Deed.CUT,
    Deed.STALL,
    Deed.HALF_OPEN,
    Deed.LATE,
)
"""Faults given as a share of data frames."""
REQUEST_DEEDS: Final = (Deed.REFUSE, Deed.SLOW_ACK, Deed.DATA_FIRST, Deed.LOST_ACK, Deed.DOUBLE_ACK)
"""Faults given as a share of requests to subscribe or unsubscribe."""
HANDSHAKE_DEEDS: Final = (Deed.FORBIDDEN, Deed.TOO_MANY, Deed.UNAVAILABLE)
"""Faults given as a share of opening handshakes."""
TRADE_DEEDS: Final = (
    Deed.ORDER_SLOW_ACK,
    Deed.ORDER_HELD,
    Deed.ORDER_LOST,
    Deed.ORDER_LOST_ACK,
    Deed.ORDER_DOUBLE_ACK,
    Deed.ORDER_CUT_BEFORE,
    Deed.ORDER_CUT,
    Deed.ORDER_ERROR,
    Deed.ORDER_LIMITED,
    Deed.ORDER_HALF_OPEN,
)
"""Faults given as a share of order requests, of a gateway that trades."""
PRIVATE_DEEDS: Final = (Deed.PRIVATE_CUT, Deed.PRIVATE_HALF_OPEN)
"""Faults given as a share of private frames."""

_MEANINGS: Final = {
    "drop": "share of frames not sent",
    "repeat": "share sent twice",
    "reorder": "share held back until after the next frame of the same topic",
    "corrupt": "share made undecodable",
    "cut": "share of which half goes out before the TCP connection is aborted",
    "stall": "share that silence their topic on the connection until it is subscribed again",
    "half_open": "share from which on the connection swallows everything in both directions, TCP staying up",
    "late": "share that hold back everything on their connection for the delay",
    "refuse": "share of subscribe requests refused for one of their topics",
    "slow_ack": "share of requests answered after the delay",
    "data_first": "share of subscribe requests answered behind their first data",
    "lost_ack": "share of requests obeyed and never answered",
    "double_ack": "share of requests answered twice",
    "forbidden": "share of handshakes answered HTTP 403, as to the wrong region",
    "too_many": "share of handshakes answered HTTP 429",
    "unavailable": "share of handshakes answered HTTP 503",
    "close": "close every connection each N seconds",
    "cut_one": "abort one of the open connections, drawn at random, after N/2 to 3N/2 seconds each time",
    "restart": "restart the push service each N seconds: snapshots with u=1 begin new chains",
    "slow_reader": "disconnect whoever leaves more than N KiB unread, also at full speed",
    "order_slow_ack": "share of order requests carried out at once and answered after the delay",
    "order_held": "share carried out, and answered, only after the delay",
    "order_lost": "share that are never carried out nor answered",
    "order_lost_ack": "share carried out and never answered",
    "order_double_ack": "share answered twice",
    "order_cut_before": "share not carried out, the connection being aborted instead",
    "order_cut": "share carried out, the connection being aborted instead of an answer",
    "order_error": "share answered 10016 or error_code, half of them carried out all the same",
    "error_code": "whole number, of order_error; 10016 unless given",
    "race": "milliseconds after a fill in which a cancel is acknowledged, and told by a second Filled",
    "order_limited": "share answered 10006 and not carried out",
    "order_half_open": "share not carried out, the connection swallowing everything from there on",
    "private_cut": "share of private frames that are lost with their connection",
    "private_half_open": "share of private frames from which on their connection swallows everything",
    "trade_restart": "restart the trade service each N seconds: 10019, then the delay, then a close",
    "skew": "milliseconds by which the clock that requests are held against is ahead; may be below 0",
    "until": "seconds after the first subscription; no further fault from then on",
    "delay": "seconds, of late and slow_ack; 0.5 unless given",
    "seed": "whole number that decides which ones",
}
_WHOLE: Final = {"seed", "skew", "race", "error_code"}
_NUMBERS: Final = {"close", "cut_one", "restart", "trade_restart", "slow_reader", "until", "delay", *_WHOLE}
_MOST_SECONDS: Final = 1e6


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What to do to which share of frames, requests and handshakes.

    Attributes:
        shares: per fault, its share; those of frames exclude one another and add up to at most 1, so do those of
            requests and those of handshakes.
        seed: of the generators; each connection has its own, by its number.
        close_seconds: life of a connection, None for ever.
        cut_one_seconds: mean time between two cuts of one connection, None for none.
        restart_seconds: life of the push service, None for ever.
        until_seconds: after the first subscription no further fault happens from then on; None for never.
        slow_reader_kib: what a reader may leave unread, None for the gateway's own limit.
        delay_seconds: how long late frames and slow acknowledgements take.
        trade_restart_seconds: life of the trade service, None for ever.
        race_ms: how long after its fill a cancel of an order is acknowledged.
        error_code: what requests are answered that fail for no reason of their own.
        skew_ms: how far the clock that private requests are held against is ahead.
    """

    shares: dict[Deed, float]
    seed: int = 0
    close_seconds: float | None = None
    restart_seconds: float | None = None
    cut_one_seconds: float | None = None
    until_seconds: float | None = None
    slow_reader_kib: float | None = None
    delay_seconds: float = 0.5
    trade_restart_seconds: float | None = None
    skew_ms: int = 0
    race_ms: int = 0
    error_code: int = 10016

    @property
    def is_about_trading(self) -> bool:
        """Whether it asks for anything that only a gateway that trades can do."""
        shares = any(self.shares.get(deed) for deed in (*TRADE_DEEDS, *PRIVATE_DEEDS))
        return shares or self.trade_restart_seconds is not None or bool(self.skew_ms or self.race_ms)

    def thresholds(self, deeds: Iterable[Deed]) -> list[tuple[float, Deed]]:
        """Return the shares of these faults added up, for :func:`choose`."""
        thresholds, total = [], 0.0
        for deed in deeds:
            total += self.shares.get(deed, 0.0)
            thresholds.append((total, deed))
        return thresholds


def choose(thresholds: Iterable[tuple[float, Deed]], draw: float) -> Deed | None:
    """Return which fault a number drawn from [0, 1) means, None for none."""
    return next((deed for threshold, deed in thresholds if draw < threshold), None)


def parse_faults(specs: Iterable[str]) -> FaultPlan | None:
    """Read ``--fault`` values such as ``drop=0.001,repeat=0.001,seed=7``; None when there is none.

    Raises:
        ConfigError: with the list of what is valid.
    """
    shares: dict[Deed, float] = {}
    numbers: dict[str, float] = {}
    whole: dict[str, int] = {}
    given = False
    for part in (part.strip() for spec in specs for part in spec.split(",")):
        given = True
        name, equals, text = part.partition("=")
        if not equals or name not in _MEANINGS:
            raise _bad(part, "no such fault")
        if name in _WHOLE:
            if not re.fullmatch(r"-?\d{1,18}", text):
                raise _bad(part, f"a {name} is a whole number")
            whole[name] = int(text)
            continue
        try:
            value = float(text)
        except ValueError:
            raise _bad(part, f"{text!r} is not a number") from None
        if name in _NUMBERS:
            if not 0 < value <= _MOST_SECONDS:
                raise _bad(
                    part, "expected KiB above 0" if name == "slow_reader" else "expected seconds above 0"
                )
            numbers[name] = value
        elif 0 <= value <= 1:
            shares[Deed(name)] = value
        else:
            raise _bad(part, "a share lies between 0 and 1")
    for deeds, what in (
        (FRAME_DEEDS, "frames"),
        (REQUEST_DEEDS, "requests"),
        (HANDSHAKE_DEEDS, "handshakes"),
        (TRADE_DEEDS, "order requests"),
        (PRIVATE_DEEDS, "private frames"),
    ):
        if sum(shares.get(deed, 0.0) for deed in deeds) > 1:
            raise _bad(",".join(specs), f"the shares of {what} add up to more than 1")
    if not given:
        return None
    return FaultPlan(
        shares,
        whole.get("seed", 0),
        close_seconds=numbers.get("close"),
        restart_seconds=numbers.get("restart"),
        cut_one_seconds=numbers.get("cut_one"),
        until_seconds=numbers.get("until"),
        slow_reader_kib=numbers.get("slow_reader"),
        delay_seconds=numbers.get("delay", 0.5),
        trade_restart_seconds=numbers.get("trade_restart"),
        skew_ms=whole.get("skew", 0),
        race_ms=whole.get("race", 0),
        error_code=whole.get("error_code", 10016),
    )


def _bad(part: str, why: str) -> ConfigError:
    valid = "; ".join(
        f"{name}={'N' if name in _NUMBERS else 'SHARE'} ({meaning})" for name, meaning in _MEANINGS.items()
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
        self._thresholds = plan.thresholds(FRAME_DEEDS)
        self._held: dict[str, tuple[bytes, Tag]] = {}
        self._stalled: set[str] = set()

    def calm(self) -> None:
        """Do no further damage; a topic that is stalled stays so until it is subscribed again."""
        self._thresholds = []

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
        deed = choose(self._thresholds, self._random.random())
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
        elif deed is Deed.LATE:
            return [Outcome(deed, payload, payload, tag)]
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
