"""Signed REST: one attempt for what changes something, a few for what only asks (protocol sections 2.5, 6.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from yarl import URL

from engine.bybit.endpoints import rest_root
from engine.bybit.limits import REST_BAN_NS
from execution.desk.codes import CLOCK, RATE, UNKNOWN
from execution.desk.rates import PathLimiter, RateHeaders, read_headers
from execution.desk.replies import MAXIMUM_BYTES, RestAnswer, Unreadable, read_rest
from execution.desk.signers import Signer
from execution.desk.wire import SignedRequest, get_request, post_request
from execution.exchange_clock import ExchangeClock
from execution.spending import spend
from recorder.http_session import open_session
from recorder.network import Network
from schemas.errors import ConnectError, ExchangeError, Rejected

__all__ = ["NotSent", "SignedRest"]

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.3
_CHUNK_BYTES: Final = 1 << 16
_MAXIMUM_PAGES: Final = 1_000
"""Of one list: 100,000 fills of a day are that many."""
_NANOSECONDS: Final = 1_000_000_000


class NotSent(ConnectError):
    """No connection could be made: certainly nothing was sent."""


class SignedRest:
    """A signed client; an asynchronous context manager.

    Args:
        recv_window_ms: how long after its timestamp the exchange takes a request.
        timeout_s: for one request.
        ask_clock: asks for the exchange's time; done before a question is repeated whose time was refused.
    """

    def __init__(
        self,
        network: Network,
        signer: Signer,
        clock: ExchangeClock,
        *,
        recv_window_ms: int = 5_000,
        timeout_s: float = 5.0,
        ask_clock: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._network = network
        self._root = rest_root(network.root)
        self._signer = signer
        self._clock = clock
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._ask_clock = ask_clock
        self._session: aiohttp.ClientSession | None = None
        self._banned_until_ns = 0
        self._paths = PathLimiter()
        self.requests = 0

    def __repr__(self) -> str:
        return f"<SignedRest {self._root} requests={self.requests}>"

    async def __aenter__(self) -> Self:
        self._session = open_session(self._network.ssl, self._timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def now_ms(self) -> int:
        """The exchange's time, as requests carry it."""
        return self._clock.now_ms()

    async def wait_for(self, path: str) -> None:
        """Wait until a path may be asked again, as its answers' headers say: a second at most."""
        if wait_ms := self._paths.wait_ms(path, self._clock.now_ms()):
            await asyncio.sleep((wait_ms + 1) / 1_000)  # our milliseconds are whole ones

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Ask, several times where that helps; returns the answer's ``result``.

        Raises:
            ConnectError: no answer.
            Rejected: the exchange refused, in its words.
        """
        return await self._ask(path, list(query.items()))

    async def pages(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Ask for every page of a list. Raises as `get` does, and ExchangeError where the pages don't end."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(_MAXIMUM_PAGES):
            more = [("cursor", cursor)] if cursor else []
            result = await self._ask(path, [*query.items(), *more])
            listed, following = result.get("list"), result.get("nextPageCursor")
            rows += listed if isinstance(listed, list) else []
            if not isinstance(following, str) or not following or following == cursor:
                return rows
            cursor = following
        raise ExchangeError(f"{self._root}{path}: the pages don't end after {_MAXIMUM_PAGES}")

    async def _ask(self, path: str, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
        query = list(query)
        problem: ExchangeError = ConnectError(f"{self._root}{path}: not asked")
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_S * attempt)
            await self.wait_for(path)
            request = get_request(self._signer, path, query, self._clock.now_ms(), self._recv_window_ms)
            try:
                answer, _ = await self._send(request)
            except ConnectError as error:
                if error.lasting:
                    raise
                problem = error
                continue
            if answer.code == 0:
                return answer.result
            problem = Rejected(path, f"{answer.words or 'no text'} (code {answer.code})")
            if answer.code not in RATE | CLOCK | UNKNOWN:
                break
            if answer.code in CLOCK and self._ask_clock is not None:
                await self._ask_clock()
        raise problem

    async def post(
        self, path: str, fields: Mapping[str, Any], timestamp_ms: int | None = None
    ) -> tuple[RestAnswer, RateHeaders | None]:
        """Change something, once; returns the answer whatever its code is.

        Args:
            timestamp_ms: the request's moment; None for now.

        Raises:
            NotSent: certainly nothing was sent.
            ConnectError: no answer; it may have been carried out.
        """
        now_ms = self._clock.now_ms() if timestamp_ms is None else timestamp_ms
        return await self._send(post_request(self._signer, path, fields, now_ms, self._recv_window_ms))

    async def _send(self, request: SignedRequest) -> tuple[RestAnswer, RateHeaders | None]:
        if self._session is None:
            raise NotSent(f"{self!r}: use it inside `async with`")
        where = f"{self._root}{request.target.partition('?')[0]}"
        banned_s = (self._banned_until_ns - time.monotonic_ns()) / _NANOSECONDS
        if banned_s > 0:
            raise NotSent(
                f"{where}: not sent: the exchange answered HTTP 403 (too many requests from this address, or one that "
                f"it doesn't serve), and nothing is asked for another {banned_s:.0f} s",
                status=403,
                lasting=True,
            )
        await spend(self._network.requests)
        self.requests += 1
        try:
            async with self._session.request(
                request.method,
                URL(self._root + request.target, encoded=True),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    body += chunk
                    if len(body) > MAXIMUM_BYTES:
                        raise ConnectError(f"{where}: the answer exceeds {MAXIMUM_BYTES} bytes")
                status, headers = response.status, read_headers(response.headers)
        except aiohttp.ClientConnectorError as error:
            raise NotSent(f"{where}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectError(f"{where}: no answer: {error or type(error).__name__}") from None
        if status != 200:
            advice = "the exchange has a problem"
            if status == 403:
                # Asking on would only prolong it (section 2.5).
                self._banned_until_ns = time.monotonic_ns() + REST_BAN_NS
                advice = f"nothing is asked for {REST_BAN_NS // _NANOSECONDS // 60} minutes"
            elif status == 429:
                advice = "the exchange protects itself: try again later"
            raise ConnectError(f"{where}: HTTP {status}: {advice}", status=status, lasting=status == 403)
        answer = read_rest(bytes(body))
        if isinstance(answer, Unreadable):
            raise ConnectError(f"{where}: the answer is {answer.cause}")
        path, now_ms = request.target.partition("?")[0], self._clock.now_ms()
        if headers is not None:
            self._paths.on_headers(path, headers, now_ms)
        if answer.code in RATE:
            self._paths.on_refusal(path, now_ms)
        api_key = self._signer.api_key
        if (
            api_key in answer.words
        ):  # the exchange quotes what was signed, and words are shown and written down
            words = answer.words.replace(api_key, f"{api_key[:4]}…")
            answer = msgspec.structs.replace(answer, words=words)
        return answer, headers
