"""A small REST client for public market data: paced, bounded, and quiet when it is told to go away.

The shapes of requests and answers live in `engine.bybit.rest`; here is only the way to the exchange. Every
answer's body is returned beside its meaning, because answers that influence the archive are journalled.
"""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import Iterable
from random import Random
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from engine.bybit import rest as shapes
from engine.bybit.backoff import Backoff, Budget
from engine.bybit.endpoints import rest_root
from engine.bybit.limits import REST_BAN_NS, REST_WINDOW_NS
from engine.bybit.rest import Instrument, InstrumentPage, Request, RestBook, RestTrade
from recorder.http_session import open_session
from recorder.network import Network, Spending
from recorder.tls import certificate_advice
from schemas.errors import ConnectError, ExchangeError, Rejected
from schemas.names import Category

__all__ = ["MAXIMUM_BODY_BYTES", "RestClient"]

MAXIMUM_BODY_BYTES: Final = 32 << 20
"""The longest answers, thousands of instruments, are a few MiB."""

REQUESTS_PER_WINDOW: Final = 60
"""A tenth of what an address may send (section 2.5): other programs live behind the same address."""

MAXIMUM_PAGES: Final = 100
_FEW_SYMBOLS: Final = 8
_ATTEMPTS: Final = 5
_CHUNK_BYTES: Final = 1 << 16
_EXCERPT_BYTES: Final = 300
_NANOSECONDS: Final = 1_000_000_000
_TIMER_SLACK_NS: Final = 2_000_000


class RestClient:
    """A client of one exchange; use it as an asynchronous context manager.

    Args:
        network: the way to the exchange, or only the root of its streams (``ws://127.0.0.1:9001``).
        timeout_s: for one request, from name to last byte.
        maximum_body_bytes: longer answers, unpacked, are refused.
        random: source of the jitter between attempts.
        retry_base_ns: ceiling of the wait before the second attempt; it doubles with each one.

    Raises:
        ConfigError: the root isn't one.
    """

    def __init__(
        self,
        network: Network | str,
        *,
        timeout_s: float = 15.0,
        maximum_body_bytes: int = MAXIMUM_BODY_BYTES,
        random: Random | None = None,
        retry_base_ns: int = 500_000_000,
    ) -> None:
        self._network = Network.of(network)
        self._root = rest_root(self._network.root)
        self._timeout_s = timeout_s
        self._maximum_body_bytes = maximum_body_bytes
        self._random = random or Random()
        self._retry_base_ns = retry_base_ns
        self._budget = Budget(REQUESTS_PER_WINDOW, REST_WINDOW_NS)
        self._turn = asyncio.Lock()
        self._stopped: tuple[int, str] | None = None
        self._session: aiohttp.ClientSession | None = None
        self.requests = 0

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "open" if self._session else "closed"
        return f"<RestClient {self._root} {state} requests={self.requests}>"

    async def __aenter__(self) -> Self:
        self._session = open_session(self._network.ssl, self._timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- what can be asked ---------------------------------------------------------------------------------

    async def server_time_ns(self) -> tuple[bytes, int]:
        """Return the answer and the exchange's clock, ns since the epoch."""
        body = await self.fetch(shapes.time_request())
        return body, shapes.parse_time(body)

    async def timed_server_time(self) -> tuple[int, int, int]:
        """Ask for the exchange's clock once, and say between which moments of ours it was read.

        Returns:
            (the exchange's ns since the epoch, our monotonic ns before the question, and after the answer).

        Raises:
            ConnectError: there was no answer.
            ExchangeError: the answer isn't what is documented.
        """
        await self._pace()
        request = shapes.time_request()
        sent_ns = time.monotonic_ns()
        try:
            status, body = await self._get(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectError(f"{self._root}{request.path}: {error or type(error).__name__}") from error
        received_ns = time.monotonic_ns()
        if status != 200:
            problem = f"HTTP {status}: {body[:_EXCERPT_BYTES].decode('utf-8', 'replace')!r}"
            if status == 403:
                self._stop(problem)
            raise ConnectError(f"{self._root}{request.path}: {problem}")
        return shapes.parse_time(body), sent_ns, received_ns

    async def instruments(
        self, category: Category, symbols: Iterable[str] | None = None
    ) -> tuple[list[bytes], list[Instrument]]:
        """Return the answers and the instruments of a category, all pages.

        Args:
            category: of the instruments.
            symbols: only these; one the exchange doesn't know is missing from the result.

        Raises:
            ConnectError: see `fetch`.
            ExchangeError: an answer isn't what is documented.
            Rejected: the exchange refused the list as a whole.
        """
        if symbols is None:
            pages = await self.instrument_pages(category)
            every = {instrument.symbol: instrument for _, _, page in pages for instrument in page.instruments}
            return [body for _, body, _ in pages], list(every.values())
        wanted = list(dict.fromkeys(symbols))
        bodies: list[bytes] = []
        found: dict[str, Instrument] = {}
        if len(wanted) > _FEW_SYMBOLS:
            bodies, listed = await self.instruments(category)
            found = {instrument.symbol: instrument for instrument in listed}
        else:
            for symbol in wanted:
                body = await self.fetch(shapes.instruments_request(category, symbol=symbol))
                bodies.append(body)
                try:
                    page = shapes.parse_instruments(body)
                except Rejected:
                    # An unknown symbol; the answer that says so is among the bodies.
                    continue
                found.update((instrument.symbol, instrument) for instrument in page.instruments)
        return bodies, [found[symbol] for symbol in wanted if symbol in found]

    async def order_book(self, category: Category, symbol: str, depth: int) -> tuple[bytes, RestBook]:
        """Return the answer and a book of at most ``depth`` levels a side. Raises as `instruments` does."""
        body = await self.fetch(shapes.order_book_request(category, symbol, depth))
        return body, shapes.parse_order_book(body)

    async def tickers(
        self, category: Category, *, symbol: str | None = None, base_coin: str | None = None
    ) -> tuple[bytes, list[dict[str, Any]]]:
        """Return the answer and tickers, keys as sent. Raises as `instruments` does."""
        body = await self.fetch(shapes.tickers_request(category, symbol=symbol, base_coin=base_coin))
        return body, shapes.parse_tickers(body)

    async def recent_trades(
        self, category: Category, *, symbol: str | None = None, base_coin: str | None = None
    ) -> tuple[bytes, list[RestTrade]]:
        """Return the answer and the latest trades, newest first. Raises as `instruments` does."""
        request = shapes.recent_trades_request(category, symbol=symbol, base_coin=base_coin)
        body = await self.fetch(request)
        return body, shapes.parse_trades(body)

    async def instrument_pages(
        self, category: Category, *, status: str | None = None
    ) -> list[tuple[str, bytes, InstrumentPage]]:
        """Return every page of a category's instruments: path with query, answer, and what it says.

        Args:
            category: of the instruments.
            status: only those; without it, what the exchange lists unasked (section 6.2).

        Raises as `instruments` does; nothing half is returned.
        """
        pages: list[tuple[str, bytes, InstrumentPage]] = []
        cursors: set[str] = set()
        cursor = ""
        while True:
            request = shapes.instruments_request(
                category, base_coin=_every(category), status=status, cursor=cursor
            )
            body = await self.fetch(request)
            page = shapes.parse_instruments(body)
            pages.append((request.target, body, page))
            cursor = page.next_cursor
            if not cursor:
                return pages
            if cursor in cursors or len(pages) >= MAXIMUM_PAGES:
                raise ExchangeError(
                    f"{self._root}{request.path}: the pages don't end after {len(pages)}, "
                    f"the cursor {cursor[:60]!r} leads on; try again"
                )
            cursors.add(cursor)

    # -- the way there -------------------------------------------------------------------------------------

    async def fetch(self, request: Request) -> bytes:
        """GET one answer: paced, and tried again where that can help.

        Raises:
            ConnectError: 403 (then nothing is asked for ten minutes), another HTTP error, an oversize answer,
                or no answer after several attempts.
        """
        # The first delay of a backoff is none: it belongs to the first attempt.
        backoff = Backoff(self._random, base_ns=self._retry_base_ns)
        problem, status = "", None
        for _ in range(_ATTEMPTS):
            await asyncio.sleep(backoff.next_delay_ns() / _NANOSECONDS)
            await self._pace()
            status = None
            try:
                status, body = await self._get(request)
            except aiohttp.ClientConnectorCertificateError as error:
                raise ConnectError(f"{self._root}{request.path}: {_advice(error)}") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = str(error) or type(error).__name__
            else:
                if status == 200:
                    return body
                problem = f"HTTP {status}: {body[:_EXCERPT_BYTES].decode('utf-8', 'replace')!r}"
                if status == 403:
                    self._stop(problem)
                if status != 429 and status < 500:
                    raise ConnectError(
                        f"{self._root}{request.path}: {problem}: check the endpoint", status=status
                    )
        advice = "check the network and the endpoint, or try later"
        if status == 429:
            advice = "the exchange protects itself from too many requests: wait some minutes, then try again"
        raise ConnectError(
            f"{self._root}{request.path}: no answer after {_ATTEMPTS} attempts, the last gave {problem}: {advice}",
            status=status,
        )

    async def _pace(self) -> None:
        async with self._turn:
            self._check_stopped()
            for budget in (self._budget, self._network.requests):
                await _spend(budget)
            self.requests += 1

    async def _get(self, request: Request) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError(f"{self!r}: use it inside `async with`")
        # The target is encoded already; encoding it again would change the cursor.
        url = URL(self._root + request.target, encoded=True)
        async with self._session.get(url, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > self._maximum_body_bytes:
                    raise ConnectError(
                        f"{self._root}{request.path}: the answer exceeds {self._maximum_body_bytes} bytes: "
                        "is this the exchange?"
                    )
            return response.status, bytes(body)

    def _stop(self, problem: str) -> None:
        why = (
            f"{self._root}: {problem}: the exchange answers 403 to addresses in the US and mainland China, "
            "and for ten minutes to an address that made too many requests: use the hosts of your region (--region) "
            "or another network; nothing more is asked for ten minutes"
        )
        self._stopped = time.monotonic_ns() + REST_BAN_NS, why
        raise ConnectError(why, status=403)

    def _check_stopped(self) -> None:
        if self._stopped is None:
            return
        until_ns, why = self._stopped
        if time.monotonic_ns() < until_ns:
            raise ConnectError(why, status=403)
        self._stopped = None


async def _spend(budget: Spending) -> None:
    while True:
        now_ns = time.monotonic_ns()
        if budget.take(now_ns):
            return
        # A timer may fire a little early, and another process may have been quicker.
        await asyncio.sleep((budget.wait_ns(now_ns) + _TIMER_SLACK_NS) / _NANOSECONDS)


def _advice(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return certificate_advice(cause) if isinstance(cause, tls.SSLCertVerificationError) else str(cause)


def _every(category: Category) -> str | None:
    """Without a base coin, options answer with BTC alone (section 6.2)."""
    return "All" if category is Category.OPTION else None
