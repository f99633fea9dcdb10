"""One connection to a NATS server, and what counts as delivered on it.

Nothing is taken for delivered because it was written to a socket. Where there is a stream, its acknowledgement counts:
every message names the stream's sequence before it, so the last one of a batch is only taken if all before it were, and
in this order. Where there is none, a message to ourselves is sent behind the batch: when it comes back, the server has
handled everything before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from recorder.sink.messages import Message, Place
from schemas.errors import ConfigError

__all__ = ["Away", "Broker", "Refused", "StreamLimits", "hidden"]

CONNECT_S: Final = 5
ACKNOWLEDGE_S: Final = 20.0
HEADER_BYTES: Final = 2048
"""What headers take of the server's limit at most."""

EXPECTED: Final = "Nats-Expected-Last-Sequence"


class Away(Exception):
    """The server can't be reached or has gone; it is tried again."""


class Refused(Exception):
    """The stream did not take a batch: where it stands has to be asked."""


class StreamLimits(NamedTuple):
    """What a stream keeps, where it has to be made: seconds and bytes; None for no limit."""

    max_age_s: float | None = None
    max_bytes: int | None = None


class Broker:
    """A connection that is made once; for another one make another object.

    Args:
        servers: URLs, tried one after the other.
        credentials: file of a user's credentials.
        ssl: for tls://, None for this system's authorities.
    """

    def __init__(
        self, servers: Sequence[str], *, credentials: str = "", ssl: tls.SSLContext | None = None
    ) -> None:
        self._servers = list(servers)
        self._credentials = credentials
        self._ssl = ssl
        self._nats: ModuleType = _library()
        self._client: Any = None
        self._inbox = ""
        self._answer: asyncio.Future[Any] | None = None
        self._lost: asyncio.Future[None] | None = None
        self._errors: list[str] = []
        self._marker = 0

    @property
    def max_bytes(self) -> int:
        """The largest payload that the server takes beside headers."""
        return max(int(self._client.max_payload) - HEADER_BYTES, 0)

    async def connect(self) -> None:
        """Connect to the first server that answers.

        Raises:
            Away: none does.
            ConfigError: one does, and wants other credentials.
        """
        loop = asyncio.get_running_loop()
        self._lost = loop.create_future()
        self._client = self._nats.NATS()
        try:
            await asyncio.wait_for(
                self._client.connect(
                    self._servers,
                    name="tapebook",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.05,
                    connect_timeout=CONNECT_S,
                    error_cb=self._failed,
                    disconnected_cb=self._gone,
                    closed_cb=self._gone,
                    dont_randomize=True,
                    **({} if self._ssl is None else {"tls": self._ssl}),
                    **({"user_credentials": self._credentials} if self._credentials else {}),
                ),
                CONNECT_S * 2 * len(self._servers) + CONNECT_S,
            )
            self._inbox = self._client.new_inbox()
            await self._client.subscribe(self._inbox, cb=self._answered)
        except (self._nats.errors.Error, OSError, TimeoutError) as error:
            words = self._errors[-1] if self._errors else str(error) or type(error).__name__
            if any("uthorization" in each for each in [*self._errors, words]):
                raise ConfigError(
                    f"{hidden(self._servers[0])}: the server refuses these credentials ({words}): check the URL's "
                    "user and password, or --creds"
                ) from error
            raise Away(words) from error
        except ValueError as error:
            raise ConfigError(
                f"--server {hidden(self._servers[0])}: {error}; expected nats://HOST:PORT"
            ) from error

    def check(self) -> None:
        """Raise Away if the connection was lost."""
        if self._client.is_closed or (self._lost is not None and self._lost.done()):
            raise Away(self._words(None))

    async def close(self) -> None:
        """Let go of the connection; what is not delivered by now isn't."""
        if self._client is not None:
            with contextlib.suppress(self._nats.errors.Error, OSError, TimeoutError):
                await asyncio.wait_for(self._client.close(), CONNECT_S)
            self._client = None

    async def tell(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send what need not arrive. Raises Away."""
        try:
            for subject, payload in messages:
                await self._client.publish(subject, payload)
        except (self._nats.errors.Error, OSError) as error:
            raise Away(self._words(error)) from error

    async def send(self, messages: Sequence[Message], before: int | None = None) -> None:
        """Deliver messages in order, all of them.

        Args:
            messages: at least one.
            before: the stream's last sequence; None where there is no stream.

        Raises:
            Away: the connection was lost, or nothing was answered; some may have arrived.
            Refused: the stream did not take them all; some may be in it, from the first one on.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        publish = self._client.publish
        try:
            if before is None:
                for message in messages:
                    await publish(message.subject, message.payload, headers=message.headers)
                self._marker += 1
                await publish(self._inbox, b"%d" % self._marker)
            else:
                last = before + len(messages) - 1
                for sequence, message in enumerate(messages, before):
                    headers = {**message.headers, EXPECTED: str(sequence)}
                    reply = self._inbox if sequence == last else ""
                    await publish(message.subject, message.payload, reply=reply, headers=headers)
        except (self._nats.errors.Error, OSError) as error:
            raise Away(self._words(error)) from error
        data, status = await self._wait(answer)
        if before is None:
            return
        if status == "503":
            raise Refused("no stream takes these subjects")
        said = msgspec.json.decode(data)
        if "error" in said:
            raise Refused(f"{said['error'].get('description', said['error'])}")
        if said.get("seq") != before + len(messages):
            raise Refused(f"the stream is at {said.get('seq')}, expected {before + len(messages)}")

    async def _wait(self, answer: asyncio.Future[Any]) -> tuple[bytes, str]:
        assert self._lost is not None
        await asyncio.wait([answer, self._lost], timeout=ACKNOWLEDGE_S, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            data, status = answer.result()
            return data, status
        self.check()
        raise Away(f"nothing was acknowledged for {ACKNOWLEDGE_S:g} s")

    # ---- streams ----

    async def open_stream(
        self, name: str, subjects: list[str], limits: StreamLimits
    ) -> tuple[int, Place | None]:
        """Make the stream, or look whether the one that is there will do.

        Returns:
            Its last sequence, and the place of its last message, if it holds any.

        Raises:
            Away: the server has gone.
            ConfigError: it has no JetStream, or the stream has other subjects, or somebody else's messages.
        """
        errors, api = self._nats.js.errors, self._nats.js.api
        manager = self._client.jetstream(timeout=CONNECT_S)
        try:
            try:
                info = await manager.stream_info(name)
            except errors.NotFoundError:
                info = await manager.add_stream(
                    api.StreamConfig(
                        name=name,
                        description="tapebook: a collector's journal",
                        subjects=subjects,
                        max_age=limits.max_age_s,
                        max_bytes=limits.max_bytes,
                    )
                )
            self._check(name, subjects, list(info.config.subjects or []))
            last = int(info.state.last_seq)
            if not info.state.messages:
                return last, None
            message = await manager.get_msg(name, last)
        except (errors.NoStreamResponseError, errors.ServiceUnavailableError) as error:
            raise Away(f"JetStream is not there ({error}): start the server with JetStream (-js)") from error
        except errors.APIError as error:
            raise ConfigError(f"stream {name}: {error.description or error}") from error
        except (self._nats.errors.Error, OSError, TimeoutError) as error:
            raise Away(self._words(error)) from error
        try:
            return last, Place.of_headers(message.headers or {})
        except (KeyError, ValueError):
            raise ConfigError(
                f"stream {name}: its last message ({message.subject}) is none of ours: somebody else publishes into "
                "it; choose another prefix (--prefix) or remove the stream"
            ) from None

    @staticmethod
    def _check(name: str, expected: list[str], found: list[str]) -> None:
        if sorted(found) != sorted(expected):
            raise ConfigError(
                f"stream {name}: found subjects {', '.join(sorted(found))}, expected {', '.join(sorted(expected))}: "
                "change the stream, or choose another prefix (--prefix)"
            )

    # ---- called by the client ----

    async def _answered(self, message: Any) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        status = (message.headers or {}).get("Status", "")
        if message.data.isdigit() and int(message.data) != self._marker:
            return  # of a batch that was given up
        answer.set_result((message.data, status))

    async def _failed(self, error: Exception) -> None:
        del self._errors[:-4]
        self._errors.append(str(error) or type(error).__name__)

    async def _gone(self) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def _words(self, error: BaseException | None) -> str:
        """What went wrong, as the client tells it."""
        return self._errors[-1] if self._errors else str(error or "") or "the connection was lost"


def _library() -> ModuleType:
    try:
        import nats
        import nats.errors
        import nats.js.api
        import nats.js.errors
    except ImportError as error:
        raise ConfigError(
            f"the client of NATS is not installed ({error}): pip install 'tapebook[nats]'"
        ) from error
    return nats


def hidden(server: str) -> str:
    """A server's URL without what is secret in it."""
    scheme, mark, rest = server.partition("://")
    return scheme + mark + rest.rpartition("@")[2]
