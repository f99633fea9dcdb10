"""What happens to a journal behind the recording: segments that have been rolled are compressed.

The roller does it between rolls, at its low priority; ``tapebook journal recompress`` does it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from recorder.journal import Recompressed, SegmentFile, recompress, segments
from recorder.journal.recompress import LEVEL, Stopped, remove_leavings
from schemas.config import RecordConfig
from schemas.errors import StoreError

__all__ = ["Housekeeping", "housekeeping_of", "recompress_data"]


class Housekeeping(msgspec.Struct, frozen=True):
    """What the roller does beside rolling; the keys of ``RecordConfig`` that are about a whole data directory.

    Attributes:
        recompress: compress segments once they are rolled.
    """

    recompress: bool = True


def housekeeping_of(config: RecordConfig) -> Housekeeping:
    """What a configuration asks for."""
    return Housekeeping(recompress=config.recompress)


def recompress_data(
    data: Path,
    collector: str | None = None,
    *,
    level: int = LEVEL,
    wanted: Callable[[SegmentFile], bool] = lambda _: True,
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Recompressed]:
    """Compress the sealed segments that aren't yet, oldest first; yield each once it is done.

    Args:
        data: the data directory.
        collector: only this one's; by default all.
        level: zstd's.
        wanted: whether to look at a segment.
        breathe: called again and again while it works; it may wait.
        should_stop: asked as often; then the segment at hand stays as it was.

    Raises:
        Corrupt, StoreError: as ``recompress``, once all other segments are done.
    """
    failed: StoreError | None = None
    remove_leavings(data, collector)
    for found in sorted(segments(data, collector), key=lambda each: (each.start_ns, each.collector)):
        if found.state != "sealed" or not wanted(found):
            continue
        if should_stop():
            return
        try:
            done = recompress(found, level=level, breathe=breathe, should_stop=should_stop)
        except Stopped:
            return
        except StoreError as error:
            failed = failed or error
            continue
        if done is not None:
            yield done
    if failed is not None:
        raise failed
