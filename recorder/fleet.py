"""Several collectors out of one configuration file: ``[[collector]]`` tables, and shards of one category.

The top level lays defaults under every table; ``data``, ``metrics``, ``roll`` and what is done to a whole journal are
said there once, because they are the supervisor's. A file without tables is one collector. Shards are dealt out by
measured load where an earlier run has left it behind (its last status), by expected load for lists of symbols, else by
hash.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine.bybit.topics import expand
from engine.bybit.weights import expected_frames_per_second
from engine.sharding import MAX_SHARDS, Shard, balance, parse_shard
from recorder.config_file import ConfigFile, Table, explain, load_config, read_config
from recorder.health import class_of
from recorder.housekeeping import Housekeeping, housekeeping_of
from recorder.metrics_server import parse_address
from recorder.objections import doubtful_keys, objections
from recorder.status import live_status
from recorder.universe import selection_of
from schemas.config import RecordConfig
from schemas.errors import ConfigError

__all__ = [
    "FRAMES_PER_SECOND",
    "Fleet",
    "child_file",
    "expected_loads",
    "load_fleet",
    "measured_loads",
]

HOUSEKEEPING: Final = (
    "recompress",
    "compact",
    "archive_url",
    "keep_archive",
    "keep_journal",
    "keep_journal_bytes",
)
ONCE: Final = ("data", "metrics", "roll", *HOUSEKEEPING)
SHARD_KEYS: Final = ("shard", "pins")
FRAMES_PER_SECOND: Final = 5_000
"""What ``shards = "auto"`` gives one process to do, well below what one can, so that a busy hour fits too."""
LEAST_SECONDS: Final = 60
"""A load that was measured over less says too little."""

_TYPES: Final = {
    **{field.name: field.type for field in msgspec.structs.fields(RecordConfig)},
    "shards": int | str,
}
Objections = Callable[[RecordConfig, Collection[str]], Iterator[tuple[str, str]]]
"""(Key, why) of what is wrong, without what depends on the keys that are doubtful (`recorder.objections`)."""


class Fleet(NamedTuple):
    """What a supervisor runs.

    Attributes:
        data: the directory that all collectors share.
        metrics: address of the one port, or empty.
        roll: whether to roll.
        configs: of each collector, with distinct names.
        notes: what was decided, for people.
        housekeeping: what the roller does beside rolling.
    """

    data: Path
    metrics: str
    roll: bool
    configs: list[RecordConfig]
    notes: list[str]
    housekeeping: Housekeeping = Housekeeping()


def load_fleet(path: Path, *, further: Objections = objections) -> Fleet:
    """Read a configuration file for the supervisor.

    Args:
        path: of the file.
        further: what is wrong with a collector's configuration beyond the types of its values.

    Raises:
        ConfigError: the file can't be read, or something in it is wrong; each mistake has a line of the message.
    """
    file = read_config(path)
    words = _wrong_keys(file)
    configs: list[RecordConfig] = []
    notes: list[str] = []
    named: dict[str, int] = {}
    for table in file.collectors or [Table({}, {}, 1)]:
        merged = Table({**file.top.values, **table.values}, {**file.top.lines, **table.lines}, table.line)
        own = {key: value for key, value in merged.values.items() if key not in HOUSEKEEPING}
        config, shards, doubtful = _sound(own)
        config = msgspec.structs.replace(config, metrics="", roll=False)
        found = list(further(config, doubtful))
        try:
            _check_shards(shards)
        except ConfigError as error:
            found.append(("shards", str(error)))
        words.extend(f"{path}:{merged.lines.get(key, merged.line)}: {key}: {why}" for key, why in found)
        if not doubtful & {"name", "category"}:
            if config.collector in named:
                words.append(
                    f"{path}:{merged.line}: name: {config.collector!r} is the collector of line "
                    f"{named[config.collector]} already: give each its own name"
                )
            named[config.collector] = merged.line
        if not found and not doubtful:
            configs.extend(_sharded(config, shards, notes))
    twice = [name for name, count in Counter(config.collector for config in configs).items() if count > 1]
    if twice and not words:
        words.append(
            f"{path}: name: {twice[0]!r} is a shard's name too: give the other collector its own name"
        )
    top, _, _ = _sound(file.top.values)
    if top.metrics:
        try:
            parse_address(top.metrics)
        except ConfigError as error:
            words.append(f"{path}:{file.top.lines.get('metrics', 1)}: {str(error).removeprefix('--')}")
    housekeeping = Housekeeping()
    if not explain(str(path), file.top, keys=_TYPES, types=_TYPES):
        try:
            housekeeping = housekeeping_of(top)
        except ConfigError as error:
            words.append(f"{path}: {error}")
    if words:
        raise ConfigError("\n".join(sorted(dict.fromkeys(words), key=lambda word: _line_of(path, word))))
    return Fleet(Path(top.data), top.metrics, top.roll, configs, notes, housekeeping)


def _line_of(path: Path, word: str) -> int:
    """Of the file; 0 where a sentence is about the whole of it."""
    number = word.removeprefix(f"{path}:").partition(":")[0]
    return int(number) if number.isdigit() else 0


def _wrong_keys(file: ConfigFile) -> list[str]:
    """Keys and types that are wrong, and keys that stand in the wrong place; a sentence each."""
    path = file.path
    words = explain(str(path), file.top, keys=_TYPES, types=_TYPES)
    for table in file.collectors:
        for key in ONCE:
            if key in table.values:
                words.append(
                    f"{path}:{table.lines.get(key, table.line)}: {key}: is said once for all collectors; "
                    "move it above the first [[collector]]"
                )
        keys = [key for key in _TYPES if key not in ONCE or key in table.values]
        words.extend(explain(str(path), table, keys=keys, types=_TYPES))
    for table in (file.top, *file.collectors):
        for key in SHARD_KEYS:
            if key in table.values and ("shards" in table.values or "shards" in file.top.values):
                words.append(
                    f"{path}:{table.lines.get(key, table.line)}: {key}: with shards the supervisor deals the symbols "
                    "out itself: say one or the other"
                )
    return words


def _sound(values: Mapping[str, Any]) -> tuple[RecordConfig, Any, frozenset[str]]:
    """Return what can be read of a table: the configuration, ``shards``, and the keys that it goes without."""
    doubtful = doubtful_keys(values, _TYPES)
    sound = {key: value for key, value in values.items() if key in _TYPES and key not in doubtful}
    shards = sound.pop("shards", 1)
    return msgspec.convert(sound, RecordConfig), shards, doubtful


def _check_shards(shards: Any) -> None:
    is_count = isinstance(shards, int) and not isinstance(shards, bool) and 1 <= shards <= MAX_SHARDS
    if shards != "auto" and not is_count:
        raise ConfigError(f'found {shards!r}, expected 1 to {MAX_SHARDS} or "auto"')


def _sharded(config: RecordConfig, shards: Any, notes: list[str]) -> list[RecordConfig]:
    earlier = _of_a_crash(config)
    loads, known = measured_loads(config), "measured"
    if not loads:
        loads, known = expected_loads(config), "expected"
    if shards == "auto":
        count = max(1, min(math.ceil(sum(loads.values()) / FRAMES_PER_SECOND), os.cpu_count() or 1))
        count = earlier.of if earlier is not None else count
        how = f"{known} {sum(loads.values()):,.0f} frames/s" if loads else "no load is known yet"
        notes.append(f"{config.collector}: {how}, so {count} process{'es' if count > 1 else ''}")
    else:
        count = shards
    if count == 1:
        return [config]
    dealt = balance(loads, count) if earlier is None or earlier.of != count else earlier.pins
    pins = [f"{symbol}={number}" for symbol, number in sorted(dealt.items())]
    return [
        msgspec.structs.replace(
            config, name=f"{config.collector}-{number}", shard=f"{number}/{count}", pins=pins
        )
        for number in range(1, count + 1)
    ]


def _of_a_crash(config: RecordConfig) -> Shard | None:
    """How the symbols were dealt out before a crash, if one ended the last run: whoever was recording a feed then is
    the one to own up to its gap, so nothing is dealt out anew."""
    data = Path(config.data)
    group = _group(config)
    if not any((live_status(data, name) or {}).get("running") for name in group):
        return None
    for name in group:
        try:
            found = load_config(child_file(data, name), {})
            if found.shard:
                return parse_shard(found.shard, found.pins)
        except ConfigError:
            continue
    return None


def child_file(data: Path, collector: str) -> Path:
    """Where the supervisor writes what it tells one collector to do."""
    return data / "supervisor" / f"{collector}.toml"


def _group(config: RecordConfig) -> list[str]:
    """Collectors of the data directory that are this one, or shards of it."""
    base = config.collector
    try:
        found = [path.name for path in (Path(config.data) / "journal").glob(f"{base}*") if path.is_dir()]
    except OSError:
        return []
    return sorted(name for name in found if re.fullmatch(rf"{re.escape(base)}(-\d+)?", name))


def expected_loads(config: RecordConfig) -> dict[str, float]:
    """Frames a second by symbol, as they are expected of a plain list of symbols; empty for rules, which would have to
    be asked about first."""
    selection = selection_of(config)
    loads: dict[str, float] = {}
    if selection.is_list:
        for topic in expand(config.category, config.topics, selection.symbols):
            expected = expected_frames_per_second(config.category, topic.text)
            loads[topic.symbol] = loads.get(topic.symbol, 0.0) + expected
    return loads


def measured_loads(config: RecordConfig) -> dict[str, float]:
    """Frames a second by symbol, as the last run of this collector or of its shards counted them; empty if none did."""
    loads: dict[str, float] = {}
    for name in _group(config):
        live = live_status(Path(config.data), name) or {}
        seconds = live.get("seconds")
        if not isinstance(seconds, int | float) or seconds < LEAST_SECONDS:
            continue
        if live.get("category") != config.category.value:
            continue
        for feed in live["feeds"]:
            symbol = feed["topic"][len(class_of(feed["topic"])) + 1 :]
            loads[symbol] = loads.get(symbol, 0.0) + feed["messages"] / seconds
    return loads
