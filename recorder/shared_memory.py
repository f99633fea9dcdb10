"""Files of shared memory: made whole, mapped without keeping a descriptor, private to the user.

Python's own ``mmap`` keeps a descriptor open for each mapping, and a recorder of thousands of books would run out of
them. So the mapping is made with the system's call, and undone when nothing refers to it any more.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import weakref
from pathlib import Path
from typing import Final

__all__ = ["clock_gettime_address", "make_file", "map_file", "reserve"]

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]  # fmt: skip
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED: Final = ctypes.c_void_p(-1).value


def clock_gettime_address() -> int:
    """Address of POSIX's ``clock_gettime``, for the core, which reads no clock that it was not given."""
    return ctypes.cast(_LIBC.clock_gettime, ctypes.c_void_p).value or 0


def make_file(path: Path, size: int, *, reserved: int | None = None) -> memoryview:
    """Make a file of zeros, readable by this user alone, and map it for writing.

    The memory is reserved, so that writing can't fail later for want of it. Where all of it is, it is mapped at once:
    then no write waits for a page.

    Args:
        path: must not exist.
        size: bytes.
        reserved: how many of them, from the beginning, are to be there for sure; all by default. ``reserve`` adds.

    Raises:
        OSError: what the system says; nothing is left behind.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, size)
        _reserve(descriptor, 0, size if reserved is None else reserved)
        return _map(descriptor, size, writable=True, populate=reserved is None)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def reserve(path: Path, start: int, size: int) -> None:
    """Make sure that a part of a file of ``make_file`` is there to be written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _reserve(descriptor, start, size)
    finally:
        os.close(descriptor)


def map_file(path: Path, *, writable: bool = False) -> memoryview:
    """Map a regular file as it is now, whole.

    Raises:
        OSError: it is not there, not ours to read, no regular file, or empty.
    """
    flags = os.O_RDWR if writable else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
            raise OSError(0, "found no regular file with something in it, expected shared memory", str(path))
        return _map(descriptor, found.st_size, writable=writable)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, size)
    else:
        os.pwrite(descriptor, bytes(size), start)


def _map(descriptor: int, size: int, *, writable: bool, populate: bool = False) -> memoryview:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    flags = mmap.MAP_SHARED | (getattr(mmap, "MAP_POPULATE", 0) if populate else 0)
    address = _LIBC.mmap(None, size, protection, flags, descriptor, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    array = (ctypes.c_char * size).from_address(address)
    # not at the interpreter's end: what is in use then, by the core too, stays
    weakref.finalize(array, _LIBC.munmap, address, size).atexit = False
    memory = memoryview(array).cast("B")
    return memory if writable else memory.toreadonly()
