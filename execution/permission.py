"""Whether orders may go to a host: to the testnet and to a gateway on this machine, or to real money if it was said so.

A host that nobody knows counts as real: it may be a proxy, or one of the exchange's hosts for market makers.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from engine.bybit.endpoints import HOSTS, normalise_root
from schemas.errors import ConfigError
from schemas.names import Environment

__all__ = ["ACKNOWLEDGEMENT", "check_permission", "is_real"]

ACKNOWLEDGEMENT: Final = "I trade with real money"
"""What the configuration has to say, word by word, beside `--live`."""

_TESTNET: Final = frozenset(host.stream for host in HOSTS if host.environment is Environment.TESTNET)


_DEMO: Final = ("stream-demo.bybit.com", "api-demo.bybit.com")


def is_real(root: str) -> bool:
    """Whether orders to this root may cost real money.

    Raises:
        ConfigError: it isn't a root.
    """
    host = (urlsplit(normalise_root(root)).hostname or "").rstrip(".")
    if host in _TESTNET or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def check_permission(root: str, *, live: bool, acknowledgement: str) -> None:
    """Refuse real money unless both the command and the configuration ask for it.

    Raises:
        ConfigError: says which of the two is missing, or that it is the demo environment.
    """
    if any(host in root for host in _DEMO):
        raise ConfigError(
            f"{root[:100]}: demo trading has no order entry over WebSocket, and no public stream: develop against "
            "`tapebook gateway --trade`, or the testnet"
        )
    if not is_real(root):
        return
    missing = [] if live else ["--live on the command (live=True)"]
    if acknowledgement != ACKNOWLEDGEMENT:
        missing.append(f"acknowledgement = {ACKNOWLEDGEMENT!r} in the configuration")
    if missing:
        raise ConfigError(
            f"{normalise_root(root)} trades real money: nothing is sent there without {' and '.join(missing)}; "
            "the testnet and a gateway on this machine need neither"
        )
