"""Reading an archive: one consistent view of every table, by SQL or file by file, beside a running recorder.

Nothing is ever written into the data directory, and no DuckDB database file exists: views live in memory over
the files that the manifest names (design section 6). Segments that are sealed but not rolled yet are rolled
into a temporary directory, so that a reader sees them too.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import duckdb

from recorder.manifest import Manifest, read_manifest
from recorder.object_store import ObjectStore, StoredFile, is_object_url
from recorder.result import Result
from recorder.sql.database import Database, Settings
from recorder.sql.statements import refuse_all_but_reading
from recorder.stored_archive import read_stored_manifest
from schemas.errors import ConfigError, NoData, TapebookError
from schemas.manifest import FileRun, ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.units import amount

if TYPE_CHECKING:
    from recorder.journal import SegmentFile

__all__ = ["Archive", "Recorded", "Result", "open", "open_archive"]


class Recorded(NamedTuple):
    """What one run of a collector has of one symbol in one table; spans are lowest and highest.

    Attributes:
        collector: its name.
        run_ns: start of the recording run.
        rows: number of rows.
        receive_ns: span of our clock.
        push_ms, match_ms: spans of the exchange's clocks, or None where the table has none.
    """

    collector: str
    run_ns: int
    rows: int
    receive_ns: tuple[int, int] | None
    push_ms: tuple[int, int] | None
    match_ms: tuple[int, int] | None


class Archive:
    """An opened archive. Close it, or use it as a context manager; the temporary files go with it.

    Attributes:
        data: the data directory, or the object store's address.
        manifest: the files, those of sealed segments that were rolled for this reader included.
        masked: whether the views hide rows that no state may be built on.
        warnings: what could not be read, one sentence each.
        open_segments: what was being written when it was opened, of which nothing can be asked; not looked for
            without ``include_sealed``.
    """

    def __init__(
        self,
        data: Path,
        manifest: Manifest,
        *,
        masked: bool,
        scratch: Path | None,
        scratch_paths: frozenset[str],
        warnings: list[str],
        store: ObjectStore | None = None,
        settings: Settings | None = None,
        open_segments: Sequence[SegmentFile] = (),
    ) -> None:
        self.data = data
        self.open_segments = open_segments
        self._store = store
        self.manifest = manifest
        self.masked = masked
        self.warnings = warnings
        self._scratch: Path | None = None
        self._scratch_paths = scratch_paths
        if scratch is not None:
            self._adopt(scratch)
        self._database: Database | None = None
        self._is_closed = False
        self._settings = settings or Settings()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, NoData):
            self.tell_open_segments(error)
        self.close()

    def __repr__(self) -> str:
        return f"<Archive {self.data} {self.manifest!r} masked={self.masked}>"

    def close(self) -> None:
        """Close the database and remove the temporary files. A query from now on is refused."""
        self._is_closed = True
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._scratch is not None:
            self._remove_scratch()
            self._scratch = None

    def refuse_closed(self) -> None:
        """Refuse to go on once it is closed. Raises ConfigError then."""
        if self._is_closed:
            raise ConfigError("this archive was closed; open it again to ask it")

    def tell_open_segments(self, error: NoData) -> None:
        """Add to an error that says that there is nothing what is recorded, but can't be asked yet."""
        if not self.open_segments:
            return
        from recorder.open_segments import not_asked_yet  # the journal's; few need it

        for sentence in not_asked_yet(self.open_segments):
            error.add_note(sentence)

    def sql(self, query: str, parameters: Sequence[object] | None = None) -> Result:
        """Run one reading statement and return its rows as a stream.

        Args:
            query: SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT or EXPLAIN of one of these.
            parameters: values of ``$1``, ``$2``, … or ``?``.

        Raises:
            ConfigError: the statement is not of these, or DuckDB refuses it; the message is DuckDB's.
            StoreError: a file could not be read.
        """
        from recorder.sql.functions import Calls  # they ask archives

        database = self._opened()
        session = database.session()
        calls = Calls(self, session)

        def release() -> None:
            calls.take_back()
            database.release(session)

        try:
            prepared = calls.prepared(query, parameters or ())
            refuse_all_but_reading(session, prepared.text)
        except BaseException as error:
            release()
            if isinstance(error, duckdb.Error):
                raise database.translated(error) from error
            raise
        return database.run(session, prepared, release, calls.cause, at_once=len(calls) > 0)

    def ask(self, question: str, *positional: object, **named: object) -> Result:
        """Answer a question about a range as a stream of rows; docs/functions.md has the questions.

        ``archive.ask("snapshots", "linear", "BTCUSDT", t0, t1, every="100ms").polars()`` is what the function of SQL of
        this name gives, without SQL.

        Raises:
            ConfigError: there is no such question, or an argument is wrong; the message shows the signature. What the
                question itself raises comes with the rows.
        """
        from recorder.sql.functions import TABLE_FUNCTIONS  # they ask archives

        function = TABLE_FUNCTIONS.get(question)
        if function is None:
            raise ConfigError(
                f"found the question {question!r}, expected one of {', '.join(TABLE_FUNCTIONS)}"
            )
        return function(self, *positional, **named)

    def files(
        self,
        table: Table,
        *,
        category: str | None = None,
        symbol: str | None = None,
        dates: tuple[str, str] | None = None,
        collector: str | None = None,
        receive_ns: tuple[int, int] | None = None,
    ) -> list[ManifestFile]:
        """Return the files that fit; arguments as of ``Manifest.select``."""
        return self.manifest.select(
            table,
            category=category,
            symbol=symbol,
            dates=dates,
            collector=collector,
            receive_ns=receive_ns,
        )

    def path(self, file: ManifestFile) -> Path | StoredFile:
        """Return where a file lies."""
        if self._store is not None:
            return self._store.file(file.path)
        if file.path in self._scratch_paths and self._scratch is not None:
            return self._scratch / "archive" / file.path
        return self.manifest.archive / file.path

    def interrupt(self) -> None:
        """Stop every query that is running; whoever reads its rows gets an error. For other threads than theirs."""
        if self._database is not None:
            self._database.interrupt()

    def sql_paths(self, table: Table, files: Sequence[ManifestFile]) -> list[str]:
        """Return what files of a table are called in SQL; of none, a file without rows."""
        return self._opened().paths(table, files)

    def ranges(self, category: str, symbol: str, table: Table) -> list[Recorded]:
        """Return what there is of a symbol in a table, one entry per recording run, oldest run first."""
        runs: dict[tuple[int, str], list[FileRun]] = {}
        for file in self.files(table, category=category, symbol=symbol):
            for part in self.manifest.runs_of(file):
                runs.setdefault((part.run, file.collector), []).append(part)
        return [
            Recorded(
                collector,
                run_ns,
                sum(part.rows for part in parts),
                _union([part.receive_ns for part in parts]),
                _union([part.push_ms for part in parts]),
                _union([part.match_ms for part in parts]),
            )
            for (run_ns, collector), parts in sorted(runs.items())
        ]

    def _opened(self) -> Database:
        self.refuse_closed()
        if self._database is None:
            self._database = Database(
                self.manifest,
                self._scratch_directory(),
                self._scratch_paths,
                store=self._store,
                masked=self.masked,
                settings=self._settings,
            )
        return self._database

    def _scratch_directory(self) -> Path:
        return self._scratch or self._adopt(Path(tempfile.mkdtemp(prefix="tapebook-")))

    def _adopt(self, scratch: Path) -> Path:
        """Take a temporary directory that goes when this archive does, closed or forgotten."""
        self._scratch = scratch
        self._remove_scratch = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        return scratch


def open(
    data: Path | str,
    *,
    include_sealed: bool = True,
    masked: bool = True,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Archive:
    """Open the archive of a data directory for reading, as it is now.

    Any number of readers may have it open, beside a recorder that goes on.

    Args:
        data: the data directory, or ``s3://bucket/prefix`` where an archive was uploaded to (docs/places.md).
        include_sealed: also read segments that are sealed but not rolled yet.
        masked: hide rows that no state may be built on (``applied = false``) in the views.
        memory_limit: what SQL may hold of the memory, such as ``4GB``; beyond it goes to a temporary directory.
            By default four fifths of the machine's.
        threads: how many a query may use; all cores by default.

    Raises:
        ConfigError: the directory does not exist or holds no recording, or a setting is none.
        StoreError: the manifest cannot be read, or comes from a newer tapebook.
    """
    settings = Settings(memory_limit, threads).checked()
    if is_object_url(data):
        store = ObjectStore(str(data))
        manifest = read_stored_manifest(store)
        return Archive(
            Path(str(store)), manifest,
            masked=masked, scratch=None, scratch_paths=frozenset(), warnings=[], store=store, settings=settings,
        )  # fmt: skip
    data = Path(data)
    if not data.is_dir():
        raise ConfigError(
            f"{data}: no such data directory; name the one that `tapebook record --data` wrote to"
        )
    data = data.resolve()
    archive = data / "archive"
    if not archive.is_dir() and not (data / "journal").is_dir():
        raise ConfigError(
            f"{data}: neither archive/ nor journal/ is in it, so it is no data directory; "
            "name the one that `tapebook record --data` wrote to"
        )
    # The journal is listed first: what is rolled (and perhaps removed) meanwhile then is in the manifest.
    journal = _journal(data) if include_sealed else []
    still_open = [file for file in journal if file.state == "open"]
    sealed = [(file.path, (file.collector, file.start_ns)) for file in journal if file.state == "sealed"]
    manifest = read_manifest(archive)
    manifest, warnings = _of_this_disk(manifest)
    missing = [(path, key) for path, key in sealed if key not in manifest.segments]
    if not missing:
        return Archive(
            data, manifest,
            masked=masked, scratch=None, scratch_paths=frozenset(), warnings=warnings, settings=settings,
            open_segments=still_open,
        )  # fmt: skip
    scratch = Path(tempfile.mkdtemp(prefix="tapebook-"))
    try:
        return _with_sealed(
            data, manifest, missing, scratch, warnings,
            masked=masked, settings=settings, open_segments=still_open,
        )  # fmt: skip
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


open_archive = open
"""The same by a name that is no builtin's."""


def _journal(data: Path) -> list[SegmentFile]:
    from recorder.journal import segments

    return segments(data)


def _of_this_disk(manifest: Manifest) -> tuple[Manifest, list[str]]:
    """Leave out what only an object store has any more; returns what is here, and a sentence for each store."""
    stored = manifest.only_stored()
    if not stored:
        return manifest, []
    gone = {file.path for files in stored.values() for file in files}
    here = [file for file in manifest.files if file.path not in gone]
    sentences = []
    for url, files in stored.items():
        first, last = min(file.date for file in files), max(file.date for file in files)
        size = amount(sum(file.bytes for file in files))
        sentences.append(
            f"{len(files):,} files of {first} to {last} ({size}) are only in {url} and not in what is "
            "read here: to have them too, name that place instead (--data)"
        )
    return Manifest(manifest.archive, here, manifest.segments), sentences


def _with_sealed(
    data: Path,
    manifest: Manifest,
    missing: list[tuple[Path, tuple[str, int]]],
    scratch: Path,
    warnings: list[str],
    *,
    masked: bool,
    settings: Settings,
    open_segments: Sequence[SegmentFile],
) -> Archive:
    from recorder.roll import roll_segment

    files = list(manifest.files)
    rolled = dict(manifest.segments)
    scratch_paths: set[str] = set()
    for path, key in missing:
        try:
            entries = roll_segment(path, scratch / "archive")
        except FileNotFoundError:
            warnings.append(f"{path}: rolled and removed while the archive was being opened; open it again")
            continue
        except TapebookError as error:
            # One bad segment must not take the rest of the archive with it; verify has the last word on it.
            warnings.append(f"{path}: sealed, not rolled yet, and cannot be read: {error}")
            continue
        for entry in entries:
            if isinstance(entry, ManifestSegment):
                rolled[key] = entry
            elif isinstance(entry, ManifestFile):
                files.append(entry)
                scratch_paths.add(entry.path)
    return Archive(
        data,
        Manifest(manifest.archive, files, rolled),
        masked=masked,
        scratch=scratch,
        scratch_paths=frozenset(scratch_paths),
        warnings=warnings,
        settings=settings,
        open_segments=open_segments,
    )


def _union(spans: list[tuple[int, int] | None]) -> tuple[int, int] | None:
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)
