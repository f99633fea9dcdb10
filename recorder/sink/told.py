"""What sinks say of themselves in a data directory, for who looks at it: ``tapebook status``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from recorder.journal.lock import is_locked
from recorder.sink.state import SinkState
from schemas.time import format_ns

__all__ = ["told_sinks"]

STATE_BYTES: Final = 1 << 20
"""No state is larger; what is isn't one."""


def told_sinks(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what is known of each sink, by collector and in order of the sinks' names.

    Files that can't be read are left out: the sink itself says what is wrong with them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for directory in sorted((data / "nats").glob("*/")):
        running = is_locked(directory / "lock")
        for path in sorted(directory.glob("*.json")):
            try:
                if path.stat().st_size > STATE_BYTES:
                    continue
                state = msgspec.json.decode(path.read_bytes(), type=SinkState)
            except (OSError, msgspec.MsgspecError):
                continue
            found.setdefault(state.collector, []).append(_told(directory.name, state, running))
    return found


def _told(name: str, state: SinkState, running: bool) -> dict[str, Any]:
    return {
        "sink": name,
        "running": running,
        "connected": running and state.connected,
        "stream": state.stream,
        "sequence": None if state.place is None else state.place.sequence,
        "receive_time": format_ns(state.receive_ns) if state.receive_ns else None,
        "sent": state.sent,
        "acknowledged": state.acknowledged,
        "missing": state.missing,
        # of one that is not at work, nobody knows how much has come since
        "behind_bytes": state.behind_bytes if running else None,
        "behind_s": round(state.behind_s, 3) if running else None,
        "updated_time": format_ns(state.updated_ns) if state.updated_ns else None,
        "trouble": state.trouble if running else "",
    }
