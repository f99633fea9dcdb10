"""An import: files are checked, then read into the journal segment by segment, then rolled.

The journal is the truth for what was imported as for what was recorded: replay, verify, compact and the rest know no
difference. The clock is that of the frames, so the same files give the same records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.topics import parse_feed
from recorder.disk_budget import DiskBudget
from recorder.gateway.books import topic_of
from recorder.importing.history import History
from recorder.importing.segments import ImportJournal
from recorder.importing.sources import Answer, Bad, Fingerprint, Found, Source, Trades, fingerprint
from recorder.journal import CollectorLock, SegmentInfo, SegmentReader, recover, segments
from recorder.numbering import next_number
from recorder.record import check_home
from recorder.roll import replay_segment, report_recoveries, roll_data, roll_lock
from recorder.version import SOFTWARE
from schemas.errors import ConfigError, DataError, OutOfSpace, StoreError
from schemas.names import Category, Environment
from schemas.notes import Imported, Subscribed

__all__ = ["ENDPOINT", "ImportPlan", "ImportedFile", "Report", "run_import"]

log = logging.getLogger("tapebook")

ENDPOINT: Final = "import:"
"""How the headers of imported segments begin where others have the stream's address."""
MOST_TOPICS: Final = 20_000
_MOST_NAMED: Final = 10
_STEP: Final = 256
"""Frames between two looks at the size, the backlog, and whether to stop."""

OnProgress = Callable[[str, Path, float], None]
"""Told what is done (``checking`` or ``importing``) to which file, and how much of it is read, from 0 to 1."""


class ImportPlan(NamedTuple):
    """What is to be imported.

    Attributes:
        sources: files, in the order in which they are one recording.
        collector: its name.
        category, environment: what the files are of.
        skip_bad: leave lines out that can't be records, instead of refusing the file.
        segment_bytes: at which a segment is ended.
    """

    sources: list[Source]
    collector: str
    category: Category
    environment: Environment = Environment.MAINNET
    skip_bad: bool = False
    segment_bytes: int = 256 << 20


@dataclass(slots=True)
class ImportedFile:
    """What became of one file.

    Attributes:
        records: made by this command; ``before``: lines that an earlier, interrupted one had read.
        refused: bad lines, left out; ``known``: frames that an earlier file had brought.
    """

    file: str
    size: int
    sha256: str
    records: int = 0
    before: int = 0
    refused: int = 0
    known: int = 0
    whole: bool = False


@dataclass(slots=True)
class Report:
    """What became of an import.

    Attributes:
        complete: all of it is in the journal.
        undecodable: frames, or rows of one millisecond, that the engine could not read;
            ``unknown``: frames of no topic of this category.
    """

    collector: str
    files: list[ImportedFile] = field(default_factory=list)
    segments: int = 0
    topics: int = 0
    undecodable: int = 0
    unknown: int = 0
    complete: bool = False


def run_import(
    plan: ImportPlan,
    data: Path,
    *,
    roll: bool = True,
    on_progress: OnProgress = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
    budget: DiskBudget | None = None,
) -> Report:
    """Import files, or go on with an import that was interrupted.

    Args:
        plan: what.
        data: the data directory; made if it is missing.
        roll: make tables of it, too.
        on_progress: told how far it is.
        should_stop: asked now and then; what is sealed by then stays, and the same import goes on from there.
        budget: of the disk, asked as often.

    Raises:
        OutOfSpace: there is less left than the budget's floor; what is sealed stays.
        ConfigError: a file can't be opened, or was imported before; the collector's name belongs to something else.
        DataError: a bad line, or a file that is damaged; then nothing of that file was imported.
        StoreError: the disk failed.
    """
    if data.exists() and not data.is_dir():
        raise ConfigError(f"{data}: found a file, expected a directory for --data")
    check_home(data, plan.collector, plan.category, plan.environment)
    prints = _fingerprints(plan.sources)
    report = Report(plan.collector)
    full: list[OutOfSpace] = []

    def stop() -> bool:
        try:
            if budget is not None:
                budget.check()
        except OutOfSpace as error:
            full.append(error)
        return bool(full) or should_stop()

    with CollectorLock(data, plan.collector):
        report_recoveries(recover(data, plan.collector))
        try:
            _Import(plan, data, prints, report, on_progress, stop).run()
        finally:
            if roll and report.segments and not full:
                with roll_lock(data, wait=True):
                    roll_data(data, collector=plan.collector)
    if full:
        raise full[0]
    return report


def _fingerprints(sources: list[Source]) -> list[Fingerprint]:
    prints: list[Fingerprint] = []
    for source in sources:
        found = fingerprint(source.path)
        if found in prints:
            twin = sources[prints.index(found)].path
            raise ConfigError(f"{source.path}: has the very bytes of {twin}; name it once")
        prints.append(found)
    return prints


class _Import:
    def __init__(
        self,
        plan: ImportPlan,
        data: Path,
        prints: list[Fingerprint],
        report: Report,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.data = data
        self.report = report
        self.on_progress = on_progress
        self.should_stop = should_stop
        self.history = History(data, plan.collector)
        self.sources = list(zip(plan.sources, prints, strict=True))
        self._asked: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}
        self._refused = 0

    def run(self) -> None:
        interrupted = self._interrupted()
        todo = []
        for source, print_ in self.sources:
            done = self.history.last_of(print_)
            told = ImportedFile(source.path.name, print_.size, print_.sha256)
            self.report.files.append(told)
            if done is not None:
                told.before, told.whole = done.last, done.whole
            if not told.whole:
                todo.append((source, told))
        if not todo and interrupted is None:
            raise ConfigError(
                f"{self.sources[0][0].path}: collector {self.plan.collector!r} of {self.data} has it already"
                + (", as it has the others" if len(self.sources) > 1 else "")
                + "; nothing was done"
            )
        latest = self.history.latest()
        if interrupted is not None and latest is not None and not latest.whole:
            if not todo or todo[0][1].sha256 != latest.sha256:
                raise ConfigError(
                    f"the import of {latest.source} as {self.plan.collector!r} was interrupted: give that file first, "
                    "so that it goes on, or choose another --name"
                )
        elif any(told.before for _, told in todo):
            raise ConfigError(
                f"{todo[0][0].path}: was imported in part by {self.plan.collector!r}, and other files have come since; "
                "choose another --name"
            )
        for source, told in todo:
            self._check(source, told)
        journal = self._open(todo, interrupted)
        if journal is None:
            for _, told in todo:
                told.whole = True
            self.report.complete = True
            return
        try:
            for source, told in todo:
                if not self._read(journal, source, told):
                    journal.abandon()
                    break
            else:
                journal.finish()
                self.report.complete = True
        except BaseException as error:
            if not isinstance(error, StoreError):
                journal.abandon()
            raise
        finally:
            self.report.segments = journal.segments
            engine = journal.capture.engine
            self.report.topics = len(engine.topics())
            counters = engine.counters()
            self.report.undecodable = sum(counters["undecodable"].values()) + self._refused
            self.report.unknown = counters["unknown_topics"]

    # ---- before anything is written ----

    def _interrupted(self) -> Path | None:
        """The last segment, where the run that made it did not come to its end."""
        sealed = [file for file in segments(self.data, self.plan.collector) if file.state == "sealed"]
        if not sealed:
            return None
        with SegmentReader(sealed[-1].path) as reader:
            if not reader.info.endpoint.startswith(ENDPOINT):
                raise ConfigError(
                    f"collector {self.plan.collector!r} in {self.data} has recorded {reader.info.endpoint}: "
                    "an import goes to a collector of its own; choose another --name"
                )
            closing = reader.read_closing()
        return sealed[-1].path if closing is not None and closing.reason == "rotated" else None

    def _check(self, source: Source, told: ImportedFile) -> None:
        """Read a file to its end before anything of it is imported, so that a bad one is refused as a whole."""
        bad: list[Bad] = []
        count = 0
        for number, item in enumerate(source.items()):
            if number % _STEP == 0:
                self.on_progress("checking", source.path, _share(source, told))
                if self.should_stop():
                    return
            if isinstance(item, Bad):
                count += 1
                if len(bad) < _MOST_NAMED:
                    bad.append(item)
        if not count:
            return
        lines = [f"{source.path}, {one.place}: found {one.found}, expected {one.expected}" for one in bad]
        more = [f"and {count - len(bad):,} more"] if count > len(bad) else []
        if not self.plan.skip_bad:
            raise DataError(
                "\n".join(
                    [*lines, *more, "nothing of this file was imported; --skip-bad leaves such lines out"]
                )
            )
        for line in [*lines, *more]:
            log.warning("%s; left out", line)

    # ---- writing ----

    def _open(
        self, todo: list[tuple[Source, ImportedFile]], interrupted: Path | None
    ) -> ImportJournal | None:
        """The journal that takes the records; None where there are none to take."""
        plan = self.plan
        newest = max((file.start_ns for file in segments(self.data, plan.collector)), default=-1)
        form = todo[0][0].form if todo else ""
        if interrupted is None:
            first = next((item for source, _ in todo for item in _found(source)), None)
            if first is None:
                log.warning("there are no records in %s", ", ".join(str(source.path) for source, _ in todo))
                return None
            now_ns = first.receive_ns
            start_ns = max(now_ns, newest + 1)
            info = SegmentInfo(
                plan.collector, plan.category.value, plan.environment.value, ENDPOINT + form, SOFTWARE,
                start_ns, start_ns,
            )  # fmt: skip
            continued = None
        else:
            reader, replay = replay_segment(interrupted, lambda _: None)
            now_ns = replay.last_receive_ns if replay.close_ns is None else replay.close_ns
            info = msgspec.structs.replace(reader.info, start_ns=max(now_ns, newest + 1))
            continued = replay.checkpoints(info.run_start_ns)
            self._asked.update(replay.engine.topics())
            for feed, topic in enumerate(replay.engine.topics()):
                state = replay.engine.checkpoint(feed)
                if state.update_id is not None and state.push_ms is not None:
                    self._places[topic] = (state.update_id, state.push_ms)
        return ImportJournal(
            self.data,
            info,
            next_sequence=next_number(self.data, plan.collector),
            history=self.history,
            now_ns=now_ns,
            continued=continued,
        )

    def _read(self, journal: ImportJournal, source: Source, told: ImportedFile) -> bool:
        """Take what a file holds; returns whether it came to its end."""
        first, last = told.before + 1, told.before
        refused = known = 0
        overlap = _Overlap(self._places) if source.overlaps else None

        def word(*, whole: bool = False) -> None:
            nonlocal first, refused, known
            note = Imported(
                source=told.file, size=told.size, sha256=told.sha256, form=source.form, first=first, last=last,
                refused=refused, known=known, whole=whole,
            )  # fmt: skip
            journal.read(note)
            first, refused, known = last + 1, 0, 0

        for number, item in enumerate(source.items()):
            if number % _STEP == 0:
                self.on_progress("importing", source.path, _share(source, told))
                journal.breathe()
                if self.should_stop():
                    return False
                # not before something of the file is taken: what is known of its neighbour is behind us then
                if journal.segment_bytes >= self.plan.segment_bytes and last >= first and told.records:
                    word()
                    journal.rotate()
            if item.position <= told.before:
                if overlap is not None and isinstance(item, Found):
                    overlap.met(item.payload)
                continue
            last = item.position
            if isinstance(item, Bad):
                refused += 1
                told.refused += 1
                continue
            if isinstance(item, Trades):
                self._trades(journal, item)
                told.records += 1
                continue
            if isinstance(item, Answer):
                journal.now_ns = item.receive_ns
                journal.capture.rest(item.path, item.body)
                told.records += 1
                continue
            if overlap is not None and overlap.knows(item.payload):
                known += 1
                told.known += 1
                continue
            journal.now_ns = item.receive_ns
            topic = topic_of(item.payload)
            if topic is not None and topic not in self._asked:
                self._ask(journal, topic)
            journal.capture.frame_list(0, [item.payload], item.receive_ns)
            told.records += 1
        word(whole=True)
        told.whole = True
        return True

    def _trades(self, journal: ImportJournal, item: Trades) -> None:
        journal.now_ns = item.receive_ns
        if item.record.topic not in self._asked:
            self._ask(journal, item.record.topic)
        if not journal.capture.imported_trades(item.record):
            self._refused += 1

    def _ask(self, journal: ImportJournal, topic: str) -> None:
        """A topic that is new here is one that was subscribed; not if it is none of this category."""
        if len(self._asked) >= MOST_TOPICS or len(topic.encode()) > 80:
            return
        self._asked.add(topic)
        try:
            symbol = parse_feed(self.plan.category, topic)[2]
        except ConfigError:
            return
        if len(symbol.encode()) <= 64:
            journal.capture.add_feeds([topic])
            journal.capture.session(0, Subscribed(topics=[topic]))


def _share(source: Source, told: ImportedFile) -> float:
    return source.read_bytes / told.size if told.size else 1.0


def _found(source: Source) -> Iterator[Found | Trades | Answer]:
    return (item for item in source.items() if not isinstance(item, Bad))


class _Push(msgspec.Struct):
    u: int


class _BookFrame(msgspec.Struct):
    topic: str
    ts: int
    data: _Push


_BOOK_FRAME: Final = msgspec.json.Decoder(_BookFrame)


class _Overlap:
    """Which frames at a file's head the file before it has brought: those that are no younger, by ``u`` and ``ts``.

    A topic's first frame that is younger ends it for this file: what comes then is taken as it is, the snapshot at the
    end too, which repeats the last ``u``.

    Args:
        places: (update id, push time) of each topic's last frame so far; kept up.
    """

    def __init__(self, places: dict[str, tuple[int, int]]) -> None:
        self._places = places
        self._through: set[str] = set()

    def knows(self, payload: bytes) -> bool:
        """Whether a frame is known; of one that is not the place is kept."""
        frame = _BOOK_FRAME.decode(payload)
        topic, at = frame.topic, (frame.data.u, frame.ts)
        if topic not in self._through:
            place = self._places.get(topic)
            if place is not None and at[0] <= place[0] and at[1] <= place[1]:
                return True
            self._through.add(topic)
        self._places[topic] = at
        return False

    def met(self, payload: bytes) -> None:
        """A frame of this file that an interrupted import had read: the file's head is behind it."""
        self._through.add(_BOOK_FRAME.decode(payload).topic)
