"""What both sides of the gateway, public and trading, do with a client's socket: let it in, hear it, say goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from recorder.gateway.dialect import MAX_REQUEST_BYTES
from recorder.gateway.faults import Deed, FaultPlan
from recorder.gateway.request_faults import STATUS_OF, HandshakeFaults

__all__ = ["CLOSE_PATIENCE_S", "Door", "has_left", "hear", "new_socket"]

CLOSE_PATIENCE_S: Final = 2.0
_HALF_OPEN_LOOK_S: Final = 0.02


class Door:
    """Lets clients in while there is room and no fault refuses them.

    Args:
        most: connections at once.
        kind: what they are called where there are too many.
        plan: faults, None for none.
        note_fault: told of each handshake that a fault refuses.
    """

    def __init__(
        self, most: int, kind: str, plan: FaultPlan | None, note_fault: Callable[[Deed], None]
    ) -> None:
        self._most = most
        self._kind = kind
        self._faults = None if plan is None else HandshakeFaults(plan)
        self._note_fault = note_fault

    def refusal(self, open_now: int) -> web.Response | None:
        """What the next client is answered in place of a socket; None: it may come in."""
        if open_now >= self._most:
            return web.Response(status=429, text=f"{self._most} {self._kind} are open already\n")
        deed = None if self._faults is None else self._faults.next()
        if deed is None:
            return None
        self._note_fault(deed)
        return web.Response(status=STATUS_OF[deed], text=f"fault {deed}\n")

    def calm(self) -> None:
        """No further fault."""
        self._faults = None


def new_socket() -> web.WebSocketResponse:
    """Return a socket that is not prepared yet; it does not compress, so that a frame is framed once for all."""
    return web.WebSocketResponse(
        compress=False,
        max_msg_size=MAX_REQUEST_BYTES,
        timeout=CLOSE_PATIENCE_S,
        autoping=False,
        autoclose=False,
    )


async def hear(
    socket: web.WebSocketResponse, is_half_open: Callable[[], bool], is_gone: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield what a client says, until it is gone; of a half-open connection nothing, not even its goodbye.

    Args:
        socket: the client's.
        is_half_open: whether a fault has made its connection swallow whatever comes.
        is_gone: whether that connection has been closed.
    """
    async for message in socket:
        if is_half_open():
            continue
        if message.type is WSMsgType.TEXT:
            yield message.data.encode()
        elif message.type is WSMsgType.BINARY:
            yield message.data
        elif message.type is WSMsgType.PING:
            await socket.pong(message.data)
    while is_half_open() and not is_gone():  # noqa: ASYNC110 - nobody tells of its end
        # Even a goodbye stays unanswered, for as long as the other side keeps the connection.
        await asyncio.sleep(_HALF_OPEN_LOOK_S)


async def has_left(socket: web.WebSocketResponse) -> bool:
    """Say goodbye; whether the client answered in time, or was gone. Who did not is to be cut off."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_PATIENCE_S):
            await socket.close(code=WSCloseCode.GOING_AWAY)
            return True
    return False
