"""The journal: append-only capture files, the truth that all else is made from (``docs/journal.md``)."""

from recorder.journal.content import ContentHash, chain_value
from recorder.journal.disk import Disk
from recorder.journal.files import SegmentFile, SegmentState, journal_directory, segments
from recorder.journal.follower import Break, Followed, JournalFollower, Position, newest_segment
from recorder.journal.format import (
    FORMAT_VERSION,
    MAX_RECORD_BYTES,
    ClosingNote,
    HeaderDamaged,
    Record,
    SegmentGone,
    SegmentInfo,
    checksum,
)
from recorder.journal.history import next_sequence, read_frames
from recorder.journal.lock import CollectorLock
from recorder.journal.reader import Batch, SegmentReader
from recorder.journal.recompress import Recompressed, recompress
from recorder.journal.recovery import Recovery, recover
from recorder.journal.writer import Commit, JournalOptions, JournalWriter

__all__ = [
    "FORMAT_VERSION",
    "MAX_RECORD_BYTES",
    "Batch",
    "Break",
    "ClosingNote",
    "CollectorLock",
    "Commit",
    "ContentHash",
    "Disk",
    "Followed",
    "HeaderDamaged",
    "JournalFollower",
    "JournalOptions",
    "JournalWriter",
    "Position",
    "Recompressed",
    "Record",
    "Recovery",
    "SegmentFile",
    "SegmentGone",
    "SegmentInfo",
    "SegmentReader",
    "SegmentState",
    "chain_value",
    "checksum",
    "journal_directory",
    "newest_segment",
    "next_sequence",
    "read_frames",
    "recompress",
    "recover",
    "segments",
]
