"""An archive in an object store: ``s3://bucket/prefix``, through pyarrow's filesystem.

Objects are written whole or not at all, and are read back (by their hash where the store tells it) before they count as
written. What may be the network is tried again a few times, ever later; what will not change by that is said at once.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

import pyarrow as pa

from schemas.errors import ConfigError, StoreError

__all__ = [
    "Content",
    "ObjectStore",
    "StoredFile",
    "StoredReader",
    "check_local",
    "check_url",
    "content_of",
    "is_object_url",
]

ATTEMPTS: Final = 5
FIRST_WAIT_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 30.0
CHUNK_BYTES: Final = 4 << 20
PARAMETERS: Final = ("endpoint_override", "region", "anonymous")

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')
_LASTING: Final = {
    "NO_SUCH_BUCKET": "there is no such bucket: make it first, or mend the name",
    "ACCESS_DENIED": "the store refuses these credentials: it takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "the profile in AWS_PROFILE, and they must be allowed to read, write and delete there",
    "INVALID_ACCESS_KEY_ID": "the store does not know the access key: look at AWS_ACCESS_KEY_ID or AWS_PROFILE",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key does not fit the access key: look at AWS_SECRET_ACCESS_KEY",
    "EXPIRED_TOKEN": "the session's credentials are out of date: renew them",
    "HTTP status 301": "the bucket is in another region: name it with AWS_REGION or ?region=…",
}
"""What trying again does not mend, by what pyarrow's errors have in them."""

_T = TypeVar("_T")


class Content(NamedTuple):
    """What an object shall hold: its bytes' number and hashes (hex)."""

    bytes: int
    sha256: str
    md5: str


def is_object_url(text: str | os.PathLike[str]) -> bool:
    """Whether a place is an object store's; ``Path`` makes one slash of two."""
    return re.match(r"[sS]3:/", os.fspath(text)) is not None


def check_url(text: str) -> None:
    """Raise ConfigError unless a text is an object store's URL; nothing is asked."""
    _parsed(text)


def check_local(text: str) -> None:
    """Raise ConfigError if a data directory is an object store: the journal can't be there."""
    if is_object_url(text):
        raise ConfigError(
            f"found {text!r}, expected a directory: the journal is written to a local disk; archive_url "
            "(--archive-url) names the object store that the archive is uploaded to"
        )


def content_of(source: bytes | Path) -> Content:
    """Return what a file or some bytes come to. Raises OSError."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in _chunks(source):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Content(size, sha256.hexdigest(), md5.hexdigest())


class StoredFile(NamedTuple):
    """A file in an object store, where elsewhere a path is.

    Attributes:
        store: which.
        key: path below the archive.
    """

    store: ObjectStore
    key: str

    def __str__(self) -> str:
        return f"{self.store}/{self.key}"

    @property
    def stem(self) -> str:
        """The name without its ending, as of a path."""
        return PurePosixPath(self.key).stem

    @property
    def name(self) -> str:
        """The last part of the key, as of a path."""
        return PurePosixPath(self.key).name

    def open(self) -> StoredReader:
        """Open it for reading. Raises FileNotFoundError, StoreError."""
        return StoredReader(self.store, self.key)

    def exists(self) -> bool:
        """Whether it is there. Raises StoreError."""
        try:
            self.open().close()
        except FileNotFoundError:
            return False
        return True


class StoredReader(io.RawIOBase):
    """An object, read from any place of it; each reading is tried again where the store fails.

    Args:
        store: where it is.
        key: its path below the prefix.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the store fails; so may every reading.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._file = store.open(key)
        self._size: int = self._file.size()
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Return where the next reading begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; returns it from the beginning."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, less only at the end."""
        left = max(0, self._size - self._at)
        count = left if size is None or size < 0 else min(size, left)
        found = self._store.read_at(self._file, self._key, count, self._at) if count else b""
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; returns with how many bytes."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class ObjectStore:
    """A prefix of a bucket. Threads may share it.

    Attributes:
        url: as it was given.
        bucket, prefix: of it.

    Args:
        url: ``s3://bucket/prefix``, with ``?endpoint_override=…&region=…&anonymous=true`` where the environment
            (``AWS_ENDPOINT_URL``, ``AWS_REGION``, and for credentials whatever AWS's tools take) does not say it.
        environment: of the process.
        sleep: waits so many seconds.

    Raises:
        ConfigError: the URL is not of that form.
    """

    def __init__(
        self,
        url: str,
        *,
        environment: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bucket, self.prefix, parameters = _parsed(url)
        self.url = url
        self._sleep = sleep
        endpoint = (
            parameters.get("endpoint_override")
            or environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL")
        )
        region = (
            parameters.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        )
        self._files = _filesystem(
            endpoint, region or ("us-east-1" if endpoint else None), parameters.get("anonymous") == "true"
        )
        _leave_stores_at_exit()
        _STORES.add(self)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"<ObjectStore {self}>"

    def file(self, key: str) -> StoredFile:
        """Name a file in it."""
        return StoredFile(self, key)

    def open(self, key: str) -> Any:
        """Return a file for reading from any place, a ``pyarrow.NativeFile``.

        Raises:
            FileNotFoundError: there is none.
            StoreError: the store fails.
        """
        return self._again(key, lambda: self._files.open_input_file(self._path(key)))

    def read_at(self, file: Any, key: str, count: int, at: int) -> bytes:
        """Return bytes of an open file, all that were asked for. Raises StoreError."""

        def read() -> bytes:
            found = bytes(file.read_at(count, at))
            if len(found) != count:
                raise OSError(f"{len(found)} of {count} bytes came")
            return found

        return self._again(key, read)

    def read(self, key: str) -> bytes | None:
        """Return a whole object, or None if there is none. Raises StoreError."""

        def read() -> bytes:
            with self._files.open_input_file(self._path(key)) as file:
                return bytes(file.read())

        try:
            return self._again(key, read)
        except FileNotFoundError:
            return None

    def write(self, key: str, source: bytes | Path, content: Content) -> None:
        """Write an object, and make sure that it holds what it shall.

        Args:
            key: its path below the prefix.
            source: the bytes, or the file that has them.
            content: what they come to.

        Raises:
            FileNotFoundError: the source is gone.
            StoreError: the store fails, or holds something else afterwards.
        """

        def write() -> None:
            with self._files.open_output_stream(self._path(key)) as out:
                for chunk in _chunks(source):
                    out.write(chunk)
            if not self._holds(key, content):
                raise OSError("what the store holds is not what was sent")

        self._again(key, write)

    def holds(self, key: str, content: Content) -> bool:
        """Whether an object is there and holds just that. Raises StoreError."""
        return self._again(key, lambda: self._holds(key, content))

    def delete(self, key: str) -> bool:
        """Delete an object; False if there was none. Raises StoreError."""
        try:
            self._again(key, lambda: self._files.delete_file(self._path(key)))
        except FileNotFoundError:
            return False
        return True

    def names(self, under: str, suffix: str) -> list[str]:
        """Return the keys directly below one that end so, sorted. Raises StoreError."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(under), allow_not_found=True)
        found = self._again(under, lambda: self._files.get_file_info(selector))
        return sorted(
            f"{under}/{info.base_name}"
            for info in found
            if info.type is fs.FileType.File and info.base_name.endswith(suffix)
        )

    def _holds(self, key: str, content: Content) -> bool:
        try:
            with self._files.open_input_file(self._path(key)) as file:
                if file.size() != content.bytes:
                    return False
                # Of an object written at once the tag is its MD5; of others (in parts, encrypted with keys of the
                # store) it is something else, and only their bytes tell.
                tag = _MD5.fullmatch(bytes((file.metadata() or {}).get("ETag", b"")).decode("latin-1"))
                if tag is not None and tag[1] == content.md5:
                    return True
                digest = hashlib.sha256()
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
                return digest.hexdigest() == content.sha256
        except FileNotFoundError:
            return False

    def _path(self, key: str) -> str:
        return "/".join(part for part in (self.bucket, self.prefix, key) if part)

    def _again(self, key: str, action: Callable[[], _T]) -> _T:
        """Do something with the store, again and again if need be."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except FileNotFoundError as error:
                if "NO_SUCH_BUCKET" not in str(error):
                    raise
                raise StoreError(f"{self}: {_LASTING['NO_SUCH_BUCKET']} ({error})") from error
            except (OSError, pa.ArrowException) as error:
                for sign, words in _LASTING.items():
                    if sign in str(error):
                        raise StoreError(f"{self}: {words} ({error})") from error
                if attempt == ATTEMPTS:
                    raise StoreError(
                        f"{self}/{key}: the store failed {ATTEMPTS} times in a row: {error}; what is there already "
                        "stays: look at the network and at the store, then do it again"
                    ) from error
            self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable")


_STORES: Final[WeakSet[ObjectStore]] = WeakSet()


@cache
def _leave_stores_at_exit() -> None:
    """See to it that no filesystem outlives the SDK below, which pyarrow ends at exit: one that does may abort.

    To be called once ``pyarrow.fs`` is there: what is registered last runs first.
    """
    atexit.register(_leave_stores)


def _leave_stores() -> None:
    for store in list(_STORES):
        store._files = None


def _chunks(source: bytes | Path) -> Any:
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _parsed(url: str) -> tuple[str, str, dict[str, str]]:
    found = urlsplit(re.sub(r"\b(s3|https?):/(?!/)", r"\1://", url, flags=re.I))
    bucket, prefix = found.netloc, found.path.strip("/")
    if found.scheme != "s3" or not bucket or "@" in bucket or found.fragment or "//" in prefix:
        raise ConfigError(
            f"found {url!r}, expected s3://BUCKET/PREFIX; credentials come from the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), never from the URL"
        )
    parameters = dict(parse_qsl(found.query, keep_blank_values=True))
    for name, value in parameters.items():
        if name not in PARAMETERS or not value:
            raise ConfigError(
                f"found parameter {name}={value!r} in {url!r}, expected one of "
                f"{', '.join(f'{each}=…' for each in PARAMETERS)}"
            )
    return bucket, prefix, parameters


def _filesystem(endpoint: str | None, region: str | None, anonymous: bool) -> Any:
    try:
        from pyarrow import fs

        return fs.S3FileSystem(
            endpoint_override=endpoint,
            region=region,
            anonymous=anonymous,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            background_writes=False,
            allow_delayed_open=True,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),  # we try again ourselves
        )
    except ImportError as error:
        raise ConfigError(f"this pyarrow was built without S3: {error}; install one that has it") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ConfigError(f"the object store's address or credentials cannot be used: {error}") from error
