"""Tables of REST histories: what the exchange still knows of times that nobody recorded (protocol section 6.1)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import COLLECTOR, DECIMAL, EXCHANGE, NAME, RECEIVE_TIME, SEQUENCE, column
from schemas.names import Table

__all__ = ["HISTORY_ROWS", "HISTORY_SCHEMAS", "KLINE_KINDS"]

KLINE_KINDS: Final = ("trade", "mark", "index", "premium")

_HEAD: Final = (SEQUENCE, COLLECTOR, RECEIVE_TIME)
_INTERVAL: Final = column("interval", NAME, "As asked for: minutes (`1` to `720`), `D`, `W` or `M`.")

HISTORY_SCHEMAS: Final[dict[Table, pa.Schema]] = {
    Table.FUNDING_HISTORY: pa.schema(
        [
            *_HEAD,
            column("funding_time", EXCHANGE, "When it was paid (`fundingRateTimestamp`)."),
            column("funding_rate", DECIMAL, "The rate (`fundingRate`).", null=True),
        ]
    ),
    Table.REFERENCE_KLINES: pa.schema(
        [
            *_HEAD,
            column("kind", NAME, "Of which price: " + ", ".join(f"`{kind}`" for kind in KLINE_KINDS) + "."),
            _INTERVAL,
            column("start_time", EXCHANGE, "First millisecond of the candle."),
            column("open_price", DECIMAL, "First price.", null=True),
            column("high_price", DECIMAL, "Highest price.", null=True),
            column("low_price", DECIMAL, "Lowest price.", null=True),
            column("close_price", DECIMAL, "Last price.", null=True),
            column("volume", DECIMAL, "Of trades: base coin, or USD contracts on inverse.", null=True),
            column("turnover", DECIMAL, "Of trades: quote coin, or base coin on inverse.", null=True),
        ]
    ),
    Table.OPEN_INTEREST: pa.schema(
        [
            *_HEAD,
            column("interval", NAME, "As asked for: `5min`, `15min`, `30min`, `1h`, `4h` or `1d`."),
            column("time", EXCHANGE, "Of the observation (`timestamp`)."),
            column("open_interest", DECIMAL, "Both sides: base coin, or USD on inverse.", null=True),
            column("single_open_interest", DECIMAL, "One side.", null=True),
        ]
    ),
    Table.DELIVERY_PRICES: pa.schema(
        [
            *_HEAD,
            column("delivery_time", EXCHANGE, "When the contract was delivered."),
            column("delivery_price", DECIMAL, "At what price.", null=True),
        ]
    ),
}

HISTORY_ROWS: Final[dict[Table, str]] = {
    Table.FUNDING_HISTORY: "One funding of a perpetual, as `backfill` fetched it.",
    Table.REFERENCE_KLINES: "One candle of trades, mark price, index price or premium, as `backfill` fetched it.",
    Table.OPEN_INTEREST: "Open interest at one time, as `backfill` fetched it.",
    Table.DELIVERY_PRICES: "One contract's delivery, as `backfill` fetched it.",
}
