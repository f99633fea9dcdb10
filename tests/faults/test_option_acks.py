"""Options acknowledge whatever they are asked: what doesn't deliver is told, and the others are recorded."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from engine.bybit.patience import SessionOptions
from engine.timing import Timing
from recorder.collector import Collector
from recorder.gateway import Gateway, GatewayOptions
from recorder.rest import RestClient
from schemas.config import RecordConfig
from schemas.names import Category
from tests.recorder.lines import until

HASTY = Timing(session=SessionOptions(first_data_timeout_ns=300_000_000), tick_s=0.02)


async def test_an_acknowledged_contract_that_does_not_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Gateway(GatewayOptions(simulate=5, category=Category.OPTION)) as gateway:
        async with RestClient(gateway.url) as rest:
            _, instruments = await rest.instruments(Category.OPTION)
        good = f"orderbook.25.{instruments[0].symbol}"
        bad = "orderbook.25.BTC-1JAN20-1-C-USDT"
        config = RecordConfig(category=Category.OPTION, data=str(tmp_path), roll=False)
        collector = Collector(config, gateway.url, [good, bad, "publicTrade.DOGE"], crashed=[], timing=HASTY)
        with caplog.at_level(logging.WARNING, "tapebook"):
            task = asyncio.create_task(collector.run())
            await until(lambda: f"{bad}: acknowledged, but no first frame came" in caplog.text, "the news")
            await until(lambda: collector.engine.state(0).value == "live", "the good one")
            collector.stop("the test")
            report = await asyncio.wait_for(task, 60)
    assert "this socket acknowledges whatever it is asked, and only what exists delivers" in caplog.text
    assert "publicTrade.DOGE" not in caplog.text  # trades of a quiet coin are no news
    messages = {feed.topic: feed.messages for feed in report.feeds}
    assert messages[good] > 0
    assert messages[bad] == 0
