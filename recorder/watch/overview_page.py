"""The first page: is it live, how late, what is in trouble, since when."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from recorder.health import sum_by_class
from recorder.watch.condition import Condition, Trouble, condition_since_ns, is_believable
from recorder.watch.list_pages import happening_line
from recorder.watch.look import Told
from recorder.watch.model import Watch
from recorder.watch.sheet import Column, Sheet, scrolled, table
from recorder.watch.text import Fragment, Line, clean, count_text, fit, rate_text, since_text, span_text
from schemas.names import FeedState
from schemas.units import amount

__all__ = ["overview_page", "trouble_line", "trouble_lines"]

_STYLES = {Condition.RECORDING: "good", Condition.STARTING: "warn", Condition.STOPPED: "dim"}


def overview_page(watch: Watch, sheet: Sheet) -> list[Line]:
    """Recorders, their feeds by class, troubles, what happened last."""
    lines: list[Line] = []
    if watch.troubles:
        lines += [line for trouble in watch.troubles for line in trouble_lines(trouble, sheet)]
        lines.append(sheet.rule())
    shown = sorted(watch.look.collectors, key=lambda told: _place(watch.conditions[told.collector]))
    if not shown:
        lines.append([("dim", " No recorder has written here yet; this page fills as soon as one does.")])
    each = [[*_recorder(watch, told, sheet), []] for told in shown]
    if len(shown) > 1 and len(lines) + sum(map(len, each)) > sheet.height:
        lines += [*_table(watch, shown, sheet), []]
    else:
        lines += [line for part in each for line in part]
    lines += _disk(watch)
    happened = watch.happenings.all()
    if happened:
        lines.append(sheet.rule("what happened last (5 shows all)"))
        room = max(3, sheet.height - len(lines))
        lines += [happening_line(each, sheet) for each in happened[:room]]
    found, watch.offset = scrolled(lines, watch.offset, sheet.height)
    return found


def trouble_lines(trouble: Trouble, sheet: Sheet) -> list[Line]:
    """A trouble with all that is known: whose, what, since when, in as many lines as it takes."""
    who, when = _whose(trouble), since_text(trouble.since_ns, sheet.now_ns, before=trouble.before)
    room = max(12, sheet.width - 4)
    text = textwrap.wrap(who + clean(trouble.words), room) or [""]
    if len(text[-1]) + 2 + len(when) <= room:
        text[-1] += "  " + when
    else:
        text.append(when)
    mark = sheet.glyphs["warning"]
    return [[("bad", f" {mark if index == 0 else ' '} {part}")] for index, part in enumerate(text)]


def trouble_line(trouble: Trouble, sheet: Sheet, *, more: int = 0) -> Line:
    """A trouble in one line: what it is may be cut off, since when never is."""
    when = since_text(trouble.since_ns, sheet.now_ns, before=trouble.before)
    when = f"  {when}{f' +{more} more' if more else ''} "
    mark = f" {sheet.glyphs['warning']} "
    room = max(0, sheet.width - len(mark) - len(when))
    words = fit(_whose(trouble) + clean(trouble.words), room, cut=sheet.glyphs["cut"])
    return [("bad", mark + words), ("bad", when)]


def _whose(trouble: Trouble) -> str:
    return f"{clean(trouble.collector)}: " if trouble.collector else ""


def _recorder(watch: Watch, told: Told, sheet: Sheet) -> Iterator[Line]:
    found = watch.conditions[told.collector]
    live = told.live
    since_ns = condition_since_ns(told, found)
    since = "" if since_ns is None else "  " + since_text(since_ns, sheet.now_ns)
    what = "" if live is None else f"  {live.get('category', '')} of {live.get('environment', '')}"
    yield [
        ("name", f" {clean(told.collector)} "),
        (_STYLES.get(found, "bad"), found.value.upper()),
        ("", clean(what)),
        ("dim", since),
    ]
    if live is None or not is_believable(found):
        return
    rates = watch.rates[told.collector]
    lines = live["lines"]
    up = sum(line["connected"] for line in lines)
    pressure = live.get("pressure", {})
    held = f", paused {pressure['held']} times" if pressure.get("held") else ""
    yield [
        ("", f"   {rate_text(rates.frames)} frames, {rate_text(rates.bytes, 'B')};"),
        ("" if up == len(lines) else "bad", f" {up} of {len(lines)} lines up"),
        ("", f"; backlog {amount(live['backlog_bytes'])}{held}"),
        ("", f"; memory {amount(live['vitals']['resident_bytes'])}" if "vitals" in live else ""),
    ]
    yield [("", "   " + _behind(live))]
    yield from _classes(watch, told, sheet)


def _place(found: Condition) -> int:
    """What is not at work comes first, what was stopped on purpose last."""
    return 2 if found is Condition.STOPPED else int(found is Condition.RECORDING)


def _table(watch: Watch, shown: list[Told], sheet: Sheet) -> list[Line]:
    """A line each, where there is no room for more."""
    columns = [
        Column("recorder", 12, grows=True),
        Column("doing", 10),
        Column("for", 8, right=True),
        Column("live", 12, right=True),
        Column("gaps", 6, right=True),
        Column("frames", 8, right=True),
        Column("lines", 8, right=True),
        Column("late p99", 8, right=True),
    ]
    rows: list[list[Fragment]] = []
    for told in shown:
        found = watch.conditions[told.collector]
        since_ns = condition_since_ns(told, found)
        row: list[Fragment] = [
            ("name", clean(told.collector)),
            (_STYLES.get(found, "bad"), found.value.upper()),
            ("", "-" if since_ns is None else span_text(sheet.now_ns - since_ns)),
        ]
        live = told.live
        if live is None or not is_believable(found):
            rows.append(row + [("", "-")] * (len(columns) - len(row)))
            continue
        feeds, lines = live["feeds"], live["lines"]
        well = sum(feed["state"] == FeedState.LIVE for feed in feeds)
        up = sum(line["connected"] for line in lines)
        late = [
            way["push"]["recent"]["p99_ms"] for way in live.get("lateness", {}).get("classes", {}).values()
        ]
        worst = max((each for each in late if each is not None), default=None)
        ahead_ms = watch.ahead_ns(told.collector) / 1e6
        rows.append(
            [
                *row,
                ("" if well == len(feeds) else "bad", f"{well:,} of {len(feeds):,}"),
                ("", count_text(sum(feed["gaps"] for feed in feeds))),
                ("", rate_text(watch.rates[told.collector].frames)),
                ("" if up == len(lines) else "bad", f"{up} of {len(lines)}"),
                ("", "-" if worst is None else _ms(worst + ahead_ms)),
            ]
        )
    return table(sheet, columns, rows)


def _behind(live: dict[str, Any]) -> str:
    told = []
    lateness = live.get("lateness")
    if lateness:
        for name, says in (("applied", "to book"), ("journaled", "to disk")):
            recent = lateness[name]["recent"]
            ways = [_ms(recent["p50_ms"]), _ms(recent["p99_ms"])]
            if all(way.endswith(" ms") for way in ways):
                ways[0] = ways[0].removesuffix(" ms")
            told.append(f"{says} {' / '.join(ways)}")
    offset_ns = (live.get("clock") or {}).get("offset_ns")
    if offset_ns is not None:
        told.append(f"clock off {offset_ns / 1e6:+,.1f} ms")
    return ("p50 / p99: " if lateness else "") + "; ".join(told)


def _classes(watch: Watch, told: Told, sheet: Sheet) -> list[Line]:
    live = told.live
    assert live is not None
    late = live.get("lateness", {}).get("classes", {})
    ahead_ms = watch.ahead_ns(told.collector) / 1e6
    columns = [
        Column("", 2),
        Column("class", 14, grows=True),
        Column("live", 11, right=True),
        Column("gaps", 6, right=True),
        Column("messages", 8, right=True, weight=2),
        Column("late p50", 8, right=True),
        Column("late p99", 8, right=True),
        Column("last", 8, right=True),
        Column("", 1, weight=3),
    ]
    rows: list[list[Fragment]] = []
    for name, sums in sum_by_class(live["feeds"]).items():
        live_feeds = sums["states"].get("live", 0)
        recent = late.get(name, {}).get("push", {}).get("recent", {})
        ways = [recent.get("p50_ms"), recent.get("p99_ms")]
        last = (
            "-" if not sums["last_receive_ns"] else span_text(watch.told_ns(told) - sums["last_receive_ns"])
        )
        whole = live_feeds == sums["feeds"]
        rows.append(
            [
                ("", ""),
                ("", clean(name)),
                ("" if whole else "bad", f"{live_feeds:,} of {sums['feeds']:,}"),
                ("", count_text(sums["gaps"])),
                ("", count_text(sums["messages"])),
                *(("", "-" if way is None else _ms(way + ahead_ms)) for way in ways),
                ("", last),
                ("", ""),
            ]
        )
    return table(sheet, columns, rows)


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if abs(value) >= 100 else f"{value:.1f} ms"


def _disk(watch: Watch) -> Iterator[Line]:
    look = watch.look
    if look.free_bytes is not None and look.total_bytes:
        where = f" {clean(watch.data)}:" if watch.data else ""
        yield [("", f"{where} disk: {amount(look.free_bytes)} of {amount(look.total_bytes)} free")]
