"""What ``tapebook status`` knows: what is recorded, how complete, how late; in the journal's and the archive's words.

``recorder.status_text`` writes it for people.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from recorder.health import DAY_S, sum_by_class, troubles
from recorder.housekeeping import last_kept
from recorder.journal import journal_directory, segments
from recorder.journal.lock import is_locked
from recorder.manifest import Manifest, read_manifest
from recorder.object_store import is_object_url
from recorder.sink.told import told_sinks
from schemas.errors import ConfigError
from schemas.history_tables import HISTORY_SCHEMAS
from schemas.names import Table
from schemas.time import format_ns

__all__ = [
    "blank_entry",
    "count_archive",
    "data_status",
    "is_held",
    "is_recording",
    "live_status",
    "require_data",
    "require_recording",
    "require_status",
    "supervised_collectors",
    "tell_age",
]

STATUS_BYTES = 64 << 20
ABOUT_RECORDING = {
    table.value
    for table in (
        Table.COVERAGE,
        Table.INSTRUMENTS,
        Table.CLOCK_OFFSETS,
        Table.AUDITS,
        Table.RAW_RECORDS,
        *HISTORY_SCHEMAS,
    )
}
"""Tables whose rows come whether or not the market says anything."""
_OURS = {"archive", "journal", "supervisor", "orders"}
"""What commands of ours make in a data directory, the last in one of the execution module."""


class _Feed(msgspec.Struct):
    topic: str
    state: str
    messages: int
    gaps: int
    bytes: int
    refused: str | None
    last_receive_ns: int | None


class _Line(msgspec.Struct):
    line: int
    connected: bool
    connects: int


class _Supervised(msgspec.Struct):
    collector: str
    state: str
    restarts: int
    code: int | None
    words: str


class _Supervisor(msgspec.Struct):
    pid: int
    collectors: list[_Supervised]


class _Told(msgspec.Struct):
    """What a status file must have for anybody to make sense of it."""

    running: bool
    written_ns: int
    paused: bool
    backlog_bytes: int
    lines: list[_Line]
    feeds: list[_Feed]


def require_data(data: Path) -> None:
    """Raise ConfigError unless there is something recorded in the directory."""
    if is_object_url(data):
        raise ConfigError(
            f"{data}: is an object store; this command is for data directories; `query`, `book`, `status` and "
            "`verify` look there (docs/places.md)"
        )
    if not data.is_dir():
        raise ConfigError(f"{data}: no such data directory; give the one that `tapebook record --data` wrote")


def is_recording(data: Path) -> bool:
    """Whether a directory was recorded into."""
    return (data / "archive").is_dir() or (data / "journal").is_dir()


def require_recording(data: Path) -> None:
    """Raise ConfigError unless the directory is one that was recorded into: a check of another would find nothing."""
    require_data(data)
    if not is_recording(data):
        raise ConfigError(
            f"{data}: neither archive/ nor journal/ is in it, so it is no data directory; give the one that "
            f"`tapebook record --data` wrote{_above(data)}"
        )


def _above(data: Path) -> str:
    """A hint where a directory within a data directory was given."""
    for parent in data.resolve().parents[:2]:
        if is_recording(parent):
            return f", such as {parent}"
    return ""


def require_status(data: Path) -> None:
    """Raise ConfigError for a directory in which something else lies; an empty one may wait for its recording."""
    require_data(data)
    names = {entry.name for entry in os.scandir(data)}
    if names and names.isdisjoint(_OURS):
        require_recording(data)


def data_status(data: Path, *, now_ns: int | None = None) -> dict[str, Any]:
    """Everything that is known about a data directory, as plain values.

    Raises:
        ConfigError: there is no such directory, or it is no data directory.
    """
    require_status(data)
    now_ns = time.time_ns() if now_ns is None else now_ns
    manifest = read_manifest(data / "archive")
    collectors: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        return collectors.setdefault(name, blank_entry(name))

    rolled_bytes = 0
    for segment in segments(data):
        found = entry(segment.collector)
        if (segment.collector, segment.start_ns) in manifest.segments:
            rolled_bytes += segment.size
        found["segments"][segment.state] += 1
        found["journal_bytes"] += segment.size
    count_archive(manifest, entry)
    for url, files in manifest.only_stored().items():
        for name in {file.collector for file in files}:
            own = [file for file in files if file.collector == name]
            dates = [file.date for file in own]
            entry(name)["stored"][url] = {
                "files": len(own), "bytes": sum(file.bytes for file in own),
                "first_date": min(dates), "last_date": max(dates),
            }  # fmt: skip
    for name, found in collectors.items():
        live = live_status(data, name)
        if live is not None:
            found["running"] = live["running"] and is_held(data, name)
            found["feeds"] = live["feeds"]
            found["classes"] = sum_by_class(live["feeds"])
            found["live"] = {key: live[key] for key in live if key not in ("feeds", "collector")}
            stamps = [feed["last_receive_ns"] for feed in live["feeds"] if feed["last_receive_ns"]]
            found["last_receive_time"] = max([found["last_receive_time"] or 0, *stamps]) or None
        tell_age(found, now_ns)
    for name, supervised in supervised_collectors(data).items():
        found = entry(name)
        found["supervised"] = supervised
    for name, sinks in told_sinks(data).items():
        entry(name)["sinks"] = sinks
    archive_bytes = sum(found["archive_bytes"] for found in collectors.values())
    disk = _disk(data, collectors.values(), archive_bytes / rolled_bytes if rolled_bytes else 0.0)
    for found in collectors.values():
        found["disk"] = disk
        if "live" in found:
            found["troubles"] = troubles(
                {**found["live"], "feeds": found["feeds"]},
                running=found["running"],
                now_ns=now_ns,
                days_left=disk["days_left"],
            )
        fallen = found.get("supervised")
        if fallen is not None and not found["running"] and fallen["state"] in ("restarting", "failed"):
            fate = "the supervisor starts it again" if fallen["state"] == "restarting" else "it stays so"
            found["troubles"] = [f"it ended with {fallen['code']} ({fallen['words']}), and {fate}"]
    kept = last_kept(data)
    for name, found in collectors.items():
        found["housekeeping"] = None if kept is None else msgspec.to_builtins(kept)
        stuck = [] if kept is None else [each for each in kept.refused if each.startswith(f"{name}/")]
        if kept is not None and stuck and found["running"]:
            found["troubles"].append(
                f"{len(stuck)} segments should have left the journal and stay: {kept.refused[stuck[0]].why}"
            )
        found["troubles"] += [
            f"sink {sink['sink']!r}: {sink['trouble']}" for sink in found["sinks"] if sink["trouble"]
        ]
    return {
        "data": str(data),
        "disk": disk,
        "housekeeping": kept,
        "collectors": [collectors[name] for name in sorted(collectors)],
    }


def blank_entry(name: str) -> dict[str, Any]:
    """What is told of a collector of which nothing is known yet."""
    return {
        "collector": name, "running": False, "segments": {"open": 0, "sealed": 0, "torn": 0, "rolled": 0},
        "journal_bytes": 0, "archive_bytes": 0, "rows": {}, "gaps": 0, "last_receive_time": None,
        "stored": {}, "sinks": [], "feeds": [], "classes": {}, "troubles": [],
    }  # fmt: skip


def count_archive(manifest: Manifest, entry: Callable[[str], dict[str, Any]]) -> None:
    """Add what a manifest says to its collectors' entries; ``last_receive_time`` is in ns yet."""
    for key in manifest.segments:
        entry(key[0])["segments"]["rolled"] += 1
    for file in manifest.files:
        found = entry(file.collector)
        found["archive_bytes"] += file.bytes
        found["rows"][file.table] = found["rows"].get(file.table, 0) + file.rows
        if file.table == Table.GAPS.value:
            found["gaps"] += file.rows
        elif file.receive_ns is not None and file.table not in ABOUT_RECORDING:
            found["last_receive_time"] = max(found["last_receive_time"] or 0, file.receive_ns[1])


def tell_age(found: dict[str, Any], now_ns: int) -> None:
    """Write out when the last row came, and how long ago that is."""
    if found["last_receive_time"]:
        found["age_s"] = round((now_ns - found["last_receive_time"]) / 1e9, 3)
        found["last_receive_time"] = format_ns(found["last_receive_time"])


def supervised_collectors(data: Path) -> dict[str, dict[str, Any]]:
    """What a supervisor that lives says of its collectors: state, restarts, exit code and last words, by collector."""
    if not is_locked(data / "supervisor" / "lock"):
        return {}
    try:
        told = msgspec.json.decode((data / "supervisor" / "status.json").read_bytes(), type=_Supervisor)
    except (OSError, msgspec.MsgspecError):
        return {}
    return {each.collector: msgspec.structs.asdict(each) for each in told.collectors}


def _disk(data: Path, collectors: Iterable[dict[str, Any]], share: float) -> dict[str, Any]:
    """Free space, and how long it lasts: the running collectors' journals, and the archive in proportion to them."""
    rates = [
        found["live"].get("vitals", {}).get("journal_bytes_per_second")
        for found in collectors
        if found["running"] and "live" in found
    ]
    rate = sum(rate for rate in rates if rate) * (1 + share)
    found = os.statvfs(data)
    free = found.f_bavail * found.f_frsize
    return {
        "free_bytes": free,
        "total_bytes": found.f_blocks * found.f_frsize,
        "bytes_per_second": round(rate) if rate else None,
        "days_left": round(free / rate / DAY_S, 2) if rate else None,
    }


def live_status(data: Path, collector: str) -> dict[str, Any] | None:
    """What the collector wrote last, or None."""
    path = journal_directory(data, collector) / "status.json"
    try:
        if path.stat().st_size > STATUS_BYTES:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        msgspec.convert(found, _Told)
    except (OSError, msgspec.MsgspecError):
        return None
    return found


def is_held(data: Path, collector: str) -> bool:
    """Whether a process holds the collector's lock: a status file alone may be a dead man's."""
    return is_locked(journal_directory(data, collector) / "lock")
