"""``verify --deep``: every segment is made again from the archive alone; its content hash must be the manifest's."""

from __future__ import annotations

from collections.abc import Callable

from recorder.findings import Verification
from recorder.manifest import Manifest
from recorder.rebuild import Unprovable, rebuild
from schemas.errors import Corrupt, StoreError

__all__ = ["check_rebuilds"]


def check_rebuilds(manifest: Manifest, result: Verification, progress: Callable[[str], None]) -> None:
    """Rebuild each segment of the manifest, whether its journal file is there or not.

    One that an older version rolled can't be, and is noted; it fails where the journal file is gone as well.
    """
    whole: set[str] = set()
    for key, entry in sorted(manifest.segments.items()):
        name = f"{key[0]}/{key[1]}.arrows"
        progress(f"that the archive hands {name} back")
        try:
            found = rebuild(manifest, entry, whole=whole)
        except Unprovable as error:
            (result.fail if key in manifest.pruned else result.note)(name, str(error))
        except Corrupt as error:
            result.fail(error.path, error.why)
        except StoreError as error:
            result.fail(name, str(error))
        else:
            result.rebuilt += 1
            result.rebuilt_records += found.records
            result.verbatim += found.verbatim
