"""``tapebook watch``: a recorder at work, in a terminal."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recorder.output import standard_output
from recorder.status import require_data
from recorder.watch.keys import View, keys_text
from schemas.errors import ConfigError
from schemas.names import Category

if TYPE_CHECKING:
    from recorder.watch.model import Watch
    from recorder.watch.source import DataSource
    from recorder.watch.text import Glyphs

__all__ = ["EPILOG", "watch"]

EPILOG: Final = "Keys:\n\n" + "\n\n".join(keys_text().splitlines())
PATIENCE_S: Final = 2.5
"""How long --once waits for a second look, out of which rates come."""
ENDLESS: Final = 10_000


def watch(
    symbol: Annotated[
        str | None,
        typer.Argument(help="Symbol whose book is shown first, e.g. BTCUSDT; without one an overview."),
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Data directory.", show_default="data")] = Path("data"),
    category: Annotated[
        Category | None, typer.Option(help="Product line, where several have the symbol.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic, e.g. orderbook.50; the deepest recorded one by default.")
    ] = None,
    collector: Annotated[str | None, typer.Option(help="Collector, where several record the symbol.")] = None,
    view: Annotated[View | None, typer.Option(help="Page that is shown first.")] = None,
    pictures: Annotated[
        float, typer.Option("--pictures", min=0.2, max=30, help="Pictures a second, at most.")
    ] = 10.0,
    kib: Annotated[
        float, typer.Option("--kib", min=1, help="KiB a second to the terminal, at most, on average.")
    ] = 32.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one picture as plain text and end; for pipes and mails.")
    ] = False,
    ascii: Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII.")] = False,
) -> None:
    """Watch a recorder at work: is it live, how late, what is in trouble, since when. Changes nothing."""
    # needed by nobody else who uses the command line
    from recorder.watch.model import Watch
    from recorder.watch.source import DataSource
    from recorder.watch.text import ascii_glyphs, nice_glyphs

    require_data(data)
    _check_access(data)
    page = view or (View.OVERVIEW if symbol is None else View.BOOK)
    made = Watch(
        page,
        symbol=symbol or "",
        category="" if category is None else category.value,
        collector=collector or "",
        topic=topic or "",
        data=str(data),
    )
    source = DataSource(data)
    source.look(made, time.time_ns())
    _check_choice(made, symbol, category, collector)
    _check_topic(made, topic)
    glyphs = ascii_glyphs() if ascii or not _shows_unicode() else nice_glyphs()
    if once:
        _print_once(made, source, glyphs)
        return
    _check_terminal()
    asyncio.run(_show(made, source, glyphs, pictures, kib * 1024))


def _check_access(data: Path) -> None:
    for place in (data, data / "journal"):
        if place.exists() and not os.access(place, os.R_OK | os.X_OK):
            raise ConfigError(f"{place}: may not be read by this user; watch as the user who records")


def _check_choice(made: Watch, symbol: str | None, category: Category | None, collector: str | None) -> None:
    """Refuse what isn't recorded; where nothing is yet, it may come."""
    names = [told.collector for told in made.look.collectors]
    if collector is not None and names and collector not in names:
        raise ConfigError(f"--collector: found {collector!r}, expected one of {', '.join(names)}")
    if symbol is not None and made.choices and made.chosen is None:
        near = made.nearest(symbol)
        told = f"; the nearest are {', '.join(near)}" if near and symbol not in near else ""
        what = symbol if category is None else f"{symbol} of {category.value}"
        raise ConfigError(f"{what} is recorded by no collector here{told}")


def _check_topic(made: Watch, topic: str | None) -> None:
    if topic is not None and made.topics and not made.topic:
        names = ", ".join(made.topics)
        raise ConfigError(f"--topic: found {topic!r}, expected one of {names}, or without the symbol")


def _shows_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def _check_terminal() -> None:
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        what = "standard output" if not sys.stdout.isatty() else "standard input"
        raise ConfigError(
            f"{what} is no terminal: `tapebook watch --once` prints one picture, `tapebook status` what is known"
        )
    if os.environ.get("TERM", "") in ("", "dumb"):
        found = os.environ.get("TERM", "")
        raise ConfigError(
            f"TERM is {found!r}, a terminal that cannot be drawn on: set it to what yours is, such as xterm-256color, "
            "or use `tapebook watch --once`"
        )


def _print_once(made: Watch, source: DataSource, glyphs: Glyphs) -> None:
    from recorder.watch.paint import paint
    from recorder.watch.text import words

    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and any(
        rates.frames is None for name, rates in made.rates.items() if made.conditions[name] == "recording"
    ):
        time.sleep(0.1)
        source.look(made, time.time_ns())
    size = shutil.get_terminal_size((80, 24))
    source.read(made, time.time_ns(), size.lines, to_the_end=True)
    height = size.lines if made.view is View.BOOK else ENDLESS
    lines = [words(line).rstrip() for line in paint(made, size.columns, height, time.time_ns(), glyphs)]
    body = lines[:-1]  # the last tells keys
    while body and not body[-1]:
        body.pop()
    with standard_output() as out:
        out.write("".join(f"{line}\n" for line in body).encode(sys.stdout.encoding or "utf-8", "replace"))


async def _show(
    made: Watch, source: DataSource, glyphs: Glyphs, pictures: float, bytes_per_second: float
) -> None:
    from recorder.watch.pace import Pace
    from recorder.watch.screen import CountingOutput, Screen

    # Each picture leaves cycles behind; among the modules that stay, the collector would come to them late.
    gc.collect()
    gc.freeze()
    output = CountingOutput.of_terminal(sys.stdout, os.environ.get("TERM"))
    await Screen(made, source, output, glyphs, Pace(pictures, bytes_per_second)).run()
