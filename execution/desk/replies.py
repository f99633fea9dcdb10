"""Bytes that come in: answers of the trade socket and REST, messages of the private socket. Reading never raises.

Whatever is none of the known shapes becomes an `Unreadable` that says why; a row that isn't an object is left for
`execution.desk.live` to count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.bybit.control import Unreadable
from execution.desk.rates import RateHeaders, read_headers

__all__ = [
    "MAXIMUM_BYTES",
    "Authenticated",
    "OrderReply",
    "Pong",
    "PrivateRows",
    "RestAnswer",
    "Subscribed",
    "Unreadable",
    "item_of",
    "pair_items",
    "read_private",
    "read_rest",
    "read_trade",
]

MAXIMUM_BYTES: Final = 4 << 20
_WORDS: Final = 500
_NO_CODE: Final = 10016
_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


Item = tuple[int, str, str, str]


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping."""


class Authenticated(msgspec.Struct, frozen=True):
    """The answer to the authentication; code 0 is success, -1 a failure without a code (private socket)."""

    code: int
    words: str


class Subscribed(msgspec.Struct, frozen=True):
    """The answer to a subscription of private topics."""

    success: bool
    words: str


class OrderReply(msgspec.Struct, frozen=True):
    """The answer to an order's request.

    Attributes:
        items: of a batch: code, words, order id and link id of each request, in order; else empty.
    """

    request_id: str
    op: str
    code: int
    words: str
    order_id: str
    headers: RateHeaders | None
    items: tuple[Item, ...] = ()


class PrivateRows(msgspec.Struct, frozen=True):
    """A message of a private topic.

    Attributes:
        topic: whole, with its category where it has one.
        created_ms: the exchange's time of the message; 0 where not told.
    """

    topic: str
    created_ms: int
    rows: list[Any]


class RestAnswer(msgspec.Struct, frozen=True):
    """An answer of REST; code 0 is success."""

    code: int
    words: str
    result: dict[str, Any]
    extra: dict[str, Any]
    time_ms: int


class _Trade(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    op: str = ""
    words: Any = msgspec.field(name="retMsg", default="")
    request_id: Any = msgspec.field(name="reqId", default="")
    data: Any = None
    extra: Any = msgspec.field(name="retExtInfo", default=None)
    header: Any = None


class _Private(msgspec.Struct):
    op: Any = ""
    topic: Any = ""
    success: Any = None
    words: Any = msgspec.field(name="ret_msg", default="")
    created_ms: Any = msgspec.field(name="creationTime", default=0)
    data: Any = None


class _Rest(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    words: Any = msgspec.field(name="retMsg", default="")
    result: Any = None
    extra: Any = msgspec.field(name="retExtInfo", default=None)
    time: Any = 0


_trade = msgspec.json.Decoder(_Trade).decode
_private = msgspec.json.Decoder(_Private).decode
_rest = msgspec.json.Decoder(_Rest).decode


def _text(value: object) -> str:
    return value[:_WORDS] if isinstance(value, str) else ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _ms(value: object) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and isinstance(value, int) and 0 <= value < 1 << 62 else 0


def read_trade(frame: bytes) -> Pong | Authenticated | OrderReply | Unreadable:
    """Tell what a frame of the trade socket is (section 7.1)."""
    if len(frame) > MAXIMUM_BYTES:
        return Unreadable("oversize")
    try:
        read = _trade(frame)
    except _DECODE_ERRORS:
        return Unreadable("undecodable")
    if read.op in ("pong", "ping"):
        return Pong()
    if read.op == "auth":
        return Authenticated(read.code, _text(read.words))
    request_id = _text(read.request_id)
    if not request_id and not read.op.startswith("order."):
        return Unreadable("unknown_shape")
    data = _object(read.data)
    items = pair_items(data, _object(read.extra)) if read.op.endswith("-batch") and read.code == 0 else ()
    return OrderReply(
        request_id,
        read.op,
        read.code,
        _text(read.words),
        _text(data.get("orderId")),
        read_headers(_object(read.header)),
        items,
    )


def pair_items(result: dict[str, Any], extra: dict[str, Any]) -> tuple[Item, ...]:
    """Pair a batch's two lists: code, words, order id and link id of each of its requests.

    The outer code says nothing about them (section 6.3). An item without a sensible code gets 10016, which leaves its
    outcome open; all do where the lists are not of equal length, as nobody knows then which code is whose.
    """
    orders, codes = _rows(result.get("list")), _rows(extra.get("list"))
    items: list[Item] = []
    for index in range(max(len(orders), len(codes))):
        said = _object(codes[index]) if index < len(codes) else {}
        order = _object(orders[index]) if index < len(orders) else {}
        code = said.get("code")
        if isinstance(code, bool) or not isinstance(code, int) or len(orders) != len(codes):
            code = _NO_CODE
        items.append(
            (code, _text(said.get("msg")), _text(order.get("orderId")), _text(order.get("orderLinkId")))
        )
    return tuple(items)


def item_of(items: Sequence[Item], index: int, count: int, link_id: str) -> tuple[int, str, str]:
    """Code, words and order id of one of a batch's requests: 10016, which leaves it open, where they may be another's.

    Args:
        count: of the batch's requests; an answer about more or fewer of them can't be told apart.
        link_id: of the request's order, which its item names too unless it was refused.
    """
    if len(items) != count:
        return _NO_CODE, "", ""
    code, words, order_id, told = items[index]
    return (code, words, order_id) if not (told and link_id) or told == link_id else (_NO_CODE, "", "")


def read_private(frame: bytes) -> Pong | Authenticated | Subscribed | PrivateRows | Unreadable:
    """Tell what a frame of the private socket is (sections 2.2, 2.3 and 8)."""
    if len(frame) > MAXIMUM_BYTES:
        return Unreadable("oversize")
    try:
        read = _private(frame)
    except _DECODE_ERRORS:
        return Unreadable("undecodable")
    topic = _text(read.topic)
    if topic:
        if not isinstance(read.data, list):
            return Unreadable("unknown_shape")
        return PrivateRows(topic, _ms(read.created_ms), read.data)
    words = _text(read.words)
    if "pong" in (read.op, words):
        return Pong()
    if not isinstance(read.success, bool):
        return Unreadable("unknown_shape")
    if read.op == "auth":
        return Authenticated(0 if read.success else -1, words)
    return Subscribed(read.success, words)


def read_rest(body: bytes) -> RestAnswer | Unreadable:
    """Open the envelope of a REST answer (section 2.5)."""
    try:
        read = _rest(body)
    except _DECODE_ERRORS:
        return Unreadable("undecodable")
    return RestAnswer(read.code, _text(read.words), _object(read.result), _object(read.extra), _ms(read.time))
