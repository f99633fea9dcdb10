"""The picture of latency: how late each class of topics came, and all of them over time."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from recorder.plots.latency import LOWEST, PARTS_OF_A_DECADE, LatencyPicture, percentile_ms
from recorder.plots.spans import Doubles, total
from recorder.plots.steps import duration_text
from recorder.plots.style import (
    AXIS,
    BUY,
    INK,
    days,
    draw_holes,
    heading,
    key,
    new_figure,
    plain_axes,
    size_ticks,
    styled,
    time_axis,
)

__all__ = ["draw_latency", "lines_of_text", "ms_text", "shown_decades"]

PERCENTILES: Final = ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
LINES: Final[tuple[tuple[float, str, Literal["-", "--"]], ...]] = ((0.5, "p50", "-"), (0.99, "p99", "--"))
LINE: Final = "#FFFFFF"
LINE_PIXELS: Final = 14


@styled
def draw_latency(picture: LatencyPicture, width: int = 1280, height: int = 800) -> Figure:
    """Draw the distributions of delays by class of topics, and the delays of all over time."""
    figure = new_figure(width, height)
    rows = len(picture.classes)
    share = min(0.45 + 0.3 * rows, 2.2)
    above, below = figure.subplots(2, 1, height_ratios=[share, 2])
    low, high = shown_decades(picture)
    _distributions(above, picture, low, high, lines_of_text(height * share / (share + 2) / rows))
    _over_time(figure, below, picture, low, high)
    counted = int(picture.counts.sum())
    heading(
        figure,
        above,
        f"Latency · {picture.what} · {picture.since.value} to receive",
        picture.range,
        [
            f"{counted:,} message{'s' if counted != 1 else ''}",
            f"steps of {duration_text(picture.step_ns)}",
            "percentiles at most 6 % too high",
            f"{picture.early:,} that came early by the clocks left out" if picture.early else "",
            f"{picture.unknown:,} without a time to count from left out" if picture.unknown else "",
            *_hole_texts(picture),
        ],
    )
    handles = [Line2D([], [], color=BUY, linewidth=6, alpha=0.35, label="messages by delay")]
    handles += [
        Line2D([], [], color=AXIS, linestyle=dash, linewidth=1.4, label=name) for _, name, dash in LINES
    ]
    key(figure, handles, picture.known, picture.range)
    return figure


def _hole_texts(picture: LatencyPicture) -> list[str]:
    known = picture.known
    lost, absent = total(known.lost), total(known.absent(picture.range))
    return [
        f"{known.gaps:,} gap{'s' if known.gaps > 1 else ''} of single feeds" if known.gaps else "no gaps",
        f"all of them in gaps for {duration_text(lost)}" if lost else "",
        f"{duration_text(absent)} not recorded" if absent else "",
    ]


def shown_decades(picture: LatencyPicture) -> tuple[int, int]:
    """Return the buckets of delay between which there is something, with a little room."""
    found = np.flatnonzero(picture.counts.sum(axis=(0, 1)))
    room = PARTS_OF_A_DECADE // 8
    return int(found[0]) - room, int(found[-1]) + 1 + room


def ms_text(ms: float) -> str:
    """Return a delay in the unit that suits it."""
    if not np.isfinite(ms):
        return "-"
    for least, unit, name in ((1000.0, 1000.0, "s"), (1.0, 1.0, "ms")):
        if ms >= least:
            return f"{ms / unit:.3g} {name}"
    return f"{ms * 1000:.3g} us"


def _edges_ms(low: int, high: int) -> Doubles:
    edges: Doubles = 10.0 ** ((LOWEST + np.arange(low, high + 1)) / PARTS_OF_A_DECADE)
    return edges


def _delay_axis(axes: Axes, which: str, low: int, high: int) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    ends = 10.0 ** ((LOWEST + np.asarray([low, high])) / PARTS_OF_A_DECADE)
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(*ends)
    else:
        axes.set_yscale("log")
        axes.set_ylim(*ends)
    decades = float(np.log10(ends[1] / ends[0]))
    subs = (1.0, 2.0, 3.0, 5.0, 7.0) if decades < 1.2 else (1.0, 2.0, 5.0) if decades < 3 else (1.0,)
    axis.set_major_locator(LogLocator(10, subs=subs, numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: ms_text(value)))


def lines_of_text(row_pixels: float) -> int:
    """Return how many lines there is room for beside a class of topics that has so many pixels, margins included."""
    return max(1, min(3, int(row_pixels * 0.75 / LINE_PIXELS)))


def _distributions(axes: Axes, picture: LatencyPicture, low: int, high: int, lines: int) -> None:
    counts = picture.counts.sum(axis=1)
    edges = _edges_ms(low, high)
    rows = len(picture.classes)
    for row in range(rows):
        base = rows - 1 - row
        own = np.zeros(high - low)
        inside = slice(max(low, 0), min(high, counts.shape[1]))
        own[inside.start - low : inside.stop - low] = counts[row, inside]
        heights = own / own.max() * 0.82
        axes.stairs(heights + base, edges, baseline=base, fill=True, color=BUY, alpha=0.35, zorder=2)
        axes.stairs(heights + base, edges, baseline=None, color=BUY, linewidth=1.0, zorder=3)
        axes.axhline(base, color=AXIS, linewidth=0.5, zorder=1)
        texts = []
        for share, called in PERCENTILES:
            ms = min(percentile_ms(counts[row], share), picture.longest_ms[row])
            axes.plot([ms, ms], [base, base + 0.55], color=INK, linewidth=1.1, zorder=4)
            texts.append(f"{called} {ms_text(ms)}")
        longest = picture.longest_ms[row]
        texts.append(f"longest {ms_text(longest)}")
        axes.plot([longest], [base + 0.1], marker="v", markersize=5, color=INK, zorder=4)
        said = [f"{int(counts[row].sum()):,} messages", *(", ".join(texts[i : i + 2]) for i in (0, 2))]
        axes.annotate(
            "\n".join({1: said[1:2], 2: said[1:]}.get(lines, said)),
            (1.0, base + 0.42),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    plain_axes(axes, "", grid="x")
    axes.set_yticks([rows - 1 - row + 0.35 for row in range(rows)], picture.classes)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0, rows)
    _delay_axis(axes, "x", low, high)


def _over_time(figure: Figure, axes: Axes, picture: LatencyPicture, low: int, high: int) -> None:
    counts = picture.counts.sum(axis=0)
    inside = slice(max(low, 0), min(high, counts.shape[1]))
    shown = np.ma.masked_equal(counts[:, inside].T, 0)
    mesh = axes.pcolormesh(
        days(picture.edges_ns),
        _edges_ms(inside.start, inside.stop),
        shown,
        cmap="cividis",
        norm=LogNorm(1, max(int(shown.max()), 2)),
        rasterized=True,
        zorder=2,
    )
    middles = days((picture.edges_ns[:-1] + picture.edges_ns[1:]) // 2)
    for share, _, dash in LINES:
        line = np.asarray([percentile_ms(each, share) for each in counts])
        for colour, thick in ((INK, 2.6), (LINE, 1.3)):
            axes.plot(middles, line, color=colour, linewidth=thick, linestyle=dash, zorder=3)
    plain_axes(axes, f"delay, {picture.since.value} to receive")
    _delay_axis(axes, "y", low, high)
    time_axis(axes, picture.range)
    draw_holes(axes, picture.known, picture.range)
    bar = figure.colorbar(mesh, cax=axes.inset_axes((1.012, 0.0, 0.014, 1.0)))
    bar.set_label(f"messages per {duration_text(picture.step_ns)}", fontsize=8.5)
    size_ticks(bar.ax)
    bar.outline.set_visible(False)
