"""The archive's tables: one Arrow schema each, one sentence of meaning per column.

The physical schema of a table is the same in every file of a schema version; ``schemas.stored`` says how it differs from
these. Every column has its meaning (field metadata ``meaning``), and ``docs/tables.md`` is generated from here.

Conventions: prices and sizes are ``int64`` mantissas beside ``int8`` exponents, value = mantissa x 10^exponent;
times are UTC. ``receive_time`` is our clock in nanoseconds, ``push_time`` (the exchange's ``ts``) and ``match_time``
(``cts``, or a trade's ``T``) are the exchange's clocks, which tick in milliseconds.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import pyarrow as pa

from schemas import upkeep_tables
from schemas.columns import COLLECTOR as _COLLECTOR
from schemas.columns import DECIMAL as TICKER_DECIMAL
from schemas.columns import EXCHANGE, NAME, RECEIVE
from schemas.columns import SEQUENCE as _SEQUENCE
from schemas.columns import column as _field
from schemas.event_tables import EVENT_SCHEMAS
from schemas.history_tables import HISTORY_SCHEMAS
from schemas.instruments import INSTRUMENT_FIELDS, INSTRUMENT_KINDS
from schemas.names import Table
from schemas.raw_tables import RAW_RECORDS

__all__ = [
    "CAUSES",
    "FULL_DEPTH",
    "LEVEL_COLUMNS",
    "ROW_KINDS",
    "RPI_DEPTH",
    "RPI_LEVEL_COLUMNS",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "TICKER_DECIMAL",
    "TICKER_FIELDS",
    "TickerField",
    "book_of_topic",
    "book_topic",
    "schema_of",
]

SCHEMA_VERSION: Final = 2
"""Of what lies in files: 1 is the tables as they are, 2 what `schemas.stored` makes of them."""

MANTISSAS = pa.list_(pa.field("element", pa.int64(), nullable=False))

ROW_KINDS: Final = ("snapshot", "delta", "keyframe")
LEVEL_COLUMNS: Final = ("bid_price_mantissa", "bid_size_mantissa", "ask_price_mantissa", "ask_size_mantissa")
"""The lists of levels of `book_updates`, in the order of the core's buffers."""
RPI_LEVEL_COLUMNS: Final = (*LEVEL_COLUMNS, "bid_rpi_size_mantissa", "ask_rpi_size_mantissa")
"""The lists of levels of `rpi_book_updates`, in the order of the core's buffers."""
FULL_DEPTH: Final = 32_767
"""What `depth` says of `orderbook.full`: everything there is, as far as the column can count."""
RPI_DEPTH: Final = 50
"""Levels a side that `orderbook.rpi` shows (protocol section 3.2)."""
CAUSES: Final = (
    "lost",
    "undecodable",
    "disconnect",
    "silence",
    "no_snapshot",
    "crash",
    "crossed",
    "overflow",
    "reset",
    "disagreement",
)


_RECEIVE = _field("receive_time", RECEIVE, "When the frame's bytes left our socket (our wall clock, ns).")
_PUSH = _field("push_time", EXCHANGE, "When the exchange's push gateway made the frame (`ts`).")
_MATCH = _field("match_time", EXCHANGE, "Matching-engine time of this book state (`cts`).", null=True)
_LINE = _field("line", pa.uint16(), "Connection slot that delivered the frame.")
_PRICE_EXPONENT = _field("price_exponent", pa.int8(), "Price value = mantissa x 10^price_exponent.")
_SIZE_EXPONENT = _field("size_exponent", pa.int8(), "Size value = mantissa x 10^size_exponent.")

_BOOK_UPDATES = pa.schema(
    [
        _SEQUENCE,
        _COLLECTOR,
        _RECEIVE,
        _PUSH,
        _MATCH,
        _field(
            "depth",
            pa.int16(),
            "Depth of the topic: the 50 of `orderbook.50.BTCUSDT`; 32767 stands for `orderbook.full`.",
        ),
        _field(
            "kind",
            NAME,
            "`snapshot` and `delta` as sent; `keyframe` is a full book written by roll, under the stamps of the row before it (at the head of a file: of the last frame before the file).",
        ),
        _field(
            "applied",
            pa.bool_(),
            "False when the feed was not in a state to take this delta; never queried as truth.",
        ),
        _field("update_id", pa.int64(), "The topic's update id `u`; consecutive except at level 1."),
        _field(
            "cross_sequence",
            pa.int64(),
            "Matching-engine sequence `seq`, comparable across topics of a symbol.",
            null=True,
        ),
        _field(
            "bid_price_mantissa",
            MANTISSAS,
            "Bid prices named by the message, in its order (a keyframe: the whole side, best first).",
        ),
        _field("bid_size_mantissa", MANTISSAS, "New absolute bid sizes beside them; 0 removes the price."),
        _field(
            "ask_price_mantissa",
            MANTISSAS,
            "Ask prices named by the message, in its order (a keyframe: the whole side, best first).",
        ),
        _field("ask_size_mantissa", MANTISSAS, "New absolute ask sizes beside them; 0 removes the price."),
        _PRICE_EXPONENT,
        _SIZE_EXPONENT,
        _field(
            "digest",
            pa.uint64(),
            "Digest of the whole book after this row, as the live engine noted it; null where it noted none.",
            null=True,
        ),
        _LINE,
    ]
)

_RPI_SIZES = (
    _field(
        "bid_rpi_size_mantissa",
        MANTISSAS,
        "New absolute sizes of retail-price-improvement orders at the bid prices; a price goes when both its sizes are 0.",
    ),
    _field("ask_rpi_size_mantissa", MANTISSAS, "The same at the ask prices."),
)
_RPI_BOOK_UPDATES = pa.schema(
    [
        field
        for known in _BOOK_UPDATES
        for field in ((*_RPI_SIZES, known) if known.name == "price_exponent" else (known,))
    ]
)

_TRADES = pa.schema(
    [
        _SEQUENCE,
        _COLLECTOR,
        _RECEIVE,
        _PUSH,
        _field("match_time", EXCHANGE, "When the trade was matched (`T`)."),
        _field("trade_id", pa.string(), "The exchange's id: a UUID on derivatives, digits on spot."),
        _field("side", NAME, "Taker side: `buy` or `sell`."),
        _field("price_mantissa", pa.int64(), "Price mantissa."),
        _field("size_mantissa", pa.int64(), "Size mantissa: base coin, or USD contracts on inverse."),
        _PRICE_EXPONENT,
        _SIZE_EXPONENT,
        _field(
            "tick_direction",
            NAME,
            "PlusTick, ZeroPlusTick, MinusTick or ZeroMinusTick; null where not sent.",
            null=True,
        ),
        _field("is_block", pa.bool_(), "Block trade.", null=True),
        _field("is_rpi", pa.bool_(), "Retail-price-improvement trade; null where not sent.", null=True),
        _field(
            "cross_sequence",
            pa.int64(),
            "Matching-engine sequence `seq`; shared by the trades of one match.",
            null=True,
        ),
        _field("mark_price", TICKER_DECIMAL, "Options: mark price at the trade.", null=True),
        _field("index_price", TICKER_DECIMAL, "Options: index price at the trade.", null=True),
        _field("mark_iv", TICKER_DECIMAL, "Options: mark implied volatility.", null=True),
        _field("trade_iv", TICKER_DECIMAL, "Options: the trade's implied volatility.", null=True),
        _field(
            "source",
            NAME,
            "`stream`, `backfill` when fetched over REST after a gap, or `import` when read from a history file.",
        ),
        _LINE,
    ]
)


class TickerField:
    """One key of the tickers topic and the column that holds it.

    Attributes:
        key: the exchange's key.
        column: our column.
        kind: ``decimal`` (DECIMAL(38,18)), ``text`` or ``time`` (ms since the epoch, or ISO 8601).
        meaning: one sentence.
    """

    __slots__ = ("column", "key", "kind", "meaning")

    def __init__(self, key: str, column: str, kind: str, meaning: str) -> None:
        self.key, self.column, self.kind, self.meaning = key, column, kind, meaning


# The order is the bit order of `tickers.keys` and of the decoder's table: append only.
TICKER_FIELDS: Final = tuple(
    TickerField(*spec)
    for spec in (
        ("tickDirection", "tick_direction", "text", "Direction of the last price change."),
        ("price24hPcnt", "price_change_24h", "decimal", "Price change over 24 h, as a fraction."),
        ("lastPrice", "last_price", "decimal", "Last traded price."),
        ("prevPrice24h", "previous_price_24h", "decimal", "Price 24 h ago."),
        ("highPrice24h", "high_price_24h", "decimal", "Highest price of 24 h."),
        ("lowPrice24h", "low_price_24h", "decimal", "Lowest price of 24 h."),
        ("prevPrice1h", "previous_price_1h", "decimal", "Price one hour ago."),
        ("markPrice", "mark_price", "decimal", "Mark price."),
        ("indexPrice", "index_price", "decimal", "Index price."),
        ("openInterest", "open_interest", "decimal", "Open interest, both sides."),
        ("openInterestValue", "open_interest_value", "decimal", "Open interest value, both sides."),
        ("singleOpenInterest", "single_open_interest", "decimal", "Open interest, one side."),
        (
            "singleOpenInterestValue",
            "single_open_interest_value",
            "decimal",
            "Open interest value, one side.",
        ),
        ("turnover24h", "turnover_24h", "decimal", "Turnover of 24 h."),
        ("volume24h", "volume_24h", "decimal", "Volume of 24 h."),
        ("nextFundingTime", "next_funding_time", "time", "Next funding time."),
        ("fundingRate", "funding_rate", "decimal", "Funding rate."),
        ("bid1Price", "bid1_price", "decimal", "Best bid price."),
        ("bid1Size", "bid1_size", "decimal", "Best bid size."),
        ("ask1Price", "ask1_price", "decimal", "Best ask price."),
        ("ask1Size", "ask1_size", "decimal", "Best ask size."),
        ("fundingIntervalHour", "funding_interval_hour", "decimal", "Hours between fundings."),
        ("fundingCap", "funding_cap", "decimal", "Cap of the funding rate."),
        ("deliveryTime", "delivery_time", "time", "Delivery time of a dated contract."),
        ("basis", "basis", "decimal", "Basis of a dated contract."),
        ("basisRate", "basis_rate", "decimal", "Basis rate."),
        ("basisRateYear", "basis_rate_year", "decimal", "Annualised basis rate."),
        ("deliveryFeeRate", "delivery_fee_rate", "decimal", "Delivery fee rate."),
        (
            "predictedDeliveryPrice",
            "predicted_delivery_price",
            "decimal",
            "Predicted delivery price, near delivery.",
        ),
        ("preOpenPrice", "pre_open_price", "decimal", "Pre-market: estimated opening price."),
        ("preQty", "pre_quantity", "decimal", "Pre-market: estimated opening quantity."),
        ("curPreListingPhase", "pre_listing_phase", "text", "Pre-market: current phase."),
        ("usdIndexPrice", "usd_index_price", "decimal", "Spot: USD index price."),
        ("bidPrice", "bid_price", "decimal", "Options: best bid price."),
        ("bidSize", "bid_size", "decimal", "Options: best bid size."),
        ("bidIv", "bid_iv", "decimal", "Options: implied volatility at the bid."),
        ("askPrice", "ask_price", "decimal", "Options: best ask price."),
        ("askSize", "ask_size", "decimal", "Options: best ask size."),
        ("askIv", "ask_iv", "decimal", "Options: implied volatility at the ask."),
        ("markPriceIv", "mark_price_iv", "decimal", "Options: mark implied volatility."),
        ("underlyingPrice", "underlying_price", "decimal", "Options: underlying price."),
        ("totalVolume", "total_volume", "decimal", "Options: total volume."),
        ("totalTurnover", "total_turnover", "decimal", "Options: total turnover."),
        ("delta", "delta", "decimal", "Options: delta."),
        ("gamma", "gamma", "decimal", "Options: gamma."),
        ("vega", "vega", "decimal", "Options: vega."),
        ("theta", "theta", "decimal", "Options: theta."),
        ("change24h", "change_24h", "decimal", "Options: change over 24 h, as a fraction."),
    )
)

_TICKER_TYPES = {"decimal": TICKER_DECIMAL, "text": pa.string(), "time": EXCHANGE}

_TICKERS = pa.schema(
    [
        _SEQUENCE,
        _COLLECTOR,
        _RECEIVE,
        _PUSH,
        _field("kind", NAME, "`snapshot` or `delta` as sent; the columns hold the merged state either way."),
        _field(
            "applied",
            pa.bool_(),
            "False for a delta without a snapshot before it: then only its own keys are filled.",
        ),
        _field("keys", pa.uint64(), "Bit i is set when the message carried key i of the tickers field list."),
        _field(
            "cross_sequence", pa.int64(), "Matching-engine sequence `cs`; null where not sent.", null=True
        ),
        *(
            _field(f.column, _TICKER_TYPES[f.kind], f'{f.meaning} (`{f.key}`; null for "")', null=True)
            for f in TICKER_FIELDS
        ),
        _LINE,
    ]
)

_GAPS = pa.schema(
    [
        _field(
            "sequence",
            pa.int64(),
            "Ordinal of the record that healed the gap, or of the last one before the segment ended.",
        ),
        _COLLECTOR,
        _field("topic", pa.string(), "Topic of the feed; empty where a frame was too damaged to tell."),
        _field(
            "start_time",
            RECEIVE,
            "Receive time of the last good frame before the gap (or of the first one that could not be used).",
        ),
        _field(
            "end_time",
            RECEIVE,
            "Receive time of what healed it; null while it was still open at the segment's end.",
            null=True,
        ),
        _field("start_match_time", EXCHANGE, "Match time of the last good frame.", null=True),
        _field("end_match_time", EXCHANGE, "Match time of what healed it.", null=True),
        _field(
            "first_update_id", pa.int64(), "Last good update id + 1; null where ids do not exist.", null=True
        ),
        _field(
            "last_update_id",
            pa.int64(),
            "Healing snapshot's update id - 1, so below the first one where no update was missed; null where ids do not exist or a new chain began.",
            null=True,
        ),
        _field("cause", NAME, "Why: " + ", ".join(CAUSES) + "."),
        _field(
            "healed_by",
            NAME,
            "`snapshot`, `message`, `subscribed`, `backfill` (the trades were fetched back), `gap` (nothing: it showed in another gap of the feed, which begins where this one ends), or `end` (the recording of the feed ended before it healed); null while open.",
            null=True,
        ),
    ]
)

_COVERAGE = pa.schema(
    [
        _field("sequence", pa.int64(), "Ordinal of the record that began the span."),
        _COLLECTOR,
        _field("topic", pa.string(), "Topic of the feed."),
        _field(
            "start_time",
            RECEIVE,
            "From when the feed was recorded; equals the previous row's end where the span goes on.",
        ),
        _field("end_time", RECEIVE, "Until when; the segment's end where the span goes on in the next."),
        _field("messages", pa.int64(), "Decoded frames of the feed in the span, repeats included."),
        _field("lines", pa.int32(), "Connections that carried the feed."),
    ]
)

_INSTRUMENT_TYPES = {
    "text": pa.string(),
    "decimal": TICKER_DECIMAL,
    "integer": pa.int64(),
    "time": EXCHANGE,
    "flag": pa.bool_(),
    "json": pa.string(),
}

_INSTRUMENTS = pa.schema(
    [
        _SEQUENCE,
        _COLLECTOR,
        _field("receive_time", RECEIVE, "When the recorder took the answer in (our wall clock, ns)."),
        _field("symbol", pa.string(), "Symbol of the instrument."),
        _field(
            "kind",
            NAME,
            "`listed` when the recording run first saw it, `changed` when a field did, `gone` when it is no longer listed: "
            "then nothing else is filled. One of " + ", ".join(INSTRUMENT_KINDS) + ".",
        ),
        *(
            _field(
                f.column,
                _INSTRUMENT_TYPES[f.kind],
                f"{f.meaning} (`{'.'.join(f.path)}`; null where not sent, empty, or no such value)",
                null=True,
            )
            for f in INSTRUMENT_FIELDS
        ),
    ]
)

SCHEMAS: Final[dict[Table, pa.Schema]] = {
    Table.BOOK_UPDATES: _BOOK_UPDATES,
    Table.RPI_BOOK_UPDATES: _RPI_BOOK_UPDATES,
    Table.TRADES: _TRADES,
    Table.TICKERS: _TICKERS,
    Table.GAPS: _GAPS,
    Table.COVERAGE: _COVERAGE,
    Table.INSTRUMENTS: _INSTRUMENTS,
    Table.CLOCK_OFFSETS: upkeep_tables.CLOCK_OFFSETS,
    Table.AUDITS: upkeep_tables.AUDITS,
    **HISTORY_SCHEMAS,
    **EVENT_SCHEMAS,
    Table.RAW_RECORDS: RAW_RECORDS,
}


def book_topic(table: Table, depth: int, symbol: str) -> str:
    """Return the topic whose messages the rows of a book table with this depth are."""
    if table is Table.RPI_BOOK_UPDATES:
        return f"orderbook.rpi.{symbol}"
    return f"orderbook.{'full' if depth == FULL_DEPTH else depth}.{symbol}"


def book_of_topic(topic: str) -> tuple[Table, int, str] | None:
    """Return table, depth and symbol of an order-book topic; None for others. The symbol may be missing: "orderbook.50"."""
    name, _, rest = topic.partition(".")
    depth, _, symbol = rest.partition(".")
    if name != "orderbook":
        return None
    if depth == "rpi":
        return Table.RPI_BOOK_UPDATES, RPI_DEPTH, symbol
    if depth == "full":
        return Table.BOOK_UPDATES, FULL_DEPTH, symbol
    if depth.isascii() and depth.isdigit() and len(depth) <= 4 and depth[0] != "0":
        return Table.BOOK_UPDATES, int(depth), symbol
    return None


@cache
def schema_of(table: Table) -> pa.Schema:
    """Return the table's schema with its name and version as schema metadata."""
    return SCHEMAS[table].with_metadata({"table": table.value, "schema_version": str(SCHEMA_VERSION)})
