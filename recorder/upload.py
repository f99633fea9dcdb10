"""Upload: the archive's files go into an object store, and count there once their manifest does (docs/places.md).

First every file that counts is written and checked, then the collector's manifest, whole, in one write: a reader of the
store sees what was published before, or all that is published now. What is up already is known from the published
manifest and from the objects' hashes, so an upload that was killed anywhere goes on where it was, and nothing of it is
remembered on this machine.

What a compaction has replaced is deleted from the store a grace time after the manifest without it was published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from recorder.journal.lock import only_one
from recorder.leftovers import GRACE_S, segments_of
from recorder.manifest import parse_manifest
from recorder.manifest_lines import FileLine, Wanted, no_files, read_lines, same_directory
from recorder.manifest_state import ManifestState
from recorder.object_store import Content, ObjectStore, content_of
from recorder.stored_only import StoredOnly
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.manifest import ManifestCompaction, ManifestFile, ManifestSegment

__all__ = ["JOBS", "Uploaded", "manifest_key", "upload_archive"]

JOBS: Final = 4
"""Files on their way at once."""

_NEVER: Final = 0

_MOST_CHANGES: Final = 10
"""How often the archive may change under an upload before that is strange."""


@dataclass(slots=True)
class Uploaded:
    """What an upload did.

    Attributes:
        files, bytes: that were sent.
        known: files that lay there already: of an upload that was broken off, or that were looked at again.
        published: collectors whose manifest was.
        deleted: objects that compactions had replaced.
        waiting: whether it was stopped before everything was done.
    """

    files: int = 0
    bytes: int = 0
    known: int = 0
    published: int = 0
    deleted: int = 0
    waiting: bool = False


class _Changed(Exception):
    """A file went because a compaction has replaced it meanwhile."""


def manifest_key(collector: str) -> str:
    """Return where in a store the manifest of a collector is."""
    return f"manifest/{collector}.jsonl"


def upload_archive(
    data: Path,
    store: ObjectStore,
    *,
    grace_s: float = GRACE_S,
    jobs: int = JOBS,
    check: bool = False,
    on_file: Callable[[ManifestFile, int, int], None] = lambda _file, _number, _of: None,
    should_stop: Callable[[], bool] = lambda: False,
    breathe: Callable[[], None] = lambda: None,
) -> Uploaded:
    """Bring an object store to where the archive is.

    Args:
        data: the data directory.
        store: where to.
        grace_s: how long replaced files stay there once the manifest without them is published.
        jobs: files on their way at once.
        check: also look whether what was published is still there and whole, and send again what is not.
        on_file: told of each file before it is sent, its number from 1, and of how many there are.
        should_stop: asked between files; what was not published then is the next time.
        breathe: called between files; it may wait.

    Raises:
        ConfigError: another upload is at work here, or another recording was published under this collector's name.
        Corrupt: a file is not what the manifest says; nothing more of its collector is published.
        StoreError: the store or the disk failed.
    """
    done = Uploaded()
    taken = f"{data}: another process is uploading this archive; wait for it"
    with only_one(data / "archive" / "upload.lock", taken):
        for path in sorted((data / "archive" / "manifest").glob("*.jsonl")):
            for _ in range(_MOST_CHANGES):
                try:
                    _Upload(data / "archive", path, store, done, grace_s, jobs, check).run(
                        on_file, should_stop, breathe
                    )
                    break
                except _Changed:
                    continue
            else:
                raise StoreError(
                    f"{path}: the archive was changed {_MOST_CHANGES} times while its files were uploaded; "
                    "upload again when `tapebook compact` or `tapebook repair` is through"
                )
            if done.waiting:
                break
    return done


class _Upload:
    """One collector's."""

    def __init__(
        self,
        archive: Path,
        path: Path,
        store: ObjectStore,
        done: Uploaded,
        grace_s: float,
        jobs: int,
        check: bool,
    ) -> None:
        self._archive = archive
        self._path = path
        self._store = store
        self._done = done
        self._grace_s = grace_s
        self._jobs = jobs
        self._check = check
        self._key = manifest_key(path.stem)
        self._retired_key = f"upload/{path.stem}.json"
        self._stored = StoredOnly(archive)

    def run(
        self,
        on_file: Callable[[ManifestFile, int, int], None],
        should_stop: Callable[[], bool],
        breathe: Callable[[], None],
    ) -> None:
        lines = _whole_lines(self._path)
        published = self._store.read(self._key) or b""
        retired = self._retired()
        wanted = None if self._check else _changed(self._path, lines, published, retired)
        here = parse_manifest(self._path, lines, wanted)
        there = parse_manifest(self._store.file(self._key), published, wanted)
        foreign = there.segments.keys() - here.segments.keys()
        if foreign:
            raise ConfigError(
                f"{self._store}/{self._key}: has {len(foreign)} segments that {self._path} does not know, so another "
                f"recording was published there under the name {self._path.stem!r}: choose another prefix, or another "
                "name for the collector"
            )
        waiting = [
            file
            for file in here.files.values()
            if self._check or file.path not in there.files or there.files[file.path].sha256 != file.sha256
        ]
        # Said before it is sent: if this upload is broken off and the archive is compacted then, the next one knows
        # what lies there although no manifest ever named it.
        sending = {file.path: _NEVER for file in waiting if file.path not in there.files}
        retired = self._set_retired(sending | retired, retired)
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="upload") as pool:
            for start in range(0, len(waiting), self._jobs):
                breathe()
                if should_stop():
                    self._done.waiting = True
                    return
                batch = waiting[start : start + self._jobs]
                for number, file in enumerate(batch, start + 1):
                    on_file(file, number, len(waiting))
                for file, sent in zip(batch, pool.map(self._send, batch), strict=True):
                    self._done.files += sent
                    self._done.bytes += file.bytes if sent else 0
                    self._done.known += not sent
        if lines != published:
            # The grace of what the store's readers still count begins when they no longer do: now, not when a broken
            # off upload was about to.
            now_ns = time.time_ns()
            gone = dict.fromkeys(there.files.keys() - here.files.keys(), now_ns)
            retired = self._set_retired(retired | gone, retired)
            self._store.write(self._key, lines, content_of(lines))
            self._done.published += 1
        self._delete(
            {path: at for path, at in retired.items() if path not in here.files},
            retired,
            here,
            should_stop,
        )

    def _send(self, file: ManifestFile) -> bool:
        """Write a file unless it is there already; True if it was not."""
        path = self._archive / file.path
        try:
            content = content_of(path)
            if content.sha256 != file.sha256:
                raise Corrupt(
                    path,
                    f"sha256 is {content.sha256[:16]}…, expected {file.sha256[:16]}…: the file was altered, and is not "
                    "uploaded; run `tapebook repair`",
                )
            if self._store.holds(file.path, content):
                return False
            self._store.write(file.path, path, content)
        except FileNotFoundError:
            if file.path not in parse_manifest(self._path, _whole_lines(self._path)).files:
                raise _Changed from None
            url = self._stored.url_of(file.path)
            if url is None:
                raise Corrupt(
                    path, "missing, although the manifest lists it; run `tapebook repair`"
                ) from None
            if self._store.holds(file.path, Content(file.bytes, file.sha256, md5="")):
                return False
            raise Corrupt(
                self._store.file(file.path),
                f"is not what was published, and this disk has it no more; it was removed because {url} had it: run "
                "`tapebook repair`, which makes it again if the journal is there",
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        return True

    def _retired(self) -> dict[str, int]:
        """When what may lie there, and is not published, went out of the published manifest; 0: it never was in it."""
        try:
            return msgspec.json.decode(self._store.read(self._retired_key) or b"{}", type=dict[str, int])
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"{self._store}/{self._retired_key}",
                f"is not a list of replaced files: {error}; delete it: those files stay then",
            ) from error

    def _set_retired(self, new: dict[str, int], old: dict[str, int]) -> dict[str, int]:
        if new != old:
            text = msgspec.json.encode(new, order="sorted")
            self._store.write(self._retired_key, text, content_of(text))
        return new

    def _delete(
        self,
        retired: dict[str, int],
        written: dict[str, int],
        here: ManifestState,
        should_stop: Callable[[], bool],
    ) -> None:
        due_ns = time.time_ns() - int(self._grace_s * 1e9)
        left = dict(retired)
        for path, at_ns in retired.items():
            # What only the store has goes when something else has its rows, not when lines were lost here.
            safe = _has_rows_of(here, path) or self._stored.url_of(path) is None
            if at_ns <= due_ns and safe and not should_stop():
                self._done.deleted += self._store.delete(path)
                del left[path]
        self._set_retired(left, written)


def _has_rows_of(here: ManifestState, path: str) -> bool:
    """Whether a file was merged into one that counts; long after that no line tells it, and the names must."""
    if path in here.replaced:
        return True
    directory, _, name = path.rpartition("/")
    span = segments_of(name)
    return span is not None and any(
        file.last_segment is not None
        and file.segment <= span[0]
        and span[1] <= file.last_segment
        and file.path.rpartition("/")[0] == directory
        for file in here.files.values()
    )


def _changed(path: Path, lines: bytes, published: bytes, retired: Iterable[str]) -> Wanted | None:
    """Of which files two manifests may say different things, or of which it is asked; None: of any.

    One that goes on where the other ends says what it says of all days that no further line is about.
    """
    if not lines.startswith(published):
        return None
    known = {path.rpartition("/")[0] for path in retired}
    rolled: set[tuple[str, int]] = set()
    for piece in read_lines(path, lines[len(published) :], no_files):
        for line in piece:
            if isinstance(line, FileLine):
                known.add(line.path.rpartition("/")[0])
            elif isinstance(line, ManifestCompaction):
                known.update(each.rpartition("/")[0] for each in line.removed)
            elif isinstance(line, ManifestSegment):
                rolled.add((line.collector, line.segment))
    for piece in read_lines(path, published, no_files):
        for line in piece:
            if isinstance(line, FileLine | ManifestSegment) and (line.collector, line.segment) in rolled:
                return None  # rolled again: what it was before counts no more
    return same_directory(known.__contains__)


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    return content[: content.rfind(b"\n") + 1]
