"""Recording for years: a run that is worn makes way for the next one (`engine.wear`).

Contracts that come and go every day would use up the engine's places in some months. A run with many of them ends
cleanly at a new segment, and another begins at once with what is recorded then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from recorder.collector import Collector, Report
from recorder.disk_budget import floor_of
from recorder.universe import Resolved
from schemas.config import RecordConfig

__all__ = ["record_on"]

log = logging.getLogger("tapebook")

_NO_ROOM: Final = "no recording is begun: free some space, then start again"


async def record_on(
    config: RecordConfig, resolved: Resolved, begin: Callable[[RecordConfig, Resolved], Collector]
) -> Report:
    """Run collectors one after the other until one ends for another reason than that it is worn.

    Args:
        config: what to record.
        resolved: what it came to.
        begin: makes a collector, which may be told to stop at any time.

    Returns:
        The last one's report.

    Raises:
        ExchangeError, StoreError: see `Collector.run`.
    """
    while True:
        floor_of(Path(config.data), config.min_free_mib, _NO_ROOM).check()
        collector = begin(config, resolved)
        report = await collector.run()
        if not collector.is_worn:
            return report
        log.info(
            "%s: this run ends with %d frames, and the next one begins at once", report.why, report.frames
        )
        resolved = Resolved(collector.lines.topics, resolved.selection)
        if config.duration is not None:
            left_s = max(config.duration - report.seconds, 0.001)
            config = msgspec.structs.replace(config, duration=left_s)
