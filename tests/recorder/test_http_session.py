"""Sessions: a request that is given up while it connects must not close what isn't its own."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest
import uvloop

from recorder import http_session
from recorder.http_session import ConnectionSocket, open_session


class GivenUp(ConnectionSocket):
    """Has its request given up when it is handed to the loop for good: the second time that it is made non-blocking."""

    asking: asyncio.Future[object] | None = None
    left_open: list[int]
    times = 0

    def setblocking(self, flag: bool, /) -> None:
        super().setblocking(flag)
        self.times += 1
        if self.times == 2 and GivenUp.asking is not None:
            GivenUp.asking.cancel()

    def __del__(self) -> None:
        GivenUp.left_open.append(self.fileno())
        super().__del__()


async def hold_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what is asked and never answer."""
    await reader.read()
    writer.close()


def closed_meanwhile(count: int) -> list[int]:
    """Open files, collect, and return those of them that something else has closed."""
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    gc.collect()
    closed = []
    for file in files:
        try:
            os.close(file)
        except OSError:
            closed.append(file)
    return closed


def test_a_request_given_up_while_it_connects_closes_nobody_elses_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_session, "ConnectionSocket", GivenUp)
    monkeypatch.setattr(GivenUp, "left_open", [], raising=False)

    async def run() -> list[int]:
        server = await asyncio.start_server(hold_on, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with open_session(None, 30.0) as session:
            asking = asyncio.ensure_future(session.get(f"http://127.0.0.1:{port}/"))
            monkeypatch.setattr(GivenUp, "asking", asking)
            with pytest.raises(asyncio.CancelledError):
                await asking
            monkeypatch.setattr(GivenUp, "asking", None)
        del asking
        await asyncio.sleep(0.01)
        closed = closed_meanwhile(8)
        server.close()
        return closed

    assert uvloop.run(run()) == []
    assert any(number > 0 for number in GivenUp.left_open), (
        "the socket was closed: this test has lost its case"
    )


def test_a_socket_that_is_closed_is_closed() -> None:
    ours = ConnectionSocket()
    number = ours.fileno()
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
