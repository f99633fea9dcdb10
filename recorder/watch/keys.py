"""The pages of ``tapebook watch``, and its keys: one table, of which bindings, ``--help`` and help page are made."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["KEYS", "Action", "Key", "View", "keys_text"]


class View(StrEnum):
    """A page."""

    OVERVIEW = "overview"
    BOOK = "book"
    FEEDS = "feeds"
    LINES = "lines"
    EVENTS = "events"


class Action(StrEnum):
    """What a key does."""

    OVERVIEW = "overview"
    BOOK = "book"
    FEEDS = "feeds"
    LINES = "lines"
    EVENTS = "events"
    NEXT_VIEW = "next view"
    PREVIOUS_VIEW = "previous view"
    NEXT_SYMBOL = "next symbol"
    PREVIOUS_SYMBOL = "previous symbol"
    SEARCH = "search"
    DEPTH = "depth"
    COARSER = "coarser"
    FINER = "finer"
    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"
    FIRST = "first"
    LAST = "last"
    OPEN = "open"
    SORT = "sort"
    BACK = "back"
    HELP = "help"
    QUIT = "quit"


class Key(NamedTuple):
    """A line of the table.

    Attributes:
        shown: how the key is called.
        says: what it does.
        bound: what is bound, as ``prompt_toolkit`` calls it, to which action.
    """

    shown: str
    says: str
    bound: dict[str, Action]


KEYS: Final = (
    Key(
        "1 2 3 4 5",
        "overview, book, feeds, lines, events",
        {"1": Action.OVERVIEW, "2": Action.BOOK, "3": Action.FEEDS, "4": Action.LINES, "5": Action.EVENTS},
    ),
    Key("Tab", "the next view; Shift-Tab the one before", {"tab": Action.NEXT_VIEW, "s-tab": Action.PREVIOUS_VIEW}),
    Key(
        "left right",
        "the symbol before, the next (also p and n)",
        {
            "left": Action.PREVIOUS_SYMBOL, "right": Action.NEXT_SYMBOL,
            "p": Action.PREVIOUS_SYMBOL, "n": Action.NEXT_SYMBOL,
        },
    ),
    Key("/", "look for a symbol: type a part of it, Enter takes it, Esc doesn't", {"/": Action.SEARCH}),
    Key(
        "up down",
        "through a list (also k, j, PgUp, PgDn, Home, End)",
        {
            "up": Action.UP, "down": Action.DOWN, "k": Action.UP, "j": Action.DOWN,
            "pageup": Action.PAGE_UP, "pagedown": Action.PAGE_DOWN, "home": Action.FIRST, "end": Action.LAST,
        },
    ),
    Key("Enter", "from a feed to its book", {"enter": Action.OPEN}),
    Key("d", "another depth of the symbol, where several are recorded", {"d": Action.DEPTH}),
    Key(
        "+ -",
        "price steps of the ladder, coarser and finer",
        {"+": Action.COARSER, "=": Action.COARSER, "-": Action.FINER},
    ),
    Key("s", "sort the feeds: by trouble, name, rate", {"s": Action.SORT}),
    Key("?", "this help (also h); Esc closes it", {"?": Action.HELP, "h": Action.HELP, "escape": Action.BACK}),
    Key("q", "leave (also Ctrl-C); Ctrl-Z suspends, Ctrl-L draws all anew", {"q": Action.QUIT, "c-c": Action.QUIT}),
)  # fmt: skip


def keys_text() -> str:
    """The table for ``--help``, a line each."""
    width = max(len(key.shown) for key in KEYS)
    return "\n".join(f"{key.shown:<{width}}  {key.says}" for key in KEYS)
