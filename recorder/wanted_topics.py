"""Whether topics that somebody wants to hear of are among those that a configuration records."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from recorder.health import class_of
from recorder.universe import selection_of, topics_of
from schemas.config import RecordConfig
from schemas.errors import ConfigError

__all__ = ["check_wanted"]


def check_wanted(config: RecordConfig, wanted: Iterable[str]) -> None:
    """Refuse a topic of which nothing would ever be heard.

    Where symbols are chosen by rules, only the prefix is looked at: what is listed later may be recorded then.

    Args:
        config: what is recorded.
        wanted: full topics or prefixes such as ``orderbook.50``.

    Raises:
        ConfigError: one is no text, or none of what is recorded; or the configuration itself is wrong.
    """
    texts = list(wanted)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise ConfigError(
                f"found topic {text!r}, expected a text such as orderbook.50 or publicTrade.BTCUSDT"
            )
    if not texts:
        return
    selection = selection_of(config)
    recorded = topics_of(config, selection.symbols) if selection.is_list else list(config.topics)
    for text in texts:
        if not _is_among(text, recorded, whole=selection.is_list):
            raise _refusal(text, recorded)


def _is_among(text: str, recorded: Sequence[str], *, whole: bool) -> bool:
    return any(
        topic == text or topic.startswith(f"{text}.") or (not whole and text.startswith(f"{topic}."))
        for topic in recorded
    )


def _refusal(text: str, recorded: Sequence[str]) -> ConfigError:
    prefixes = dict.fromkeys(map(class_of, recorded))
    near = difflib.get_close_matches(text, [*prefixes, *recorded], n=1, cutoff=0.0)
    nearest = f"; the nearest is {near[0]!r}" if near else ""
    return ConfigError(
        f"found topic {text!r}, of which nothing is recorded; expected a prefix or a full topic of "
        f"{', '.join(prefixes) or 'this shard, which has none'}{nearest}"
    )
