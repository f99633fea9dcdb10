"""Files of the archive that can't be read keep nobody from reading others.

DuckDB looks at the first file of a table, and for all of its names, when a view is made; so one damaged or missing file
would close every table. Here a file without rows stands in front, and another for what is missing: only who reads the
damaged file itself meets its error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["MISSING", "spared"]

MISSING: Final = "missing"
"""Directory of the stand-ins, in which they have the paths of the files that they stand for."""


def spared(paths: list[str], empty: Path, root: str, scratch: Path) -> list[str]:
    """The files of a table, so that a view of them can be made whatever has become of them.

    Args:
        paths: of the files.
        empty: a file of that table without rows, which tells the view its types.
        root: of the archive, at the beginning of the paths in it.
        scratch: where a name that is missing is put, so that reading fails and not the view.
    """
    out = [str(empty)]
    for path in paths:
        if path == str(empty):
            continue
        if "://" in path or Path(path).exists():  # of an object store only who opens it asks
            out.append(path)
            continue
        stand_in = scratch / MISSING / path.removeprefix(f"{root}/").lstrip("/")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.touch()
        out.append(str(stand_in))
    return out
