"""What a trading client is told: where, in what, how carefully."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.bybit.endpoints import environment_of, normalise_root
from execution.desk.limits import Limits
from execution.desk.orders import CATEGORIES
from execution.desk.outcomes import DEFAULT_TIMING, Timing
from execution.permission import check_permission
from schemas.errors import ConfigError
from schemas.names import Category, Fsync

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one client.

    Attributes:
        root: of the exchange (``ws://127.0.0.1:9001``, ``wss://stream-testnet.bybit.com``).
        directory: for the order journal and the kill switch, of one account.
        symbols: by category, what may be traded; nothing else passes.
        limits: what may be risked.
        live, acknowledgement: both are needed where orders cost real money; see `execution.permission`.
        recv_window_ms: how long after its timestamp a request is taken.
        dcp_window_s: the exchange cancels everything once our private connection was gone for so long (3 to 300);
            None leaves that as it is. Only accounts for which the exchange enabled it.
        dead_man_s: the program must call `TradingClient.alive` this often, or the kill switch goes on; None for never.
        prefix: of our order names.
        fsync: when the order journal is put on the disk.

    Raises:
        ConfigError: what doesn't fit, or real money without permission.
    """

    root: str
    directory: Path
    symbols: dict[Category, tuple[str, ...]]
    limits: Limits
    live: bool = False
    acknowledgement: str = ""
    recv_window_ms: int = 5_000
    dcp_window_s: int | None = None
    dead_man_s: float | None = None
    prefix: str = "tb"
    fsync: Fsync = Fsync.INTERVAL
    timing: Timing = DEFAULT_TIMING
    ping_s: float = 20.0

    def __post_init__(self) -> None:
        check_permission(self.root, live=self.live, acknowledgement=self.acknowledgement)
        if not any(self.symbols.values()):
            raise ConfigError("no symbol may be traded: name some, such as linear BTCUSDT")
        for category in self.symbols:
            if category not in CATEGORIES:
                raise ConfigError(f"category {category.value}: orders are placed in {', '.join(CATEGORIES)}")
        if not 100 <= self.recv_window_ms <= 60_000:
            raise ConfigError(f"recv_window_ms {self.recv_window_ms}: expected 100 to 60000")
        if self.dcp_window_s is not None and not 3 <= self.dcp_window_s <= 300:
            raise ConfigError(f"dcp_window_s {self.dcp_window_s}: the exchange takes 3 to 300")
        if self.dead_man_s is not None and not self.dead_man_s > 0:
            raise ConfigError(f"dead_man_s {self.dead_man_s}: expected a positive one, or none")

    @property
    def words(self) -> str:
        """For the order journal: where this is."""
        return f"{environment_of(self.root).value} {normalise_root(self.root)}"
