"""A request that is on its way, as whoever sent it sees it."""

from __future__ import annotations

import asyncio

import msgspec

from execution.desk.orders import OrderKey
from execution.desk.outcomes import OrderRequest, Outcome

__all__ = ["Ticket"]


class Ticket(msgspec.Struct, eq=False):
    """A request that is on its way, and where its outcome is awaited."""

    request: OrderRequest
    _waiters: dict[str, list[asyncio.Future[Outcome]]]

    def __repr__(self) -> str:
        outcome = self.request.outcome
        return f"<Ticket {self.request.request_id} {self.request.state if outcome is None else outcome}>"

    @property
    def key(self) -> OrderKey:
        """The order that it is about."""
        return self.request.key

    async def outcome(self) -> Outcome:
        """Wait for the outcome."""
        if self.request.outcome is not None:
            return self.request.outcome
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(self.request.request_id, []).append(future)
        return await future
