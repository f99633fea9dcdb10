"""Who may see the page: names it may be called by, where requests may come from, tokens and sessions. Pure.

A browser can be led to send requests to a server on the loopback address by any page that it shows. Two things tell
such requests apart: the Host header, which still has the other page's name where a name was pointed at us (DNS
rebinding), and the Origin header, which a page can't forge and which a browser sends with every form and WebSocket.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from schemas.errors import ConfigError

__all__ = ["SESSION_S", "TOKEN_CHARACTERS", "Access", "Throttle", "is_loopback", "token_from"]

TOKEN_CHARACTERS: Final = 24
"""A token that is shorter could be found by trying."""
MOST_TOKEN_CHARACTERS: Final = 512
SESSION_S: Final = 7 * 86_400
_WORK: Final = b"tapebook serve, session"


def token_from(text: str, name: str) -> str:
    """Return the token that a file holds: one line of printable characters without spaces.

    Raises:
        ConfigError: it is none; the message doesn't show it.
    """
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--token-file {name}: expected one line of printable ASCII characters without spaces"
        )
    if not TOKEN_CHARACTERS <= len(token) <= MOST_TOKEN_CHARACTERS:
        raise ConfigError(
            f"--token-file {name}: found a token of {len(token)} characters, expected {TOKEN_CHARACTERS} to "
            f"{MOST_TOKEN_CHARACTERS}; a file that doesn't exist yet gets a good one"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Decides about requests.

    Args:
        token: what opens the page; None where nothing is needed.
        names: host names that the page is called by, beside ``localhost`` and addresses.
        only_loopback: it listens on the loopback address alone, so other addresses in a Host header are wrong.
    """

    def __init__(self, token: str | None, names: Iterable[str] = (), *, only_loopback: bool = True) -> None:
        self._token = None if token is None else token.encode()
        self._token_digest = _digest(token or "")
        self._names = frozenset(name.lower().rstrip(".") for name in names) | {"localhost"}
        self._only_loopback = only_loopback

    @property
    def needs_token(self) -> bool:
        """Whether one has to log in."""
        return self._token is not None

    def knows_host(self, header: str | None) -> bool:
        """Whether a Host header names us: a name that we were told, or an address, which nobody can point elsewhere."""
        name = _host_of(header or "")
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._only_loopback

    def same_origin(self, origin: str | None, fetch_site: str | None, host: str | None) -> bool:
        """Whether a request comes from our own page, or from no page at all.

        Args:
            origin, fetch_site, host: the headers Origin, Sec-Fetch-Site and Host; None where they are missing.
        """
        if fetch_site not in (None, "same-origin", "none"):
            return False
        if origin is None:
            return True
        scheme, colons, place = origin.partition("://")
        return bool(colons) and scheme in ("http", "https") and place.lower() == (host or "").lower()

    def accepts_token(self, given: str) -> bool:
        """Whether this is the token, found out in a time that doesn't tell how much of it is right."""
        return self._token is not None and hmac.compare_digest(_digest(given), self._token_digest)

    def accepts_header(self, authorization: str | None) -> bool:
        """Whether an Authorization header is ``Bearer`` and the token."""
        kind, _, given = (authorization or "").partition(" ")
        return kind.lower() == "bearer" and self.accepts_token(given.strip())

    def session(self, now_s: int) -> str:
        """Return what a browser keeps once it has shown the token: until when, signed; the token isn't in it."""
        until = str(now_s + SESSION_S)
        return f"{until}.{self._signature(until)}"

    def accepts_session(self, cookie: str | None, now_s: int) -> bool:
        """Whether a browser's cookie was given by ``session`` with the same token, and is not over."""
        until, dot, signature = (cookie or "").partition(".")
        if self._token is None or not dot or len(until) > 20 or not (until.isascii() and until.isdigit()):
            return False
        whole = hmac.compare_digest(_digest(signature), _digest(self._signature(until)))
        return whole and now_s < int(until) <= now_s + SESSION_S

    def _signature(self, until: str) -> str:
        assert self._token is not None
        return hmac.new(self._token, _WORK + until.encode(), hashlib.sha256).hexdigest()


def _digest(value: str) -> bytes:
    """Of one length whatever goes in, so that a comparison doesn't tell lengths either."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _host_of(header: str) -> str | None:
    """The name in a Host header without its port; None where it is no such thing."""
    if len(header) > 260 or header != header.strip():
        return None
    if header.startswith("["):
        name, bracket, port = header[1:].partition("]")
        port = port.removeprefix(":") if port.startswith(":") or not port else "wrong"
        name = name if bracket else ""
    else:
        name, _, port = header.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return None
    return name.lower().rstrip(".") or None


class Throttle:
    """Counts failures by address: so many in a while, and the next must wait. Remembers a bounded number of addresses.

    Args:
        most: failures that are let pass within the period.
        period_s: after which one is forgotten.
        addresses: that are remembered; the one that failed longest ago goes first.
    """

    def __init__(self, most: int = 10, period_s: float = 60.0, addresses: int = 1024) -> None:
        self._most = most
        self._period_s = period_s
        self._addresses = addresses
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how long an address must wait before it may try again; 0 for not at all."""
        failures = self._recent(self._failures.get(address, ()), now_s)
        if len(failures) < self._most:
            return 0.0
        return max(0.0, failures[-self._most] + self._period_s - now_s)

    def failed(self, address: str, now_s: float) -> None:
        """Note that an address has failed."""
        failures = [*self._recent(self._failures.pop(address, ()), now_s), now_s]
        self._failures[address] = failures[-self._most :]
        while len(self._failures) > self._addresses:
            self._failures.popitem(last=False)

    def _recent(self, failures: Collection[float], now_s: float) -> list[float]:
        return [at for at in failures if now_s - at < self._period_s]
