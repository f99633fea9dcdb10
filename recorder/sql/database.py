"""The DuckDB of an opened archive: in memory, views over the manifest's files, and no way to anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from recorder.file_places import not_there
from recorder.manifest import Manifest
from recorder.object_store import ObjectStore
from recorder.result import Result
from recorder.spared import MISSING, spared
from recorder.sql.calls import Piece
from recorder.sql.statements import translated
from recorder.stored_archive import STORED_ROOT, stored_files
from schemas.errors import ConfigError, TapebookError
from schemas.manifest import ManifestFile
from schemas.names import Table
from schemas.stored import RESHAPED, written_schema
from schemas.tables import schema_of
from schemas.views import MASKED_VARIABLE, files_variable, view_statements

__all__ = ["Database", "Settings"]

_BATCH_ROWS: Final = 16_384
_MOST_IDLE_SESSIONS: Final = 4
_GLOB_CHARACTERS: Final = frozenset("*?[{")
# Later DuckDBs name the streaming export differently and deprecate the old name.
_TO_READER: Final = (
    "to_arrow_reader" if hasattr(duckdb.DuckDBPyRelation, "to_arrow_reader") else "fetch_arrow_reader"
)
_INTERRUPTED: Final = "Query interrupted"  # DuckDB's words for Ctrl-C, in a RuntimeError
_MEMORY: Final = re.compile(r"[0-9]+(\.[0-9]+)?\s*([kmgt]i?b|b|%)", re.I)


class Settings(NamedTuple):
    """What queries may take of the machine; None leaves it to DuckDB (all cores, four fifths of the memory).

    Attributes:
        memory_limit: such as ``4GB`` or ``50%``; beyond it DuckDB writes to a temporary directory.
        threads: how many.
    """

    memory_limit: str | None = None
    threads: int | None = None

    def checked(self) -> Settings:
        """Return the same. Raises ConfigError where one is no such setting."""
        if self.memory_limit is not None and not _MEMORY.fullmatch(self.memory_limit.strip()):
            raise ConfigError(
                f"memory limit {self.memory_limit!r}: expected a number with its unit, such as 4GB, 500MB or 50%"
            )
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"{self.threads} threads: expected 1 or more")
        return self

    def config(self) -> dict[str, str]:
        """Return them as DuckDB calls them."""
        found = {"memory_limit": self.memory_limit, "threads": self.threads}
        return {name: str(value) for name, value in found.items() if value is not None}


class Database:
    """Views over an archive's files, and sessions to query them in.

    Args:
        manifest: names the files.
        scratch: a temporary directory, for what DuckDB spills and for stand-ins; the caller removes it.
        scratch_paths: the manifest's files that lie in ``scratch/archive``.
        store: where the others are, if that is no directory.
        masked: whether the views hide rows that no state may be built on.
        settings: see there.

    Raises:
        ConfigError: of an object store, where a library is missing.
        StoreError, DataError: the files don't even give the views their columns.
    """

    def __init__(
        self,
        manifest: Manifest,
        scratch: Path,
        scratch_paths: frozenset[str],
        *,
        store: ObjectStore | None,
        masked: bool,
        settings: Settings,
    ) -> None:
        self._manifest = manifest
        self._scratch = scratch
        self._scratch_paths = scratch_paths
        self._store = store
        self._root = self._root_of_paths()
        self._variables: dict[str, Any] = {MASKED_VARIABLE: masked}
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._busy: list[duckdb.DuckDBPyConnection] = []
        self._connection = self._open(settings)

    def close(self) -> None:
        """Close every session; results that are still being read end here."""
        self._idle.clear()
        self._connection.close()

    def session(self) -> duckdb.DuckDBPyConnection:
        """Return a session of its own, since a connection carries one open result at a time."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._connection.cursor()
            _set_variables(session, self._variables)
        self._busy.append(session)
        return session

    def release(self, session: duckdb.DuckDBPyConnection) -> None:
        """Take a session back whose result is done with."""
        with suppress(ValueError):
            self._busy.remove(session)
        if len(self._idle) < _MOST_IDLE_SESSIONS:
            self._idle.append(session)

    def interrupt(self) -> None:
        """Stop what the sessions are doing, from another thread than theirs."""
        for session in list(self._busy):
            with suppress(duckdb.Error):  # it may be done, and closed, meanwhile
                session.interrupt()

    def paths(self, table: Table, files: Iterable[ManifestFile]) -> list[str]:
        """Return where DuckDB finds files of a table; of none, a file without rows, which has the table's types."""
        own, scratch = self._root, self._scratch / "archive"
        made = self._scratch_paths
        paths = [f"{scratch if file.path in made else own}/{file.path}" for file in files]
        return paths or [str(self._empty(table))]

    def run(
        self,
        session: duckdb.DuckDBPyConnection,
        query: Piece,
        release: Callable[[], None],
        cause: Callable[[Exception], BaseException | None],
        *,
        at_once: bool,
    ) -> Result:
        """Run a query.

        Args:
            session: where.
            query: with its parameters' values.
            release: called once the rows are read, given up, or refused at the first.
            cause: returns the error that one of DuckDB's came from, if it came from another.
            at_once: make the first rows now, so that what keeps them from being made is raised here.

        Raises: what ``translated`` makes of DuckDB's errors; so does the reading of rows.
        """
        try:
            relation = (
                session.sql(query.text, params=query.values) if query.values else session.sql(query.text)
            )
            types = [str(type_) for type_ in relation.types]
            reader = getattr(relation, _TO_READER)(_BATCH_ROWS)
        except duckdb.Error as error:
            found = cause(error)
            release()
            if found is not None:
                raise found from None
            raise self.translated(error) from error
        except BaseException as error:
            release()
            if isinstance(error, RuntimeError) and str(error) == _INTERRUPTED:
                raise KeyboardInterrupt from None
            raise
        batches = _Batches(reader, release, cause, self.translated)
        if at_once:
            batches.begin()
        return Result(reader.schema, batches, types)

    def translated(self, error: Exception) -> TapebookError:
        """Return one of DuckDB's errors as ours; a missing file is told as by all who read the archive."""
        text = str(error)
        # A stand-in for it was read, or the file was asked for itself.
        found = re.search(rf"{re.escape(str(self._scratch / MISSING))}/([^'\"\n]+\.parquet)", text)
        if found is None and ("No files found" in text or "No such file" in text):
            found = re.search(rf"{re.escape(str(self._root))}/([^'\"\n]+\.parquet)", text)
        return translated(error) if found is None else not_there(f"{self._manifest.archive}/{found[1]}")

    def _open(self, settings: Settings) -> duckdb.DuckDBPyConnection:
        earlier = set()
        for table in Table:
            paths, reshaped = self._parquet_paths(table)
            self._variables[files_variable(table)] = paths
            if reshaped:
                earlier.add(table)
                self._variables[files_variable(table, earlier=True)] = reshaped
        try:
            database = duckdb.connect(
                ":memory:",
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    # Names in a query are tables, never variables of the Python caller.
                    "python_enable_replacements": "false",
                    "temp_directory": str(self._scratch / "spill"),
                    **settings.config(),
                },
            )
        except duckdb.Error as error:
            raise translated(error) from error
        try:
            if self._store is not None:
                database.register_filesystem(stored_files(self._store, self._manifest.files))
            database.execute("SET GLOBAL TimeZone = 'UTC'")
            _set_variables(database, self._variables)
            database.begin()
            try:
                database.execute(view_statements(earlier))
                database.commit()
            except duckdb.Error:  # a file that is damaged or missing; who asks for another must not suffer
                database.rollback()
                self._spare()
                _set_variables(database, self._variables)
                database.execute(view_statements(earlier))
            # From here on a query reaches the archive and nothing else of this machine.
            database.execute(f"SET allowed_directories = [{_quoted(self._root)}, {_quoted(self._scratch)}]")
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            database.close()
            raise translated(error) from error
        return database

    def _spare(self) -> None:
        for table in Table:
            paths, reshaped = self._parquet_paths(table)
            for files, earlier in ((paths, False), (reshaped, True)):
                if files:
                    self._variables[files_variable(table, earlier=earlier)] = spared(
                        files, self._empty(table, earlier=earlier), str(self._root), self._scratch
                    )

    def _parquet_paths(self, table: Table) -> tuple[list[str], list[str]]:
        """The files of a table, never none, and those of an earlier schema version that have other columns."""
        files = self._manifest.select(table)
        earlier = [file for file in files if file.schema_version < 2] if table in RESHAPED else []
        if not earlier:
            return self.paths(table, files), []
        later = [file for file in files if file.schema_version >= 2]
        return self.paths(table, later), self.paths(table, earlier)

    def _empty(self, table: Table, *, earlier: bool = False) -> Path:
        empty = (
            self._scratch
            / ("empty of version 1" if earlier else "empty")
            / table.value
            / "category="
            / "symbol="
            / "date=1970-01-01"
            / "empty.parquet"
        )
        if not empty.exists():
            empty.parent.mkdir(parents=True, exist_ok=True)
            # Writing a table without rows would import pandas where it is installed, which takes longer than all else.
            pq.ParquetWriter(empty, schema_of(table) if earlier else written_schema(table)).close()
        return empty

    def _root_of_paths(self) -> Path | str:
        """Return the archive's path, or a link to it where its name would read as a glob pattern."""
        if self._store is not None:
            return STORED_ROOT
        if not _GLOB_CHARACTERS & set(str(self._manifest.archive)):
            return self._manifest.archive
        link = self._scratch / "link"
        if not link.is_symlink():
            link.symlink_to(self._manifest.archive, target_is_directory=True)
        return link


class _Batches:
    """DuckDB's stream of rows, with its errors in our words; what it holds is let go of once, however it ends."""

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        release: Callable[[], None],
        cause: Callable[[Exception], BaseException | None],
        translated: Callable[[Exception], TapebookError],
    ) -> None:
        self._translated = translated
        self._reader: pa.RecordBatchReader | None = reader
        self._release = release
        self._cause = cause
        self._first: pa.RecordBatch | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        first, self._first = self._first, None
        if first is not None:
            return first
        if self._reader is None:
            raise StopIteration
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            self.close()
            raise
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            found = self._cause(error)
            self.close()
            if found is not None:
                raise found from None
            # Arrow's stream knows only OSError: the text is DuckDB's all the same.
            raise self._translated(error) from error

    def begin(self) -> None:
        """Have the first batch made; errors as of the next one."""
        self._first = next(self, None)

    def close(self) -> None:
        """Let go."""
        self._first = None
        if self._reader is not None:
            self._reader = None
            self._release()

    def __del__(self) -> None:
        self.close()


def _set_variables(connection: duckdb.DuckDBPyConnection, variables: dict[str, Any]) -> None:
    for name, value in variables.items():
        connection.execute(f"SET VARIABLE {name} = $1", [value])


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
