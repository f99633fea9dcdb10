"""When an engine has seen so many feeds come and go that the run it serves should make way for another. Pure.

What has ended keeps its place as long as the engine lasts, so that nothing that is known by its number can be mistaken
for another thing. There are 65,536 places for topics, and as many for symbols.
"""

from __future__ import annotations

from typing import Final

from engine.core.feeds import Engine

__all__ = ["MOST_PLACES", "is_worn"]

MOST_PLACES: Final = 32_000
"""Places that are taken before it is looked at how many of them are taken by what has ended. Well below what there is:
each costs about 4 KiB, and a look once a second."""


def is_worn(engine: Engine) -> bool:
    """Whether many places are taken, most of them by what has ended. Looks at every feed if there are many."""
    taken = max(engine.feed_count, engine.symbol_count)
    if taken < MOST_PLACES:
        return False
    living = sum(not engine.ended(feed) for feed in range(engine.feed_count))
    return living <= taken // 2
