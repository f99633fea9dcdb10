"""Where the exchange lives: hosts per environment and region, and the URLs made from an endpoint (section 1).

An endpoint is a *root*: scheme, host and port (``wss://stream.bybit.com``, ``ws://127.0.0.1:9001``). Paths
are appended here and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from schemas.errors import ConfigError
from schemas.names import Category, Environment

__all__ = [
    "ENVIRONMENTS",
    "HOSTS",
    "REGIONS",
    "Host",
    "default_root",
    "environment_of",
    "normalise_root",
    "public_url",
    "rest_root",
    "root_of",
    "status_url",
    "stream_domain",
]

_EXAMPLES: Final = "wss://stream.bybit.com, wss://stream-testnet.bybit.com or ws://127.0.0.1:9001"
_MAXIMUM_LENGTH: Final = 512


class Host(msgspec.Struct, frozen=True):
    """One published pair of hosts.

    Attributes:
        region: where an account is registered, as users write it (``tr``, ``eu``), or ``global``.
        stream: WebSocket host.
        rest: REST host that belongs to it.
    """

    region: str
    environment: Environment
    stream: str
    rest: str


HOSTS: Final = (
    Host("global", Environment.MAINNET, "stream.bybit.com", "api.bybit.com"),
    Host("global", Environment.MAINNET, "stream.bytick.com", "api.bytick.com"),
    Host("global", Environment.TESTNET, "stream-testnet.bybit.com", "api-testnet.bybit.com"),
    Host("tr", Environment.MAINNET, "stream.bybit.tr", "api.bybit.tr"),
    Host("kz", Environment.MAINNET, "stream.bybit.kz", "api.bybit.kz"),
    Host("ge", Environment.MAINNET, "stream.bybitgeorgia.ge", "api.bybitgeorgia.ge"),
    Host("id", Environment.MAINNET, "stream.bybit.id", "api.bybit.id"),
    Host("eu", Environment.MAINNET, "stream.bybit.eu", "api.bybit.eu"),
    Host("jp", Environment.MAINNET, "stream.manepa.jp", "api.manepa.jp"),
)
"""Published hosts (sections 1.1, 1.2); the first row of an environment is its default."""

REGIONS: Final = tuple(dict.fromkeys(host.region for host in HOSTS))
"""What ``--region`` takes."""

ENVIRONMENTS: Final = (Environment.MAINNET.value, Environment.TESTNET.value)
"""What ``--environment`` takes."""

_REST_ONLY: Final = frozenset({"nl", "ae"})
"""Regions of which only a REST host is published (section 1.2)."""

_BY_STREAM: Final = {host.stream: host for host in HOSTS}
_BY_REST: Final = {host.rest: host for host in HOSTS}
_DEMO: Final = frozenset({"stream-demo.bybit.com", "api-demo.bybit.com"})


def _refuse(endpoint: str, why: str, right: str = _EXAMPLES) -> ConfigError:
    return ConfigError(f"endpoint {endpoint[:100]!r}: {why}; a right one looks like {right}")


def _split(endpoint: str) -> tuple[SplitResult, str, int | None]:
    if len(endpoint) > _MAXIMUM_LENGTH:
        raise _refuse(endpoint, f"{len(endpoint)} characters, at most {_MAXIMUM_LENGTH} are taken")
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise _refuse(endpoint, "contains characters that no host has")
    if "://" not in endpoint:
        raise _refuse(endpoint, "has no scheme, ws:// or wss:// was expected")
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise _refuse(endpoint, str(error)) from None
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise _refuse(endpoint, "names no host")
    if port == 0:
        raise _refuse(endpoint, "port 0 cannot be connected to")
    return parts, host, port


def _address(host: str, port: int | None) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def normalise_root(endpoint: str) -> str:
    """Return the endpoint as a bare root: lower-case scheme and host, port if given, nothing after it.

    Raises:
        ConfigError: anything that isn't a WebSocket root, with a right one in the message.
    """
    endpoint = endpoint.strip()
    parts, host, port = _split(endpoint)
    address = _address(host, port)
    if parts.scheme not in ("ws", "wss"):
        secure = parts.scheme != "http"
        right = (
            "wss://" + _BY_REST[host].stream
            if host in _BY_REST
            else f"{'wss' if secure else 'ws'}://{address}"
        )
        raise _refuse(endpoint, f"scheme {parts.scheme!r}, ws or wss was expected", right)
    if host in _DEMO:
        raise _refuse(
            endpoint, "demo trading has no public stream, it uses mainnet's", f"wss://{HOSTS[0].stream}"
        )
    if host in _BY_REST:
        raise _refuse(endpoint, "is a REST host", f"wss://{_BY_REST[host].stream}")
    root = f"{parts.scheme}://{address}"
    if parts.username is not None or parts.password is not None:
        raise _refuse(f"{parts.scheme}://…@{address}", "carries credentials, public data needs none", root)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _refuse(endpoint, "has a path, which is added by the recorder", root)
    if host in _BY_STREAM and parts.scheme == "ws":
        raise _refuse(endpoint, "the exchange only speaks TLS", f"wss://{address}")
    return root


def default_root(environment: Environment) -> str:
    """Return the root of mainnet or testnet.

    Raises:
        ConfigError: a gateway runs wherever its user started it, so it has no default.
    """
    for host in HOSTS:
        if host.environment is environment:
            return f"wss://{host.stream}"
    raise ConfigError(
        "a gateway has no default endpoint: give the one it printed when it started, such as ws://127.0.0.1:9001"
    )


def root_of(environment: str = "", region: str = "") -> str:
    """Return the root of an environment and a region, as ``--environment`` and ``--region`` name them.

    Args:
        environment: ``mainnet`` or ``testnet``; empty for mainnet.
        region: one of `REGIONS`; empty for ``global``.

    Raises:
        ConfigError: an unknown name, with the nearest that is known, or a region without a testnet.
    """
    chosen = Environment(_known("environment", environment or Environment.MAINNET.value, ENVIRONMENTS))
    if region.strip().lower() in _REST_ONLY:
        raise ConfigError(
            f"region {region.strip()!r}: a REST host is published for it and no stream host: leave --region away for "
            f"the global stream, give a stream's host as --endpoint, or one of {', '.join(REGIONS)}"
        )
    place = _known("region", region or REGIONS[0], REGIONS)
    for host in HOSTS:
        if host.environment is chosen and host.region == place:
            return f"wss://{host.stream}"
    raise ConfigError(
        f"region {place!r}: it has no {chosen.value} that is published; leave --region away "
        f"({chosen.value} is the same for all), or give its host as --endpoint"
    )


def _known(what: str, given: str, known: Sequence[str]) -> str:
    name = given.strip().lower()
    if name in known:
        return name
    near = difflib.get_close_matches(name[:32], known, n=1, cutoff=0.0)[0]
    raise ConfigError(f"{what} {given[:32]!r}: expected one of {', '.join(known)}; the nearest is {near!r}")


def stream_domain(root: str) -> str:
    """Return what new connections are counted by (section 2.4): the host, with its port where it isn't the usual one.

    Raises:
        ConfigError: see `normalise_root`.
    """
    parts, host, port = _split(normalise_root(root))
    usual = 443 if parts.scheme == "wss" else 80
    return _address(host, None if port == usual else port)


def environment_of(root: str) -> Environment:
    """Return where data from this root comes from: a known host's environment, ``gateway`` for all others.

    Raises:
        ConfigError: see `normalise_root`.
    """
    host = _split(normalise_root(root))[1]
    known = _BY_STREAM.get(host)
    return Environment.GATEWAY if known is None else known.environment


def public_url(root: str, category: Category) -> str:
    """Return the URL of a category's public stream (section 1.1).

    Raises:
        ConfigError: see `normalise_root`.
    """
    return f"{normalise_root(root)}/v5/public/{category.value}"


def status_url(root: str) -> str:
    """Return the URL of the stream that carries ``system.status`` and nothing else (section 1.1).

    Raises:
        ConfigError: see `normalise_root`.
    """
    return f"{normalise_root(root)}/v5/public/misc/status"


def rest_root(root: str) -> str:
    """Return the REST root that belongs to a stream root.

    A published stream host has its published REST host (section 1.2); any other host answers REST itself, on
    the same port over http or https.

    Raises:
        ConfigError: see `normalise_root`.
    """
    parts, host, port = _split(normalise_root(root))
    known = _BY_STREAM.get(host)
    if known is not None:
        return f"https://{known.rest}"
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{_address(host, port)}"
