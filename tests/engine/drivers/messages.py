"""Messages of the topics that events drivers read, as values, as bytes, and as the rows that they have to make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from schemas.names import Table

__all__ = ["SAMPLES", "TOPICS", "Message", "messages"]

START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        frame: its bytes.
        topic, table: what it is of.
        rows: symbol and the columns behind `push_time`, without `line`.
        push_ms: its clock.
    """

    frame: bytes
    topic: str
    table: Table
    rows: tuple[tuple[str, dict[str, Any]], ...]
    push_ms: int


TOPICS = (
    "kline.5.BTCUSDT",
    "kline.D.BTCUSDT",
    "allLiquidation.ROSEUSDT",
    "insurance.USDT",
    "adlAlert.USDT",
    "priceLimit.BTCUSDT",
    "system.status",
)

SAMPLES = (
    # as in the protocol sheet
    rb'{"topic":"kline.5.BTCUSDT","data":[{"start":1672324800000,"end":1672325099999,"interval":"5","open":"16649.5","close":"16677","high":"16677","low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,"timestamp":1672324988882}],"ts":1672324988882,"type":"snapshot"}',
    rb'{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}]}',
    rb'{"topic":"insurance.USDT","type":"delta","ts":1747722930000,"data":[{"coin":"USDT","symbols":"GRIFFAINUSDT","balance":"25614.92972633","updateTime":"1747722930000"}]}',
    rb'{"topic":"adlAlert.USDT","type":"snapshot","ts":1757736794000,"data":[{"c":"USDT","s":"ZORAUSDT","b":19873.46255153,"mb":"","i_pr":-0.3,"pr":0.000174,"adl_tt":10000,"adl_sr":-0.25}]}',
    rb'{"topic":"priceLimit.BTCUSDT","data":{"symbol":"BTCUSDT","buyLmt":"114450.00","sellLmt":"103550.00"},"ts":1750059683782}',
    rb'{"topic":"system.status","ts":1751858399649,"data":[{"id":"4d95b2a0-587f-11f0-bcc9-56f28c94d6ea","title":"t06","state":"completed","begin":"1751596902000","end":"1751597011000","href":"","serviceTypes":[2,3,4,5],"product":[1,2],"uidSuffix":[],"maintainType":1,"env":1}]}',
)  # fmt: skip

CLOCKS = st.integers(START_MS, START_MS + 3 * 86_400_000)
NUMBERS = st.decimals("-1000000", "1000000", places=8)


def _text(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


@st.composite
def _numbers(draw: st.DrawFn, *, bare: bool = False) -> tuple[Any, Decimal | None]:
    """What is written, and the value that it has."""
    value = draw(st.none() | NUMBERS)
    if value is None or not bare or draw(st.booleans()):
        return _text(value), value
    return _Bare(f"{value:f}"), value


class _Bare(float):
    """A number whose digits are written as they are."""

    def __new__(cls, text: str) -> _Bare:
        self = super().__new__(cls, text)
        self.text = text  # type: ignore[attr-defined]
        return self

    def __repr__(self) -> str:
        return str(self.text)  # type: ignore[attr-defined]


def _dump(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"{" + b",".join(json.dumps(k).encode() + b":" + _dump(v) for k, v in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(_dump, value)) + b"]"
    return repr(value).encode() if isinstance(value, _Bare) else json.dumps(value).encode()


def _candle(draw: st.DrawFn, topic: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    _, interval, symbol = topic.split(".")
    start, last, confirmed = draw(CLOCKS), draw(CLOCKS), draw(st.booleans())
    said: dict[str, Any] = {"start": start, "end": start + 299_999, "interval": interval}
    row = {"match_time": last, "interval": interval, "start_time": start, "end_time": start + 299_999}
    for key in ("open", "high", "low", "close", "volume", "turnover"):
        said[key], row[f"{key}_price" if key not in ("volume", "turnover") else key] = draw(_numbers())
    return said | {"confirm": confirmed, "timestamp": last}, symbol, row | {"confirmed": confirmed}


def _liquidation(draw: st.DrawFn, topic: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    symbol = topic.split(".")[1]
    at, side = draw(CLOCKS), draw(st.sampled_from(["Buy", "Sell"]))
    (price, price_value), (size, size_value) = draw(_numbers()), draw(_numbers())
    row = {"match_time": at, "side": side.lower(), "price": price_value, "size": size_value}
    return {"T": at, "s": symbol, "S": side, "v": size, "p": price}, symbol, row


def _pool(draw: st.DrawFn, topic: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    coin, symbols, at = (
        draw(st.sampled_from(["USDT", "USDC"])),
        draw(st.text("AB,", max_size=9)),
        draw(CLOCKS),
    )
    balance, value = draw(_numbers())
    said = {"coin": coin, "symbols": symbols, "balance": balance, "updateTime": str(at)}
    row = {"coin": coin, "symbols": symbols, "balance": value, "update_time": at}
    return said, "_", {"pool_group": topic.split(".")[1]} | row


def _alert(draw: st.DrawFn, topic: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    symbol = draw(st.sampled_from(["ZORAUSDT", "A/B_C", "X"]))
    said: dict[str, Any] = {"c": "USDT", "s": symbol}
    row: dict[str, Any] = {"pool_group": topic.split(".")[1], "coin": "USDT"}
    for key, column in (
        ("b", "balance"), ("mb", "maximum_balance"), ("i_pr", "trigger_ratio"), ("pr", "drawdown_ratio"),
        ("adl_tt", "threshold_balance"), ("adl_sr", "stop_ratio"),
    ):  # fmt: skip
        said[key], row[column] = draw(_numbers(bare=True))
    return said, symbol, row


def _limit(draw: st.DrawFn, topic: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    symbol = topic.split(".")[1]
    (bid, bid_value), (ask, ask_value) = draw(_numbers()), draw(_numbers())
    row = {"highest_bid": bid_value, "lowest_ask": ask_value}
    return {"symbol": symbol, "buyLmt": bid, "sellLmt": ask}, symbol, row


def _status(draw: st.DrawFn, _: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    begin, end = draw(CLOCKS), draw(st.none() | CLOCKS)
    state = draw(st.sampled_from(["scheduled", "ongoing", "completed", "canceled"]))
    kinds = [draw(st.lists(st.integers(0, 9), max_size=3)) for _ in range(3)]
    kind, written = draw(st.sampled_from([(1, 1), (2, "2")]))
    said = {
        "id": "4d95", "title": "t", "state": state, "begin": str(begin), "end": "" if end is None else str(end),
        "href": "", "serviceTypes": kinds[0], "product": kinds[1], "uidSuffix": kinds[2], "maintainType": written,
        "env": 1,
    }  # fmt: skip
    row = {
        "status_id": "4d95", "title": "t", "state": state, "begin_time": begin, "end_time": end, "href": "",
        "service_types": kinds[0], "products": kinds[1], "uid_suffixes": kinds[2], "maintenance_type": kind,
        "environment": 1,
    }  # fmt: skip
    return said, "_", row


KINDS = {
    "kline": (Table.KLINES, _candle),
    "allLiquidation": (Table.LIQUIDATIONS, _liquidation),
    "insurance": (Table.INSURANCE, _pool),
    "adlAlert": (Table.ADL_ALERTS, _alert),
    "priceLimit": (Table.PRICE_LIMITS, _limit),
    "system": (Table.SYSTEM_STATUS, _status),
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A message of any of the topics, its keys in any order."""
    topic = draw(st.sampled_from(TOPICS))
    head = topic.partition(".")[0]
    table, make = KINDS[head]
    push_ms = draw(CLOCKS)
    items = [make(draw, topic) for _ in range(1 if head == "priceLimit" else draw(st.integers(0, 3)))]
    data: Any = [said for said, _, _ in items]
    envelope: dict[str, Any] = {
        "topic": topic,
        "ts": push_ms,
        "data": data[0] if head == "priceLimit" else data,
    }
    rows = [(symbol, row) for _, symbol, row in items]
    if head not in ("priceLimit", "system"):
        envelope["type"] = draw(st.sampled_from(["snapshot", "delta"])) if head == "insurance" else "snapshot"
    if head == "insurance":
        rows = [
            (symbol, {"pool_group": row["pool_group"], "kind": envelope["type"]} | row)
            for symbol, row in rows
        ]
    keys = draw(st.permutations(list(envelope)))
    return Message(_dump({key: envelope[key] for key in keys}), topic, table, tuple(rows), push_ms)
