"""Configuration from a TOML file; an error names file, line, key, what was found and expected, and what is near."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from engine.bybit.endpoints import root_of
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["load_config"]

_KEYS = tuple(field.name for field in msgspec.structs.fields(RecordConfig))
_FAILED_AT = re.compile(r"at `\$\.(\w+)")
_INVALID_ENUM = re.compile(r"Invalid enum value '?([^' ]*)'?")


def load_config(path: Path | None, overrides: dict[str, Any]) -> RecordConfig:
    """Read a configuration and lay the given options over it.

    Args:
        path: a TOML file with keys of ``RecordConfig`` (at top level or in a ``[record]`` table), or None.
        overrides: options that were given; None values count as not given.

    Raises:
        ConfigError: the file can't be read, isn't TOML, or a key or value is wrong.
    """
    text, values = "", {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: no such file; expected a TOML file with keys such as {_KEYS[0]}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        inner = values.get("record")
        if isinstance(inner, dict) and len(values) == 1:
            values = inner
        for key in values:
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
                raise ConfigError(
                    f"{path}:{_line_of(text, key)}: found key {key!r}, expected one of {', '.join(_KEYS)}; "
                    f"the nearest is {near!r}"
                )
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        config = msgspec.convert({**values, **given}, RecordConfig)
    except msgspec.ValidationError as error:
        raise _explained(str(error), path, text, {**values, **given}, set(given)) from None
    try:
        root_of(config.environment, config.region)
    except ConfigError as error:
        key = str(error).split()[0]
        raise ConfigError(f"{_place(path, text, key, set(given))}: {error}") from None
    return config


def _place(path: Path | None, text: str, key: str, given: set[str]) -> str:
    """Where a value was given: the option, or file, line and key."""
    if key in given or path is None:
        return f"--{key.replace('_', '-')}"
    return f"{path}:{_line_of(text, key)}: {key}"


def _explained(
    message: str, path: Path | None, text: str, values: dict[str, Any], given: set[str]
) -> ConfigError:
    at = _FAILED_AT.search(message)
    key = at.group(1) if at else ""
    found = values.get(key)
    place = _place(path, text, key, given)
    expected = message.split(" - at ")[0]
    if _INVALID_ENUM.search(expected):
        choices = [member.value for member in Category]
        near = difflib.get_close_matches(str(found), choices, n=1, cutoff=0.0)[0]
        expected = f"expected one of {', '.join(choices)}; the nearest is {near!r}"
    return ConfigError(f"{place}: found {found!r}: {expected[:1].lower()}{expected[1:]}")


def _line_of(text: str, key: str) -> int:
    """The line that sets a key; 1 where it can't be told."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return 1
