"""The whole screen: what all pages have in common, and the page on show between it."""

from __future__ import annotations

from recorder.watch.book_page import book_page
from recorder.watch.condition import Condition
from recorder.watch.keys import KEYS, View
from recorder.watch.list_pages import events_page, feeds_page, lines_page
from recorder.watch.model import VIEWS, Watch
from recorder.watch.overview_page import overview_page, trouble_line
from recorder.watch.sheet import Sheet, scrolled
from recorder.watch.text import Glyphs, Line, clean, clock_text, fit

__all__ = ["paint", "verdict"]

_PAGES = {
    View.OVERVIEW: overview_page,
    View.BOOK: book_page,
    View.FEEDS: feeds_page,
    View.LINES: lines_page,
    View.EVENTS: events_page,
}
MATCHES_SHOWN = 6
HELP_NOTES = (
    "Only a book that says LIVE shows how things are; any other shows its last",
    "levels (in brackets).",
    "late: from the exchange's push to us, its clock brought to ours.",
    "age: since it came.",
)
"""What stands below the keys, in lines that fit into 80 cells."""


def paint(watch: Watch, width: int, height: int, now_ns: int, glyphs: Glyphs) -> list[Line]:
    """Every line of the screen, exactly as wide as it is.

    Args:
        watch: what is shown; its offset and page are set to what there was room for.
        width, height: of the screen.
        now_ns: wall clock.
        glyphs: what the terminal can show.
    """
    sheet = Sheet(width, height, now_ns, glyphs)
    foot = [_foot(watch, sheet)]
    if watch.troubles and watch.view is not View.OVERVIEW and not watch.helping:
        foot.insert(0, trouble_line(watch.troubles[0], sheet, more=len(watch.troubles) - 1))
    room = max(0, height - 1 - len(foot))
    watch.page = max(1, room - 1)
    body = _help(sheet) if watch.helping else _PAGES[watch.view](watch, sheet._replace(height=room))
    body = body[:room] + [sheet.line([])] * (room - len(body))
    return [sheet.line(line) for line in [_head(watch, sheet), *body, *foot]][-height:] if height else []


def verdict(watch: Watch) -> tuple[str, str]:
    """(style, words): all in one, for somebody who looks from afar."""
    conditions = set(watch.conditions.values())
    for grave in (Condition.DEAD, Condition.FAILED, Condition.RESTARTING, Condition.MUTE, Condition.PAUSED):
        if grave in conditions:
            return "bad", grave.value.upper()
    if not conditions & {Condition.RECORDING, Condition.STARTING}:
        return "bad", "NOT RECORDING"
    if watch.troubles:
        count = len(watch.troubles)
        return "bad", f"{count} TROUBLE{'S' if count > 1 else ''}"
    if Condition.STARTING in conditions:
        return "warn", "STARTING"
    return "good", "ALL WELL"


def _head(watch: Watch, sheet: Sheet) -> Line:
    style, words = verdict(watch)
    mark = sheet.glyphs["dot" if style == "good" else "warning"]
    line: Line = [(f"verdict-{style}", f" {mark} {words} "), ("", " ")]
    for number, view in enumerate(VIEWS, 1):
        line.append(("tab-on" if view is watch.view else "tab", f" {number} {view.value} "))
    return sheet.two(line, [("", f"{clock_text(sheet.now_ns)}Z ")])


def _foot(watch: Watch, sheet: Sheet) -> Line:
    if watch.search is not None:
        found = [clean(choice.symbol) for choice in watch.matches[:MATCHES_SHOWN]]
        told = "  ".join(found) if found else "nothing recorded is called so"
        return sheet.line([("prompt", f" /{watch.search}"), ("prompt-cursor", "_"), ("dim", f"  {told}")])
    hints = {
        View.OVERVIEW: "/ symbol",
        View.BOOK: "left right / symbol  d depth  + - steps",
        View.FEEDS: "up down  Enter book  s sort  / symbol",
        View.LINES: "up down",
        View.EVENTS: "up down",
    }[watch.view]
    return sheet.line([("foot", fit(f" 1-5 Tab views  {hints}  ? help  q quit", sheet.width, cut=" "))])


def _help(sheet: Sheet) -> list[Line]:
    wide = max(len(key.shown) for key in KEYS)
    lines: list[Line] = [[], [("head", " Keys")], []]
    lines += [[("key", f" {fit(key.shown, wide)}  "), ("", key.says)] for key in KEYS]
    lines += [
        [],
        *([("", f" {line}")] for line in HELP_NOTES),
    ]
    return scrolled(lines, 0, sheet.height)[0]
