"""What ``tapebook status --data s3://…`` knows: what is published there, by its manifests alone."""

from __future__ import annotations

import time
from typing import Any

from recorder.object_store import ObjectStore
from recorder.status import blank_entry, count_archive, tell_age
from recorder.stored_archive import read_stored_manifest
from schemas.errors import ConfigError

__all__ = ["stored_status"]


def stored_status(url: str, *, check: bool = False, now_ns: int | None = None) -> dict[str, Any]:
    """Everything that is known about a published archive, in the form of ``recorder.status.data_status``.

    Args:
        url: where it is, as ``ObjectStore`` takes it.
        check: whether what isn't well was asked for, which only a data directory tells.
        now_ns: wall clock, for ages.

    Raises:
        ConfigError: nothing is published there, or the URL is none.
        Corrupt, StoreError: a manifest can't be read, or the store fails.
    """
    store = ObjectStore(url)
    if check:
        raise ConfigError(
            f"{store}: is an object store, where nothing is recorded: --check is for data directories; "
            "`tapebook verify` checks what is published"
        )
    collectors: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        return collectors.setdefault(name, {**blank_entry(name), "published": True})

    count_archive(read_stored_manifest(store), entry)
    for found in collectors.values():
        tell_age(found, time.time_ns() if now_ns is None else now_ns)
    return {
        "data": str(store),
        "disk": None,
        "housekeeping": None,
        "collectors": [collectors[name] for name in sorted(collectors)],
    }
