"""The way from this process to the exchange: where it leads, whom it trusts, and what it may spend."""

from __future__ import annotations

import logging
import ssl as tls
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from engine.bybit.backoff import Budget, connect_budget
from engine.bybit.endpoints import environment_of, normalise_root, root_of, stream_domain
from engine.bybit.limits import (
    CONNECT_WINDOW_NS,
    CONNECTS_PER_WINDOW,
    REST_REQUESTS_PER_WINDOW,
    REST_WINDOW_NS,
)
from recorder.shared_budget import SharedBudget, state_directory
from recorder.tls import client_context
from recorder.transport import Connection
from recorder.transports import connection_kind
from schemas.config import RecordConfig
from schemas.names import Environment

__all__ = ["Network", "Spending", "open_network"]

REST_SHARE: Final = REST_REQUESTS_PER_WINDOW * 5 // 6
"""HTTP requests of all collectors of this machine: what is left is for other programs behind the same address."""

log = logging.getLogger("tapebook")


class Spending(Protocol):
    """What may be done only so often; `engine.bybit.backoff.Budget` is one of this process alone."""

    def wait_ns(self, now_ns: int) -> int:
        """Return how long to wait until one may be taken; 0 when one may be taken now (monotonic)."""

    def take(self, now_ns: int) -> bool:
        """Take one if there is one; returns whether it was taken."""

    def left(self, now_ns: int) -> int:
        """Return how many may be taken now."""


@dataclass(frozen=True)
class Network:
    """One exchange as it is reached from here.

    Attributes:
        root: of the streams; see `engine.bybit.endpoints`.
        ssl: for wss and https; None for this system's authorities.
        connects: new connections to the stream domain (protocol section 2.4).
        requests: HTTP requests from this address (section 2.5).
        kind: the client that reads streams.
    """

    root: str
    ssl: tls.SSLContext | None = None
    connects: Spending = field(default_factory=connect_budget)
    requests: Spending = field(default_factory=lambda: Budget(REST_SHARE, REST_WINDOW_NS))
    kind: type[Connection] = Connection

    @classmethod
    def of(cls, where: Network | str) -> Network:
        """Return a network as it is; the root alone is one that only this process uses."""
        return where if isinstance(where, cls) else cls(str(where))

    @property
    def environment(self) -> Environment:
        """Where data from this root comes from."""
        return environment_of(self.root)


def open_network(config: RecordConfig) -> Network:
    """Return the way that a configuration describes; nothing is connected yet.

    Raises:
        ConfigError: an unknown environment or region, a bad endpoint, a CA file that can't be used, or a transport that
            isn't installed.
    """
    root = root_of(config.environment, config.region)  # a bad name is told even where it isn't used
    if config.endpoint:
        chosen = normalise_root(config.endpoint)
        if (config.environment or config.region) and chosen != root:
            log.warning("--endpoint %s is given: --environment and --region are not used", chosen)
        root = chosen
    directory = state_directory(config.state_dir)
    domain = stream_domain(root)
    address = domain if environment_of(root) is Environment.GATEWAY else "exchange"
    return Network(
        root,
        client_context(Path(config.ca_file)) if config.ca_file else None,
        SharedBudget(directory, f"connects-{domain}", CONNECTS_PER_WINDOW, CONNECT_WINDOW_NS),
        SharedBudget(directory, f"requests-{address}", REST_SHARE, REST_WINDOW_NS),
        connection_kind(config.transport),
    )
