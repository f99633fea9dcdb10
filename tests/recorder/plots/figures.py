"""What a figure says and shows, read from its artists."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.recorder.archives import NOON_NS
from tests.recorder.plots.archives import SECOND_NS


def words(figure: Figure) -> str:
    """All its text, with line breaks as blanks."""
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def legend_texts(figure: Figure) -> list[str]:
    """The legend's lines."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def hatched_spans(axes: Axes) -> list[tuple[float, float]]:
    """From when to when gaps are marked, in seconds after noon."""
    found = []
    for artist in axes.collections:
        if isinstance(artist, PolyCollection) and artist.get_hatch() is not None:
            for path in artist.get_paths():
                moments = [float(corner[0]) * 86400 - NOON_NS / SECOND_NS for corner in path.vertices]
                found.append((round(min(moments), 4), round(max(moments), 4)))
    return sorted(found)
