"""What a trading client is told: where, in what, how carefully."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from engine.bybit.endpoints import environment_of, normalise_root
from execution.desk.limits import Limits
from execution.desk.orders import CATEGORIES
from execution.desk.outcomes import DEFAULT_TIMING, Timing
from execution.desk.values import whole
from execution.permission import check_permission
from schemas.errors import ConfigError
from schemas.names import Category, Fsync

__all__ = ["Settings"]

_EXAMPLE: Final = '{Category.LINEAR: ("BTCUSDT",)}, say'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_symbols(table: object) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"symbols: found {table!r}: expected some by category: {_EXAMPLE}")
    for category, symbols in table.items():
        if not isinstance(category, Category) or category not in CATEGORIES:
            names = ", ".join(f"Category.{member.name}" for member in CATEGORIES)
            raise ConfigError(f"symbols: found {category!r}: orders are placed in {names}: {_EXAMPLE}")
        if isinstance(symbols, str) or not isinstance(symbols, Collection):
            raise ConfigError(f"symbols of {category.value}: found {symbols!r}: expected several: {_EXAMPLE}")
        for symbol in symbols:
            if not isinstance(symbol, str) or not symbol:
                raise ConfigError(f"symbols of {category.value}: found {symbol!r}: {_EXAMPLE}")


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
        self._check_kinds()
        if not any(self.symbols.values()):
            raise ConfigError("no symbol may be traded: name some, such as linear BTCUSDT")
        whole("recv_window_ms", self.recv_window_ms, least=100, most=60_000)
        if self.dcp_window_s is not None:  # what the exchange takes
            whole("dcp_window_s", self.dcp_window_s, least=3, most=300)
        if self.dead_man_s is not None and not (_is_number(self.dead_man_s) and self.dead_man_s > 0):
            raise ConfigError(f"dead_man_s {self.dead_man_s!r}: expected a positive one, or none")

    def _check_kinds(self) -> None:
        """Values of other types would be taken for something else, or fail only once there are orders."""
        if not isinstance(self.directory, Path):
            raise ConfigError(
                f"directory {self.directory!r}: expected a pathlib.Path, such as Path('trading')"
            )
        if not isinstance(self.live, bool):
            raise ConfigError(f"live {self.live!r}: expected True or False")
        if not isinstance(self.limits, Limits):
            raise ConfigError(f"limits {self.limits!r}: expected Limits(...), in which each is said")
        fsync: object = self.fsync
        if not isinstance(fsync, Fsync):
            names = ", ".join(f"Fsync.{member.name}" for member in Fsync)
            raise ConfigError(f"fsync {fsync!r}: expected one of {names}, of schemas.names")
        _check_symbols(self.symbols)

    @property
    def words(self) -> str:
        """For the order journal: where this is."""
        return f"{environment_of(self.root).value} {normalise_root(self.root)}"
