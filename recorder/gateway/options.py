"""What a gateway is told: where its frames come from, how fast, what goes wrong, and where it listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.market import MAX_LAG, MAX_RATE, MAX_SYMBOLS, MIN_RATE
from recorder.gateway.faults import FaultPlan
from recorder.gateway.trading.options import TradeOptions
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["GatewayOptions", "parse_speed"]

MAX_SPEED: Final = 1e6


def parse_speed(text: str) -> float | None:
    """Read ``--speed``: a factor, or None for ``max``.

    Raises:
        ConfigError: neither.
    """
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= MAX_SPEED:
        raise ConfigError(f"speed {text!r}: expected a factor above 0, such as 1 or 20, or 'max'")
    return factor


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Options of a gateway; exactly one of ``replay`` and ``simulate`` is given.

    Attributes:
        replay: capture file or data directory whose frames are sent.
        simulate: seed of a made-up market.
        category: product line served; None means linear for a replay and all four for a simulation.
        host, port: where to listen; port 0 takes a free one.
        tls_cert, tls_key: PEM files with the certificate chain to show and its key (None: in the same file);
            with them the one port speaks wss and https, and nothing else.
        speed: factor of real time; None is as fast as the subscribers read.
        settle_seconds: quiet time after the first subscriptions before a replay starts.
        is_looping: start the replay over at its end.
        is_retiming: shift the clocks in replayed frames to now.
        ledger: file for one JSON line per frame sent and per fault.
        ledgers_books: note also each frame that is published, whoever gets it, with the checksum of its book.
        faults: what goes wrong on purpose.
        lies: books that are told wrongly: topic prefixes, or ``rest``.
        symbol_count: symbols of a simulated category.
        rate: factor on the simulated order flow.
        listings, delistings: symbols that come or go, so many seconds after the market's opening.
        full_lag: pushes by which answers of full_orderbook are old at most, in a simulated market.
        trade: who may trade, and with what; None for a public side only.
        max_backlog_bytes: what a slow reader may leave unread before it is disconnected; at full speed the
            replay waits for it instead.

    Raises:
        ConfigError: a combination that makes no sense.
    """

    replay: Path | None = None
    simulate: int | None = None
    category: Category | None = None
    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    speed: float | None = 1.0
    settle_seconds: float = 1.0
    is_looping: bool = False
    is_retiming: bool = False
    ledger: Path | None = None
    ledgers_books: bool = False
    faults: FaultPlan | None = None
    lies: tuple[str, ...] = ()
    symbol_count: int = 4
    rate: float = 1.0
    listings: tuple[tuple[str, float], ...] = ()
    delistings: tuple[tuple[str, float], ...] = ()
    full_lag: int = 0
    trade: TradeOptions | None = None
    max_backlog_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.replay is None and self.simulate is None:
            raise ConfigError("nothing to send: give --replay FILE (or a data directory) or --simulate SEED")
        if self.replay is not None and self.simulate is not None:
            raise ConfigError("--replay and --simulate exclude each other: give one")
        if self.simulate is not None and (self.is_looping or self.is_retiming):
            raise ConfigError(
                "--loop and --retime belong to --replay; a simulated market never ends and is always now"
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("--tls-key is the key of a certificate: give that too, with --tls-cert")
        if self.ledgers_books and self.ledger is None:
            raise ConfigError("--ledger-books writes to the ledger: give --ledger FILE too")
        if (self.listings or self.delistings) and (self.simulate is None or self.category is None):
            raise ConfigError("--list and --delist need --simulate SEED and the --category of their symbols")
        if self.faults is not None and self.faults.is_about_trading and self.trade is None:
            raise ConfigError("faults of order requests and private connections need --trade KEY:SECRET")
        if not 0 <= self.settle_seconds <= 3600:
            raise ConfigError(f"settle {self.settle_seconds}: expected seconds from 0 to 3600")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port}: expected 0 (any free port) to 65535")
        if not 1 <= self.symbol_count <= MAX_SYMBOLS:
            raise ConfigError(f"symbol count {self.symbol_count}: expected 1 to {MAX_SYMBOLS}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ConfigError(
                f"rate {self.rate}: expected a factor from {MIN_RATE} to {MAX_RATE}, 1 being realistic"
            )
        if not 0 <= self.full_lag <= MAX_LAG:
            raise ConfigError(f"full lag {self.full_lag}: expected pushes from 0 to {MAX_LAG}")
