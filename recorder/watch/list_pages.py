"""Pages that are lists: feeds, lines, events."""

from __future__ import annotations

from recorder.watch.condition import Condition, is_believable
from recorder.watch.feed_list import FeedRow
from recorder.watch.happenings import Happening
from recorder.watch.model import Watch
from recorder.watch.sheet import Column, Sheet, scrolled, table
from recorder.watch.text import (
    Fragment,
    Line,
    clean,
    clock_text,
    count_text,
    fit,
    rate_text,
    since_text,
    span_text,
)
from schemas.time import format_ns

__all__ = ["events_page", "feeds_page", "happening_line", "lines_page", "state_fragment"]


def state_fragment(state: str, sheet: Sheet) -> Fragment:
    """A state with its mark: told apart without any colour."""
    if state == "live":
        return "good", f"{sheet.glyphs['dot']} LIVE"
    if state in ("syncing", "starting", "empty"):
        return "warn", f"  {state.upper()}"
    return "bad", f"{sheet.glyphs['warning']} {state.upper()}"


def feeds_page(watch: Watch, sheet: Sheet) -> list[Line]:
    """All feeds, the troubled ones first."""
    rows = watch.feeds.rows
    troubled = sum(row.is_troubled for row in rows)
    title: Line = [
        ("", f" {len(rows):,} feeds, "),
        ("bad" if troubled else "", f"{troubled:,} not live" if troubled else "all live"),
        ("dim", f"; sorted by {watch.feeds.sort.value}"),
    ]
    room = max(1, sheet.height - 2)
    watch.page = room
    first = min(max(0, watch.offset), max(0, len(rows) - room))
    if watch.feeds.cursor < first:
        first = watch.feeds.cursor
    elif watch.feeds.cursor >= first + room:
        first = watch.feeds.cursor - room + 1
    watch.offset = first
    named = len({row.collector for row in rows}) > 1
    columns = [
        Column("state", 12),
        Column("feed", 22, grows=True),
        *([Column("recorder", 10)] if named else []),
        Column("rate", 8, right=True, weight=2),
        Column("gaps", 6, right=True, weight=3),
        Column("last", 8, right=True),
        Column("messages", 8, right=True, weight=4),
        Column("since", 18, grows=True),
    ]
    shown = rows[first : first + room]
    lines = table(sheet, columns, [_feed(row, sheet, named=named) for row in shown])
    for index, row in enumerate(shown, 1):
        if first + index - 1 == watch.feeds.cursor:
            lines[index] = [("cursor", text) for _, text in lines[index]]
        elif row.state != "live":
            lines[index] = [
                lines[index][0],
                *(("bad" if row.is_troubled else "", text) for _, text in lines[index][1:]),
            ]
    return [title, *lines]


def _feed(row: FeedRow, sheet: Sheet, *, named: bool) -> list[Fragment]:
    last = "-" if row.last_ns is None else span_text(row.last_ns)
    since = "" if row.since_ns is None else since_text(row.since_ns, sheet.now_ns, short=True)
    return [
        state_fragment(row.state, sheet),
        ("", clean(row.topic)),
        *([("", clean(row.collector))] if named else []),
        ("", rate_text(row.rate)),
        ("", count_text(row.gaps)),
        ("", last),
        ("", count_text(row.messages)),
        ("", f"{since}{' ' if since and row.cause else ''}{row.cause}"),
    ]


def lines_page(watch: Watch, sheet: Sheet) -> list[Line]:
    """Every connection of every recorder."""
    columns = [
        Column("recorder", 9, grows=True),
        Column("line", 4, right=True),
        Column("state", 7),
        Column("since", 10),
        Column("topics", 6, right=True),
        Column("frames", 9, right=True),
        Column("bytes", 10, right=True),
        Column("ping", 7, right=True),
        Column("connects", 8, right=True, weight=2),
        Column("first of two", 12, right=True, weight=4),
        Column("lost because", 24, grows=True, weight=3),
    ]
    rows: list[list[Fragment]] = []
    for told in watch.look.collectors:
        found = watch.conditions[told.collector]
        if told.live is None or found is Condition.STOPPED:
            continue
        if not is_believable(found):
            rows.append(
                [("bad", clean(told.collector)), ("bad", "-"), ("bad", found.value.upper())] + [("", "")] * 8
            )
            continue
        for line in told.live["lines"]:
            rate = watch.rates[told.collector].line(line["line"])
            up = line["connected"]
            changed_ns = line.get("changed_ns")
            trip = line.get("round_trip_ms")
            rows.append(
                [
                    ("", clean(told.collector)),
                    ("", str(line["line"])),
                    (
                        "good" if up else "bad",
                        f"{sheet.glyphs['up' if up else 'down']} {'UP' if up else 'DOWN'}",
                    ),
                    ("", "-" if changed_ns is None else span_text(sheet.now_ns - changed_ns)),
                    ("", str(line.get("topics", "-"))),
                    ("", rate_text(None if rate is None else rate.frames)),
                    ("", rate_text(None if rate is None else rate.bytes, "B")),
                    ("", "-" if trip is None else f"{trip:.1f} ms" if trip < 100 else f"{trip:.0f} ms"),
                    ("", str(line["connects"])),
                    ("", f"{line['taken']:,}" if "taken" in line else "-"),
                    ("" if up else "bad", clean(line.get("last_reason") or "")),
                ]
            )
    if not rows:
        return [[("dim", " No recorder is at work.")]]
    head, *lines = table(sheet, columns, rows)
    found_lines, watch.offset = scrolled(lines, watch.offset, sheet.height - 1)
    return [head, *found_lines]


def events_page(watch: Watch, sheet: Sheet) -> list[Line]:
    """What happened since the watch began."""
    happened = watch.happenings.all()
    head: list[Line] = []
    if watch.lost:
        head.append([("warn", f" {watch.lost:,} entries of the tapes were gone before they could be read")])
    if not happened:
        return [*head, [("dim", " Nothing has happened since this watch began.")]]
    lines = [happening_line(each, sheet) for each in happened]
    lines, watch.offset = scrolled(lines, watch.offset, sheet.height - len(head))
    return head + lines


def happening_line(each: Happening, sheet: Sheet) -> Line:
    """One event in a line."""
    today = format_ns(each.time_ns)[:10] == format_ns(sheet.now_ns)[:10]
    when = clock_text(each.time_ns) if today else format_ns(each.time_ns)[5:19].replace("T", " ")
    mark = sheet.glyphs["warning"] if each.grave else " "
    text = f"{clean(each.collector)}: {each.words}"
    room = max(0, sheet.width - len(when) - 5)
    return [
        ("dim", f" {when} "),
        ("bad" if each.grave else "", f"{mark} {fit(text, room, cut=sheet.glyphs['cut'])}"),
    ]
