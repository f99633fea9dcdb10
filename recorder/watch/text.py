"""How figures, moments and names are written in cells of a terminal: exact, no wider than asked, with nothing in them
that a terminal would obey."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from schemas.time import format_ns
from schemas.units import age

__all__ = [
    "Fragment",
    "Glyphs",
    "Line",
    "ascii_glyphs",
    "bar",
    "cells",
    "clean",
    "clock_text",
    "count_text",
    "decimal_text",
    "fit",
    "line_width",
    "nice_glyphs",
    "rate_text",
    "since_text",
    "size_text",
    "span_text",
    "words",
]

Fragment = tuple[str, str]
"""(style, text): styles are words that ``recorder.watch.screen`` gives their looks."""
Line = list[Fragment]

DAY_NS: Final = 86_400 * 10**9
SECOND_NS: Final = 10**9


class Glyphs:
    """The characters that pictures are made of.

    Args:
        eighths: what fills an eighth to eight eighths of a cell, or one character for a whole cell.
        marks: by name: up, down, rule, wall, dot, warning, cut.
    """

    def __init__(self, eighths: str, **marks: str) -> None:
        self.eighths = eighths
        self.marks = marks

    def __getitem__(self, name: str) -> str:
        return self.marks[name]


def nice_glyphs() -> Glyphs:
    """For terminals that show Unicode."""
    return Glyphs("▏▎▍▌▋▊▉█", up="▲", down="▼", rule="─", wall="│", dot="●", warning="▲", cut="…")


def ascii_glyphs() -> Glyphs:
    """For those that don't."""
    return Glyphs("#", up="^", down="v", rule="-", wall="|", dot="*", warning="!", cut="~")


def clean(text: str) -> str:
    """Text that came from outside, with everything unprintable replaced: a terminal obeys escape sequences."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def cells(text: str) -> int:
    """Cells that a text takes."""
    return len(text) if text.isascii() else _wide(text)


@lru_cache(4096)
def _wide(text: str) -> int:
    from prompt_toolkit.utils import (
        get_cwidth,
    )  # not needed where everything is ASCII, and takes a while to import

    # one by one: it remembers for ever what it was asked
    return sum(map(get_cwidth, text))


def fit(text: str, width: int, *, right: bool = False, cut: str = "…") -> str:
    """Exactly so many cells of a text: padded, or cut with a mark where there is room for one."""
    taken = cells(text)
    if taken > width:
        kept, taken = [], 0
        room_left = max(0, width - 1)
        for one in text:
            wide = cells(one)
            if taken + wide > room_left:
                break
            kept.append(one)
            taken += wide
        text = "".join(kept) + (cut if width > 0 else "")
        taken += min(1, width)
    room = " " * (width - taken)
    return room + text if right else text + room


def line_width(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cells(text) for _, text in line)


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar over a share of so many cells, padded to them; what is more than nothing shows."""
    steps = len(glyphs.eighths)
    filled = min(width * steps, max(1, round(share * width * steps))) if share > 0 else 0
    whole, rest = divmod(filled, steps)
    text = glyphs.eighths[-1] * whole + (glyphs.eighths[rest - 1] if rest else "")
    return text + " " * (width - len(text))


def decimal_text(mantissa: int, exponent: int) -> str:
    """A decimal with all the places that its exponent has, so that columns of it align."""
    if exponent >= 0:
        return f"{mantissa}{'0' * exponent}" if mantissa else "0"
    sign, digits = ("-" if mantissa < 0 else ""), str(abs(mantissa)).rjust(1 - exponent, "0")
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"


def size_text(mantissa: int, exponent: int, width: int) -> str:
    """A size in at most so many cells (7 or more): zeros behind go, then decimals; then it is K, M, G, T, or powers.

    What has no room is cut off, never rounded up.
    """
    text = decimal_text(mantissa, exponent)
    whole, _, places = text.partition(".")
    if places and len(text) > width:
        places = places.rstrip("0")
        room = width - len(whole) - 1
        text = f"{whole}.{places[:room]}" if places and room > 0 else whole
    if mantissa and len(text) <= width and not text.strip("-0."):
        digits = str(abs(mantissa))  # what there is must not look like nothing
        return f"{digits[0]}.{digits[1:2] or 0}e{exponent + len(digits) - 1}"
    if len(text) <= width:
        return text
    value = int(whole)
    for unit in ("K", "M", "G", "T"):
        value, rest = divmod(abs(value), 1000)
        if len(str(value)) + 4 <= width:
            return f"{'-' if mantissa < 0 else ''}{value}.{rest // 10:02}{unit}"
    sign, digits = ("-" if whole.startswith("-") else ""), whole.lstrip("-")
    return f"{sign}{digits[0]}.{digits[1]}e{len(digits) - 1}"


def count_text(count: int) -> str:
    """A count in at most seven cells."""
    if count < 1_000_000:
        return f"{count:,}"
    for unit, size in (("M", 10**6), ("G", 10**9), ("T", 10**12)):
        if count < 1000 * size:
            return f"{count / size:.4g}{unit}"
    return f"{count:.0e}"


def rate_text(rate: float | None, unit: str = "") -> str:
    """A rate per second, short; a dash where it isn't known yet."""
    if rate is None:
        return "-"
    for sign, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:,.1f} {sign}{unit}/s" if unit else f"{rate / size:,.1f}{sign}/s"
    digits = 0 if rate >= 100 or rate == 0 else 1
    return f"{rate:,.{digits}f}{' ' + unit if unit else ''}/s"


def clock_text(ns: int, *, thousandths: bool = False) -> str:
    """The time of day of a wall clock, UTC."""
    text = format_ns(ns)
    return text[11:23] if thousandths else text[11:19]


def span_text(ns: int) -> str:
    """A span for people who are in a hurry; what is negative is no span, and clocks differ."""
    seconds = max(0, ns) / SECOND_NS
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0095 or not seconds else f"{seconds * 1000:.1f} ms"
    return age(seconds) if seconds < 120 else age(seconds).replace(".0 ", " ")


def since_text(since_ns: int, now_ns: int, *, before: bool = False, short: bool = False) -> str:
    """Since when and for how long: ``since 03:12:07Z (4.2 min)``, with the date if it was not today.

    Args:
        since_ns, now_ns: wall clock.
        before: it began at some unknown time before that.
        short: in a column: ``03:12:07Z 4.2 min``.
    """
    text, span = format_ns(since_ns), span_text(now_ns - since_ns)
    day = "" if text[:10] == format_ns(now_ns)[:10] else f"{text[5:10]} "
    if short:
        return f"{day}{text[11 : 16 if day else 19]}Z {span}"
    return f"since {'before ' if before else ''}{day}{text[11:19]}Z ({'> ' if before else ''}{span})"


def words(line: Line) -> str:
    """A line without its styles."""
    return "".join(text for _, text in line)
