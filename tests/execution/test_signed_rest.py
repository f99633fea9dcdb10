"""Signed REST: what may be asked again is, what changes something never; what was not sent at all is told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from engine.bybit.signing import sign_request
from execution.desk.rates import RateHeaders
from execution.desk.signers import HmacSigner
from execution.exchange_clock import ExchangeClock
from execution.signed_rest import NotSent, SignedRest
from recorder.network import Network
from schemas.errors import ConnectError, ExchangeError, Rejected

Answer = Callable[[web.Request], Any]


class Peer:
    """A server that answers by a script."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.root = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, await request.read(), dict(request.headers)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.json_response(answer, headers={"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "4"})


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    found = Peer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.root = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def rest(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SignedRest]:
    monkeypatch.setattr("execution.signed_rest._PAUSE_S", 0.001)
    monkeypatch.setattr("execution.desk.rates.WINDOW_MS", 10)
    async with SignedRest(
        Network.of(peer.root), HmacSigner("key", "secret-secret"), ExchangeClock()
    ) as found:
        yield found


def fine(**result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "time": 1}


async def test_what_arrives_is_signed(peer: Peer, rest: SignedRest) -> None:
    peer.answers = [fine(a="b")]
    assert await rest.get("/v5/x", symbol="A/B", coin="1") == {"a": "b"}
    answer, headers = await rest.post("/v5/y", {"q": "1"}, 1_700_000_000_000)
    assert (answer.code, headers) == (0, RateHeaders(10, 4, 0))
    (method, target, body, sent), (_, _, posted, also) = peer.requests
    assert (method, target, body) == ("GET", "/v5/x?symbol=A%2FB&coin=1", b"")
    for given, payload in ((sent, "symbol=A%2FB&coin=1"), (also, posted.decode())):
        expected = sign_request("secret-secret", "key", given["X-BAPI-TIMESTAMP"], 5000, payload)
        assert given["X-BAPI-SIGN"] == expected
    assert also["X-BAPI-TIMESTAMP"] == "1700000000000"
    assert posted == b'{"q":"1"}'


@pytest.mark.parametrize(
    "trouble", [None, 500, b"nonsense", {"retCode": 10006, "retMsg": ""}, {"retCode": 10002, "retMsg": ""},
                {"retCode": 10016, "retMsg": ""}],
)  # fmt: skip
async def test_questions_are_asked_again(peer: Peer, rest: SignedRest, trouble: Any) -> None:
    peer.answers = [trouble, trouble, fine(a="b")]
    assert await rest.get("/v5/x") == {"a": "b"}
    assert len(peer.requests) >= 3


@pytest.mark.parametrize("trouble", [None, 500, b"nonsense"])
async def test_changes_are_not(peer: Peer, rest: SignedRest, trouble: Any) -> None:
    peer.answers = [trouble]
    with pytest.raises(ConnectError) as caught:
        await rest.post("/v5/y", {})
    assert not isinstance(caught.value, NotSent), "it may have been carried out"
    assert len(peer.requests) == 1


async def test_refusals_are_told_in_words(peer: Peer, rest: SignedRest) -> None:
    peer.answers = [{"retCode": 10005, "retMsg": "Permission denied"}]
    with pytest.raises(Rejected, match="Permission denied"):
        await rest.get("/v5/x")
    assert len(peer.requests) == 1
    answer, _ = await rest.post("/v5/y", {})
    assert answer.code == 10005


async def test_whoever_is_sent_away_goes_and_stays_away(peer: Peer, rest: SignedRest) -> None:
    peer.answers = [403, fine()]
    with pytest.raises(ConnectError, match="HTTP 403: nothing is asked for 10 minutes"):
        await rest.get("/v5/x")
    with pytest.raises(NotSent, match="HTTP 403"):
        await rest.get("/v5/x")
    with pytest.raises(NotSent, match="HTTP 403"):
        await rest.post("/v5/y", {})
    assert len(peer.requests) == 1
    rest._banned_until_ns = 0
    assert await rest.get("/v5/x") == {}


async def test_a_question_whose_time_was_refused_waits_for_the_time(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.signed_rest._PAUSE_S", 0.001)
    asked: list[int] = []

    async def ask_clock() -> None:
        asked.append(len(peer.requests))

    peer.answers = [{"retCode": 10002, "retMsg": "req_timestamp"}, fine()]
    signer = HmacSigner("key", "secret-secret")
    async with SignedRest(Network.of(peer.root), signer, ExchangeClock(), ask_clock=ask_clock) as rest:
        assert await rest.get("/v5/x") == {}
    assert asked == [1]
    assert len(peer.requests) == 2


async def test_without_a_connection_nothing_was_sent(rest: SignedRest, peer: Peer) -> None:
    closed = Network.of("ws://127.0.0.1:1")
    async with SignedRest(closed, HmacSigner("key", "secret-secret"), ExchangeClock()) as nowhere:
        with pytest.raises(NotSent):
            await nowhere.post("/v5/y", {})


async def test_pages_are_followed_to_their_end(peer: Peer, rest: SignedRest) -> None:
    peer.answers = [
        fine(list=[{"n": 1}], nextPageCursor="a%3D1"),
        fine(list=[{"n": 2}], nextPageCursor=""),
    ]
    assert await rest.pages("/v5/x", limit="1") == [{"n": 1}, {"n": 2}]
    assert [target for _, target, _, _ in peer.requests] == ["/v5/x?limit=1", "/v5/x?limit=1&cursor=a%3D1"]


async def test_pages_that_do_not_end(peer: Peer, rest: SignedRest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("execution.signed_rest._MAXIMUM_PAGES", 3)
    peer.answers = [fine(list=[], nextPageCursor=str(number)) for number in range(9)]
    with pytest.raises(ExchangeError, match="don't end"):
        await rest.pages("/v5/x")
