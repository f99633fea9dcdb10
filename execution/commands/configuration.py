"""The file of ``tapebook trade --config``: where, in what, and above all how much.

::

    endpoint = "ws://127.0.0.1:9001"        # without it the testnet, with --live mainnet
    directory = "trading"                   # order journal and kill switch of one account
    key_file = "key.toml"                   # mode 0600; without it the environment
    acknowledgement = "I trade with real money"

    [symbols]                               # nothing else is traded; without it whatever a command names
    linear = ["BTCUSDT"]

    [limits]                                # each has to be said; "none" switches one off
    order_notional = 1000
    position_notional = 5000
    requests_per_second = 5
    collar = 0.01
    daily_loss = { USDT = 200 }
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from execution.desk.limits import Limits
from execution.desk.orders import CATEGORIES
from recorder.config_file import key_lines, read_toml
from schemas.errors import ConfigError
from schemas.names import Category, Fsync

__all__ = ["LIMITS", "TradeConfig", "limits_of", "read_trade_config"]

LIMITS: Final = ("order_notional", "position_notional", "requests_per_second", "collar", "daily_loss")
"""What has to be said, each of them."""

_ALL_LIMITS: Final = (*LIMITS, "order_quantity", "quote_age_ms")
_WHOLE: Final = frozenset({"requests_per_second", "quote_age_ms"})
_TABLES: Final = {"daily_loss": "USDT", "order_quantity": "BTCUSDT"}
_OFF: Final = "none"


class TradeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file's keys.

    Attributes:
        endpoint: root of the exchange; empty for the testnet.
        directory: of the order journal and the kill switch.
        data: a recorder's data directory, whose live books prices are held against; empty: the command follows the
            book itself.
        key_file: see `execution.keys`; empty for the environment.
        ca_file: one more certificate authority.
        acknowledgement: see `execution.permission`.
        prefix: of order names.
        recv_window_ms: how long after its timestamp a request is taken.
        fsync: when the order journal is put on the disk.
        symbols: what may be traded, by category; empty for whatever a command names.
        limits: see `limits_of`.
    """

    endpoint: str = ""
    directory: str = "trading"
    data: str = ""
    key_file: str = ""
    ca_file: str = ""
    acknowledgement: str = ""
    prefix: str = "tb"
    recv_window_ms: int = 5_000
    fsync: Fsync = Fsync.INTERVAL
    symbols: dict[Category, tuple[str, ...]] = {}
    limits: dict[str, Any] = {}


def read_trade_config(path: Path) -> TradeConfig:
    """Read a file.

    Raises:
        ConfigError: it can't be read, isn't TOML, or has keys or values that are wrong: names file, line and key.
    """
    text, values = read_toml(path, "a TOML file with [limits] (docs/execution.md)", Decimal)
    lines = key_lines(text)
    words = [
        *_unknown(path, lines.get(("", 0), {}), "", values, TradeConfig.__struct_fields__),
        *_unknown(path, lines.get(("symbols", 0), {}), "symbols", values.get("symbols"), CATEGORIES),
        *_unknown(path, lines.get(("limits", 0), {}), "limits", values.get("limits"), _ALL_LIMITS),
    ]
    if words:
        raise ConfigError("\n".join(words))
    top = lines.get(("", 0), {})
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, TradeConfig)
        except msgspec.ValidationError as error:
            said = str(error).split(" - at ")[0]
            line = top.get(name) or lines.get((name, 0), {}).get("", 1)
            raise ConfigError(
                f"{path}:{line}: {name}: found {value!r}: {said[:1].lower()}{said[1:]}"
            ) from None
    return msgspec.convert(values, TradeConfig)


def _unknown(
    path: Path, lines: Mapping[str, int], table: str, found: object, known: Iterable[str]
) -> list[str]:
    """A sentence for each key that nobody knows."""
    known = [str(name) for name in known]
    words = []
    for key in found if isinstance(found, dict) else ():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            where = f"{path}:{lines.get(key, lines.get('', 1))}: {f'[{table}]: ' if table else ''}"
            words.append(
                f"{where}found key {key!r}, expected one of {', '.join(known)}; the nearest is {near!r}"
            )
    return words


def limits_of(table: Mapping[str, Any], given: Iterable[str] = ()) -> Limits:
    """The limits of a ``[limits]`` table, and of options that win over it.

    Args:
        given: ``NAME=VALUE`` each; ``none`` switches one off, ``daily_loss.USDT=200`` is one coin's.

    Raises:
        ConfigError: one that isn't said, that nobody knows, or that has no such value.
    """
    values = dict(table)
    for text in given:
        name, separator, value = text.partition("=")
        name, _, part = name.strip().partition(".")
        if not separator or name not in _ALL_LIMITS or (part and name not in _TABLES):
            raise ConfigError(
                f"--limit: found {text[:80]!r}, expected NAME=VALUE with one of {', '.join(_ALL_LIMITS)}, such as "
                "order_notional=1000 or daily_loss.USDT=200; none as the value switches it off"
            )
        if part:
            known = values.get(name)
            values[name] = {**(known if isinstance(known, dict) else {}), part: value.strip()}
        else:
            values[name] = value.strip()
    missing = [name for name in LIMITS if name not in values]
    if missing:
        raise ConfigError(
            f"every limit has to be said, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not: give "
            "them in [limits] of --config FILE, or as --limit NAME=VALUE; none as the value switches one off"
        )
    read = {name: _read(name, value) for name, value in values.items()}
    for name in ("order_quantity", "quote_age_ms"):
        if read.get(name, 0) is None:
            del read[name]
    return Limits(**read)


def _read(name: str, value: object) -> Any:
    if value == _OFF:
        return None
    if name in _TABLES:
        if not isinstance(value, dict) or not value:
            example = _TABLES[name]
            raise ConfigError(
                f"limit {name}: found {value!r}, expected an amount for each of some names, such as {example} "
                f'({name} = {{ {example} = 200 }}, --limit {name}.{example}=200), or "none"'
            )
        return {key: _number(f"{name}.{key}", amount) for key, amount in value.items()}
    number = _number(name, value)
    if name not in _WHOLE:
        return number
    if number != number.to_integral_value():
        raise ConfigError(f'limit {name}: found {value}, expected a whole number, or "none"')
    return int(number)


def _number(name: str, value: object) -> Decimal:
    number = None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > 18:
        raise ConfigError(
            f'limit {name}: found {str(value)[:60]!r}, expected a number, or "none" to switch it off'
        )
    return number
