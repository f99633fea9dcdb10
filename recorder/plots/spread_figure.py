"""The picture of the spread: the middle above, the spread below, and beside it how long it stood."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from recorder.plots.known import Range
from recorder.plots.spans import Doubles, Spans
from recorder.plots.spread import SpreadPicture, spread_share
from recorder.plots.steps import duration_text
from recorder.plots.style import (
    BUY,
    INK,
    days,
    draw_holes,
    heading,
    hole_texts,
    key,
    new_figure,
    number_text,
    plain_axes,
    styled,
    time_axis,
)
from recorder.plots.trades_figure import runs_of
from schemas.time import format_ns

__all__ = ["draw_spread", "stairs_of", "when_text"]

BAND: Final = "#BFD7E8"
LEAST_SHARE: Final = 1e-4
"""What stood for a shorter share of the time is left out of the distribution."""


@styled
def draw_spread(picture: SpreadPicture, width: int = 1280, height: int = 720) -> Figure:
    """Draw the spread of a range."""
    figure = new_figure(width, height)
    grid = figure.add_gridspec(2, 2, width_ratios=[7, 1], height_ratios=[1, 2])
    spreads = figure.add_subplot(grid[1, 0])
    middles = figure.add_subplot(grid[0, 0], sharex=spreads)
    shares = figure.add_subplot(grid[1, 1], sharey=spreads)
    trusted, range_ = picture.known.trusted, picture.book.range

    middles.add_collection(
        LineCollection(stairs_of(picture.cells, picture.middle, trusted), colors=INK, linewidths=1.0)
    )
    low, high = float(picture.middle.min()), float(picture.middle.max())
    room = (high - low) * 0.06 or abs(high) * 0.0005 or 1.0
    middles.set_ylim(low - room, high + room)
    middles.ticklabel_format(axis="y", useOffset=False, style="plain")
    plain_axes(middles, "middle")

    plain_axes(spreads, "spread, in the price's unit")
    floor = _spread_axis(spreads, picture)
    left, right = days(picture.cells[:, 0]), days(picture.cells[:, 1])
    band = [
        [(a, max(low, floor)), (a, max(high, floor)), (b, max(high, floor)), (b, max(low, floor))]
        for a, b, low, high in zip(left, right, picture.low, picture.high, strict=True)
    ]
    spreads.add_collection(
        PolyCollection(band, facecolors=BAND, edgecolors=BAND, linewidths=0.6, zorder=2), autolim=False
    )
    means = stairs_of(picture.cells, np.maximum(picture.mean, floor), trusted)
    spreads.add_collection(LineCollection(means, colors=BUY, linewidths=1.2, zorder=3), autolim=False)

    edges, share = spread_share(picture.stood_ns)
    share = np.maximum(share, LEAST_SHARE / 10)
    edges = np.maximum(edges, floor)
    shares.stairs(
        share, edges, orientation="horizontal", baseline=LEAST_SHARE / 10, fill=True, color=BUY, alpha=0.35
    )
    shares.stairs(share, edges, orientation="horizontal", color=BUY, linewidth=1.0)
    plain_axes(shares, "", grid="x")
    shares.tick_params(axis="y", labelleft=False, length=0)
    shares.set_xscale("log")
    shares.set_xlim(LEAST_SHARE, 1.5)
    shares.xaxis.set_major_locator(LogLocator(100, numticks=5))
    shares.xaxis.set_minor_locator(NullLocator())
    shares.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))
    shares.set_xlabel("share of the time", fontsize=8)

    for axes in (middles, spreads):
        time_axis(axes, range_)
        draw_holes(axes, picture.known, range_)
    middles.set_xlabel("")
    middles.tick_params(axis="x", labelbottom=False)
    heading(
        figure,
        middles,
        f"Spread · {picture.book.category} {picture.book.symbol}",
        range_,
        [
            f"{picture.book.topic}, match time",
            f"steps of {duration_text(picture.step_ns)}",
            f"mean {number_text(picture.mean_spread)} ({number_text(picture.mean_bps)} bps) by time",
            f"widest {number_text(picture.widest)} at {when_text(picture.widest_ns, range_)}",
            *hole_texts(picture.known, range_),
        ],
    )
    key(
        figure,
        [
            Line2D([], [], color=BUY, linewidth=1.2, label="mean by time"),
            Patch(facecolor=BAND, label="narrowest to widest"),
        ],
        picture.known,
        range_,
    )
    return figure


def when_text(moment_ns: int, range_: Range) -> str:
    """Return a moment of a range: the time alone where the range is one of a day."""
    text = format_ns(moment_ns)[:23].replace("T", " ")
    return text[11:] if format_ns(range_.start_ns)[:10] == format_ns(range_.end_ns - 1)[:10] else text


def stairs_of(cells: Spans, values: Doubles, trusted: Spans) -> list[Doubles]:
    """Return one line of stairs for each run of cells that nothing parts."""
    lines = []
    for part in runs_of(cells, trusted):
        corners = days(cells[part].ravel())
        lines.append(np.column_stack([corners, np.repeat(values[part], 2)]))
    return lines


def _spread_axis(axes: Axes, picture: SpreadPicture) -> float:
    """Make the axis of spreads logarithmic, and return what stands for spreads of nothing or less."""
    edges, _ = spread_share(picture.stood_ns)
    narrow = picture.low[picture.low > 0]
    low = float(narrow.min()) if len(narrow) else float(edges[-1]) / 10
    high = max(float(picture.high.max()), low)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, high * 1.35)
    subs = (1.0, 2.0, 5.0) if high < low * 2000 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(10, subs=subs, numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    return low / 1.25
