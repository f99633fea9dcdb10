"""Tables whose rows say what a message said: klines, liquidations, insurance pools, ADL alerts, price limits, status.

Each row is the exchange's own statement, complete in itself: no state is built on it and none is hidden by a gap.
Numbers are DECIMAL(38,18), null for ``""`` (design section 3); protocol sections 3.6 to 3.11.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import COLLECTOR, DECIMAL, EXCHANGE, NAME, RECEIVE, SEQUENCE, column
from schemas.names import Table

__all__ = ["EVENT_ROWS", "EVENT_SCHEMAS"]

_HEAD: Final = (
    SEQUENCE,
    COLLECTOR,
    column("receive_time", RECEIVE, "When the frame's bytes left our socket (our wall clock, ns)."),
    column("push_time", EXCHANGE, "When the exchange's push gateway made the frame (`ts`)."),
)
_LINE: Final = column("line", pa.uint16(), "Connection slot that delivered the frame.")
_GROUP: Final = column("pool_group", NAME, "As in the topic: `USDT`, `USDC` or `inverse`.")
_NUMBERS: Final = pa.list_(pa.field("element", pa.int32(), nullable=False))

_KLINES: Final = pa.schema(
    [
        *_HEAD,
        column("match_time", EXCHANGE, "Last match in the candle so far (`timestamp`)."),
        column("interval", NAME, "As in the topic: minutes (`1` to `720`), `D`, `W` or `M`."),
        column("start_time", EXCHANGE, "First millisecond of the candle."),
        column("end_time", EXCHANGE, "Last millisecond of the candle."),
        column("open_price", DECIMAL, "First price.", null=True),
        column("high_price", DECIMAL, "Highest price so far.", null=True),
        column("low_price", DECIMAL, "Lowest price so far.", null=True),
        column("close_price", DECIMAL, "Last price so far.", null=True),
        column("volume", DECIMAL, "Volume so far: base coin, or USD contracts on inverse.", null=True),
        column("turnover", DECIMAL, "Turnover so far: quote coin, or base coin on inverse.", null=True),
        column("confirmed", pa.bool_(), "The candle is closed and this is final (`confirm`)."),
        _LINE,
    ]
)

_LIQUIDATIONS: Final = pa.schema(
    [
        *_HEAD,
        column("match_time", EXCHANGE, "When it was liquidated (`T`)."),
        column(
            "side",
            NAME,
            "Side of the position that was liquidated: `buy` for a long one, whose closing trade is a sell.",
        ),
        column("price", DECIMAL, "Bankruptcy price, which is not the price of the fill.", null=True),
        column("size", DECIMAL, "Size of the position.", null=True),
        _LINE,
    ]
)

_INSURANCE: Final = pa.schema(
    [
        *_HEAD,
        _GROUP,
        column("kind", NAME, "`snapshot` or `delta` as sent; a row is one pool either way.", null=True),
        column("coin", pa.string(), "Coin of the pool."),
        column("symbols", pa.string(), "Symbols that the pool insures, as sent."),
        column("balance", DECIMAL, "Balance of the pool.", null=True),
        column("update_time", EXCHANGE, "When the balance changed (`updateTime`).", null=True),
        _LINE,
    ]
)

_ADL_ALERTS: Final = pa.schema(
    [
        *_HEAD,
        _GROUP,
        column("coin", pa.string(), "Coin of the insurance pool (`c`)."),
        column("balance", DECIMAL, "Balance of the pool (`b`); at or below 0, ADL is on.", null=True),
        column("maximum_balance", DECIMAL, "Highest balance of 8 h (`mb`), no longer sent.", null=True),
        column("trigger_ratio", DECIMAL, "PnL ratio below which drawdown ADL begins (`i_pr`).", null=True),
        column("drawdown_ratio", DECIMAL, "Drawdown of the pool's PnL over 8 h (`pr`).", null=True),
        column(
            "threshold_balance",
            DECIMAL,
            "Balance above which the ratios are looked at (`adl_tt`).",
            null=True,
        ),
        column("stop_ratio", DECIMAL, "PnL ratio above which drawdown ADL ends (`adl_sr`).", null=True),
        _LINE,
    ]
)

_PRICE_LIMITS: Final = pa.schema(
    [
        *_HEAD,
        column("highest_bid", DECIMAL, "Highest bid that is accepted (`buyLmt`).", null=True),
        column("lowest_ask", DECIMAL, "Lowest ask that is accepted (`sellLmt`).", null=True),
        _LINE,
    ]
)

_SYSTEM_STATUS: Final = pa.schema(
    [
        *_HEAD,
        column("status_id", pa.string(), "Id of the maintenance or incident."),
        column("title", pa.string(), "Its title."),
        column("state", pa.string(), "`scheduled`, `ongoing`, `completed` or `canceled`."),
        column("begin_time", EXCHANGE, "When it begins or began.", null=True),
        column("end_time", EXCHANGE, "When it ended; an estimate until it has.", null=True),
        column("href", pa.string(), "Link to the announcement, often empty."),
        column(
            "service_types",
            _NUMBERS,
            "1 trading, 2 trading over http, 3 trading over websocket, 4 private stream, 5 market data.",
        ),
        column("products", _NUMBERS, "1 futures, 2 spot, 3 option, 4 spread."),
        column("uid_suffixes", _NUMBERS, "Last digits of the accounts concerned; empty for all."),
        column("maintenance_type", pa.int32(), "1 planned, 2 temporary, 3 incident.", null=True),
        column("environment", pa.int32(), "1 production, 2 demo.", null=True),
        _LINE,
    ]
)

EVENT_SCHEMAS: Final[dict[Table, pa.Schema]] = {
    Table.KLINES: _KLINES,
    Table.LIQUIDATIONS: _LIQUIDATIONS,
    Table.INSURANCE: _INSURANCE,
    Table.ADL_ALERTS: _ADL_ALERTS,
    Table.PRICE_LIMITS: _PRICE_LIMITS,
    Table.SYSTEM_STATUS: _SYSTEM_STATUS,
}

EVENT_ROWS: Final = {
    Table.KLINES: "One candle as a message said it: several rows while it is open, one with `confirmed` at its end.",
    Table.LIQUIDATIONS: "One liquidation.",
    Table.INSURANCE: "One insurance pool whose balance changed; filed under the symbol `_`.",
    Table.ADL_ALERTS: "What decides about auto-deleveraging of one symbol.",
    Table.PRICE_LIMITS: "The prices between which orders are accepted.",
    Table.SYSTEM_STATUS: "One maintenance or incident, as announced; filed under the symbol `_`.",
}
"""What a row is, for the documents."""
