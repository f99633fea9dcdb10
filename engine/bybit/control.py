"""Frames without a topic: pongs and the four shapes of acknowledgement, told apart (sections 2.1 and 2.3).

Reading never raises: whatever is neither becomes an `Unreadable` that says why.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["MAXIMUM_CONTROL_BYTES", "Acknowledgement", "Pong", "Unreadable", "excerpt", "read_control"]

MAXIMUM_CONTROL_BYTES: Final = 1 << 20
"""A full option connection (2000 topics) is acknowledged in less than a tenth of this."""

_EXCERPT_BYTES: Final = 300
_WORDS_CHARACTERS: Final = 500


class Pong(msgspec.Struct, frozen=True):
    """The answer to a text ping.

    Attributes:
        request_id: echo of the ping's id, empty where the socket doesn't echo it.
        exchange_ms: the exchange's clock, where the socket tells it (options, spread).
    """

    request_id: str
    exchange_ms: int | None = None


class Acknowledgement(msgspec.Struct, frozen=True):
    """The answer to a subscribe or unsubscribe request.

    Attributes:
        success: of the request as a whole.
        op: ``subscribe``, ``unsubscribe`` or empty: options and failures don't always tell.
        request_id: echo of the request's id, empty where the socket doesn't echo it.
        words: the exchange's own text, cut to 500 characters.
        succeeded: topics named as accepted (options only).
        failed: topics named as refused (options only).
    """

    success: bool
    op: str
    request_id: str
    words: str
    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Unreadable(msgspec.Struct, frozen=True):
    """A frame that is no answer we know.

    Attributes:
        cause: ``oversize``, ``undecodable`` or ``unknown_shape``.
    """

    cause: str


class _Frame(msgspec.Struct):
    """The keys of all shapes; types are checked afterwards so that a wrong one can't hide the others."""

    op: Any = ""
    type: Any = ""
    success: Any = None
    ret_msg: Any = ""
    req_id: Any = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    topic: Any = None
    args: Any = None


class _Topics(msgspec.Struct):
    success_topics: list[str] | None = msgspec.field(name="successTopics", default=None)
    fail_topics: list[str] | None = msgspec.field(name="failTopics", default=None)


_FRAME_DECODER: Final = msgspec.json.Decoder(_Frame)
_TOPICS_DECODER: Final = msgspec.json.Decoder(_Topics | None)

# What hostile bytes can raise: malformed or mistyped, not UTF-8 or an absurdly long number, too deep.
_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def excerpt(frame: bytes) -> str:
    """Return the first 300 bytes as text, for messages; bytes that aren't UTF-8 become U+FFFD."""
    return frame[:_EXCERPT_BYTES].decode("utf-8", "replace")


def _text(value: object) -> str:
    return value[:_WORDS_CHARACTERS] if isinstance(value, str) else ""


def _milliseconds(arguments: object) -> int | None:
    """The stamp of ``{"args":["1672916271846"],"op":"pong"}``."""
    if isinstance(arguments, list) and len(arguments) == 1 and isinstance(arguments[0], str):
        text = arguments[0]
        if text.isascii() and text.isdigit() and len(text) <= 16:
            return int(text)
    return None


def read_control(frame: bytes) -> Pong | Acknowledgement | Unreadable:
    """Tell what a frame without a topic is.

    The order of the questions is that of the fact-sheet's classifier: pong, acknowledgement, unknown.
    """
    if len(frame) > MAXIMUM_CONTROL_BYTES:
        return Unreadable("oversize")
    try:
        read = _FRAME_DECODER.decode(frame)
    except _DECODE_ERRORS:
        return Unreadable("undecodable")
    if read.topic is not None:
        return Unreadable("unknown_shape")
    op, words, request_id = _text(read.op), _text(read.ret_msg), _text(read.req_id)
    if "pong" in (op, words):
        return Pong(request_id, _milliseconds(read.args))
    if not isinstance(read.success, bool):
        return Unreadable("unknown_shape")
    if read.type != "COMMAND_RESP":
        return Acknowledgement(read.success, op, request_id, words)
    try:
        topics = _TOPICS_DECODER.decode(read.data) or _Topics()
    except _DECODE_ERRORS:
        return Unreadable("unknown_shape")
    return Acknowledgement(
        read.success,
        op,
        request_id,
        words,
        tuple(topics.success_topics or ()),
        tuple(topics.fail_topics or ()),
    )
