"""A file that is written from front to end, hashed on the way."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

__all__ = ["HashedFile"]


class HashedFile:
    """A new file, or what was there begun anew.

    Args:
        path: where it lies.

    Attributes:
        length: bytes so far.
        closed: for good.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by whoever closes this)
        self._sha256 = hashlib.sha256()
        self.length = 0
        self.closed = False

    def write(self, content: Any) -> int:
        """Append bytes. Raises OSError."""
        self._wake()
        self._sha256.update(content)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]
        self.length += len(content)
        return len(content)

    def tell(self) -> int:
        """Where the next bytes go."""
        return self.length

    def flush(self) -> None:
        """Nothing is held back."""

    def rest(self) -> None:
        """Take no descriptor until there is more to write."""
        self._file.close()

    def close(self) -> None:
        """Let go of it, as it is."""
        self.closed = True
        self._file.close()

    def finish(self) -> str:
        """Make it last, close it, and return its sha256. Raises OSError."""
        self._wake()
        os.fsync(self._file.fileno())
        self.close()
        return self._sha256.hexdigest()

    def _wake(self) -> None:
        if not self._file.closed:
            return
        if self.closed:
            raise ValueError(f"{self._path}: closed, nothing can be written to it")
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 (see above)
        found = os.fstat(self._file.fileno()).st_size
        if found != self.length:
            self.close()
            raise OSError(f"found {found} bytes, expected {self.length}: somebody else wrote there")
