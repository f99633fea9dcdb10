"""HTTP towards the exchange: one session a client, whose sockets end with their connection and never later."""

from __future__ import annotations

import socket
import ssl as tls
from typing import Any

import aiohttp

__all__ = ["ConnectionSocket", "open_session"]


class ConnectionSocket(socket.socket):
    """A socket whose descriptor isn't closed a second time when the object is collected.

    uvloop hands a connecting socket's descriptor to libuv first and takes hold of the socket only when the connection
    is made. A request that is given up in between (a time limit, a program that ends) leaves a socket whose
    descriptor libuv has closed, and which would close that number again whenever it is collected: by then it may be
    a journal's. Whoever gives up before libuv has the descriptor closes the socket himself (aiohappyeyeballs does),
    so whatever is left to be collected open is libuv's.
    """

    def __del__(self) -> None:
        self.detach()


def open_session(ssl: tls.SSLContext | None, timeout_s: float) -> aiohttp.ClientSession:
    """Return a session for one host's REST; whoever opens it closes it.

    Args:
        ssl: whom to trust; None for this system's authorities.
        timeout_s: for a request as a whole.
    """
    connector = aiohttp.TCPConnector(
        # True asks for this system's authorities, as certificates are verified in any case
        ssl=ssl or True,
        socket_factory=_connection_socket,
    )
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s))


def _connection_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    return ConnectionSocket(family, kind, protocol)
