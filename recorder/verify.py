"""Verify: is it complete, and is it right? Archive and journal are replayed and held against each other.

Four independent witnesses have to agree. The *manifest* says which files exist and what their bytes hash to. The
*journal* is replayed afresh into rows, which must be the rows of the files. The *live digests*, which the recorder
wrote while the frames came in, must be what that replay arrives at. And the *archive's own rows*, applied to books one
by one, must arrive at those digests too, and at every keyframe.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.replay import Mismatch
from recorder.chain import broken_links
from recorder.compare_rows import first_difference, rows_of, short
from recorder.file_places import FilePlace, sha256_of
from recorder.findings import Finding, Subject, Verification
from recorder.journal import segments
from recorder.journal.files import SEALED
from recorder.manifest import Manifest, manifest_path, read_manifest, read_segments
from recorder.roll import Rolled, roll_fully
from recorder.verify_books import check_books
from recorder.verify_deep import check_rebuilds
from recorder.verify_leftovers import check_leftovers, note_beginnings
from recorder.verify_lines import wrong_in_line
from recorder.verify_merged import MergedChecks
from schemas.errors import Corrupt, TapebookError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Table

__all__ = ["Finding", "Verification", "check_listed", "check_manifest", "check_order", "verify"]

Segments = dict[tuple[str, int], ManifestSegment]


def verify(
    data: Path, *, quick: bool = False, deep: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Verification:
    """Check a whole data directory.

    Args:
        data: the data directory.
        quick: only that the manifest holds together and every file's bytes are the ones that it speaks of; nothing is
            replayed.
        deep: also that the archive alone hands every segment's records back (docs/capture.md).
        progress: told what is being looked at.

    Returns:
        Counts and findings; recorded gaps and undecodable frames are no failures, unexplained differences are.
    """
    result = Verification()
    archive = data / "archive"
    try:
        manifest = read_manifest(archive)
    except TapebookError as error:
        path = error.path if isinstance(error, Corrupt) else archive / "manifest"
        result.fail(path, error.why if isinstance(error, Corrupt) else str(error), subject=Subject.MANIFEST)
        return result
    check_manifest(manifest, result, lambda collector: manifest_path(archive, collector))
    intact = _check_files(manifest, result, progress)
    unrolled: Segments = {}
    sealed = _list_journal(data, manifest, result)
    if not quick:
        unrolled = _check_journal(manifest, sealed, intact, result, progress)
    known = {**unrolled, **manifest.segments}
    check_order(known, result)
    note_beginnings(archive, known, result)
    if not quick:
        check_books(manifest, result, progress)
        _check_lines(manifest, intact, result, progress)
    if deep:
        check_rebuilds(manifest, result, progress)
    check_leftovers(data, manifest, result)
    return result


def check_manifest(manifest: Manifest, result: Verification, where_of: Callable[[str], object]) -> None:
    """Whether the manifest holds together: its chain, and its compactions; ``where_of`` names a collector's."""
    for where, what in broken_links(manifest):
        result.fail(where, what, subject=Subject.MANIFEST, collector=where.partition("/")[0])
    result.chains = {collector: str(links[-1].chain) for collector, links in manifest.links.items()}
    for compaction, listed in manifest.compactions:
        if compaction.files != listed:
            result.fail(
                where_of(compaction.collector),
                f"a compaction says that it made {compaction.files} files, and {listed} are listed before it",
                subject=Subject.MANIFEST,
                collector=compaction.collector,
            )


def check_listed(manifest: Manifest, key: tuple[str, int], result: Verification) -> None:
    """Whether as many files are listed for a segment as its line says."""
    recorded, listed = manifest.segments[key], manifest.listed[key]
    if listed != recorded.files:
        what = f"the manifest says {recorded.files} files, and lists {listed} of them"
        result.fail(f"{key[0]}/{key[1]}.arrows", what, subject=Subject.MANIFEST, collector=key[0])


def _check_files(
    manifest: Manifest, result: Verification, progress: Callable[[str], None]
) -> dict[str, bool]:
    """Whether each file's bytes are the ones that the manifest speaks of, by path."""
    progress(f"the bytes of {len(manifest.files)} files")
    for url, files in manifest.only_stored().items():
        size = sum(file.bytes for file in files)
        result.note(
            manifest.archive, f"{len(files)} files ({size:,} bytes) are only in {url}: they are read there"
        )
    return {file.path: _check_file(manifest, file, result) for file in manifest.files}


def _check_lines(
    manifest: Manifest, intact: dict[str, bool], result: Verification, progress: Callable[[str], None]
) -> None:
    """Hold what the manifest says of files against what is in them, where nothing else was wrong with them."""
    wrong = {finding.where for finding in result.failures}
    progress(f"what the manifest says of {len(manifest.files)} files")
    by_collector: dict[str, list[ManifestSegment]] = {}
    for segment in manifest.segments.values():
        by_collector.setdefault(segment.collector, []).append(segment)
    for file in manifest.files:
        where = manifest.place(file.path)
        if not intact[file.path] or str(where) in wrong:
            continue
        for key, found, expected in wrong_in_line(where, file, by_collector[file.collector]):
            result.fail(
                where,
                f"the manifest says {key} = {short(found)}, the file says {short(expected)}",
                subject=Subject.MANIFEST,
                collector=file.collector,
            )


def _list_journal(data: Path, manifest: Manifest, result: Verification) -> dict[tuple[str, int], Path]:
    """The sealed segments; says what else there is, and what the manifest knows and the journal doesn't have."""
    sealed = {}
    for segment in segments(data):
        if segment.state == "sealed":
            sealed[segment.collector, segment.start_ns] = segment.path
        elif segment.state == "torn":
            result.note(segment.path, "set aside by a recovery; the records before it are in the segment")
        else:
            result.note(
                segment.path, "open: being recorded, or waiting for the next `record` or `roll` to recover it"
            )
    for key in sorted(manifest.segments):
        where = f"{key[0]}/{key[1]}.arrows"
        check_listed(manifest, key, result)
        if key in sealed:
            continue
        if key in manifest.pruned:
            result.note(where, "pruned: the archive hands it back; its files are checked by themselves")
        else:
            result.note(where, "not in the journal: its files are checked by themselves")
    return sealed


# ---- journal against archive -----------------------------------------------------------------------------------


def _check_journal(
    manifest: Manifest,
    sealed: dict[tuple[str, int], Path],
    intact: dict[str, bool],
    result: Verification,
    progress: Callable[[str], None],
) -> Segments:
    """Hold every segment against its files; returns what those that are not rolled yet would be in the manifest."""
    unrolled: Segments = {}
    by_segment: dict[tuple[str, int], list[ManifestFile]] = {key: [] for key in manifest.segments}
    for file in manifest.files:
        if file.last_segment is None:
            by_segment[file.collector, file.segment].append(file)
    broken = {where.partition("/")[0] for where, _ in broken_links(manifest)}
    with tempfile.TemporaryDirectory(prefix="tapebook-verify-") as directory:
        scratch = Path(directory)
        merged = MergedChecks(manifest, scratch, set(sealed), result)
        for key, path in sorted(sealed.items()):
            progress(f"segment {key[0]}/{path.name}")
            rolled = _rolled(path, scratch, result, manifest.archive)
            recorded = manifest.segments.get(key)
            if rolled is not None and key[0] not in broken and _is_another(path, rolled, recorded, result):
                _drop(rolled, scratch, merged)
                rolled = None
            if rolled is not None:
                fresh = _check_segment(path, rolled, recorded, result)
                if recorded is None:
                    unrolled[key] = fresh
                    result.note(path, "not rolled yet")
                else:
                    _compare_files(manifest, scratch, by_segment[key], rolled, intact, merged, result)
                _drop(rolled, scratch, merged)
            merged.done(key, rolled=rolled is not None)
    return unrolled


def _rolled(path: Path, scratch: Path, result: Verification, archive: Path) -> Rolled | None:
    try:
        return roll_fully(path, scratch)
    except Corrupt as error:
        result.fail(error.path, error.why, subject=Subject.JOURNAL, collector=path.parent.name)
    except (TapebookError, msgspec.MsgspecError, ValueError) as error:
        key = path.parent.name, int(path.name.removesuffix(SEALED))
        if not path.exists() and key in read_segments(archive).pruned:
            result.note(
                path, "pruned meanwhile: the archive hands it back; its files are checked by themselves"
            )
            return None
        result.fail(path, str(error), subject=Subject.JOURNAL, collector=path.parent.name)
    return None


def _is_another(path: Path, rolled: Rolled, recorded: ManifestSegment | None, result: Verification) -> bool:
    """Whether a segment has other records than the one that was rolled, which a chain that holds speaks of."""
    fresh = rolled.entries[-1]
    assert isinstance(fresh, ManifestSegment)
    if recorded is None or recorded.content_sha256 in (None, fresh.content_sha256):
        return False
    result.fail(
        path,
        f"its {fresh.records} records have content {str(fresh.content_sha256)[:16]}…, the manifest and its chain speak "
        f"of {recorded.records} of content {str(recorded.content_sha256)[:16]}…: the file was altered or replaced",
        subject=Subject.JOURNAL,
        collector=recorded.collector,
    )
    return True


def _drop(rolled: Rolled, scratch: Path, merged: MergedChecks) -> None:
    """Delete what nothing is compared with any more."""
    for entry in rolled.entries:
        if isinstance(entry, ManifestFile) and not merged.needs(entry):
            (scratch / entry.path).unlink(missing_ok=True)


def _check_file(manifest: Manifest, file: ManifestFile, result: Verification) -> bool:
    """Whether a file's bytes are the ones that the manifest speaks of."""
    result.files += 1
    result.rows += file.rows
    if file.table == Table.GAPS.value:
        result.gaps += file.rows
    path, what = _wrong_bytes(manifest, file)
    if what is None:
        return True
    result.fail(path, what, subject=Subject.FILE, collector=file.collector)
    return False


def _wrong_bytes(manifest: Manifest, file: ManifestFile) -> tuple[FilePlace, str | None]:
    path = manifest.place(file.path)
    try:
        digest = sha256_of(path)
    except Corrupt:
        if manifest.place(file.path) != path:  # it has left this disk meanwhile
            return _wrong_bytes(manifest, file)
        return path, f"missing, although the manifest lists it with {file.rows} rows"
    except TapebookError as error:
        if not isinstance(path, Path):  # a store that fails says nothing about the file
            raise
        return path, str(error).removeprefix(f"{path}: ")
    if digest == file.sha256:
        return path, None
    return path, f"sha256 is {digest[:16]}…, expected {file.sha256[:16]}…: the file was altered"


def _check_segment(
    path: Path, rolled: Rolled, recorded: ManifestSegment | None, result: Verification
) -> ManifestSegment:
    result.segments += 1
    fresh = rolled.entries[-1]
    assert isinstance(fresh, ManifestSegment)
    result.frames += fresh.frames
    result.live_digests += rolled.digests
    result.undecodable += sum(fresh.undecodable.values())
    if rolled.mismatches:
        first: Mismatch = rolled.mismatches[0]
        more = f" (and {len(rolled.mismatches) - 1} more)" if len(rolled.mismatches) > 1 else ""
        result.fail(
            path,
            f"record {first.sequence}: the live book at update id {first.update_id} had digest {first.live}, "
            f"the replay has {first.replayed}{more}",
            feed=first.topic,
        )
    if recorded is None:
        return fresh
    names = ["records", "frames", "sequence", "undecodable", "repeats", "ended", "files"]
    if recorded.content_sha256 is not None:
        names.append("content_sha256")
    for name in names:
        found, expected = getattr(recorded, name), getattr(fresh, name)
        if found != expected:
            what = f"the manifest says {name} = {found}, the journal says {expected}"
            result.fail(path, what, subject=Subject.MANIFEST, collector=fresh.collector)
    told, said = recorded.header, fresh.header
    if told is not None and said is not None:  # the format changes when a segment is compressed
        said = msgspec.structs.replace(said, format_version=told.format_version)
        if told != said:
            what = f"the manifest says header = {told}, the journal says {said}"
            result.fail(path, what, subject=Subject.MANIFEST, collector=fresh.collector)
    return fresh


def _compare_files(
    manifest: Manifest,
    scratch: Path,
    files: list[ManifestFile],
    rolled: Rolled,
    intact: dict[str, bool],
    merged: MergedChecks,
    result: Verification,
) -> None:
    """Hold a segment's own files against what it is rolled into; what was merged waits for the other segments."""
    fresh = {entry.path: entry for entry in rolled.entries if isinstance(entry, ManifestFile)}
    listed = {file.path for file in files}
    for path in sorted(fresh.keys() - listed):
        if not merged.take(fresh[path]):
            result.fail(
                manifest.archive / path,
                f"not in the manifest, although the journal holds {fresh[path].rows} rows for it",
            )
    for file in files:
        where = manifest.place(file.path)
        expected = fresh.get(file.path)
        if expected is not None and expected.gaps != file.gaps:
            what = f"the manifest says gaps = {file.gaps}, the journal says {expected.gaps}"
            result.fail(where, what, subject=Subject.MANIFEST, collector=file.collector)
        if expected is None:
            what = f"has {file.rows} rows, the journal holds none for it"
            result.fail(where, what, subject=Subject.MANIFEST, collector=file.collector)
        elif expected.sha256 != file.sha256 or not intact[file.path]:
            difference = first_difference(
                where,
                rows_of(scratch / file.path, Table(file.table)),
                expected.rows,
                Table(file.table),
                file.symbol,
            )
            if difference is not None:
                result.fail(
                    where,
                    difference.what,
                    feed=difference.feed,
                    row=difference.row,
                    subject=Subject.FILE,
                    collector=file.collector,
                )
            elif intact[file.path]:
                result.note(where, "other bytes than this version would write, and the same rows")


def check_order(segments_of: dict[tuple[str, int], ManifestSegment], result: Verification) -> None:
    """Sequences of a collector go on from segment to segment, except behind a crash, which may lose its last ones."""
    before: ManifestSegment | None = None
    for _, segment in sorted(segments_of.items()):
        if before is not None and before.collector == segment.collector:
            expected = before.sequence[1] + 1
            first = segment.sequence[0]
            if first < expected or (first > expected and before.ended != "crashed"):
                result.fail(
                    f"{segment.collector}/{segment.segment}.arrows",
                    f"begins with record {first}, expected {expected}: a segment is missing or out of place",
                )
        before = segment
