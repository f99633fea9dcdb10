"""REST market data without a client: what to ask, and what the answers mean (sections 6.1 and 6.2).

Decimals stay text: only the core turns text into numbers. Answers are hostile like all bytes from outside: a
reply that isn't what the exchange documents raises, a single malformed row in a list is skipped and counted.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from schemas.errors import DecimalError, ExchangeError, Rejected
from schemas.names import Category

__all__ = [
    "Instrument",
    "InstrumentPage",
    "RecentTrades",
    "Request",
    "RestBook",
    "RestTrade",
    "exponent_of",
    "full_order_book_request",
    "instrument_rows",
    "instruments_path",
    "instruments_request",
    "most_trades",
    "order_book_request",
    "parse_instruments",
    "parse_order_book",
    "parse_recent_trades",
    "parse_tickers",
    "parse_time",
    "parse_trades",
    "recent_trades_request",
    "rpi_order_book_request",
    "tickers_request",
    "time_request",
]

INSTRUMENTS_PER_PAGE: Final = 1_000
_SPREADS_PER_PAGE: Final = 500
_MAXIMUM_CURSOR: Final = 4_096
_MAXIMUM_BOOK_DEPTH: Final = {
    Category.SPOT: 1_000,
    Category.LINEAR: 1_000,
    Category.INVERSE: 1_000,
    Category.OPTION: 25,
    Category.SPREAD: 25,
}
_MAXIMUM_TRADES: Final = {
    Category.SPOT: 60,
    Category.LINEAR: 1_000,
    Category.INVERSE: 1_000,
    Category.OPTION: 1_000,
    Category.SPREAD: 1_000,
}
_DECIMAL: Final = re.compile(r"\d{1,40}(?:\.(\d{1,40}))?")
_DEEPEST_EXPONENT: Final = 18
_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)

_T = TypeVar("_T")


class Request(msgspec.Struct, frozen=True):
    """One GET.

    Attributes:
        path: below the REST root.
        query: name and value pairs, values as they go into the URL.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """Path and query, ready to append to a REST root."""
        if not self.query:
            return self.path
        return self.path + "?" + "&".join(f"{name}={value}" for name, value in self.query)


def _request(path: str, **values: object) -> Request:
    return Request(path, tuple((name, quote(str(v), safe="")) for name, v in values.items() if v is not None))


def _market_request(category: Category, endpoint: str, spread: str = "", **values: object) -> Request:
    """A request of the market endpoints; spreads have paths of their own, which name no category (section 6.1)."""
    if category is Category.SPREAD:
        return _request(f"/v5/spread/{spread or endpoint}", **values)
    return _request(f"/v5/market/{endpoint}", category=category.value, **values)


def time_request() -> Request:
    """Ask for the exchange's clock."""
    return Request("/v5/market/time")


def instruments_path(category: Category) -> str:
    """The path of instruments, and the category in the query where it has one."""
    return _market_request(category, "instruments-info", "instrument").target


def instruments_request(
    category: Category,
    *,
    symbol: str | None = None,
    base_coin: str | None = None,
    status: str | None = None,
    cursor: str = "",
) -> Request:
    """Ask for a page of instruments.

    Args:
        category: of the instruments.
        symbol: only this one.
        base_coin: options only; without it the exchange answers with BTC alone, ``All`` gives every coin.
        status: only those; without it, what trades (options: also ``PreLaunch`` and ``Delivering``).
        cursor: `InstrumentPage.next_cursor` of the page before.
    """
    # Spot answers everything in one page and ignores the limit.
    limit = {Category.SPOT: None, Category.SPREAD: _SPREADS_PER_PAGE}.get(category, INSTRUMENTS_PER_PAGE)
    request = _market_request(
        category,
        "instruments-info",
        "instrument",
        symbol=symbol,
        baseCoin=base_coin,
        status=None if category is Category.SPREAD else status,
        limit=limit,
    )
    if not cursor:
        return request
    # The token comes percent-encoded and goes back as it came; anything that could end it is encoded.
    return Request(request.path, (*request.query, ("cursor", quote(cursor, safe="%-._~+=:,/"))))


def order_book_request(category: Category, symbol: str, depth: int) -> Request:
    """Ask for a book of at most ``depth`` levels a side, cut to what the category allows."""
    limit = max(1, min(depth, _MAXIMUM_BOOK_DEPTH[category]))
    return _market_request(category, "orderbook", symbol=symbol, limit=limit)


def full_order_book_request(category: Category, symbol: str) -> Request:
    """Ask for the whole book, up to 10,000 levels a side, as ``orderbook.full`` begins with."""
    return _request("/v5/market/full_orderbook", category=category.value, symbol=symbol)


def rpi_order_book_request(category: Category, symbol: str, depth: int = 50) -> Request:
    """Ask for the book with RPI sizes, at most 50 levels a side."""
    return _request(
        "/v5/market/rpi_orderbook", category=category.value, symbol=symbol, limit=max(1, min(depth, 50))
    )


def tickers_request(
    category: Category, *, symbol: str | None = None, base_coin: str | None = None
) -> Request:
    """Ask for tickers; options need a symbol or a base coin."""
    return _market_request(category, "tickers", symbol=symbol, baseCoin=base_coin)


def recent_trades_request(
    category: Category, *, symbol: str | None = None, base_coin: str | None = None, limit: int = 1_000
) -> Request:
    """Ask for the latest trades, as many as the category gives; only options may leave out the symbol."""
    return _market_request(
        category,
        "recent-trade",
        symbol=symbol,
        baseCoin=base_coin,
        limit=max(1, min(limit, _MAXIMUM_TRADES[category])),
    )


class _Envelope(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    words: str = msgspec.field(name="retMsg", default="")
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Stamped(msgspec.Struct):
    time: int | None = None


class _PriceFilter(msgspec.Struct):
    tick_size: str = msgspec.field(name="tickSize", default="")


class _LotSizeFilter(msgspec.Struct):
    quantity_step: str = msgspec.field(name="qtyStep", default="")
    base_precision: str = msgspec.field(name="basePrecision", default="")


class _InstrumentRow(msgspec.Struct, rename="camel"):
    symbol: str
    status: str = ""
    base_coin: str = ""
    quote_coin: str = ""
    settle_coin: str = ""
    contract_type: str = ""
    launch_time: str = ""
    delivery_time: str = ""
    tick_size: str = ""
    lot_size: str = ""
    price_filter: _PriceFilter = msgspec.field(default_factory=_PriceFilter)
    lot_size_filter: _LotSizeFilter = msgspec.field(default_factory=_LotSizeFilter)


class _List(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list", default_factory=list)
    next_cursor: str = msgspec.field(name="nextPageCursor", default="")


class _Time(msgspec.Struct):
    nanoseconds: str = msgspec.field(name="timeNano")


class _BookRow(msgspec.Struct):
    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int
    ts: int
    seq: int | None = None
    cts: int | None = None


class _TradeRow(msgspec.Struct, rename="camel"):
    exec_id: str
    symbol: str
    price: str
    size: str
    side: str
    time: str
    is_block_trade: bool | None = None
    seq: str | None = None
    is_rpi_trade: bool | None = msgspec.field(name="isRPITrade", default=None)
    mark_price: str | None = msgspec.field(name="mP", default=None)
    index_price: str | None = msgspec.field(name="iP", default=None)
    mark_iv: str | None = msgspec.field(name="mIv", default=None)
    trade_iv: str | None = msgspec.field(name="iv", default=None)


class Instrument(msgspec.Struct, frozen=True):
    """What the exchange announces about one instrument.

    Attributes:
        status: ``PreLaunch``, ``Trading``, ``Delivering`` or ``Closed``.
        settle_coin, contract_type: empty on spot; options have no contract type.
        tick_size: smallest price step, as written; empty where not announced.
        quantity_step: smallest size step, as written (``basePrecision`` on spot, ``lotSize`` of spreads).
        launch_time_ms, delivery_time_ms: null where not announced; ``"0"`` counts as not announced.
    """

    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    contract_type: str
    tick_size: str
    quantity_step: str
    launch_time_ms: int | None
    delivery_time_ms: int | None

    @property
    def price_exponent(self) -> int:
        """Exponent of the tick size. Raises `DecimalError` when it isn't a decimal."""
        return exponent_of(self.tick_size)

    @property
    def size_exponent(self) -> int:
        """Exponent of the quantity step. Raises `DecimalError` when it isn't a decimal."""
        return exponent_of(self.quantity_step)


class InstrumentPage(msgspec.Struct, frozen=True):
    """One answer of instruments-info.

    Attributes:
        next_cursor: of the next page; empty on the last one.
        malformed: rows that could not be read.
    """

    instruments: tuple[Instrument, ...]
    next_cursor: str
    malformed: int


class RestBook(msgspec.Struct, frozen=True):
    """One answer of the order-book endpoint.

    Attributes:
        bids, asks: price and size as written, best first.
        update_id: on the chain of the 1000-level stream (section 4, rule 8).
        push_ms, match_ms: clocks of the exchange; the second is null where not sent.
    """

    symbol: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    update_id: int
    cross_sequence: int | None
    push_ms: int
    match_ms: int | None


class RestTrade(msgspec.Struct, frozen=True):
    """One trade of the recent-trade endpoint.

    Attributes:
        side: of the taker, ``Buy`` or ``Sell``.
        match_ms: when it was matched.
        extras: options: ``mP``, ``iP``, ``mIv`` and ``iv`` as written.
    """

    trade_id: str
    symbol: str
    price: str
    size: str
    side: str
    match_ms: int
    is_block: bool | None
    is_rpi: bool | None
    cross_sequence: int | None
    extras: dict[str, str] = {}


class RecentTrades(msgspec.Struct, frozen=True):
    """One answer of the recent-trade endpoint.

    Attributes:
        trades: newest first as sent; malformed rows are left out.
        rows: how many there were, malformed ones too.
        time_ms: the exchange's clock, where sent.
    """

    trades: tuple[RestTrade, ...]
    rows: int
    time_ms: int | None


def exponent_of(step: str) -> int:
    """Return the exponent of a decimal as written: ``"0.10"`` has two decimals and gives -2.

    Raises:
        DecimalError: not a plain decimal, or more than 18 decimals.
    """
    match = _DECIMAL.fullmatch(step)
    if match is None or not step.isascii():
        raise DecimalError(f"step {step[:60]!r}: expected a plain decimal such as '0.01'")
    decimals = len(match[1] or "")
    if decimals > _DEEPEST_EXPONENT:
        raise DecimalError(f"step {step!r} has {decimals} decimals, at most {_DEEPEST_EXPONENT} can be held")
    return -decimals


def _positive(text: str) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) <= 18
    return (int(text) or None) if plain else None


def _decode(subject: str, data: bytes | msgspec.Raw, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=type_)
    except _DECODE_ERRORS as error:
        shown = bytes(data)[:200].decode("utf-8", "replace")
        raise ExchangeError(f"{subject}: the reply is not what is documented ({error}): {shown!r}") from None


def _result(subject: str, body: bytes, type_: type[_T]) -> _T:
    """Open the envelope (section 2.5): only the code tells success, the texts vary."""
    envelope = _decode(subject, body, _Envelope)
    if envelope.code != 0:
        raise Rejected(subject, f"{envelope.words[:500] or 'no text'} (code {envelope.code})")
    return _decode(subject, envelope.result, type_)


def _rows(rows: list[msgspec.Raw], type_: type[_T]) -> tuple[list[_T], int]:
    """Read rows one by one, so that a bad one can't hide the others; returns also the count of bad ones."""
    read: list[_T] = []
    for row in rows:
        try:
            read.append(msgspec.json.decode(row, type=type_))
        except _DECODE_ERRORS:
            continue
    return read, len(rows) - len(read)


def parse_time(body: bytes) -> int:
    """Return the exchange's clock in ns since the epoch.

    Raises:
        Rejected: the exchange answered with an error.
        ExchangeError: the answer isn't what is documented.
    """
    time = _result("market/time", body, _Time)
    text = time.nanoseconds
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ExchangeError(f"market/time: timeNano is {text[:40]!r}, expected up to 19 digits")
    return int(text)


def parse_instruments(body: bytes, subject: str = "market/instruments-info") -> InstrumentPage:
    """Read one page of instruments. Raises as `parse_time` does."""
    page = _result(subject, body, _List)
    if len(page.next_cursor) > _MAXIMUM_CURSOR:
        raise ExchangeError(
            f"{subject}: nextPageCursor has {len(page.next_cursor)} characters, "
            f"at most {_MAXIMUM_CURSOR} expected"
        )
    rows, malformed = _rows(page.rows, _InstrumentRow)
    instruments = tuple(
        Instrument(
            symbol=row.symbol,
            status=row.status,
            base_coin=row.base_coin,
            quote_coin=row.quote_coin,
            settle_coin=row.settle_coin,
            contract_type=row.contract_type,
            tick_size=row.price_filter.tick_size or row.tick_size,
            quantity_step=row.lot_size_filter.quantity_step
            or row.lot_size_filter.base_precision
            or row.lot_size,
            launch_time_ms=_positive(row.launch_time),
            delivery_time_ms=_positive(row.delivery_time),
        )
        for row in rows
    )
    return InstrumentPage(instruments, page.next_cursor, malformed)


def instrument_rows(body: bytes) -> list[msgspec.Raw]:
    """Cut a page of instruments into its rows, unread. Raises as `parse_time` does."""
    return _result("market/instruments-info", body, _List).rows


def parse_order_book(body: bytes, subject: str = "market/orderbook") -> RestBook:
    """Read a book. Raises as `parse_time` does."""
    book = _result(subject, body, _BookRow)
    return RestBook(book.s, tuple(book.b), tuple(book.a), book.u, book.seq, book.ts, book.cts)


def parse_tickers(body: bytes, subject: str = "market/tickers") -> list[dict[str, Any]]:
    """Read tickers as the exchange's own keys and values; names differ from the stream's (section 6.1).

    Raises as `parse_time` does. Rows that aren't objects are left out.
    """
    return _rows(_result(subject, body, _List).rows, dict[str, Any])[0]


def most_trades(category: Category) -> int:
    """Return how many trades one answer of recent-trade holds at most."""
    return _MAXIMUM_TRADES[category]


def parse_trades(body: bytes, subject: str = "market/recent-trade") -> list[RestTrade]:
    """Read trades, newest first as sent. Raises as `parse_time` does; malformed rows are left out."""
    return list(parse_recent_trades(body, subject).trades)


def parse_recent_trades(body: bytes, subject: str = "market/recent-trade") -> RecentTrades:
    """The same, with what else the answer says."""
    raw = _result(subject, body, _List).rows
    rows, _ = _rows(raw, _TradeRow)
    trades: list[RestTrade] = []
    for row in rows:
        match_ms = _positive(row.time)
        if match_ms is not None:
            extras = {"mP": row.mark_price, "iP": row.index_price, "mIv": row.mark_iv, "iv": row.trade_iv}
            trades.append(
                RestTrade(
                    trade_id=row.exec_id,
                    symbol=row.symbol,
                    price=row.price,
                    size=row.size,
                    side=row.side,
                    match_ms=match_ms,
                    is_block=row.is_block_trade,
                    is_rpi=row.is_rpi_trade,
                    cross_sequence=_positive(row.seq or ""),
                    extras={key: value for key, value in extras.items() if value is not None},
                )
            )
    try:
        time_ms = msgspec.json.decode(body, type=_Stamped).time
    except _DECODE_ERRORS:
        time_ms = None
    return RecentTrades(tuple(trades), len(raw), time_ms)
