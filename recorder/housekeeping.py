"""What happens behind the recording: segments that have been rolled are compressed, old ones removed, days compacted.

The roller does it between rolls, at its low priority, and leaves word of it in ``DATA/journal/housekeeping.json``, for
``tapebook status``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from recorder.compact import Interrupted, compact_quiet_days
from recorder.disk_budget import free_bytes
from recorder.free_archive import free_archive
from recorder.journal import Recompressed, SegmentFile, recompress, segments
from recorder.journal.recompress import LEVEL, Stopped, remove_leavings
from recorder.manifest import read_segments
from recorder.object_store import ObjectStore, check_local, check_url
from recorder.prune import prune_segment
from recorder.retention import Keep, Refusal, Retained, enforce
from recorder.upload import upload_archive
from schemas.config import RecordConfig
from schemas.errors import ConfigError, Corrupt, StoreError, TapebookError
from schemas.units import amount, parse_bytes, parse_span_ns

__all__ = [
    "Housekeeping",
    "Kept",
    "finish_house",
    "housekeeping_of",
    "keep_house",
    "last_kept",
    "publish",
    "recompress_data",
]

log = logging.getLogger("tapebook")


class Housekeeping(msgspec.Struct, frozen=True):
    """What the roller does beside rolling; the keys of ``RecordConfig`` that are about a whole data directory.

    Attributes:
        recompress: compress segments once they are rolled.
        compact: merge the archive's files of a day once it is over.
        keep: how much of the journal stays.
        floor_bytes: free space below which nothing is rolled or compacted; 0 for never.
        archive_url: object store that the archive is uploaded to; empty for none.
        keep_archive_ns: how long a day's files stay here once it is over and they are there; None for ever.
    """

    recompress: bool = True
    keep: Keep = Keep()
    compact: bool = True
    floor_bytes: int = 0
    archive_url: str = ""
    keep_archive_ns: int | None = None


class Kept(msgspec.Struct):
    """What the roller says about its housekeeping.

    Attributes:
        time_ns: when it last did it.
        keep: how much of the journal stays.
        removed, removed_bytes: segments removed, and compressed, and what that came to, since the directory was made.
        compressed, saved_bytes: segments compressed, and by how much.
        merged, merged_bytes: files that were merged into others, and by how much these are smaller.
        refused: why segments that should go stay, by ``<collector>/<start_ns>``.
        over_bytes: how much more there is than asked for, of what can't go.
        uploaded, uploaded_bytes: files that were uploaded.
        freed, freed_bytes: files that were removed here because the object store has them.
        published_ns: when the object store last had all that the archive had; 0 for never.
        not_uploaded: why the last upload failed; empty if it did not.
    """

    time_ns: int = 0
    keep: Keep = Keep()
    removed: int = 0
    removed_bytes: int = 0
    compressed: int = 0
    saved_bytes: int = 0
    merged: int = 0
    merged_bytes: int = 0
    refused: dict[str, Refusal] = msgspec.field(default_factory=dict)
    over_bytes: int = 0
    uploaded: int = 0
    uploaded_bytes: int = 0
    published_ns: int = 0
    not_uploaded: str = ""
    freed: int = 0
    freed_bytes: int = 0


def housekeeping_of(config: RecordConfig) -> Housekeeping:
    """What a configuration asks for. Raises ConfigError, naming the option."""
    for key, check in (("archive_url", check_url), ("data", check_local)):
        try:
            if text := getattr(config, key):
                check(text)
        except ConfigError as error:
            raise ConfigError(f"--{key.replace('_', '-')}: {error}") from None
    if not config.roll and (config.keep_journal or config.keep_journal_bytes):
        raise ConfigError(
            "--keep-journal: only what is in the archive may be removed, and --no-roll (roll = false) makes none: "
            "leave one of them out"
        )
    if not config.roll and config.archive_url:
        raise ConfigError(
            "--archive-url: the archive is uploaded behind each roll, and --no-roll (roll = false) makes none: "
            "leave one of them out"
        )
    if config.keep_archive and not config.archive_url:
        raise ConfigError(
            "--keep-archive: only what an object store has may be removed, and --archive-url (archive_url) names none"
        )
    found: dict[str, int | None] = {}
    for key, parse in (
        ("keep_journal", parse_span_ns),
        ("keep_journal_bytes", parse_bytes),
        ("keep_archive", parse_span_ns),
    ):
        text = getattr(config, key)
        try:
            found[key] = parse(text) if text else None
        except ConfigError as error:
            raise ConfigError(f"--{key.replace('_', '-')}: {error}") from None
    keep = Keep(found["keep_journal"], found["keep_journal_bytes"])
    floor_bytes = int(config.min_free_mib * (1 << 20))
    return Housekeeping(
        config.recompress, keep, config.compact, floor_bytes, config.archive_url, found["keep_archive"]
    )


def keep_house(
    data: Path,
    wanted: Housekeeping,
    *,
    now_ns: int,
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
    is_ending: Callable[[], bool] = lambda: False,
) -> Kept:
    """Remove what is not to be kept, compress what has been rolled, compact days, and leave word of it.

    Args:
        data: the data directory.
        wanted: what to do.
        now_ns: wall clock.
        breathe: called again and again while it works; it may wait.
        should_stop: asked as often.
        is_ending: asked as often: then a file that is being merged is given up.

    Raises:
        Corrupt, StoreError: a damaged segment, an unreadable manifest, a disk that fails; the rest is done.
    """
    kept = last_kept(data) or Kept()
    kept.time_ns, kept.keep = now_ns, wanted.keep
    try:
        retained = Retained()
        if wanted.keep:
            whole: set[str] = set()
            retained = enforce(
                data,
                wanted.keep,
                lambda found: prune_segment(data, found, now_ns=now_ns, whole=whole).kept,
                now_ns=now_ns,
                should_stop=should_stop,
                refused=kept.refused,
            )
        kept.removed += retained.removed
        kept.removed_bytes += retained.removed_bytes
        kept.refused, kept.over_bytes = retained.refused, retained.over_bytes
        if wanted.recompress:
            _recompress(data, kept, breathe, should_stop)
        free = free_bytes(data) if wanted.floor_bytes else None
        if wanted.compact and not should_stop() and (free is None or free >= wanted.floor_bytes):
            _compact(data, kept, now_ns, breathe, should_stop, is_ending)
    finally:
        _leave_word(data, kept)
    return kept


def finish_house(
    data: Path,
    wanted: Housekeeping,
    *,
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Compress and upload what the end of a recording has brought; leave word of it. Nothing is merged or removed.

    Args:
        data: the data directory.
        wanted: what to do.
        breathe: called again and again while it works; it may wait.
        should_stop: asked as often: then the rest is left to the next time.

    Raises:
        ConfigError, Corrupt, StoreError: as ``keep_house`` and ``publish``.
    """
    if wanted.recompress:
        kept = last_kept(data) or Kept()
        kept.time_ns, kept.keep = time.time_ns(), wanted.keep
        try:
            _recompress(data, kept, breathe, should_stop)
        finally:
            _leave_word(data, kept)
    kept_before = last_kept(data)
    if kept_before is None or not kept_before.not_uploaded:  # a store that failed is not waited for
        upload_only = msgspec.structs.replace(wanted, keep_archive_ns=None)
        publish(data, upload_only, breathe=breathe, should_stop=should_stop)


def publish(
    data: Path,
    wanted: Housekeeping,
    *,
    clock: Callable[[], int] = time.time_ns,
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Upload what the archive has and the object store has not, where one is configured, and leave word of it.

    What need not stay here any longer is removed then.

    Args:
        data: the data directory.
        wanted: what to do.
        clock: wall clock, ns.
        breathe: called again and again while it works; it may wait.
        should_stop: asked as often, between attempts too: then the rest is left to the next time.

    Raises:
        ConfigError, Corrupt, StoreError: as ``upload_archive``.
    """
    if not wanted.archive_url:
        return

    def wait(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if should_stop():
                raise Interrupted
            time.sleep(0.05)

    kept = last_kept(data) or Kept()
    try:
        store = ObjectStore(wanted.archive_url, sleep=wait)
        done = upload_archive(data, store, breathe=breathe, should_stop=should_stop)
    except Interrupted:
        return
    except TapebookError as error:
        kept.not_uploaded = str(error)
        raise
    else:
        kept.not_uploaded = ""
        kept.uploaded += done.files
        kept.uploaded_bytes += done.bytes
        if not done.waiting:
            kept.published_ns = clock()
            if wanted.keep_archive_ns is not None:
                _free(data, store, wanted, kept, clock(), breathe, should_stop)
        if done.published:
            log.info("%s: %d files uploaded (%s)", store, done.files, amount(done.bytes))
    finally:
        _leave_word(data, kept)


def _recompress(data: Path, kept: Kept, breathe: Callable[[], None], should_stop: Callable[[], bool]) -> None:
    rolled = read_segments(data / "archive").segments
    for done in recompress_data(
        data,
        wanted=lambda found: (found.collector, found.start_ns) in rolled,
        breathe=breathe,
        should_stop=should_stop,
    ):
        kept.compressed += 1
        kept.saved_bytes += done.bytes_before - done.bytes_after


def _free(
    data: Path,
    store: ObjectStore,
    wanted: Housekeeping,
    kept: Kept,
    now_ns: int,
    breathe: Callable[[], None],
    should_stop: Callable[[], bool],
) -> None:
    freed = free_archive(
        data,
        store,
        age_ns=wanted.keep_archive_ns or 0,
        now_ns=now_ns,
        merged_only=wanted.compact,
        breathe=breathe,
        should_stop=should_stop,
    )
    kept.freed += freed.files
    kept.freed_bytes += freed.bytes
    if freed.files:
        log.info("%s: %d files removed here (%s): it has them", store, freed.files, amount(freed.bytes))
    for path, why in freed.kept.items():
        raise Corrupt(data / "archive" / path, f"stays here: {why}")


def _compact(
    data: Path,
    kept: Kept,
    now_ns: int,
    breathe: Callable[[], None],
    should_stop: Callable[[], bool],
    is_ending: Callable[[], bool],
) -> None:
    def breathe_or_give_up() -> None:
        breathe()
        if is_ending():
            raise Interrupted

    result = compact_quiet_days(data, now_ns=now_ns, breathe=breathe_or_give_up, should_stop=should_stop)
    for one in result.done:
        kept.merged += len(one.group.files)
        kept.merged_bytes += one.bytes_before - one.merged.bytes
    for path, why in result.damaged.items():
        raise Corrupt(data / "archive" / path, f"{why}; its day is not compacted: run `tapebook repair`")


def last_kept(data: Path) -> Kept | None:
    """What the roller said last, or None."""
    try:
        return msgspec.json.decode((data / "journal" / "housekeeping.json").read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return None


def _leave_word(data: Path, kept: Kept) -> None:
    path = data / "journal" / "housekeeping.json"
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):  # it is only a word
        temporary.write_bytes(msgspec.json.encode(kept))
        temporary.replace(path)


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
