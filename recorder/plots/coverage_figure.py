"""The picture of coverage: a calendar of what was recorded, of what can be trusted, and of gaps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recorder.plots.coverage import CoveragePicture, Row
from recorder.plots.steps import DAY_NS, duration_text
from recorder.plots.style import ABSENT, BUY, days, heading, key, new_figure, styled, time_axis

__all__ = ["cell_parts", "draw_coverage", "row_image"]

PARTS: Final = 24
"""How finely a cell shows its shares, from top to bottom."""
FRAME: Final = 3
LEAST_GAP: Final = 3
LEAST_GAP_OF_ONE: Final = 12
LEAST_TRUSTED: Final = 2
# In a calendar gaps are too small to be hatched: the colour that is told from blue with any colour vision.
GAP_SHOWN: Final = "#D55E00"
ROW_PIXELS: Final = 26
MOST_HEIGHT: Final = 8000


@styled
def draw_coverage(picture: CoveragePicture, width: int = 1280, height: int | None = None) -> Figure:
    """Draw a calendar; without a height, one that suits the rows."""
    rows = len(picture.rows)
    tall = min(max(200, 150 + ROW_PIXELS * rows), MOST_HEIGHT) if height is None else height
    figure = new_figure(width, tall)
    axes = figure.subplots()
    image = np.concatenate([_framed(row_image(row, is_calendar=picture.is_calendar)) for row in picture.rows])
    left, right = days(picture.edges_ns[[0, -1]])
    axes.imshow(
        image,
        extent=(float(left), float(right), 0.0, float(rows)),
        aspect="auto",
        interpolation="nearest",
        origin="upper",
        zorder=1,
    )
    if picture.is_calendar:
        thick = 2.0 if len(picture.edges_ns) < 120 else 0.6
        for edge in days(picture.edges_ns):
            axes.axvline(float(edge), color="white", linewidth=thick, zorder=2)
        axes.set_xlim(float(left), float(right))
        _day_ticks(axes, picture)
    else:
        time_axis(axes, picture.range)
    axes.set_ylim(0, rows)
    axes.set_yticks([rows - row - 0.5 for row in range(rows)], [row.name for row in picture.rows])
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for number, row in enumerate(picture.rows):
        axes.annotate(
            _share_text(picture, row),
            (1.0, rows - number - 0.5),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    gaps = sum(row.gaps for row in picture.rows)
    feeds = sum(row.feeds for row in picture.rows)
    summed = feeds > rows
    heading(
        figure,
        axes,
        f"Coverage · {picture.what}",
        picture.range,
        [
            f"{feeds:,} feed{'s' if feeds != 1 else ''}"
            + (f" in {rows:,} rows, on average" if summed else ""),
            f"a cell is {duration_text(picture.step_ns)}, receive time",
            f"{gaps:,} gap{'s' if gaps != 1 else ''}" if gaps else "no gaps",
            "at the right: the share that can be trusted" + (", and how many gaps there are" if gaps else ""),
        ],
    )
    key(
        figure,
        [
            Patch(facecolor=BUY, label="recorded and trusted"),
            Patch(facecolor=GAP_SHOWN, label="gap (never smaller than one can see)"),
            Patch(facecolor=ABSENT, label="not recorded"),
        ],
    )
    return figure


def cell_parts(row: Row, *, is_calendar: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many parts of each cell show a gap, and how many show what can be trusted; the rest was not recorded.

    A gap shows, however short it is; nor does what was recorded beside it vanish, or what was not.
    """
    least = LEAST_GAP if is_calendar or row.feeds > 1 else LEAST_GAP_OF_ONE
    lost = np.where(row.lost > 0, np.maximum(np.round(row.lost * PARTS), least), 0).astype(np.int64)
    rest = 1.0 - row.trusted - row.lost
    absent = np.where(rest > 1e-9, np.maximum(np.round(rest * PARTS), 1), 0).astype(np.int64)
    absent = np.minimum(absent, PARTS - lost)
    wanted = np.where(row.trusted > 0, LEAST_TRUSTED, 0)
    for least_kept in (np.where(rest > 1e-9, 1, 0), np.zeros_like(absent)):
        absent -= np.clip(wanted - (PARTS - lost - absent), 0, np.maximum(absent - least_kept, 0))
    lost -= np.clip(wanted - (PARTS - lost - absent), 0, np.maximum(lost - LEAST_GAP, 0))
    # What was never recorded has not even a sliver of the other colour.
    return lost, np.where(row.trusted <= 0, 0, PARTS - lost - absent)


def row_image(row: Row, *, is_calendar: bool) -> npt.NDArray[np.float64]:
    """Return the colours of a row, of shape (PARTS, buckets, 3): from the bottom: trusted, gaps, missing."""
    lost, trusted = cell_parts(row, is_calendar=is_calendar)
    height = np.arange(PARTS)[::-1, np.newaxis]
    image: npt.NDArray[np.float64] = np.empty((PARTS, len(lost), 3))
    image[:] = to_rgb(ABSENT)
    image[height < trusted + lost] = to_rgb(GAP_SHOWN)
    image[height < trusted] = to_rgb(BUY)
    return image


def _framed(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A row with white above and below it, which covers nothing of it."""
    return np.pad(image, ((FRAME, FRAME), (0, 0), (0, 0)), constant_values=1.0)


def _share_text(picture: CoveragePicture, row: Row) -> str:
    inside = np.diff(np.clip(picture.edges_ns, *picture.range)).astype(np.float64)
    share = float((row.trusted * inside).sum() / inside.sum()) * 100
    text = "100 %" if share > 100 - 1e-9 else f"{np.floor(share * 1000) / 1000:.3f} %"
    return text + (f"   {row.gaps:,} gap{'s' if row.gaps != 1 else ''}" if row.gaps else "")


def _day_ticks(axes: Axes, picture: CoveragePicture) -> None:
    edges = picture.edges_ns[:-1]
    every = -(-len(edges) // 16)
    chosen = edges[::every]
    months: list[Any] = [datetime.fromtimestamp(int(edge) // 10**9, UTC) for edge in chosen]
    form = "%d %b" if picture.step_ns * len(edges) < 300 * DAY_NS else "%d %b %y"
    axes.set_xticks(list(days(chosen + picture.step_ns // 2)), [month.strftime(form) for month in months])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("UTC", loc="right", fontsize=8)
