"""The status for people: readable with six hundred feeds, for it sums up by class and names what is troubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from recorder.health import is_troubled
from schemas.time import parse_time
from schemas.units import age, amount

if TYPE_CHECKING:
    from recorder.housekeeping import Kept

__all__ = ["print_status", "print_troubles"]

FEW = 20
"""So many feeds are always shown one by one."""
SHOWN_TROUBLED = 40
SECOND_NS = 1_000_000_000
REFUSED_SHOWN = 5


def print_status(status: dict[str, Any], *, every: bool = False, now_ns: int | None = None) -> None:
    """Write the status of a data directory (``recorder.status.data_status``).

    Args:
        status: of the directory.
        every: show every feed.
        now_ns: wall clock, for ages.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    if not status["collectors"]:
        print(f"{status['data']}: nothing recorded yet")
    for found in status["collectors"]:
        for line in _collector(found, every, now_ns):
            print(line)
    disk = status["disk"]
    if status["collectors"] and disk is not None:
        lasts = "" if disk["days_left"] is None else f", full in {disk['days_left']:,.1f} days at this rate"
        print(f"disk: {amount(disk['free_bytes'])} of {amount(disk['total_bytes'])} free{lasts}")
    if status.get("housekeeping") is not None:
        for line in _housekeeping(status["housekeeping"], now_ns):
            print(line)


def _housekeeping(kept: Kept, now_ns: int) -> Iterator[str]:
    keep = []
    if kept.keep.age_ns is not None:
        keep.append(f"for {age(kept.keep.age_ns / SECOND_NS)}")
    if kept.keep.bytes is not None:
        keep.append(f"up to {amount(kept.keep.bytes)}")
    told = f"kept {' and '.join(keep)}" if keep else "kept whatever its age and size"
    if kept.removed:
        told += f", {kept.removed:,} segments removed ({amount(kept.removed_bytes)})"
    if kept.compressed:
        told += f", {kept.compressed:,} compressed ({amount(kept.saved_bytes)} saved)"
    yield f"journal: {told}, {age(max(0, now_ns - kept.time_ns) / SECOND_NS)} ago"
    if kept.not_uploaded:
        yield f"archive: NOT uploaded: {kept.not_uploaded}"
    if kept.published_ns:
        told = f"{kept.uploaded:,} files uploaded ({amount(kept.uploaded_bytes)})"
        yield f"archive: {told}, all of it {age(max(0, now_ns - kept.published_ns) / SECOND_NS)} ago"
    if kept.freed:
        yield f"archive: {kept.freed:,} files ({amount(kept.freed_bytes)}) removed here: the object store has them"
    if kept.over_bytes:
        yield f"journal: {amount(kept.over_bytes)} more than asked for, of what is not in the archive or is the newest"
    for name, refusal in list(kept.refused.items())[:REFUSED_SHOWN]:
        yield f"journal: {name} stays: {refusal.why}"
    if len(kept.refused) > REFUSED_SHOWN:
        yield f"journal: and {len(kept.refused) - REFUSED_SHOWN} more stay"


def print_troubles(status: dict[str, Any], *, json: bool) -> int:
    """Say what is not well, a line each; returns the exit code: 1 if anything is."""
    found = [(each["collector"], words) for each in status["collectors"] for words in each["troubles"]]
    if not any(each["running"] for each in status["collectors"]):
        found.append(("", "nothing is recording"))
    for collector, words in found:
        if json:
            print(msgspec.json.encode({"collector": collector or None, "trouble": words}).decode())
        else:
            print(f"{collector or status['data']}: {words}")
    return 1 if found else 0


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f} ms" if abs(value) < 10_000 else f"{value / 1000:,.1f} s"


def _collector(found: dict[str, Any], every: bool, now_ns: int) -> Iterator[str]:
    counts = ", ".join(f"{count} {state}" for state, count in found["segments"].items() if count)
    rows = ", ".join(f"{count:,} {table}" for table, count in sorted(found["rows"].items())) or "none"
    live = found.get("live") if found["running"] else None
    doing = "recording" if found["running"] else "published" if found.get("published") else "not running"
    if live is not None:
        doing += f" {live.get('category', '')} of {live.get('environment', '')}"
        doing += f" for {age(live['seconds'])}" if "seconds" in live else ""
    yield f"{found['collector']}: {doing}"
    journal = "" if found.get("published") else f"  ({amount(found['journal_bytes'])})"
    yield f"  segments  {counts or 'none'}{journal}"
    yield f"  archive   {rows}  ({amount(found['archive_bytes'])}, {found['gaps']:,} gaps)"
    for url, stored in found.get("stored", {}).items():
        yield (
            f"  elsewhere {stored['files']:,} of its files, {stored['first_date']} to {stored['last_date']}, are only "
            f"in {url}  ({amount(stored['bytes'])} of that)"
        )
    if found["last_receive_time"]:
        yield f"  last row  {found['last_receive_time']}  ({age(found['age_s'])} ago)"
    yield from (_sink(sink, now_ns) for sink in found.get("sinks", ()))
    supervised = found.get("supervised")
    if supervised is not None and (supervised["restarts"] or supervised["state"] != "recording"):
        said = f": {supervised['words']}" if supervised["state"] in ("restarting", "failed") else ""
        yield f"  supervised {supervised['state']}, started again {supervised['restarts']} times{said}"
    if live is not None:
        yield from _live(live)
    yield from _feeds(found, live, every, now_ns)
    for words in found["troubles"]:
        yield f"  trouble   {words}"


def _sink(sink: dict[str, Any], now_ns: int) -> str:
    told = "nothing sent yet"
    if sink["sequence"] is not None:
        told = f"sent up to sequence {sink['sequence']:,}"
    if sink["receive_time"] is not None:
        ago = age(max(0, now_ns - parse_time(sink["receive_time"])) / SECOND_NS)
        told += f", received {ago} ago"
    if not sink["running"]:
        told += "; not at work"
    elif sink["behind_bytes"] or sink["behind_s"]:
        told += f"; behind by {amount(sink['behind_bytes'])} of journal, {sink['behind_s']:,.1f} s"
    else:
        told += "; nothing waits"
    if sink["missing"]:
        told += f"; {sink['missing']:,} sequences missing"
    return f"  sink      {sink['sink']}: {told}"


def _clock(clock: dict[str, Any] | None) -> str:
    if not clock or clock["offset_ns"] is None:
        return "offset to the exchange unknown"
    jumps = f", ours jumped {clock['steps']} times" if clock["steps"] else ""
    return f"the exchange is {clock['offset_ns'] / 1e6:+,.3f} ms ahead, ± {clock['error_ns'] / 1e6:,.3f} ms{jumps}"


def _audits(audits: dict[str, Any]) -> str:
    rest, depths = audits["rest"], audits["depths"]
    against_rest = ", ".join(f"{count:,} {name}" for name, count in rest.items()) or "none"
    return (
        f"against REST {against_rest}; depths {depths['agreed']:,} agreed, {depths['disagreed']:,} disagreed; "
        f"feeds disbelieved {audits['disbelieved']:,} times"
    )


def _shared(shared: dict[str, Any]) -> str:
    told = f"{shared['trouble']}" if shared["trouble"] else ""
    if shared["directory"] is None:
        return f"no books for other processes: {told or 'the recording ends'}"
    books = (
        f"{shared['books']:,} books for other processes ({amount(shared['bytes'])} in {shared['directory']})"
    )
    return f"{books}; {told}" if told else books


def _live(live: dict[str, Any]) -> Iterator[str]:
    undecodable = sum(live.get("undecodable", {}).values())
    odd = f", {undecodable:,} undecodable" if undecodable else ""
    odd += f", {live['unknown_topics']:,} of unknown topics" if live.get("unknown_topics") else ""
    if "frames" in live:
        yield f"  frames    {live['frames']:,}  ({amount(live['frame_bytes'])}{odd}; {live['resyncs']:,} resyncs)"
    lines = live["lines"]
    if len(lines) > 4:
        up = sum(line["connected"] for line in lines)
        yield f"  lines     {up} of {len(lines)} up ({sum(line['connects'] for line in lines)} connects)"
    else:
        named = ", ".join(
            f"line {line['line']} {'up' if line['connected'] else 'down'} ({line['connects']} connects)"
            for line in lines
        )
        yield f"  lines     {named or 'none'}"
        for line in lines:
            if "saved" in line:
                yield (
                    f"  line {line['line']:<5}{line['frames']:,} frames, {amount(line['bytes'])}: "
                    f"{line['taken']:,} first, {line['repeats']:,} repeats, {line['ahead']:,} early, "
                    f"{line['saved']:,} saved"
                )
    pressure = live.get("pressure", {})
    paused = ", reading paused" if live["paused"] else ""
    held = (
        f", paused {pressure['held']} times, {pressure['held_seconds']:,.1f} s"
        if pressure.get("held")
        else ""
    )
    yield f"  backlog   {live['backlog_bytes']:,} bytes{paused}{held}"
    yield f"  clock     {_clock(live.get('clock'))}"
    if "audits" in live:
        yield f"  audits    {_audits(live['audits'])}"
    lateness = live.get("lateness")
    if lateness:
        ways = ", ".join(
            f"{name} {_ms(lateness[name]['recent']['p50_ms'])} / {_ms(lateness[name]['recent']['p99_ms'])}"
            for name in ("applied", "journaled")
        )
        yield f"  behind    {ways}  (p50 / p99 from receive, last minute)"
    if live.get("live"):
        yield f"  live      {_shared(live['live'])}"
    if "vitals" in live:
        yield f"  memory    {amount(live['vitals']['resident_bytes'])}"


def _feeds(found: dict[str, Any], live: dict[str, Any] | None, every: bool, now_ns: int) -> Iterator[str]:
    feeds = found["feeds"]
    if not feeds:
        return
    late = (live or {}).get("lateness", {}).get("classes", {})
    width = max(5, *(len(name) for name in found["classes"]))
    yield (
        f"  {'class':<{width}}  {'feeds':>5} {'live':>5} {'messages':>13} {'gaps':>6} {'bytes':>12} "
        f"{'last':>9}  late by push time p50 / p99, by match time p50 / p99"
    )
    for name, sums in found["classes"].items():
        last = "-" if not sums["last_receive_ns"] else age((now_ns - sums["last_receive_ns"]) / SECOND_NS)
        ways = late.get(name)
        told = "" if ways is None else ", ".join(
            f"{_ms(ways[way]['recent']['p50_ms'])} / {_ms(ways[way]['recent']['p99_ms'])}"
            for way in ("push", "match")
        )  # fmt: skip
        yield (
            f"  {name:<{width}}  {sums['feeds']:>5,} {sums['states'].get('live', 0):>5,} {sums['messages']:>13,} "
            f"{sums['gaps']:>6,} {amount(sums['bytes']):>12} {last:>9}  {told}".rstrip()
        )
    whole = every or len(feeds) <= FEW
    shown = feeds if whole else [feed for feed in feeds if is_troubled(feed)]
    if not shown:
        return
    hidden = 0 if whole else max(0, len(shown) - SHOWN_TROUBLED)
    shown = shown[: len(shown) - hidden]
    width = max(len(feed["topic"]) for feed in shown)
    yield f"  {'feed':<{width}}  {'state':<8} {'messages':>10} {'gaps':>6} {'bytes':>14}"
    for feed in shown:
        state = "refused" if feed["refused"] is not None else feed["state"]
        yield (
            f"  {feed['topic']:<{width}}  {state:<8} {feed['messages']:>10,} {feed['gaps']:>6,} "
            f"{feed['bytes']:>14,}"
        )
    if hidden:
        yield f"  and {hidden:,} more that are not live; --all shows every feed"
