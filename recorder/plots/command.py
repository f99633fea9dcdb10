"""``tapebook plot``: options in, a picture out; each picture's work is in a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recorder.archive import Archive, open_archive
from recorder.open_segments import not_asked_yet, overlooked, unread
from recorder.output import new_file, standard_output
from recorder.plots.coverage import By
from recorder.plots.latency import Since
from recorder.query import MEMORY_LIMIT, THREADS
from schemas.errors import ConfigError
from schemas.names import Category
from schemas.time import parse_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PictureFormat", "plotting"]

plotting = typer.Typer(
    name="plot",
    help="Draw the archive: PNG or SVG. Gaps are marked, and nothing is drawn over them. Times are UTC.",
    no_args_is_help=True,
    add_completion=False,
)


class PictureFormat(StrEnum):
    """What a picture is written as."""

    PNG = "png"
    SVG = "svg"


SYMBOL = Annotated[str, typer.Argument(help="Symbol, e.g. BTCUSDT.")]
CATEGORY = Annotated[
    Category | None,
    typer.Option("--category", help="Product line; may be left out where one alone has the symbol."),
]
FROM = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="From this moment, e.g. 2026-11-21T03:12:00Z; the first recorded one by default.",
    ),
]
TO = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="To before this moment; the last recorded one by default."),
]
TOPIC = Annotated[
    str | None,
    typer.Option(
        "--topic", help="Book topic, e.g. orderbook.50; the deepest one that covers the range by default."
    ),
]
OUTPUT = Annotated[
    Path,
    typer.Option("-o", "--output", help="File to write, ending in .png or .svg; - for standard output."),
]
FORM = Annotated[
    PictureFormat | None,
    typer.Option("--format", help="What to write, where the file's name does not say it."),
]
DATA = Annotated[
    Path, typer.Option("--data", help="Data directory, or s3://BUCKET/PREFIX that it was uploaded to.")
]
WIDTH = Annotated[int, typer.Option("--width", min=480, max=8000, help="Pixels.")]
HEIGHT = Annotated[int, typer.Option("--height", min=320, max=8000, help="Pixels.")]


@plotting.command("trades")
def _trades(
    symbol: SYMBOL,
    output: OUTPUT,
    data: DATA = Path("data"),
    category: CATEGORY = None,
    start: FROM = None,
    end: TO = None,
    form: FORM = None,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    width: WIDTH = 1280,
    height: HEIGHT = 720,
) -> None:
    """Draw prices, volumes by the taker's side, and the largest trades."""
    start_ns, end_ns = _range(start, end)

    def draw(archive: Archive) -> Figure:
        from recorder.plots.trades import trades_picture
        from recorder.plots.trades_figure import draw_trades

        line = _category(archive, category, symbol)
        return draw_trades(trades_picture(archive, line, symbol, start_ns, end_ns), width, height)

    _draw(data, output, form, draw, memory_limit, threads, category)


@plotting.command("spread")
def _spread(
    symbol: SYMBOL,
    output: OUTPUT,
    data: DATA = Path("data"),
    category: CATEGORY = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic",
            help="Book topic, e.g. orderbook.50; by default the shallowest that covers the range: it changes most.",
        ),
    ] = None,
    start: FROM = None,
    end: TO = None,
    form: FORM = None,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    width: WIDTH = 1280,
    height: HEIGHT = 720,
) -> None:
    """Draw the spread by how long it stood, every message counted, and the middle."""
    start_ns, end_ns = _range(start, end)

    def draw(archive: Archive) -> Figure:
        from recorder.plots.spread import spread_picture
        from recorder.plots.spread_figure import draw_spread

        line = _category(archive, category, symbol)
        picture = spread_picture(archive, line, symbol, start_ns, end_ns, topic=topic)
        return draw_spread(picture, width, height)

    _draw(data, output, form, draw, memory_limit, threads, category)


@plotting.command("depth")
def _depth(
    symbol: SYMBOL,
    output: OUTPUT,
    data: DATA = Path("data"),
    category: CATEGORY = None,
    topic: TOPIC = None,
    start: FROM = None,
    end: TO = None,
    low: Annotated[
        float | None, typer.Option("--low", help="Lowest price.", show_default="what the touch asks for")
    ] = None,
    high: Annotated[
        float | None, typer.Option("--high", help="Highest price.", show_default="what the touch asks for")
    ] = None,
    form: FORM = None,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    width: WIDTH = 1280,
    height: HEIGHT = 760,
) -> None:
    """Draw a map of what rested at which price when, with best bid and ask and the largest trades on it."""
    start_ns, end_ns = _range(start, end)

    def draw(archive: Archive) -> Figure:
        from recorder.plots.depth import depth_picture
        from recorder.plots.depth_figure import draw_depth

        line = _category(archive, category, symbol)
        picture = depth_picture(
            archive,
            line,
            symbol,
            start_ns,
            end_ns,
            topic=topic,
            prices=(low, high),
            columns=width * 3 // 8,
            rows=height * 2 // 5,
        )
        return draw_depth(picture, width, height)

    _draw(data, output, form, draw, memory_limit, threads, category)


@plotting.command("latency")
def _latency(
    output: OUTPUT,
    data: DATA = Path("data"),
    category: Annotated[Category | None, typer.Option("--category", help="Only this product line.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this symbol.")] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Only topics of this class, e.g. orderbook.50 or publicTrade."),
    ] = None,
    since: Annotated[
        Since, typer.Option("--since", help="Count delays from the exchange's push, or from the match.")
    ] = Since.PUSH,
    start: FROM = None,
    end: TO = None,
    form: FORM = None,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    width: WIDTH = 1280,
    height: HEIGHT = 800,
) -> None:
    """Draw how late messages came: by class of topics, and over time. Logarithmic; times are of receipt."""
    start_ns, end_ns = _range(start, end)

    def draw(archive: Archive) -> Figure:
        from recorder.plots.latency import latency_picture
        from recorder.plots.latency_figure import draw_latency

        line = None if category is None else category.value
        picture = latency_picture(
            archive, start_ns, end_ns, category=line, symbol=symbol, class_=class_, since=since
        )
        return draw_latency(picture, width, height)

    _draw(data, output, form, draw, memory_limit, threads, category)


@plotting.command("coverage")
def _coverage(
    output: OUTPUT,
    data: DATA = Path("data"),
    category: Annotated[Category | None, typer.Option("--category", help="Only this product line.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this symbol.")] = None,
    by: Annotated[
        By | None, typer.Option("--by", help="What a row is.", show_default="the finest that is easy to read")
    ] = None,
    start: FROM = None,
    end: TO = None,
    form: FORM = None,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    width: WIDTH = 1280,
    height: Annotated[
        int | None, typer.Option("--height", min=160, max=8000, help="Pixels.", show_default="by the rows")
    ] = None,
) -> None:
    """Draw a calendar of what was recorded: of days, or of a day or an hour in detail. Times are of receipt."""
    start_ns, end_ns = _range(start, end)

    def draw(archive: Archive) -> Figure:
        from recorder.plots.coverage import coverage_picture
        from recorder.plots.coverage_figure import draw_coverage

        line = None if category is None else category.value
        picture = coverage_picture(archive, start_ns, end_ns, category=line, symbol=symbol, by=by)
        return draw_coverage(picture, width, height)

    _draw(data, output, form, draw, memory_limit, threads, category)


def _range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    start_ns, end_ns = (None if moment is None else parse_time(moment) for moment in (start, end))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"--from {start} does not lie before --to {end}")
    return start_ns, end_ns


def _category(archive: Archive, category: Category | None, symbol: str) -> str:
    from recorder.plots.known import only_category

    return category.value if category is not None else only_category(archive, symbol)


def _draw(
    data: Path,
    output: Path,
    form: PictureFormat | None,
    draw: Callable[[Archive], Figure],
    memory_limit: str | None,
    threads: int | None,
    category: Category | None = None,
) -> None:
    categories = [] if category is None else [category.value]
    chosen = _form(output, form)
    save = _save()
    to_pipe = str(output) == "-"
    if to_pipe and sys.stdout.isatty():
        raise ConfigError("a picture is not for terminals; name a file with --output, or send it to a pipe")
    with open_archive(data, memory_limit=memory_limit, threads=threads) as archive:
        for warning in archive.warnings:
            typer.echo(f"warning: {warning}", err=True)
        figure = draw(archive)
        for sentence in not_asked_yet(overlooked(archive, unread(archive, categories))):
            typer.echo(sentence, err=True)
    with standard_output() if to_pipe else new_file(output, data=data) as out:
        save(figure, out, chosen.value)


def _form(output: Path, form: PictureFormat | None) -> PictureFormat:
    suffix = output.suffix.lower().removeprefix(".")
    if form is not None:
        if suffix in list(PictureFormat) and suffix != form:
            raise ConfigError(
                f"--output {output} says {suffix} and --format says {form}; leave one of them out"
            )
        return form
    if str(output) == "-":
        return PictureFormat.PNG
    if suffix not in list(PictureFormat):
        raise ConfigError(
            f"--output {output}: expected a name that ends in .png or .svg, or - for standard output"
        )
    return PictureFormat(suffix)


def _save() -> Callable[..., Any]:
    try:
        from recorder.plots.style import save
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "matplotlib":
            raise
        raise ConfigError(
            "plot draws with matplotlib, which is not installed; get it with: pip install 'tapebook[plot]'"
        ) from None
    return save
