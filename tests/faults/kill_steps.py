"""What is killed: every command that writes, on a data directory where it has something to do; and how it is judged.

A recording is judged by what it witnessed: a process writes to a pipe what each returned group commit covered, so that
whatever was read from it had returned. Every other command is judged by what it would have come to without the kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.core.feeds import Engine
from engine.market import Market
from recorder import manifest_checkpoint
from recorder.capture import Capture
from recorder.cli import main
from recorder.crashes import crashed_feeds
from recorder.file_places import sha256_of
from recorder.journal import (
    CollectorLock,
    Commit,
    JournalOptions,
    JournalWriter,
    SegmentInfo,
    SegmentReader,
    journal_directory,
    next_sequence,
    recover,
    segments,
)
from recorder.leftovers import find_leftovers
from recorder.manifest import read_manifest
from recorder.rebuild import rebuild
from recorder.verify import verify
from schemas.names import Category, RecordKind, Table
from schemas.notes import Subscribed
from tests.faults.kill_uploads import (
    judge_store,
    judge_store_moment,
    large_frames,
    upload,
    uploaded_and_compacted,
)
from tests.recorded import Recorded

__all__ = ["STEPS", "Step", "made", "read_witness", "state_of"]

COLLECTOR: Final = "linear"
START_NS: Final = 1_760_000_000_000_000_000
MINUTE_NS: Final = 60 * 10**9
TOPICS: Final = ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"]
WITNESS: Final = struct.Struct("<q?q")

State = dict[str, str]


class Told(NamedTuple):
    """A group commit that returned: all of its run up to a sequence is written; and the segment that it ended in."""

    last_sequence: int
    synced: bool
    segment_ns: int


Witnessed = list[list[Told]]
"""By run: first the last sequence before it (of segment -1), then each commit."""


class Step(NamedTuple):
    """One command that is killed.

    Attributes:
        name: what it is called.
        prepare: makes the data directory that it starts from.
        act: the command; gets the data directory, where to write witnessed commits, and its number among the runs.
        weight: its share of the points.
        follows: commands that make the archive whole once nothing is killed any more.
        needs_gateway: whether it records from the embedded exchange.
        stamped: whether segments hold moments of the machine's clock, so that only their records can be compared.
        done: exit codes of a run at the end of which there is nothing left to do.
        witnessed: whether it records; else what it comes to is compared with an unkilled run.
        needs_store: whether it speaks with an object store.
        begins: what is done in the data directory before it, which is killed never.
        at_once: what is wrong right after a kill.
        elsewhere: what is wrong at the end, out of the data directory.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path, int, int], int | None]
    weight: int
    follows: tuple[Callable[[Path, int, int], int | None], ...] = ()
    witnessed: bool = False
    needs_gateway: bool = False
    stamped: bool = False
    done: tuple[int, ...] = (0,)
    needs_store: bool = False
    begins: Callable[[Path], None] | None = None
    at_once: Callable[[Path], list[str]] | None = None
    elsewhere: Callable[[Path], list[str]] | None = None

    def judge(self, data: Path, expected: State, witnessed: Witnessed, *, power: bool) -> list[str]:
        """Return what is wrong once everything has been run to its end."""
        wrong = [str(failure) for failure in verify(data, deep=True).failures]
        if self.witnessed:
            wrong += _judge_recording(data, witnessed, power=power, sent=not self.needs_gateway)
        else:
            found = state_of(data)
            if self.stamped:
                expected = {
                    name: "there" if name.endswith(".arrows") else what for name, what in expected.items()
                }
                found = {name: "there" if name.endswith(".arrows") else what for name, what in found.items()}
            names = sorted(expected.keys() | found.keys())
            wrong += [
                f"{name}: {found.get(name, 'is missing')}, without the kill {expected.get(name, 'not there')}"
                for name in names
                if found.get(name) != expected.get(name)
            ]
        for leftover in find_leftovers(data, read_manifest(data / "archive")):
            if leftover.why != "replaced":
                wrong.append(f"{leftover.path}: {leftover.why}, left behind")
        wrong += _judge_rows(data)
        return wrong + (self.elsewhere(data) if self.elsewhere is not None else [])


def state_of(data: Path) -> State:
    """Everything that counts in a data directory: the bytes of its files, and what its manifest comes to."""
    manifest = read_manifest(data / "archive")
    found = {
        f"archive/{file.path}": "in the store"
        if manifest.stored_url(file.path)
        else sha256_of(data / "archive" / file.path)
        for file in manifest.files
    }
    for path in sorted((data / "journal").rglob("*")):
        if path.is_file() and path.name not in ("lock", "housekeeping.json"):
            found[str(path.relative_to(data))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for key, segment in manifest.segments.items():
        found[f"segment {key[1]}"] = f"{segment.records} records, {segment.content_sha256}"
    for key in manifest.pruned:
        found[f"pruned {key[1]}"] = "pruned"
    return found


# ---- recording ---------------------------------------------------------------------------------------------------


@cache
def frames_of(run: int) -> list[tuple[int, bytes]]:
    """What the exchange says in a run: the time and the frame, each one different from all others."""
    start_ns = START_NS + run * MINUTE_NS
    market = Market(100 + run, Category.LINEAR, start_ns=start_ns, symbol_count=1)
    frames = [frame for frame in map(market.follow, TOPICS) if frame is not None]
    frames += market.advance(start_ns + 3 * 10**9)
    return [(frame.time_ns + 1_000_000 + number, frame.payload) for number, frame in enumerate(frames)]


def record(
    data: Path,
    witness: int,
    run: int,
    *,
    per_segment: int = 60,
    crash: bool = False,
    more: Iterable[bytes] = (),
) -> None:
    """A recorder without a network: its frames go through the capture and the journal as the collector's do."""

    def on_commit(commit: Commit) -> None:
        os.write(witness, WITNESS.pack(commit.last_sequence, commit.synced, _start_of(commit.segment.name)))

    now_ns = START_NS + run * MINUTE_NS
    with CollectorLock(data, COLLECTOR):
        recover(data, COLLECTOR)
        notes = crashed_feeds(data, COLLECTOR)
        first = next_sequence(data, COLLECTOR)
        if witness >= 0:
            os.write(witness, WITNESS.pack(first - 1, True, -1))
        info = SegmentInfo(
            COLLECTOR, "linear", "gateway", "ws://127.0.0.1:1", "tapebook test", now_ns, now_ns
        )
        journal = JournalWriter(
            journal_directory(data, COLLECTOR),
            info,
            next_sequence=first,
            options=JournalOptions(commit_bytes=1 << 20, fsync_interval_s=0.005),
            on_commit=on_commit if witness >= 0 else None,
        )
        capture = Capture(
            Engine(Category.LINEAR), journal, run=now_ns, on_event=lambda _: None, clock=lambda: now_ns
        )
        try:
            capture.begin(TOPICS, notes)
            capture.session(0, Subscribed(topics=TOPICS))
            for number, (at_ns, frame) in enumerate(frames_of(run), 1):
                now_ns = at_ns
                capture.frame_list(0, [frame], at_ns)
                if number % 6 == 0:
                    journal.flush()
                    while journal.backlog_bytes:
                        time.sleep(0.0002)
                if number % per_segment == 0:
                    capture.rotate()
            for frame in more:
                capture.frame_list(0, [frame], now_ns)
                journal.flush()
            if crash:
                journal.flush()
                while journal.backlog_bytes:
                    time.sleep(0.0002)
                os._exit(0)
            capture.finish([0])
        finally:
            journal.close()


def tapebook_record(data: Path, witness: int, _run: int) -> None:
    """The recorder itself, with its roller, against the embedded exchange (its address is in the environment)."""
    main(
        [
            "record", "--endpoint", os.environ["KILL_POINTS_ENDPOINT"], "--data", str(data), "--symbols", "BTCUSDT",
            "--duration", "1", "--segment-seconds", "0.3", "--fsync-s", "0.05", "--audit-every", "0",
            "--clock-every", "0", "--refresh-every", "0", "--min-free-mib", "0",
            "--commit-ledger", f"/proc/self/fd/{witness}",
        ]
    )  # fmt: skip


def read_witness(descriptor: int, *, lines: bool, is_first: bool) -> list[Told]:
    """What a process that is gone had witnessed.

    ``lines``: as ``record --commit-ledger`` writes it; ``is_first``: nothing was recorded before.
    """
    told = b""
    while more := os.read(descriptor, 1 << 16):
        told += more
    if lines:
        words = [line.split() for line in told.decode().splitlines(keepends=True) if line.endswith("\n")]
        commits = [Told(int(last), synced == "1", _start_of(name)) for name, _, last, synced in words]
        # it doesn't say where it begins: what the first commit of a later run has goes unseen
        return [Told(-1, True, -1), *commits] if is_first else commits
    size = WITNESS.size
    return [Told(*WITNESS.unpack_from(told, at)) for at in range(0, len(told) - size + 1, size)]


def _start_of(name: str) -> int:
    return int(name.partition(".")[0])


def _judge_recording(data: Path, witnessed: Witnessed, *, power: bool, sent: bool) -> list[str]:
    """All that was witnessed is there, in the journal and in what the archive hands back, and it is what was sent."""
    recorded = Recorded(data, COLLECTOR)
    wrong = []
    have: dict[int, set[int]] = {}
    for found in segments(data, COLLECTOR):
        if found.state == "sealed":
            with SegmentReader(found.path) as reader:
                have[found.start_ns] = {record.sequence for record in reader.records()}
    if len(set().union(*have.values())) != len(recorded.records):
        wrong.append("a sequence is in the journal twice")
    for run in witnessed:
        # Between runs numbers may be missing, or be used by the next one; among those of one run none may.
        durable = [told for told in run[1:] if told.synced or not power]
        if durable:
            first, last = run[0].last_sequence + 1, durable[-1].last_sequence
            starts = [start for start in have if run[1].segment_ns <= start <= durable[-1].segment_ns]
            if missing := set(range(first, last + 1)).difference(*(have[start] for start in starts)):
                wrong.append(
                    f"{len(missing)} records of {first} to {last}, which were witnessed, are missing"
                )
    payloads = [frame.payload for frame in recorded.frames]
    if sent and not _is_in_order(payloads):
        wrong.append("the journal's frames are not those that were sent, once each and in their order")
    handed_back: list[bytes] = []
    manifest = read_manifest(data / "archive")
    for _, entry in sorted(manifest.segments.items()):
        rebuild(
            manifest,
            entry,
            lambda part: handed_back.extend(r.payload for r in part if r.kind == RecordKind.FRAME),
        )
    if handed_back != payloads:
        wrong.append("the archive does not hand back the journal's frames")
    return wrong


def _is_in_order(payloads: list[bytes]) -> bool:
    number = {frame: at for at, frame in enumerate(frame for run in range(4) for _, frame in frames_of(run))}
    order = [number.get(payload, -1) for payload in payloads]
    return -1 not in order and order == sorted(set(order))


def _judge_rows(data: Path) -> list[str]:
    """Each frame that the journal or the archive has makes its rows once, and no trade is there twice."""
    recorded = Recorded(data, COLLECTOR)
    expected: dict[str, Counter[Any]] = {"book_updates": Counter(), "tickers": Counter(), "trades": Counter()}
    for sequence, frame in _frames(data):
        if b'"topic":"orderbook' in frame:
            expected["book_updates"][sequence] += 1
        elif b'"topic":"tickers' in frame:
            expected["tickers"][sequence] += 1
        elif b'"topic":"publicTrade' in frame:
            expected["trades"].update(item["i"] for item in json.loads(frame)["data"])
    found = {
        "book_updates": Counter(
            r["sequence"] for r in recorded.rows(Table.BOOK_UPDATES) if r["kind"] != "keyframe"
        ),
        "tickers": Counter(row["sequence"] for row in recorded.rows(Table.TICKERS)),
        "trades": Counter(row["trade_id"] for row in recorded.rows(Table.TRADES)),
    }
    # what a gap had lost and REST told is in no frame
    fetched = {row["trade_id"] for row in recorded.rows(Table.TRADES) if row["source"] == "backfill"}
    expected["trades"].update(fetched - expected["trades"].keys())
    return [
        f"{table}: {key} has {found[table][key]} rows, expected {wanted[key]}"
        for table, wanted in expected.items()
        for key in sorted(found[table].keys() | wanted.keys())
        if found[table][key] != wanted[key]
    ][:5]


def _frames(data: Path) -> Iterator[tuple[int, bytes]]:
    """Frames of the journal, and of the archive where their segment was pruned."""
    there = {found.start_ns for found in segments(data, COLLECTOR) if found.state == "sealed"}
    for found in segments(data, COLLECTOR):
        if found.state == "sealed":
            with SegmentReader(found.path) as reader:
                yield from ((record.sequence, record.payload) for record in reader.records(RecordKind.FRAME))
    manifest = read_manifest(data / "archive")
    for key, entry in manifest.segments.items():
        if key[1] not in there:
            taken: list[Any] = []
            rebuild(manifest, entry, taken.extend)
            yield from ((r.sequence, r.payload) for r in taken if r.kind == RecordKind.FRAME)


# ---- what the other commands start from ----------------------------------------------------------------------------


def cli(*arguments: object) -> Callable[[Path, int, int], int | None]:
    """A command of ours; ``DATA`` stands for the data directory."""

    def run(data: Path, _witness: int, _run: int) -> int | None:
        main([str(argument).replace("DATA", str(data)) for argument in arguments])

    return run


def _tapebook(data: Path, *arguments: object) -> None:
    """Run a command to its end while a data directory is prepared."""
    try:
        cli(*arguments)(data, -1, 0)
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}") from ended


def _nothing(data: Path) -> None:
    data.mkdir(exist_ok=True)


def _journal(data: Path) -> None:
    """Sealed segments of two runs."""
    record(data, -1, 0)
    record(data, -1, 1, per_segment=500)


def _crashed(data: Path) -> None:
    """A journal, and what a crash left of the last segment, with half a batch at its end."""
    _journal(data)
    child = os.fork()
    if child == 0:
        record(data, -1, 2, per_segment=500, crash=True)
    os.waitpid(child, 0)
    (left,) = [found for found in segments(data, COLLECTOR) if found.state == "open"]
    os.truncate(left.path, left.size - 300)


def _rolled(data: Path) -> None:
    _journal(data)
    _tapebook(data, "roll", "--data", data)


def _long(data: Path) -> None:
    """Segments that are worth compressing."""
    record(data, -1, 0, per_segment=5000)
    record(data, -1, 1, per_segment=5000)
    _tapebook(data, "roll", "--data", data)


def _large(data: Path) -> None:
    """A file that is too large to be uploaded at once."""
    record(data, -1, 0, per_segment=500, more=large_frames())
    _tapebook(data, "roll", "--data", data)


def _late(data: Path) -> None:
    """A day that was merged, and a segment that came late."""
    _rolled(data)
    _tapebook(data, "compact", "--data", data)
    record(data, -1, 2, per_segment=500)
    _tapebook(data, "roll", "--data", data)


def _pruned(data: Path) -> None:
    _rolled(data)
    _tapebook(data, "journal", "prune", "--data", data)


def _damaged(data: Path) -> None:
    """A byte flipped in one file, another file missing, a temporary one, and half a manifest line."""
    _rolled(data)
    archive = data / "archive"
    files = sorted(read_manifest(archive).files, key=lambda file: file.path)
    books = [file for file in files if file.table == Table.BOOK_UPDATES.value]
    path = archive / books[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    (archive / books[1].path).unlink()
    shutil.copy(archive / books[2].path, archive / f"{books[2].path}.tmp")
    with (archive / "manifest" / f"{COLLECTOR}.jsonl").open("ab") as lines:
        lines.write(b'{"event":"file","path":"book')


def _torn_segment(data: Path) -> None:
    """A byte flipped in a sealed segment that the archive can hand back, and a manifest that can't be read."""
    _rolled(data)
    path = segments(data, COLLECTOR)[1].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _capture(data: Path) -> None:
    """A file of lines, as others record them."""
    data.mkdir()
    lines = [b"%d %b\n" % (at_ns, frame) for run in range(2) for at_ns, frame in frames_of(run)]
    (data / "capture.txt").write_bytes(b"".join(lines))


def _recover(data: Path, _witness: int, _run: int) -> None:
    recover(data)


def _compact_and_shorten(data: Path, _witness: int, _run: int) -> int | None:
    """A compaction behind which few lines of the manifest count, with another one to leave the rest out."""
    manifest_checkpoint.LEAST_DROPPED = 1  # type: ignore[misc]
    for _ in range(2):
        try:
            cli("compact", "--data", "DATA", "--grace", 0)(data, -1, 0)
        except SystemExit as ended:
            if ended.code:
                raise
    return None


ROLL: Final = ("roll", "--data", "DATA")
IMPORT: Final = (
    "import", "capture", "DATA/capture.txt", "--data", "DATA", "--category", "linear", "--name", COLLECTOR,
    "--segment-mib", 0.03, "--no-roll",
)  # fmt: skip


def _uploading(
    name: str,
    prepare: Callable[[Path], None],
    act: Callable[[Path, int, int], int | None],
    weight: int,
    **more: Any,
) -> Step:
    return Step(
        name,
        prepare,
        act,
        weight,
        needs_store=True,
        at_once=judge_store_moment,
        elsewhere=judge_store,
        **more,
    )


STEPS: Final = {
    step.name: step
    for step in (
        Step("record", _nothing, record, 30, follows=(cli(*ROLL),), witnessed=True),
        Step(
            "tapebook record",
            _nothing,
            tapebook_record,
            4,
            follows=(cli(*ROLL),),
            witnessed=True,
            needs_gateway=True,
        ),
        Step("recover", _crashed, _recover, 5, follows=(cli(*ROLL),)),
        Step("roll", _crashed, cli(*ROLL), 20),
        Step("roll --jobs 2", _crashed, cli(*ROLL, "--jobs", 2), 5),
        Step("compact", _rolled, cli("compact", "--data", "DATA", "--grace", 0), 12),
        Step("compact and shorten", _rolled, _compact_and_shorten, 6),
        Step("compact a late segment", _late, cli("compact", "--data", "DATA"), 8),
        Step("journal recompress", _long, cli("journal", "recompress", "--data", "DATA"), 8),
        Step("journal prune", _rolled, cli("journal", "prune", "--data", "DATA"), 6),
        Step(
            "journal rebuild",
            _pruned,
            cli("journal", "rebuild", "--data", "DATA", "-o", "DATA/journal"),
            6,
            done=(0, 2),
        ),
        Step("import capture", _capture, cli(*IMPORT), 6, follows=(cli(*ROLL),), stamped=True, done=(0, 2)),
        Step("repair files", _damaged, cli("repair", "--data", "DATA"), 8),
        Step("repair a segment", _torn_segment, cli("repair", "--data", "DATA"), 6),
        _uploading("upload", _rolled, upload(), 12),
        _uploading("upload --jobs 1", _rolled, upload("--jobs", 1), 6),
        _uploading("upload in parts", _large, upload(), 3),
        _uploading("upload a compaction", _rolled, upload("--grace", 0), 8, begins=uploaded_and_compacted),
        _uploading(
            "upload --keep-archive",
            _rolled,
            upload("--keep-archive", "0s", "--grace", 0),
            6,
            begins=uploaded_and_compacted,
        ),
        _uploading(
            "upload then compact",
            _rolled,
            upload("--grace", 0, compacted=True),
            5,
            follows=(cli("compact", "--data", "DATA", "--grace", 0), upload("--grace", 0)),
        ),
    )
}
"""By name. A command that writes is one more line here."""


def made(step: Step, directory: Path) -> Path:
    """The data directory that a step starts from; made once."""
    data = directory / step.prepare.__name__.strip("_")
    if not data.exists():
        step.prepare(data)
    return data
