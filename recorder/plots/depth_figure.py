"""The picture of depth: a map of what rested where, with the touch and the largest trades on it."""

from __future__ import annotations

from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recorder.plots.bubbles import bubble_key, draw_bubbles
from recorder.plots.depth import DepthPicture
from recorder.plots.spans import Doubles, Ints
from recorder.plots.steps import duration_text
from recorder.plots.style import (
    days,
    draw_holes,
    heading,
    hole_texts,
    key,
    new_figure,
    number_text,
    plain_axes,
    size_ticks,
    styled,
    time_axis,
)

__all__ = ["draw_depth", "touch_lines"]

BEYOND: Final = "#C9CDD2"
TOUCH: Final = "#FFFFFF"
BOUGHT: Final = "#56B4E9"
SOLD: Final = "#D55E00"


@styled
def draw_depth(picture: DepthPicture, width: int = 1280, height: int = 760) -> Figure:
    """Draw a book's range."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    resting = picture.resting
    filled = resting[resting > 0]
    low, high = (float(np.percentile(filled, share)) for share in (15, 99.6)) if len(filled) else (1.0, 2.0)
    colours = mpl.colormaps["cividis"].with_extremes(under=mpl.colormaps["cividis"](0.0), bad=BEYOND)
    # Nothing rests there: the darkest colour, and not the one of what is beyond the recorded levels.
    shown = np.ma.masked_invalid(np.where(resting == 0, low / 2, resting))
    axes.set_facecolor(BEYOND)
    mesh = axes.pcolormesh(
        days(picture.edges_ns),
        picture.price_edges,
        shown,
        cmap=colours,
        norm=LogNorm(low, max(high, low * 1.01)),
        rasterized=True,
        zorder=1,
    )
    for prices in (picture.bid, picture.ask):
        lines: list[Any] = touch_lines(picture.times_ns, prices, picture.every_ns)
        axes.add_collection(LineCollection(lines, colors=TOUCH, linewidths=0.9, zorder=3))
    if picture.trades is not None and len(picture.trades.sizes):
        draw_bubbles(axes, picture.trades, BOUGHT, SOLD)
    plain_axes(axes, "price")
    axes.grid(visible=False)
    axes.set_ylim(float(picture.price_edges[0]), float(picture.price_edges[-1]))
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    time_axis(axes, picture.book.range)
    draw_holes(axes, picture.known, picture.book.range)
    bar = figure.colorbar(mesh, cax=axes.inset_axes((1.012, 0.0, 0.014, 1.0)), extend="neither")
    bar.set_label(f"size resting per {number_text(picture.price_step)} of price", fontsize=8.5)
    size_ticks(bar.ax)
    bar.outline.set_visible(False)

    book = picture.book
    heading(
        figure,
        axes,
        f"Depth · {book.category} {book.symbol}",
        book.range,
        [
            f"{book.topic}, match time",
            f"steps of {duration_text(picture.step_ns)} and {number_text(picture.price_step)}",
            f"the first {picture.levels:,} levels a side" if picture.levels < book.depth else "",
            *hole_texts(picture.known, book.range),
            "no trades were recorded" if picture.trades is None else "",
        ],
    )
    handles: list[Any] = [
        Line2D([], [], color="#9AA0A6", linewidth=1.2, label="best bid and ask"),
        Patch(facecolor=BEYOND, label="beyond the recorded levels"),
    ]
    if picture.trades is not None and len(picture.trades.sizes):
        sizes = picture.trades.sizes
        handles += [
            bubble_key(
                BOUGHT, f"taker bought: the {len(sizes):,} largest trades, {number_text(sizes.min())}"
            ),
            bubble_key(SOLD, f"taker sold (area: size, up to {number_text(sizes.max())})"),
        ]
    key(figure, handles, picture.known, book.range)
    return figure


def touch_lines(times_ns: Ints, prices: Doubles, every_ns: int) -> list[Doubles]:
    """Return the touch as stairs, one line for each run of samples that follow each other and have a price."""
    lines: list[Doubles] = []
    there = ~np.isnan(prices)
    breaks = np.flatnonzero((np.diff(times_ns) > every_ns) | ~there[:-1] | ~there[1:]) + 1
    for part in np.split(np.arange(len(prices)), breaks):
        if not len(part) or not there[part[0]]:
            continue
        starts = times_ns[part] - every_ns // 2
        corners = np.repeat(np.append(starts, starts[-1] + every_ns), 2)[1:-1]
        lines.append(np.column_stack([days(corners), np.repeat(prices[part], 2)]))
    return lines
