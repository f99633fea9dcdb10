"""Live books of a recorder, opened from another process by the data directory that it records into.

::

    from recorder import live_books

    book = live_books.open_book("live-data", "BTCUSDT")
    bid, bid_size, ask, ask_size = book.best() or (None, None, None, None)

A book is the truth only while its ``state()`` is LIVE; ``trouble()`` says what else is the matter. A reader whose book
is in trouble opens it again, now and then: a recorder that was started anew has new files (docs/live-books.md).
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from engine.core.shared import SharedBook, SharedControl, SharedTape
from engine.shared import SharedTopic
from recorder.live_files import CONTROL, LIVE, TAPE, book_name, live_link
from recorder.shared_memory import map_file
from recorder.status import is_held, live_status, require_data
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["LiveFeed", "live_feeds", "open_book", "open_control", "open_tape"]

TRIES = 3
"""A recorder that is started anew takes the old files away while they are being opened."""


class LiveFeed(NamedTuple):
    """A book that a collector publishes."""

    collector: str
    category: Category
    symbol: str
    topic: str


def live_feeds(data: Path | str) -> list[LiveFeed]:
    """The books that can be opened, by collector and topic; of a recorder that died too, until it is started again.

    Raises:
        ConfigError: there is no such data directory, or what is published there can't be read.
    """
    return [
        LiveFeed(name, Category(control.category), topic.symbol, topic.topic)
        for name, control in _controls(Path(data))
        for topic in control.topics()
        if topic.capacity
    ]


def open_book(
    data: Path | str,
    symbol: str,
    *,
    category: Category | str = Category.LINEAR,
    topic: str | None = None,
    collector: str | None = None,
) -> SharedBook:
    """Open a symbol's live book.

    Args:
        data: the data directory that a recorder records into.
        symbol: the symbol.
        category: its product line.
        topic: ``orderbook.50``, or in full; by default the deepest that is recorded.
        collector: the recorder's name; by default whichever has the book, running ones first.

    Raises:
        ConfigError: no recorder publishes it (the message names what is near), it can't be read (of another version,
            another user's), or an argument is none.
    """
    data = Path(data)
    _check_texts(symbol, topic, collector)
    if category not in list(Category):
        raise ConfigError(f"found category {category!r}, expected one of {', '.join(Category)}")
    wanted = Category(category)

    def find() -> _Found[SharedBook]:
        control, found = _find(data, symbol, wanted, topic, collector)
        path = live_link(data, control.collector) / book_name(found.feed)
        gone = f"{path}: is gone: its recorder ended just now, or is started again and again"
        return path, lambda: SharedBook(_map(path), control, time.monotonic_ns), gone

    return _opened(find)


def open_tape(data: Path | str, collector: str | None = None) -> SharedTape:
    """Open a recorder's tape, at its end: what comes from now on.

    Args:
        data: the data directory that it records into.
        collector: its name; may be left out where only one publishes there.

    Raises:
        ConfigError: there is no such recorder, or none that keeps a tape, or several; or it can't be read.
    """
    data = Path(data)

    def find() -> _Found[SharedTape]:
        controls = _controls(data, collector)
        if len(controls) > 1:
            raise ConfigError(
                f"{data}: {', '.join(name for name, _ in controls)} publish live books; choose one collector's tape"
            )
        name, control = controls[0]
        path = live_link(data, name) / TAPE
        gone = f"{name} keeps no tape (it records with --tape-mib 0, or had no memory for one), or ended just now"
        return path, lambda: SharedTape(_map(path), control, time.monotonic_ns), gone

    return _opened(find)


def open_control(data: Path | str, collector: str) -> SharedControl:
    """Open what a collector says of itself and its topics. Raises ConfigError as ``open_tape``."""
    return _controls(Path(data), collector)[0][1]


# ---- finding ----


def _check_texts(symbol: object, topic: object, collector: object) -> None:
    for name, value, example in (
        ("symbol", symbol, "'BTCUSDT'"),
        ("topic", topic, "'orderbook.50', or None"),
        ("collector", collector, "'linear', or None"),
    ):
        if not isinstance(value, str) and (value is not None or name == "symbol"):
            raise ConfigError(f"found {name} {value!r}, expected a text such as {example}")


_T = TypeVar("_T")
_Found = tuple[Path, Callable[[], _T], str]
"""A file, what opens it, and the words for its not being there."""


def _opened(find: Callable[[], _Found[_T]]) -> _T:
    """Open what is found; a recorder that is started meanwhile takes it away, so it is looked for again."""
    for tries_left in reversed(range(TRIES)):
        path, opens, gone = find()
        try:
            return opens()
        except ConfigError as error:
            if not tries_left:
                raise ConfigError(f"{path}: {error}") from None
        except FileNotFoundError:
            if not tries_left:
                raise ConfigError(gone) from None
    raise AssertionError


def _find(
    data: Path, symbol: str, category: Category, topic: str | None, collector: str | None
) -> tuple[SharedControl, SharedTopic]:
    """The deepest book that fits; of equal ones, one whose writer is alive."""
    controls = [control for _, control in _controls(data, collector) if control.category == category.value]
    books = [
        (control, found)
        for control in controls
        for found in control.topics()
        if found.kind in ("book", "rpi") and found.symbol == symbol
    ]
    if not books:
        raise ConfigError(
            f"no order book of {category.value} {symbol} is recorded{_near(data, category, symbol)}"
        )
    if topic is not None:
        full = topic if topic.endswith(f".{symbol}") else f"{topic}.{symbol}"
        fitting = [(control, found) for control, found in books if found.topic == full]
        if not fitting:
            others = ", ".join(sorted({found.topic for _, found in books}))
            raise ConfigError(f"{full} of {category.value} is not recorded; recorded: {others}")
        books = fitting
    readable = [(control, found) for control, found in books if found.capacity]
    if not readable:
        names = ", ".join(sorted({found.topic for _, found in books}))
        raise ConfigError(
            f"{names}: is recorded, but its live book is not published (RPI books never are, and others not where "
            "shared memory was short: `tapebook status` says so)"
        )
    now_ns = time.monotonic_ns()
    return max(readable, key=lambda pair: (not pair[0].trouble(now_ns), pair[1].depth))


def _near(data: Path, category: Category, symbol: str) -> str:
    there = live_feeds(data)
    elsewhere = sorted({feed.category.value for feed in there if feed.symbol == symbol})
    if elsewhere:
        return f"; it is in {', '.join(elsewhere)}: name the category"
    names = sorted({feed.symbol for feed in there if feed.category is category})
    near = difflib.get_close_matches(symbol, names, n=5, cutoff=0.5) or names[:5]
    return f"; there is {', '.join(near)}" if near else ""


def _controls(data: Path, collector: str | None = None) -> list[tuple[str, SharedControl]]:
    """The control files of a data directory's collectors, by name; at least one."""
    require_data(data)
    names = _names(data)
    if collector is not None and collector not in names:
        raise ConfigError(f"{data}: {_nobody(data, collector)}{_others(names)}")
    if not names:
        raise ConfigError(f"{data}: {_nobody(data, None)}")
    found: list[tuple[str, SharedControl]] = []
    unreadable: list[ConfigError] = []
    for name in names if collector is None else [collector]:
        try:
            found.append((name, _open_control(live_link(data, name) / CONTROL)))
        except FileNotFoundError:
            continue  # it ended meanwhile; or the machine was started anew, and its memory is gone
        except ConfigError as error:  # which is one collector's fault, and the others' books can be read
            unreadable.append(error)
    if not found:
        raise unreadable[0] if unreadable else ConfigError(f"{data}: {_nobody(data, collector)}")
    return found


def _names(data: Path) -> list[str]:
    try:
        return sorted(path.name for path in (data / LIVE).iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{data / LIVE}: {error.strerror}") from None


def _open_control(path: Path) -> SharedControl:
    try:
        control = SharedControl(_map(path))
        if control.category not in list(Category):
            raise ConfigError(f"found category {control.category!r}: it is damaged")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return control


def _map(path: Path) -> memoryview:
    try:
        return map_file(path)
    except FileNotFoundError:
        raise
    except PermissionError:
        raise ConfigError(
            "may not be read by this user: live books are private to the user who records; read them as that user"
        ) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None


def _nobody(data: Path, collector: str | None) -> str:
    """Why there are no live books."""
    names = [collector] if collector is not None else _recorders(data)
    for name in names:
        if is_held(data, name):
            told = (live_status(data, name) or {}).get("live")
            why = (told or {}).get("trouble") or "it was started with --no-live, or only just"
            return f"collector {name!r} records there, but publishes no live books ({why})"
    who = "no recorder" if collector is None else f"no collector {collector!r}"
    return f"{who} publishes live books there; start one with `tapebook record --data {data}`"


def _recorders(data: Path) -> list[str]:
    try:
        return sorted(path.name for path in (data / "journal").iterdir() if path.is_dir())
    except OSError:
        return []


def _others(names: list[str]) -> str:
    return f"; there is {', '.join(names)}" if names else ""
