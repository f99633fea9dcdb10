"""How all pictures look: colours that everyone can tell apart, moments in UTC, gaps that nothing is drawn over."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from recorder.plots.known import Known, Range
from recorder.plots.spans import Ints, Spans, total
from recorder.plots.steps import DAY_NS, duration_text
from schemas.time import NS_PER_SECOND, format_ns

__all__ = [
    "ABSENT",
    "AXIS",
    "BUY",
    "GAP",
    "GRID",
    "INK",
    "SELL",
    "days",
    "draw_holes",
    "heading",
    "hole_texts",
    "key",
    "key_columns",
    "moment_text",
    "new_figure",
    "number_text",
    "plain_axes",
    "png",
    "save",
    "size_ticks",
    "sizes_axis",
    "styled",
    "time_axis",
    "time_ticks",
]

# Okabe and Ito's colours, told apart with any colour vision; gaps have one that nothing else has.
BUY: Final = "#0072B2"
SELL: Final = "#E69F00"
GAP: Final = "#CC79A7"
GAP_INSIDE: Final = "#F3DFEA"
ABSENT: Final = "#E6E6E6"
INK: Final = "#22262B"
AXIS: Final = "#6B7178"
GRID: Final = "#ECEEF0"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ABOVE_ALL: Final = 10
_SHORT_NS: Final = 20 * NS_PER_SECOND
_KEY_PIXELS: Final = 50
_CHARACTER_PIXELS: Final = 6.2
_SENTENCE_CHARACTER_PIXELS: Final = 6.7
_TITLE_CHARACTER_PIXELS: Final = 10.4
_MARGIN_PIXELS: Final = 30
_NUMBER_CHARACTERS: Final = 10
_TICK_PIXELS: Final = 76
_MOST_TICKS: Final = 13
_TIME_FORMS: Final = (
    (600 * NS_PER_SECOND, "%H:%M:%S"),
    (30 * 3600 * NS_PER_SECOND, "%H:%M"),
    (4 * DAY_NS, "%d %b\n%H:%M"),
    (300 * DAY_NS, "%d %b"),
    (None, "%b %Y"),
)
DOTS_AN_INCH: Final = 100
_RC: Final[Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "axes.titlecolor": AXIS,
    "axes.axisbelow": True,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "tapebook",
    "svg.fonttype": "path",
}

styled = mpl.rc_context(_RC)
"""Put around what draws: ``@styled``."""


def new_figure(width: int, height: int) -> Figure:
    """Return an empty figure of so many pixels."""
    figure = Figure(
        figsize=(width / DOTS_AN_INCH, height / DOTS_AN_INCH),
        dpi=DOTS_AN_INCH,
        facecolor="white",
        layout="constrained",
    )
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.08, h_pad=0.06)  # type: ignore[call-arg]
    return figure


def save(figure: Figure, out: BinaryIO, form: str) -> None:
    """Write a figure as ``png`` or ``svg``: the same figure gives the same bytes with the same matplotlib."""
    metadata = {"Software": "tapebook"} if form == "png" else {"Date": None, "Creator": "tapebook"}
    with mpl.rc_context(_RC):
        figure.savefig(out, format=form, metadata=metadata)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, for a notebook."""
    out = io.BytesIO()
    save(figure, out, "png")
    return out.getvalue()


def days(moments_ns: Ints | int) -> npt.NDArray[np.float64]:
    """Return moments as matplotlib counts them, in days."""
    return np.asarray(moments_ns, np.int64) / float(DAY_NS)


def heading(figure: Figure, top: Axes, what: str, range_: Range, sentences: Sequence[str]) -> None:
    """Say above a picture what it shows, of when, and what was left out.

    Args:
        figure, top: the figure, and its topmost axes.
        what: such as ``Spread · linear BTCUSDT``.
        range_: of when.
        sentences: what else there is to say.
    """
    start, end = (format_ns(moment) for moment in range_)
    digits = (
        29
        if range_.end_ns - range_.start_ns < 10**8
        else 23
        if range_.end_ns - range_.start_ns < 10**10
        else 19
    )
    start, end = (text[:digits].replace("T", " ") for text in (start, end))
    if start[:10] == end[:10]:
        end = end[11:]
    wide = figure.get_figwidth() * DOTS_AN_INCH
    text = textwrap.fill(f"{what} · {start} to {end} UTC", int(wide / _TITLE_CHARACTER_PIXELS))
    figure.suptitle(text, x=0.008, ha="left", fontsize=12, fontweight="bold")
    # The sentences begin where the axes do, beside their labels; of axes of numbers these are not known yet.
    label = max((len(label.get_text()) for label in top.get_yticklabels()), default=0)
    room = wide - _MARGIN_PIXELS - max(label, _NUMBER_CHARACTERS) * _CHARACTER_PIXELS
    top.set_title(
        textwrap.fill(" · ".join(filter(None, sentences)), max(24, int(room / _SENTENCE_CHARACTER_PIXELS))),
        loc="left", linespacing=1.4,
    )  # fmt: skip


def hole_texts(known: Known, range_: Range, noun: str = "") -> list[str]:
    """Say how many gaps there are, how long they are, and how much was not recorded."""
    lost, absent = total(known.lost), total(known.absent(range_))
    texts = []
    if known.gaps:
        many = f"{known.gaps:,} gap{'s' if known.gaps > 1 else ''}{noun}"
        texts.append(
            f"{many} ({duration_text(lost)}) left out" if lost else f"{many}, each covered by others"
        )
    else:
        texts.append(f"no gaps{noun}")
    if known.fetched:
        texts.append(f"{known.fetched:,} more whose trades were fetched back")
    if absent:
        texts.append(f"{duration_text(absent)} not recorded")
    return texts


def draw_holes(axes: Axes, known: Known, range_: Range) -> None:
    """Mark gaps and what was not recorded, above whatever else is drawn; a gap is never thinner than a line."""
    for spans, inside, edge, hatch in (
        (known.absent(range_), ABSENT, "none", None),
        (known.lost, GAP_INSIDE, GAP, "////"),
    ):
        if len(spans):
            axes.add_collection(_full_height(axes, spans, inside, edge, hatch), autolim=False)


def _full_height(axes: Axes, spans: Spans, inside: str, edge: str, hatch: str | None) -> PolyCollection:
    left, right = days(spans[:, 0]), days(spans[:, 1])
    low, high = np.zeros(len(spans)), np.ones(len(spans))
    corners = np.stack([left, low, left, high, right, high, right, low], axis=1).reshape(-1, 4, 2)
    return PolyCollection(
        list(corners),
        facecolors=inside,
        edgecolors=edge,
        linewidths=0.0 if edge == "none" else 0.8,
        hatch=hatch,
        transform=axes.get_xaxis_transform(),
        zorder=ABOVE_ALL if hatch else ABOVE_ALL - 1,
        clip_on=True,
    )


def key(
    figure: Figure, handles: Iterable[Artist], known: Known | None = None, range_: Range | None = None
) -> None:
    """Put a legend below the picture; with what is known of a range also for the holes that it has."""
    every = list(handles)
    if known is not None and range_ is not None:
        if len(known.lost):
            every.append(
                Patch(facecolor=GAP_INSIDE, edgecolor=GAP, hatch="////", label="gap: recorded, not trusted")
            )
        if len(known.absent(range_)):
            every.append(Patch(facecolor=ABSENT, label="not recorded"))
    figure.legend(
        handles=every,
        loc="outside lower left",
        ncols=key_columns(
            [str(handle.get_label()) for handle in every], figure.get_figwidth() * DOTS_AN_INCH
        ),
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
        columnspacing=1.6,
        borderaxespad=0.1,
    )


def key_columns(labels: Sequence[str], wide: float) -> int:
    """Return in how many columns a legend fits into so many pixels; it is filled column by column."""
    for columns in range(len(labels), 1, -1):
        filled = np.array_split(np.asarray([len(label) for label in labels]), columns)
        longest = [int(column.max()) for column in filled]
        if sum(_KEY_PIXELS + length * _CHARACTER_PIXELS for length in longest) < wide:
            return columns
    return 1


def plain_axes(axes: Axes, label: str, *, grid: str = "y") -> None:
    """Give axes the house's look: no box, a faint grid, a label."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_ylabel(label)
    axes.tick_params(length=3)


def time_axis(axes: Axes, range_: Range) -> None:
    """Make the horizontal axis one of moments in UTC, from end to end of the range."""
    axes.set_xlim(float(days(range_.start_ns)), float(days(range_.end_ns)))
    length_ns = range_.end_ns - range_.start_ns
    form = next(form for most_ns, form in _TIME_FORMS if most_ns is None or length_ns < most_ns)
    room = time_ticks(axes.get_figure(root=True).get_figwidth() * DOTS_AN_INCH)  # type: ignore[union-attr]
    most = min(room, 8) if length_ns < _SHORT_NS else room
    axes.xaxis.set_major_locator(AutoDateLocator(tz=UTC, minticks=_fewest_ticks(most), maxticks=most))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: moment_text(value, form)))
    axes.set_xlabel("UTC", loc="right", fontsize=8, color=AXIS)


def time_ticks(wide: float) -> int:
    """Return how many moments an axis of time may name in a picture of so many pixels."""
    return max(3, min(_MOST_TICKS, int(wide * 0.8 / _TICK_PIXELS)))


def _fewest_ticks(most: int) -> int:
    """Return how many moments an axis shall at least name that may name so many.

    Matplotlib knows no step between half of a unit (30 s) and the next unit: of more than half it may find none.
    """
    return max(1, min(4, (most - 1) // 2))


def moment_text(moment_days: float, form: str) -> str:
    """Return a moment as matplotlib counts it in a form, with milliseconds where seconds alone do not say it."""
    moment = _EPOCH + timedelta(milliseconds=round(moment_days * 86_400_000))
    text = moment.strftime(form)
    return f"{text}.{moment.microsecond // 1000:03d}" if form.endswith("%S") and moment.microsecond else text


def number_text(number: float) -> str:
    """Return a number with as many digits as its size asks for: ``61,809.4``, ``0.0012``, ``12.4 k``."""
    size = abs(number)
    if size >= 1e9:
        return f"{number / 1e9:.3g} bn"
    if size >= 1e6:
        return f"{number / 1e6:.3g} m"
    if size >= 1e4:
        return f"{number / 1e3:.3g} k"
    return f"{number:,.4g}"


def size_ticks(bar: Axes) -> None:
    """Give the logarithmic axis of a colour bar ticks at 1, 2 and 5 where there is room."""
    low, high = bar.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < low * 2000 else (1.0,)
    bar.yaxis.set_major_locator(LogLocator(10, subs=subs, numticks=20))
    bar.yaxis.set_minor_locator(NullLocator())
    bar.yaxis.set_major_formatter(sizes_axis())


def sizes_axis() -> FuncFormatter:
    """Return what writes sizes at ticks."""
    return FuncFormatter(lambda value, _: number_text(value))
