"""Reading an archive: one consistent view of every table, by SQL or file by file, beside a running recorder.

Nothing is ever written into the data directory, and no DuckDB database file exists: views live in memory over
the files that the manifest names (design section 6). Segments that are sealed but not rolled yet are rolled
into a temporary directory, so that a reader sees them too.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from recorder.manifest import Manifest, read_manifest
from recorder.object_store import ObjectStore, StoredFile, is_object_url
from recorder.spared import spared
from recorder.stored_archive import STORED_ROOT, read_stored_manifest, stored_files
from schemas.errors import ConfigError, DataError, StoreError, TapebookError
from schemas.manifest import FileRun, ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.stored import RESHAPED, written_schema
from schemas.views import MASKED_VARIABLE, files_variable, view_statements

__all__ = ["Archive", "Recorded", "Result", "open_archive"]

_BATCH_ROWS: Final = 16_384
_EXPLAIN: Final = re.compile(r"\A\s*explain(?:\s+analyze)?(?:\s*\([^()]*\))?\s+(?P<rest>.*)\Z", re.I | re.S)
_GLOB_CHARACTERS: Final = frozenset("*?[{")
# Later DuckDBs name the streaming export differently and deprecate the old name.
_TO_READER: Final = (
    "to_arrow_reader" if hasattr(duckdb.DuckDBPyRelation, "to_arrow_reader") else "fetch_arrow_reader"
)


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


class Result:
    """The rows of a query, in batches as DuckDB makes them; iterate once.

    Attributes:
        schema: Arrow schema of the batches.
        types: DuckDB's names of the column types; they tell apart what Arrow does not (HUGEINT, DECIMAL).
    """

    __slots__ = ("_connection", "_reader", "schema", "types")

    def __init__(self, connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> None:
        self._connection = connection
        self.types = [str(type_) for type_ in relation.types]
        self._reader = getattr(relation, _TO_READER)(_BATCH_ROWS)
        self.schema: pa.Schema = self._reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                # Arrow's stream knows only OSError: the text is DuckDB's all the same.
                raise _translated(error) from error
            yield batch

    def table(self) -> pa.Table:
        """Return all remaining rows at once."""
        return pa.Table.from_batches(list(self), self.schema)


class Archive:
    """An opened archive. Close it, or use it as a context manager; the temporary files go with it.

    Attributes:
        data: the data directory, or the object store's address.
        manifest: the files, those of sealed segments that were rolled for this reader included.
        masked: whether the views hide rows that no state may be built on.
        warnings: what could not be read, one sentence each.
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
    ) -> None:
        self.data = data
        self._store = store
        self.manifest = manifest
        self.masked = masked
        self.warnings = warnings
        self._scratch: Path | None = None
        self._scratch_paths = scratch_paths
        if scratch is not None:
            self._adopt(scratch)
        self._database: duckdb.DuckDBPyConnection | None = None
        self._variables: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Archive {self.data} {self.manifest!r} masked={self.masked}>"

    def close(self) -> None:
        """Close the database and remove the temporary files; results that are still being read end here."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._scratch is not None:
            self._remove_scratch()
            self._scratch = None

    def sql(self, query: str, parameters: Sequence[object] | None = None) -> Result:
        """Run one reading statement and return its rows as a stream.

        Args:
            query: SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT or EXPLAIN of one of these.
            parameters: values of ``$1``, ``$2``, … or ``?``.

        Raises:
            ConfigError: the statement is not of these, or DuckDB refuses it; the message is DuckDB's.
            StoreError: a file could not be read.
        """
        connection = self._session()
        try:
            _refuse_all_but_reading(connection, query)
            relation = connection.sql(query, params=list(parameters)) if parameters else connection.sql(query)
            return Result(connection, relation)
        except duckdb.Error as error:
            raise _translated(error) from error

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

    def _session(self) -> duckdb.DuckDBPyConnection:
        """Return a session of its own, since a connection carries one open result at a time."""
        if self._database is None:
            self._database = self._open_database()
        session = self._database.cursor()
        _set_variables(session, self._variables)
        return session

    def _open_database(self) -> duckdb.DuckDBPyConnection:
        scratch = self._scratch_directory()
        self._variables = {MASKED_VARIABLE: self.masked}
        earlier = set()
        for table in Table:
            paths, reshaped = self._parquet_paths(table, scratch)
            self._variables[files_variable(table)] = paths
            if reshaped:
                earlier.add(table)
                self._variables[files_variable(table, earlier=True)] = reshaped
        database = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                # Names in a query are tables, never variables of the Python caller.
                "python_enable_replacements": "false",
                "temp_directory": str(scratch / "spill"),
            },
        )
        try:
            if self._store is not None:
                database.register_filesystem(stored_files(self._store, self.manifest.files))
            database.execute("SET GLOBAL TimeZone = 'UTC'")
            _set_variables(database, self._variables)
            database.begin()
            try:
                database.execute(view_statements(earlier))
                database.commit()
            except duckdb.Error:  # a file that is damaged or missing; who asks for another must not suffer
                database.rollback()
                self._spare(scratch)
                _set_variables(database, self._variables)
                database.execute(view_statements(earlier))
            # From here on a query reaches the archive and nothing else of this machine.
            database.execute(
                f"SET allowed_directories = [{_quoted(self._root(scratch))}, {_quoted(scratch)}]"
            )
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            database.close()
            raise _translated(error) from error
        return database

    def _spare(self, scratch: Path) -> None:
        for table in Table:
            paths, _ = self._parquet_paths(table, scratch)
            root = str(self._root(scratch))
            self._variables[files_variable(table)] = spared(paths, self._empty(table, scratch), root, scratch)

    def _parquet_paths(self, table: Table, scratch: Path) -> tuple[list[str], list[str]]:
        """The files of a table, never none, and those of an earlier schema version that have other columns."""
        root = self._root(scratch)
        paths: list[str] = []
        earlier: list[str] = []
        for file in self.manifest.select(table):
            at = scratch / "archive" if file.path in self._scratch_paths else root
            (earlier if table in RESHAPED and file.schema_version < 2 else paths).append(f"{at}/{file.path}")
        if not paths:
            # A file without rows gives the view of an empty table the very types of a full one.
            paths = [str(self._empty(table, scratch))]
        return paths, earlier

    def _empty(self, table: Table, scratch: Path) -> Path:
        empty = (
            scratch / "empty" / table.value / "category=" / "symbol=" / "date=1970-01-01" / "empty.parquet"
        )
        if not empty.exists():
            empty.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(written_schema(table).empty_table(), empty)
        return empty

    def _root(self, scratch: Path) -> Path | str:
        """Return the archive's path, or a link to it where its name would read as a glob pattern."""
        if self._store is not None:
            return STORED_ROOT
        if not _GLOB_CHARACTERS & set(str(self.manifest.archive)):
            return self.manifest.archive
        link = scratch / "link"
        if not link.is_symlink():
            link.symlink_to(self.manifest.archive, target_is_directory=True)
        return link

    def _scratch_directory(self) -> Path:
        return self._scratch or self._adopt(Path(tempfile.mkdtemp(prefix="tapebook-")))

    def _adopt(self, scratch: Path) -> Path:
        """Take a temporary directory that goes when this archive does, closed or forgotten."""
        self._scratch = scratch
        self._remove_scratch = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        return scratch


def open_archive(data: Path | str, *, include_sealed: bool = True, masked: bool = True) -> Archive:
    """Open the archive of a data directory for reading, as it is now.

    Args:
        data: the data directory, or ``s3://bucket/prefix`` where an archive was uploaded to (docs/places.md).
        include_sealed: also read segments that are sealed but not rolled yet.
        masked: hide rows that no state may be built on (``applied = false``) in the views.

    Raises:
        ConfigError: the directory does not exist or holds no recording.
        StoreError: the manifest cannot be read, or comes from a newer tapebook.
    """
    if is_object_url(data):
        store = ObjectStore(str(data))
        manifest = read_stored_manifest(store)
        return Archive(
            Path(str(store)), manifest,
            masked=masked, scratch=None, scratch_paths=frozenset(), warnings=[], store=store,
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
    sealed = _sealed_segments(data) if include_sealed else []
    manifest = read_manifest(archive)
    missing = [(path, key) for path, key in sealed if key not in manifest.segments]
    if not missing:
        return Archive(data, manifest, masked=masked, scratch=None, scratch_paths=frozenset(), warnings=[])
    scratch = Path(tempfile.mkdtemp(prefix="tapebook-"))
    try:
        return _with_sealed(data, manifest, missing, scratch, masked=masked)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _sealed_segments(data: Path) -> list[tuple[Path, tuple[str, int]]]:
    from recorder.journal import segments

    return [(file.path, (file.collector, file.start_ns)) for file in segments(data) if file.state == "sealed"]


def _with_sealed(
    data: Path,
    manifest: Manifest,
    missing: list[tuple[Path, tuple[str, int]]],
    scratch: Path,
    *,
    masked: bool,
) -> Archive:
    from recorder.roll import roll_segment

    files = list(manifest.files)
    segments = dict(manifest.segments)
    scratch_paths: set[str] = set()
    warnings: list[str] = []
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
                segments[key] = entry
            elif isinstance(entry, ManifestFile):
                files.append(entry)
                scratch_paths.add(entry.path)
    return Archive(
        data,
        Manifest(manifest.archive, files, segments),
        masked=masked,
        scratch=scratch,
        scratch_paths=frozenset(scratch_paths),
        warnings=warnings,
    )


def _set_variables(connection: duckdb.DuckDBPyConnection, variables: dict[str, Any]) -> None:
    for name, value in variables.items():
        connection.execute(f"SET VARIABLE {name} = $1", [value])


def _refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise ConfigError(f"a query is one statement; {len(statements)} were given")
    kind = statements[0].type.name
    explained = _EXPLAIN.match(query)
    if kind == "EXPLAIN" and explained is not None:
        # EXPLAIN ANALYZE runs what it explains, so that has to be a reading statement too.
        _refuse_all_but_reading(connection, explained["rest"])
    elif kind != "SELECT" and not (kind == "MULTI" and _is_pivot(query)):
        raise ConfigError(
            f"{kind} statements are not for archives, which are only read; "
            "use SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT or EXPLAIN"
        )


def _is_pivot(query: str) -> bool:
    return re.match(r"\s*(pivot|unpivot|from|with|select)\b", query, re.I) is not None


def _translated(error: Exception) -> TapebookError:
    """Return DuckDB's own words as an error of ours: the disk's, a damaged file's, or else the query's."""
    text = str(error)
    if found := re.search(r"^\s*StoreError: (.+)$", text, re.M):  # of an object store, through DuckDB
        return StoreError(found[1])
    if isinstance(error, duckdb.IOException) or text.startswith("IO Error"):
        return StoreError(
            f"{text}\nrun `tapebook verify` to see which files are missing or damaged; if the archive was compacted "
            "long after it was opened here, open it again"
        )
    if ".parquet" in text:
        return DataError(f"{text}\nrun `tapebook verify` to see which files are damaged")
    return ConfigError(text)


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _union(spans: list[tuple[int, int] | None]) -> tuple[int, int] | None:
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)
