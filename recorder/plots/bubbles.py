"""Single trades as circles whose area is their size."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from recorder.plots.spans import Doubles
from recorder.plots.style import days
from recorder.plots.trades import Largest

__all__ = ["bubble_areas", "bubble_key", "draw_bubbles"]

LARGEST_AREA: Final = 260.0
SMALLEST_AREA: Final = 5.0


def bubble_areas(sizes: Doubles) -> Doubles:
    """Return areas in square points, in proportion to sizes, the largest one at its limit and none too small to see."""
    if not len(sizes):
        return np.empty(0)
    areas: Doubles = np.maximum(sizes / sizes.max() * LARGEST_AREA, SMALLEST_AREA)
    return areas


def draw_bubbles(axes: Axes, trades: Largest, bought: str, sold: str, edge: str = "white") -> None:
    """Put trades on axes of moments and prices, the large ones below the small ones."""
    order = np.argsort(-trades.sizes, kind="stable")
    colours = np.where(trades.bought, bought, sold)
    axes.scatter(
        days(trades.moments[order]),
        trades.prices[order],
        s=bubble_areas(trades.sizes)[order],
        c=list(colours[order]),
        edgecolors=edge,
        linewidths=0.6,
        alpha=0.85,
        zorder=5,
    )


def bubble_key(colour: str, label: str, edge: str = "white") -> Line2D:
    """Return the legend's line about circles of a colour."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=8,
        markerfacecolor=colour,
        markeredgecolor=edge,
        label=label,
    )
