"""``tapebook status``: what is recorded, how complete, how late; from the journal's and the archive's own words."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from recorder.journal import journal_directory, segments
from recorder.manifest import read_manifest
from schemas.errors import ConfigError
from schemas.names import Table
from schemas.time import format_ns

__all__ = ["data_status", "print_status", "require_data"]

STATUS_BYTES = 64 << 20


def require_data(data: Path) -> None:
    """Raise ConfigError unless there is something recorded in the directory."""
    if not data.is_dir():
        raise ConfigError(f"{data}: no such data directory; give the one that `tapebook record --data` wrote")


def data_status(data: Path, *, now_ns: int | None = None) -> dict[str, Any]:
    """Everything that is known about a data directory, as plain values.

    Raises:
        ConfigError: there is no such directory.
    """
    require_data(data)
    now_ns = time.time_ns() if now_ns is None else now_ns
    manifest = read_manifest(data / "archive")
    collectors: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        return collectors.setdefault(
            name,
            {"collector": name, "running": False, "segments": {"open": 0, "sealed": 0, "torn": 0, "rolled": 0},
             "journal_bytes": 0, "archive_bytes": 0, "rows": {}, "gaps": 0, "last_receive_time": None,
             "feeds": []},
        )  # fmt: skip

    for segment in segments(data):
        found = entry(segment.collector)
        found["segments"][segment.state] += 1
        found["journal_bytes"] += segment.size
    for key in manifest.segments:
        entry(key[0])["segments"]["rolled"] += 1
    for file in manifest.files:
        found = entry(file.collector)
        found["archive_bytes"] += file.bytes
        found["rows"][file.table] = found["rows"].get(file.table, 0) + file.rows
        if file.table == Table.GAPS.value:
            found["gaps"] += file.rows
        elif file.receive_ns is not None and file.table != Table.COVERAGE.value:
            found["last_receive_time"] = max(found["last_receive_time"] or 0, file.receive_ns[1])
    for name, found in collectors.items():
        live = _live(data, name)
        if live is not None:
            found["running"] = live["running"] and _held(data, name)
            found["feeds"] = live["feeds"]
            found["live"] = {key: live[key] for key in live if key not in ("feeds", "running", "collector")}
            stamps = [feed["last_receive_ns"] for feed in live["feeds"] if feed["last_receive_ns"]]
            found["last_receive_time"] = max([found["last_receive_time"] or 0, *stamps]) or None
        if found["last_receive_time"]:
            found["age_s"] = round((now_ns - found["last_receive_time"]) / 1e9, 3)
            found["last_receive_time"] = format_ns(found["last_receive_time"])
    return {"data": str(data), "collectors": [collectors[name] for name in sorted(collectors)]}


def _live(data: Path, collector: str) -> dict[str, Any] | None:
    """What the collector wrote last, or None."""
    path = journal_directory(data, collector) / "status.json"
    try:
        if path.stat().st_size > STATUS_BYTES:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None
    return found if {"running", "feeds"} <= found.keys() else None


def _held(data: Path, collector: str) -> bool:
    """Whether a process holds the collector's lock: a status file alone may be a dead man's."""
    try:
        descriptor = os.open(journal_directory(data, collector) / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def print_status(status: dict[str, Any]) -> None:
    """Write the status for people."""
    if not status["collectors"]:
        print(f"{status['data']}: nothing recorded yet")
    for found in status["collectors"]:
        counts = ", ".join(f"{count} {state}" for state, count in found["segments"].items() if count)
        rows = ", ".join(f"{count:,} {table}" for table, count in sorted(found["rows"].items())) or "none"
        print(f"{found['collector']}: {'recording' if found['running'] else 'not running'}")
        print(f"  segments  {counts or 'none'}  ({found['journal_bytes']:,} bytes)")
        print(f"  archive   {rows}  ({found['archive_bytes']:,} bytes)")
        if found["last_receive_time"]:
            print(f"  last row  {found['last_receive_time']}  ({found['age_s']:,.1f} s ago)")
        if found["running"] and "live" in found:
            live = found["live"]
            lines = ", ".join(
                f"line {line['line']} {'up' if line['connected'] else 'down'} ({line['connects']} connects)"
                for line in live["lines"]
            )
            print(f"  lines     {lines or 'none'}")
            print(
                f"  backlog   {live['backlog_bytes']:,} bytes{', reading paused' if live['paused'] else ''}"
            )
        if found["feeds"]:
            width = max(len(feed["topic"]) for feed in found["feeds"])
            print(f"  {'feed':<{width}}  {'state':<8} {'messages':>10} {'gaps':>6} {'bytes':>14}")
            for feed in found["feeds"]:
                state = "refused" if feed["refused"] else feed["state"]
                print(
                    f"  {feed['topic']:<{width}}  {state:<8} {feed['messages']:>10,} {feed['gaps']:>6,} "
                    f"{feed['bytes']:>14,}"
                )
