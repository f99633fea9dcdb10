"""Configuration from a TOML file; an error names file, line, key, what was found and expected, and what is near.

A file has the keys of ``RecordConfig``, at top level or in a ``[record]`` table. For ``tapebook supervise`` it may also
have ``[[collector]]`` tables, one per collector, over which the top level lays defaults (``recorder.fleet``).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.bybit.endpoints import root_of
from recorder.object_store import check_local, check_url
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.units import parse_bytes, parse_span_ns

__all__ = ["KEYS", "ConfigFile", "Table", "explain", "key_lines", "load_config", "read_config", "read_toml"]

_TYPES = {field.name: field.type for field in msgspec.structs.fields(RecordConfig)}
_DEFAULTS = RecordConfig()
KEYS = tuple(_TYPES)
"""What a configuration of one collector may have."""

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]")
_SETS = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*=")


class Table(NamedTuple):
    """One table of a file.

    Attributes:
        values: by key.
        lines: of the file, by key.
        line: where it begins.
    """

    values: dict[str, Any]
    lines: dict[str, int]
    line: int = 1


class ConfigFile(NamedTuple):
    """A file that is TOML.

    Attributes:
        path: of the file.
        top: its top level, or its ``[record]`` table.
        collectors: its ``[[collector]]`` tables.
    """

    path: Path
    top: Table
    collectors: list[Table]


def read_toml(
    path: Path, expected: str, parse_float: Callable[[str], Any] = float
) -> tuple[str, dict[str, Any]]:
    """Read a file; returns its text, and what that says.

    Args:
        path: the file.
        expected: what to say of a file that isn't there: what it should be.
        parse_float: what numbers with a point become.

    Raises:
        ConfigError: it can't be read, or isn't TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text, parse_float=parse_float)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected {expected}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def read_config(path: Path) -> ConfigFile:
    """Read a file, and find where it sets what.

    Raises:
        ConfigError: it can't be read, isn't TOML, or has a table that is none of ours.
    """
    text, values = read_toml(path, f"a TOML file with keys such as {KEYS[0]}; `tapebook init` writes one")
    lines = key_lines(text)
    inner = values.get("record")
    if isinstance(inner, dict) and len(values) == 1:
        return ConfigFile(path, Table(inner, lines.get(("record", 0), {})), [])
    tables = values.pop("collector", [])
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        number = lines.get(("collector", 0), {}).get("", lines[("", 0)].get("collector", 1))
        raise ConfigError(f"{path}:{number}: collector: expected tables that begin with [[collector]]")
    collectors = []
    for number, table in enumerate(tables):
        found = lines.get(("collector", number), {})
        collectors.append(Table(table, found, found.get("", 1)))
    top = dict(lines[("", 0)])
    for (name, number), found in lines.items():  # a table where a key belongs
        if name in values and number == 0 and name not in top:
            top[name] = found[""]
    return ConfigFile(path, Table(values, top), collectors)


def key_lines(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """Line of each key by (table, its number among those of the name); the table's own under the empty key."""
    out: dict[tuple[str, int], dict[str, int]] = {("", 0): {}}
    here = out[("", 0)]
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header.group(2).strip("\"'")
            count = sum(known == name for known, _ in out)
            here = out.setdefault((name, count), {"": number})
        elif sets := _SETS.match(line):
            here.setdefault(sets.group(1), number)
    return out


def load_config(path: Path | None, overrides: dict[str, Any]) -> RecordConfig:
    """Read a configuration of one collector and lay the given options over it.

    Args:
        path: a TOML file, or None.
        overrides: options that were given; None values count as not given.

    Raises:
        ConfigError: the file can't be read, isn't TOML, or keys or values are wrong; each has a line of the message.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    table, place = Table({}, {}), ""
    if path is not None:
        file = read_config(path)
        if file.collectors:
            raise ConfigError(
                f"{path}:{file.collectors[0].line}: [[collector]] tables are for `tapebook supervise`; "
                "record takes the keys of one collector"
            )
        table, place = file.top, str(path)
    words = explain(place, table, given)
    if words:
        raise ConfigError("\n".join(words))
    return msgspec.convert({**table.values, **given}, RecordConfig)


def explain(
    path: str,
    table: Table,
    given: Mapping[str, Any] | None = None,
    *,
    keys: Iterable[str] = KEYS,
    types: Mapping[str, Any] = _TYPES,
) -> list[str]:
    """What is wrong with a table, a sentence each that names the place; empty when nothing is.

    Args:
        path: of its file.
        table: the table.
        given: options that win over it, named as options.
        keys: that it may have.
        types: of the keys.
    """
    given = given or {}
    keys = tuple(keys)

    def place(key: str) -> str:
        if key in given or not path:
            return f"--{key.replace('_', '-')}"
        return f"{path}:{table.lines.get(key, table.line)}: {key}"

    words = []
    values = {**table.values, **given}
    for key, value in values.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)[0]
            where = f"{path}:{table.lines.get(key, table.line)}: " if path and key not in given else ""
            words.append(
                f"{where}found key {key!r}, expected one of {', '.join(keys)}; the nearest is {near!r}"
            )
            continue
        try:
            msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            expected = str(error).split(" - at ")[0]
            words.append(f"{place(key)}: found {value!r}: {_expected(expected, key, value)}")
    for key, parse in (
        ("keep_journal", parse_span_ns),
        ("keep_journal_bytes", parse_bytes),
        ("keep_archive", parse_span_ns),
    ):
        if isinstance(text := values.get(key), str) and text:
            try:
                parse(text)
            except ConfigError as error:
                words.append(f"{place(key)}: {error}")
    for key, check in (("archive_url", check_url), ("data", check_local)):
        if isinstance(text := values.get(key), str) and text:
            try:
                check(text)
            except ConfigError as error:
                words.append(f"{place(key)}: {error}")
    hosts = values.get("environment", ""), values.get("region", "")
    if all(isinstance(text, str) for text in hosts):
        try:
            root_of(*hosts)
        except ConfigError as error:
            words.append(f"{place(str(error).split()[0])}: {error}")
    return words


def _expected(message: str, key: str, value: Any) -> str:
    """What was expected, and the nearest value that would be taken."""
    if "enum" in message:
        choices = [member.value for member in _TYPES[key]]
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        return f"expected one of {', '.join(choices)}; the nearest is {near!r}"
    said = message[:1].lower() + message[1:]
    nearest = _nearest(said, key, value)
    return said if nearest is None else f"{said}; the nearest is {nearest}"


def _nearest(said: str, key: str, value: Any) -> str | None:
    """The nearest valid value as TOML writes it, where there is one to be told."""
    if "`array" in said and isinstance(value, str):
        return "[" + ", ".join(f'"{part.strip()}"' for part in value.split(",")) + "]"
    if "`bool`" in said and isinstance(value, str | int):
        return "true" if str(value).lower() in ("1", "yes", "on", "true") else "false"
    if "`str`" in said and isinstance(value, int | float) and not isinstance(value, bool):
        return f'"{value}"'
    if isinstance(value, str) and ("`float`" in said or "`int`" in said):
        return value if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value) else None
    if isinstance(value, float) and "`int`" in said and abs(value) < 1e9:
        return str(round(value))
    if bound := re.search(r"(?:<=|>=) ([0-9.]+)$", said):
        return f"{float(bound[1]):g}"
    if "> 0" in said or ">= 1" in said:
        default = getattr(_DEFAULTS, key, None)
        return None if default is None else f"more than 0, such as the default {default:g}"
    return None
