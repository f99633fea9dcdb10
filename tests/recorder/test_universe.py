"""Symbols by rule, asked of a gateway over a real socket."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from aiohttp import web

import recorder.universe
from engine.bybit import rest as shapes
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.rest import RestClient
from recorder.universe import Listed, ask, resolve, topics_of, turnovers
from schemas.config import RecordConfig
from schemas.errors import ConfigError, ExchangeError
from schemas.names import Category
from tests.recorder.lines import until
from tests.recorder.market_gateway import Answer, MarketGateway


def gateway(**options: Any) -> Gateway:
    return Gateway(GatewayOptions(simulate=7, symbol_count=8, **options))


def config(category: Category, *symbols: str, topics: tuple[str, ...] = ("tickers",)) -> RecordConfig:
    return RecordConfig(category=category, symbols=list(symbols), topics=list(topics))


async def test_a_list_asks_nobody() -> None:
    resolved = await resolve(config(Category.LINEAR, "BTCUSDT", "ETHUSDT"), "ws://127.0.0.1:1")
    assert resolved.topics == ["tickers.BTCUSDT", "tickers.ETHUSDT"]
    assert resolved.choice is None


@pytest.mark.parametrize("category", list(Category))
async def test_every_page_is_asked_for(category: Category, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "INSTRUMENTS_PER_PAGE", 3)
    monkeypatch.setattr(shapes, "_SPREADS_PER_PAGE", 3)
    spread = category is Category.SPREAD  # its tickers are asked for one by one
    async with gateway() as exchange, RestClient(exchange.url) as rest:
        listed = await ask(rest, category, tickers=not spread)
    assert len({instrument.symbol for instrument in listed.instruments}) == len(listed.instruments) == 8
    assert listed.tickers.keys() == (
        set() if spread else {instrument.symbol for instrument in listed.instruments}
    )
    assert len(listed.answers) == (1 if category is Category.SPOT else 3)
    path = "/v5/spread/instrument?limit=3" if spread else "/v5/market/instruments-info?category="
    assert all(answer.startswith(path) for answer, _ in listed.answers)
    assert sum("cursor=" in path for path, _ in listed.answers) == len(listed.answers) - 1


async def test_the_sentence_of_the_issue_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tapebook")
    # as the command line and a TOML list split it
    sentence = ("linear USDT perpetuals with turnover24h > 5e6", "top 3")
    async with gateway() as exchange:
        resolved = await resolve(config(Category.LINEAR, *sentence), exchange.url)
        async with RestClient(exchange.url) as rest:
            _, tickers = await rest.tickers(Category.LINEAR)
    assert resolved.choice is not None
    by_turnover = sorted(
        (row for row in tickers if row["symbol"].endswith("USDT") and float(row["turnover24h"]) > 5e6),
        key=lambda row: float(row["turnover24h"]),
        reverse=True,
    )
    assert [f"tickers.{row['symbol']}" for row in by_turnover[:3]] == resolved.topics
    (told,) = [record.message for record in caplog.records if "top 3" in record.message]
    assert "8 listed" in told
    assert "3 in the top 3 by turnover24h" in told
    assert f"cut by top: {by_turnover[3]['symbol']}" in told


async def test_options_by_base_coin_and_their_trades_by_coin() -> None:
    async with gateway() as exchange:
        resolved = await resolve(
            config(Category.OPTION, "BTC calls", topics=("publicTrade", "orderbook.25")), exchange.url
        )
    assert resolved.choice is not None
    assert resolved.choice.symbols
    assert all(s.startswith("BTC-") and "-C" in s for s in resolved.choice.symbols)
    assert resolved.topics == ["publicTrade.BTC", *(f"orderbook.25.{s}" for s in resolved.choice.symbols)]


async def test_unlisted_symbols_beside_a_rule_are_asked_for_all_the_same() -> None:
    async with gateway() as exchange:
        resolved = await resolve(config(Category.LINEAR, "NOPEUSDT", "BTC*"), exchange.url)
    assert resolved.topics[0] == "tickers.NOPEUSDT"
    assert resolved.choice is not None
    assert resolved.choice.unlisted == ("NOPEUSDT",)


async def test_a_rule_that_means_nothing_says_where_the_symbols_went() -> None:
    async with gateway() as exchange:
        with pytest.raises(ConfigError, match=r"nothing is chosen \(.*0 with turnover24h > 1E\+30.*loosen"):
            await resolve(config(Category.LINEAR, "all with turnover24h > 1e30"), exchange.url)


class Stubborn(MarketGateway):
    """A gateway whose tickers are refused so many times, in the exchange's words."""

    def __init__(self, refusals: int) -> None:
        super().__init__(GatewayOptions(simulate=7, symbol_count=2))
        self.refusals = refusals

    async def market(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if request.path.endswith("/tickers") and self.refusals:
            self.refusals -= 1
            return web.json_response({"retCode": 10016, "retMsg": "Internal System Error", "result": {}})
        return await answer(request)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.universe, "PAUSES_S", (0.0, 0.0))


async def test_a_rule_that_needs_no_turnovers_does_without_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tapebook")
    async with Stubborn(1_000) as exchange:
        resolved = await resolve(config(Category.LINEAR, "BTC*"), exchange.url)
    assert resolved.topics == ["tickers.BTCUSDT"]
    (told,) = [record.message for record in caplog.records]
    assert "market/tickers could not be had" in told
    assert "Internal System Error" in told


@pytest.mark.usefixtures("no_pauses")
async def test_a_rule_that_needs_turnovers_asks_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tapebook")
    async with Stubborn(2) as exchange:
        resolved = await resolve(config(Category.LINEAR, "all with turnover24h > 1, top 1"), exchange.url)
    assert len(resolved.topics) == 1
    assert [r.message.partition(" again")[2] for r in caplog.records] == [" in 0 s"] * 2


@pytest.mark.usefixtures("no_pauses")
async def test_a_rule_whose_turnovers_cannot_be_had_says_so() -> None:
    async with Stubborn(1_000) as exchange:
        with pytest.raises(
            ExchangeError, match=r"--symbols .*top 1 needs .*tickers.* 3 times: .*Internal"
        ) as told:
            await resolve(config(Category.LINEAR, "all with turnover24h > 1, top 1"), exchange.url)
    assert told.value.exit_code == 3
    assert exchange.refusals == 1_000 - 3


async def test_a_rule_that_has_to_wait_says_for_what(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tapebook")
    monkeypatch.setattr(recorder.universe, "TELL_S", 0.01)

    class Slow(MarketGateway):
        async def market(self, request: web.Request, answer: Answer) -> web.StreamResponse:
            await until(lambda: caplog.records, "what is told")
            return await answer(request)

    async with Slow(GatewayOptions(simulate=7, symbol_count=2)) as exchange:
        assert (await resolve(config(Category.LINEAR, "BTC*"), exchange.url)).topics == ["tickers.BTCUSDT"]
    (told,) = [record.message for record in caplog.records]
    assert told.startswith(
        f"--symbols BTC* has to wait for instruments-info of {exchange.url}: no answer for 0.01 s"
    )


def test_turnovers_are_taken_where_they_are_numbers() -> None:
    rows: dict[str, Any] = {
        "A": {"turnover24h": "12345678.9"},
        "B": {"turnover24h": ""},
        "C": {},
        "D": {"turnover24h": "nan"},
        "E": {"turnover24h": ["1"]},
        "F": {"turnover24h": "1e999"},
    }
    assert turnovers(Listed(tickers=rows)) == {"A": 12345678.9}
    assert turnovers(None) == {}


def test_shards_share_the_topics_out() -> None:
    """Each topic is somebody's, all of a symbol's are one's, and a new listing needs no word from anybody."""
    symbols = tuple(f"S{number}USDT" for number in range(40))
    whole = config(Category.LINEAR, topics=("orderbook.50", "tickers"))
    shares = [
        topics_of(msgspec.structs.replace(whole, shard=f"{number}/3", pins=["S7USDT=2"]), symbols)
        for number in (1, 2, 3)
    ]
    assert sorted(topic for share in shares for topic in share) == sorted(topics_of(whole, symbols))
    owners = [{topic.rpartition(".")[2] for topic in share} for share in shares]
    assert sum(map(len, owners)) == len(symbols)
    assert all(owners)
    assert "S7USDT" in owners[1]
