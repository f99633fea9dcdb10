"""The picture of trades: prices above, what was bought and sold below."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recorder.plots.bubbles import bubble_key, draw_bubbles
from recorder.plots.spans import Ints, Spans
from recorder.plots.steps import duration_text
from recorder.plots.style import (
    BUY,
    INK,
    SELL,
    days,
    draw_holes,
    heading,
    hole_texts,
    key,
    new_figure,
    number_text,
    plain_axes,
    sizes_axis,
    styled,
    time_axis,
)
from recorder.plots.trades import TradesPicture

__all__ = ["draw_trades", "runs_of"]

BAND = "#B9C3CC"


@styled
def draw_trades(picture: TradesPicture, width: int = 1280, height: int = 720) -> Figure:
    """Draw prices and volumes of a range."""
    figure = new_figure(width, height)
    prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left, right = days(picture.cells[:, 0]), days(picture.cells[:, 1])

    plain_axes(prices, "price")
    band = [
        [(a, low), (a, high), (b, high), (b, low)]
        for a, b, low, high in zip(left, right, picture.low, picture.high, strict=True)
    ]
    prices.add_collection(PolyCollection(band, facecolors=BAND, edgecolors=BAND, linewidths=0.6, zorder=2))
    middle = (left + right) / 2
    lines = [
        np.column_stack([middle[part], picture.average[part]])
        for part in runs_of(picture.cells, picture.known.trusted)
    ]
    prices.add_collection(LineCollection(lines, colors=INK, linewidths=1.0, zorder=3))
    draw_bubbles(prices, picture.largest, BUY, SELL)
    low, high = float(picture.low.min()), float(picture.high.max())
    room = (high - low) * 0.06 or abs(high) * 0.0005 or 1.0
    prices.set_ylim(low - room, high + room)
    prices.yaxis.get_major_formatter().set_useOffset(False)

    plain_axes(volumes, f"volume per {duration_text(picture.step_ns)}")
    volumes.bar(left, picture.bought, right - left, align="edge", color=BUY, zorder=2)
    volumes.bar(left, -picture.sold, right - left, align="edge", color=SELL, zorder=2)
    volumes.axhline(0, color=INK, linewidth=0.6, zorder=3)
    reach = float(max(picture.bought.max(), picture.sold.max())) * 1.08 or 1.0
    volumes.set_ylim(-reach, reach)
    signed = sizes_axis()
    volumes.yaxis.set_major_formatter(lambda value, at: signed(abs(value), at))
    for axes in (prices, volumes):
        time_axis(axes, picture.range)
        draw_holes(axes, picture.known, picture.range)
    prices.set_xlabel("")

    heading(
        figure,
        prices,
        f"Trades · {picture.category} {picture.symbol}",
        picture.range,
        [
            f"{picture.trades:,} trade{'s' if picture.trades != 1 else ''}, match time",
            f"steps of {duration_text(picture.step_ns)}",
            *hole_texts(picture.known, picture.range),
            f"{picture.left_out:,} trade{'s' if picture.left_out > 1 else ''} of such times left out"
            if picture.left_out
            else "",
            f"{picture.collectors} collectors, each trade once" if picture.collectors > 1 else "",
        ],
    )
    sizes = picture.largest.sizes
    key(
        figure,
        [
            Patch(facecolor=BAND, label="lowest to highest"),
            Line2D([], [], color=INK, linewidth=1.0, label="average by volume"),
            bubble_key(BUY, f"taker bought: the {len(sizes):,} largest trades, {number_text(sizes.min())}"),
            bubble_key(SELL, f"taker sold (area: size, up to {number_text(sizes.max())})"),
        ],
        picture.known,
        picture.range,
    )
    return figure


def runs_of(cells: Spans, trusted: Spans) -> list[Ints]:
    """Return the indexes of cells that one line may join: those of one span that could be trusted from end to end."""
    span = np.searchsorted(trusted[:, 0], cells[:, 0], "right")
    return [part for part in np.split(np.arange(len(cells)), np.flatnonzero(np.diff(span)) + 1) if len(part)]
