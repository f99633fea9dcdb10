"""The HTTP port: what it serves, to how many, and how often it asks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import recorder.metrics_server
from recorder.metrics_server import FRESH_NS, MetricsServer, parse_address, serving
from schemas.errors import ConfigError
from tests.recorder.test_health import feed, live


class Served:
    """A server over a status that a test changes."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.asked = 0
        self.statuses: list[dict[str, Any]] = []
        self.server = MetricsServer(self._tell, clock=lambda: self.now_ns)
        self.url = ""

    def _tell(self) -> list[dict[str, Any]]:
        self.asked += 1
        return self.statuses

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path) as answer:
            return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(recorder.metrics_server, "troubles", lambda status, **_: list(status["said"]))
    served = Served()
    served.statuses = [live(feed("tickers.X")) | {"collector": "linear", "said": []}]
    served.url = await served.server.start("127.0.0.1", 0)
    yield served
    await served.server.stop()


async def test_metrics(served: Served) -> None:
    status, kind, text = await served.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"tapebook_up", "tapebook_feeds", "tapebook_build_info"} <= names


async def test_status_and_health(served: Served) -> None:
    status, kind, text = await served.get("/status")
    assert (status, kind) == (200, "application/json")
    assert '"topic":"tickers.X"' in text
    assert '"troubles":[]' in text
    assert await served.get("/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    served.statuses[0]["said"] = ["stale: tickers.X"]
    served.now_ns += FRESH_NS
    assert (await served.get("/healthz"))[::2] == (503, "linear: stale: tickers.X\n")
    served.statuses = []
    served.now_ns += FRESH_NS
    assert (await served.get("/healthz"))[::2] == (503, "nothing is recording\n")


async def test_it_asks_at_most_once_a_second(served: Served) -> None:
    for path in ("/metrics", "/status", "/healthz", "/metrics"):
        await served.get(path)
    assert served.asked == 1
    first = await served.get("/metrics")
    served.statuses[0]["frames"] = 5
    assert await served.get("/metrics") == first
    served.now_ns += FRESH_NS
    assert "tapebook_frames_total" in (await served.get("/metrics"))[2]
    assert served.asked == 2


async def test_other_paths_and_methods(served: Served) -> None:
    assert (await served.get("/"))[0] == 404
    assert (await served.get("/metrics", "POST"))[0] == 405
    assert served.asked == 0


async def test_a_crowd_is_sent_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.metrics_server, "AT_ONCE", 0)
    assert (await served.get("/metrics"))[0] == 503
    assert served.asked == 0


async def test_rubbish_on_the_socket(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x00\xff" * 2000 + b"\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert (await served.get("/healthz"))[0] == 200


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--metrics: cannot listen on 127\.0\.0\.1:{port}"):
            async with serving(str(port), list):
                raise AssertionError


async def test_serving_nothing_and_something() -> None:
    async with serving("", list) as url:
        assert url is None
    async with serving("127.0.0.1:0", list) as url:
        assert url is not None
        assert url.startswith("http://127.0.0.1:")
        async with aiohttp.ClientSession() as session, session.get(url + "/healthz") as answer:
            assert answer.status == 503


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:65536", "::1:9464", "a:b", "1.2.3.4:²"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT or PORT"):
        parse_address(text)
