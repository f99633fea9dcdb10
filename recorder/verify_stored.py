"""Verify an archive in an object store: what its manifest says, its hash chain, and the bytes of every object.

Nothing is replayed: the journal is elsewhere. Every object is read whole, a few at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from recorder.findings import Subject, Verification
from recorder.object_store import CHUNK_BYTES, ObjectStore
from recorder.stored_archive import read_stored_manifest
from recorder.verify import check_listed, check_manifest, check_order
from schemas.errors import Corrupt
from schemas.manifest import ManifestFile
from schemas.names import Table

__all__ = ["verify_stored"]

_AT_ONCE: Final = 4
_MENDED: Final = "; `tapebook upload --check` sends it again"


def verify_stored(url: str, *, progress: Callable[[str], None] = lambda _: None) -> Verification:
    """Check an archive in an object store.

    Args:
        url: where it is, as ``ObjectStore`` takes it.
        progress: told what is being looked at.

    Raises:
        ConfigError: nothing is published there, or the URL is none.
        StoreError: the store fails.
    """
    store = ObjectStore(url)
    result = Verification()
    try:
        manifest = read_stored_manifest(store)
    except Corrupt as error:
        result.fail(error.path, error.why, subject=Subject.MANIFEST)
        return result
    check_manifest(manifest, result, lambda collector: store.file(f"manifest/{collector}.jsonl"))
    for key in sorted(manifest.segments):
        check_listed(manifest, key, result)
    check_order(manifest.segments, result)
    progress(f"the bytes of {len(manifest.files)} files")

    def wrong(file: ManifestFile) -> str | None:
        try:
            with store.file(file.path).open() as reader:
                digest = hashlib.sha256()
                while chunk := reader.read(CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return f"missing, although the manifest lists it with {file.rows} rows{_MENDED}"
        found = digest.hexdigest()
        if found == file.sha256:
            return None
        return f"sha256 is {found[:16]}…, expected {file.sha256[:16]}…: it was altered{_MENDED}"

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verify") as pool:
        for file, what in zip(manifest.files, pool.map(wrong, manifest.files), strict=True):
            result.files += 1
            result.rows += file.rows
            if file.table == Table.GAPS.value:
                result.gaps += file.rows
            if what is not None:
                result.fail(store.file(file.path), what, subject=Subject.FILE, collector=file.collector)
    return result
