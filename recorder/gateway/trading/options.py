"""Who may trade on the gateway, and with what: ``--trade KEY:SECRET``, ``--balance COIN=AMOUNT``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from engine.venue.rules import decimal_of
from schemas.errors import ConfigError

__all__ = ["DEFAULT_BALANCES", "ApiKey", "TradeOptions", "parse_balances", "parse_keys"]

DEFAULT_BALANCES: Final = {
    "USDT": Decimal(100_000),
    "USDC": Decimal(100_000),
    "BTC": Decimal(2),
    "ETH": Decimal(20),
}
_KEY: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([^:\s]{1,128})(?::(\d{1,12}))?(?::(ro))?", re.ASCII)
_COIN: Final = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
_FIRST_UID: Final = 1001
_MOST: Final = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and the account that it opens.

    Attributes:
        is_read_only: whether it may look and not trade.
    """

    key: str
    secret: str = field(repr=False)
    uid: str = str(_FIRST_UID)
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class TradeOptions:
    """Options of a gateway that trades.

    Attributes:
        keys: by key; several may open one account.
        balances: what each account starts with.
        order_limit: orders per second of each account, operation and category, instead of the exchange's defaults;
            other requests have it too where it is more.
        seed: decides order and execution ids, together with the moment of the start.
    """

    keys: Mapping[str, ApiKey]
    balances: Mapping[str, Decimal] = field(default_factory=lambda: dict(DEFAULT_BALANCES))
    order_limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order_limit is not None and not 1 <= self.order_limit <= 100_000:
            raise ConfigError(
                f"--order-limit {self.order_limit}: expected orders per second from 1 to 100000"
            )


def parse_keys(texts: Iterable[str]) -> dict[str, ApiKey]:
    """Read ``KEY:SECRET[:UID][:ro]`` texts; a key without a UID has an account of its own.

    Raises:
        ConfigError: another form, or the same key twice.
    """
    keys: dict[str, ApiKey] = {}
    for text in texts:
        match = _KEY.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"--trade: a key of {len(text)} characters that can't be read; expected KEY:SECRET, KEY:SECRET:UID "
                "or KEY:SECRET:UID:ro (read-only), such as demo:demo-secret"
            )
        key, secret, uid, read_only = match.groups()
        if key in keys:
            raise ConfigError(f"--trade: key {key} is given twice; give each key once")
        keys[key] = ApiKey(key, secret, uid or str(_FIRST_UID + len(keys)), read_only is not None)
    return keys


def parse_balances(texts: Iterable[str]) -> dict[str, Decimal]:
    """Read ``COIN=AMOUNT`` texts, several of them separated by commas; none means the defaults.

    Raises:
        ConfigError: another form.
    """
    balances: dict[str, Decimal] = {}
    for text in (part.strip() for each in texts for part in each.split(",") if part.strip()):
        coin, _, amount_text = text.partition("=")
        amount = decimal_of(amount_text)
        if not _COIN.fullmatch(coin) or amount is None or not 0 <= amount <= _MOST:
            raise ConfigError(
                f"--balance: found {text[:60]!r}, expected COIN=AMOUNT with 0 to 10^12, such as USDT=50000"
            )
        balances[coin] = amount
    return balances or dict(DEFAULT_BALANCES)
