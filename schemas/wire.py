"""How a feed's frames are written, beside what their rows say: with it they can be made again (docs/capture.md)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "EACH_FIELDS",
    "FRAME_FIELDS",
    "TRADE_EXTRAS",
    "WireForm",
    "WireKind",
    "decode_form",
    "encode_form",
]

WireKind = Literal["book", "rpi", "trades", "ticker"]
"""Kinds of feeds whose frames are written from rows."""

FRAME_FIELDS: Final = (
    "topic", "symbol", "kind", "push", "match", "update", "cross", "open", "bids", "asks", "values", "trades",
)  # fmt: skip
"""What may stand between the literal parts of a frame."""
EACH_FIELDS: Final = (
    "symbol", "match", "cross", "side", "price", "size", "tick", "id", "block", "rpi", "mP", "iP", "mIv", "iv",
)  # fmt: skip
"""What may stand between the literal parts of a trade."""
TRADE_EXTRAS: Final = ("mP", "iP", "mIv", "iv")
"""Numbers that options' trades have (protocol section 3.4), in the order of the columns."""


class WireForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wire form of one feed.

    Attributes:
        topic: the feed's.
        frame: literal text and names of ``FRAME_FIELDS`` in turn, text first and last. ``open`` are digits that change
            and stand in no column: ``raw_records`` has them, frame by frame.
        each: the same for one trade, with ``EACH_FIELDS``; empty for others.
        numbers: how each number is written: ``"2"`` with two decimals, but zero as ``0``; ``"2z"`` zero with them too;
            ``"trimmed"`` without zeros at its end; times ``"ms"`` or ``"iso"``. Keys are ``price``, ``size``,
            ``rpi_size``, those of ``TRADE_EXTRAS`` and of tickers' fields.
        order: keys of a ticker in the order of the wire; empty for that of ``schemas.tables.TICKER_FIELDS``.
    """

    topic: str
    frame: tuple[str, ...]
    each: tuple[str, ...] = ()
    numbers: dict[str, str] = {}
    order: tuple[str, ...] = ()


_DECODER: Final = msgspec.json.Decoder(WireForm)
_ENCODER: Final = msgspec.json.Encoder()


def encode_form(form: WireForm) -> bytes:
    """As it stands in ``raw_records``."""
    return _ENCODER.encode(form)


def decode_form(payload: bytes) -> WireForm:
    """The form that ``encode_form`` wrote. Raises ``msgspec.MsgspecError`` on anything else."""
    return _DECODER.decode(payload)
