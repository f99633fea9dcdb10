"""The text of public frames as the exchange writes them: numbers, key orders, envelopes (protocol section 3).

Shared by the simulated market and the local gateway's rebuilt snapshots, so that both speak with one voice.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.names import Category

__all__ = ["book_frame", "decimal_text", "levels_text", "ticker_frame", "trades_frame"]

FUTURES = frozenset({Category.LINEAR, Category.INVERSE})


def decimal_text(mantissa: int, decimals: int, *, padded: bool) -> str:
    """Write ``mantissa x 10^-decimals``; futures pad (``16493.50``), others trim zeros (``83805``)."""
    if decimals == 0:
        return str(mantissa)
    sign = "-" if mantissa < 0 else ""
    digits = str(abs(mantissa)).zfill(decimals + 1)
    whole, fraction = digits[:-decimals], digits[-decimals:]
    if not padded:
        fraction = fraction.rstrip("0")
        if not fraction:
            return sign + whole
    return f"{sign}{whole}.{fraction}"


def levels_text(levels: Iterable[tuple[str, str]]) -> str:
    """Write one book side: ``[["price","size"],...]``."""
    return "[" + ",".join([f'["{price}","{size}"]' for price, size in levels]) + "]"


def book_frame(
    category: Category,
    topic: str,
    *,
    depth: int,
    kind: str,
    push_ms: int,
    symbol: str,
    bids: str,
    asks: str,
    update_id: int,
    cross_sequence: int | None,
    match_ms: int | None,
) -> bytes:
    """Build an order-book frame in the category's key order (protocol sections "conventions" and 3.1).

    Args:
        kind: ``snapshot`` or ``delta``.
        bids: JSON text of the side, best first; ``asks`` likewise.
        cross_sequence: ``seq``; the key is left out when None. ``match_ms``: ``cts``, likewise.
    """
    sequence = "" if cross_sequence is None else f',"seq":{cross_sequence}'
    match = "" if match_ms is None else f',"cts":{match_ms}'
    if category is Category.OPTION:
        head = (
            f'"topic":"{topic}","ts":{push_ms},"type":"{kind}","id":"{topic}-{cross_sequence or 0}-{push_ms}"'
        )
    elif category in FUTURES and depth != 1:
        head = f'"topic":"{topic}","type":"{kind}","ts":{push_ms}'
    else:
        head = f'"topic":"{topic}","ts":{push_ms},"type":"{kind}"'
    body = f'"s":"{symbol}","b":{bids},"a":{asks},"u":{update_id}{sequence}'
    return f'{{{head},"data":{{{body}}}{match}}}'.encode()


def trades_frame(
    category: Category, topic: str, *, push_ms: int, sequence: int, trades: Iterable[str]
) -> bytes:
    """Build a publicTrade frame from the trades' JSON texts (protocol section 3.4)."""
    rows = ",".join(trades)
    if category is Category.OPTION:
        head = f'"topic":"{topic}","ts":{push_ms},"type":"snapshot","id":"{topic}-{sequence}-{push_ms}"'
    else:
        head = f'"topic":"{topic}","type":"snapshot","ts":{push_ms}'
    return f'{{{head},"data":[{rows}]}}'.encode()


def ticker_frame(
    category: Category,
    topic: str,
    *,
    kind: str,
    push_ms: int,
    cross_sequence: int | None,
    data: str,
) -> bytes:
    """Build a tickers frame around the JSON text of its ``data`` object (protocol section 3.5)."""
    if category is Category.OPTION:
        return (
            f'{{"id":"{topic}-{cross_sequence or 0}-{push_ms}","topic":"{topic}","ts":{push_ms},'
            f'"data":{data},"type":"{kind}"}}'
        ).encode()
    if category is Category.SPREAD:
        return f'{{"topic":"{topic}","ts":{push_ms},"type":"{kind}","data":{data}}}'.encode()
    sequence = "" if cross_sequence is None else f',"cs":{cross_sequence}'
    if category is Category.SPOT:
        return f'{{"topic":"{topic}","ts":{push_ms},"type":"{kind}"{sequence},"data":{data}}}'.encode()
    return f'{{"topic":"{topic}","type":"{kind}","data":{data}{sequence},"ts":{push_ms}}}'.encode()
