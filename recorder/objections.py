"""What is wrong with a configuration beyond the types of its values: every mistake at once, each with its key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from engine.bybit.endpoints import normalise_root
from engine.bybit.topics import TopicKind, expand
from engine.sharding import parse_shard
from recorder.health import class_of
from recorder.journal.files import check_collector
from recorder.live_publisher import parse_live_depth
from recorder.universe import selection_of
from schemas.config import RecordConfig
from schemas.errors import ConfigError

__all__ = ["doubtful_keys", "objections"]

_EXAMPLES: Final = {"option": "BTC-25DEC26-100000-C"}


def doubtful_keys(values: Mapping[str, Any], types: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys of which it is not known what was meant: of a wrong type, or absent and near to an unknown one.

    Args:
        values: of one table.
        types: of the keys that there are.
    """
    doubtful = set()
    for key, value in values.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.0)
            doubtful |= {key, *(each for each in near if each not in values)}
            continue
        try:
            msgspec.convert(value, types[key])
        except msgspec.ValidationError:
            doubtful.add(key)
    return frozenset(doubtful)


def objections(config: RecordConfig, doubtful: Collection[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """What is wrong with a configuration whose values are of the right types: (key, why), as far as it can be known
    without asking the exchange.

    Args:
        config: the configuration.
        doubtful: keys whose values are not the ones that were meant; nothing is said of what depends on them.
    """
    known = frozenset(RecordConfig.__struct_fields__).difference(doubtful)
    if "name" in known:
        yield from _objection("name", lambda: check_collector(config.collector))
    symbols: tuple[str, ...] = (_EXAMPLES.get(config.category.value, "BTCUSDT"),)
    if {"symbols", "topics"} <= known and not config.symbols:
        lonely = [topic for topic in config.topics if _needs_symbols(topic)]
        if lonely:
            need = "needs" if len(lonely) == 1 else "need"
            yield (
                "symbols",
                f"found none, and {', '.join(lonely)} {need} some: expected symbols such as {symbols[0]}, patterns or "
                f"rules, or topics in full such as {lonely[0]}.{symbols[0]}",
            )
    elif {"symbols", "category"} <= known:
        try:
            selection = selection_of(config)
        except ConfigError as error:
            yield "symbols", str(error)
        else:
            symbols = selection.symbols if selection.is_list else symbols
    if {"topics", "category"} <= known:
        yield from _objection("topics", lambda: expand(config.category, config.topics, symbols))
    if {"shard", "pins"} <= known:
        yield from _objection("shard", lambda: parse_shard(config.shard, config.pins))
    if "endpoint" in known and config.endpoint:
        yield from _objection("endpoint", lambda: normalise_root(config.endpoint))
    if "live_depth" in known:
        yield from _objection("live_depth", lambda: parse_live_depth(config.live_depth))


def _objection(key: str, check: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        check()
    except ConfigError as error:
        yield key, str(error).removeprefix(f"--{key.replace('_', '-')}: ")


def _needs_symbols(topic: str) -> bool:
    """Whether it is a prefix that is combined with symbols; what is no topic at all is told of elsewhere."""
    kind = topic.partition(".")[0]
    return class_of(topic) == topic and kind in set(TopicKind) and TopicKind(kind).names_symbol
