"""A request that is on its way, as whoever sent it sees it."""

from __future__ import annotations

import asyncio

import msgspec

from execution.desk.orders import OrderKey
from execution.desk.outcomes import OrderRequest, Outcome
from schemas.errors import ExchangeError

__all__ = ["Ticket", "Waiters"]


class Waiters:
    """Who waits for the outcome of which request, until the client ends."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Outcome]]] = {}
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<Waiters for {len(self._futures)} requests{', ended' if self._has_ended else ''}>"

    async def wait(self, request: OrderRequest) -> Outcome:
        """Wait for the outcome of a request that has none yet. Raises ExchangeError: the client has ended."""
        if self._has_ended:
            raise _unknown(request.request_id)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(request.request_id, []).append(future)
        return await future

    def tell(self, request: OrderRequest) -> None:
        """A request is done."""
        for future in self._futures.pop(request.request_id, ()):
            if not future.done() and request.outcome is not None:
                future.set_result(request.outcome)

    def end(self) -> None:
        """Nothing is told any more."""
        self._has_ended = True
        for request_id, futures in self._futures.items():
            for future in futures:
                if not future.done():
                    future.set_exception(_unknown(request_id))
        self._futures.clear()


def _unknown(request_id: str) -> ExchangeError:
    return ExchangeError(
        f"{request_id}: the client has ended, and its outcome isn't known yet: the next client of the directory "
        "finds out (client.restored, client.settled)"
    )


class Ticket(msgspec.Struct, eq=False):
    """A request that is on its way, and where its outcome is awaited."""

    request: OrderRequest
    _waiters: Waiters

    def __repr__(self) -> str:
        outcome = self.request.outcome
        return f"<Ticket {self.request.request_id} {self.request.state if outcome is None else outcome}>"

    @property
    def key(self) -> OrderKey:
        """The order that it is about."""
        return self.request.key

    async def outcome(self) -> Outcome:
        """Wait for the outcome.

        Raises:
            ExchangeError: the client has ended before it was known.
        """
        if self.request.outcome is not None:
            return self.request.outcome
        return await self._waiters.wait(self.request)
