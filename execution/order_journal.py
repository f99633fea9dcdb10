"""Everything that is asked of the exchange and what became of it, in whole lines, before and after the fact.

A request's line is written before any of its bytes go out, its outcome's line when it is known. A request without an
outcome is therefore in doubt, and the next start takes it over. ::

    <directory>/orders/<start_ns>.jsonl     one file a run; lines are numbered by "n", from 0, without gaps
    <directory>/orders/lock                 held while a run writes

A run's file begins with what the run before left in doubt, so that the newest file alone says all that is open. It gets
its name when that is on the disk. Its first line also has the hash of the run's file before it, and the last line of a
run that ended well the hash of all before: what is altered or removed is seen (`execution.verify_orders`). That costs
nothing while orders are sent; a hash in each line would, on the way of every order, and would prove no more of a
run that ended.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from execution.desk.orders import OrderKey
from execution.desk.outcomes import OrderRequest, Outcome
from execution.desk.wire import Op, write_fields
from recorder.journal.lock import is_locked, take_lock
from recorder.whole_files import sync_directories, write_synced
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.names import Category, Fsync

__all__ = [
    "CLOSED",
    "FORMAT",
    "LOCK_NAME",
    "OrderJournal",
    "OrderLine",
    "Previous",
    "RequestLine",
    "Way",
    "in_doubt",
    "is_held",
    "order_files",
    "order_lines",
    "read_orders",
    "request_line",
]

FORMAT: Final = 2
"""Since 2 a run names the one before it, and is closed."""

CLOSED: Final = "closed"
"""Kind of the line that ends a run whose program ended well."""

LOCK_NAME: Final = "lock"
_READABLE: Final = (1, FORMAT)
_ENDING: Final = ".jsonl"
_encode = msgspec.json.Encoder().encode

Way = Literal["socket", "rest"]
"""How a request went."""

_BEFORE_KEY: Final = {op: f',"op":"{op.value}",'.encode() for op in Op}
_WAY_END: Final[dict[Way, bytes]] = {"socket": b',"way":"socket"}}\n', "rest": b',"way":"rest"}}\n'}


class RequestLine(msgspec.Struct, frozen=True):
    """A request as it is written down; `restored` makes it one again, in doubt."""

    request_id: str
    op: Op
    category: Category
    symbol: str
    order_id: str
    link_id: str
    fields: dict[str, Any]
    changed: Mapping[str, str]
    timestamp_ms: int
    window_ms: int
    way: Way

    def restored(self) -> OrderRequest:
        """Make it a request again."""
        key = OrderKey(self.category, self.symbol, self.order_id, self.link_id)
        request = OrderRequest(self.request_id, self.op, key, self.fields, self.changed)
        request.timestamp_ms, request.window_ms = self.timestamp_ms, self.window_ms
        return request


class Previous(msgspec.Struct, frozen=True):
    """The run before: its file's name, size and hash, all of it, as it was when the next began."""

    name: str
    bytes: int
    sha256: str


class OrderLine(msgspec.Struct, omit_defaults=True):
    """A line.

    Attributes:
        kind: ``opened`` first; ``in doubt``, ``request``, ``outcome``; `CLOSED` last; else what happened, in `words`.
        previous: of the first line: the run before; None if there was none.
        sha256: of the line that closes a run: of everything before it.
    """

    n: int
    at_ns: int
    kind: str
    format: int | None = None
    previous: Previous | None = None
    request: RequestLine | None = None
    request_id: str = ""
    outcome: Outcome | None = None
    words: str = ""
    sha256: str = ""


def request_line(number: int, now_ns: int, request: OrderRequest, written: bytes, way: Way) -> bytes:
    """A request's line, byte for byte `OrderLine` with a `RequestLine`, put together as time counts here."""
    return b"".join(
        (
            b'{"n":',
            _encode(number),
            b',"at_ns":',
            _encode(now_ns),
            b',"kind":"request","request":{"request_id":',
            _encode(request.request_id),
            _BEFORE_KEY[request.op],
            _encode(request.key)[1:-1],
            b',"fields":',
            written,
            b',"changed":',
            _encode(request.changed) if request.changed else b"{}",
            b',"timestamp_ms":',
            _encode(request.timestamp_ms),
            b',"window_ms":',
            _encode(request.window_ms),
            _WAY_END[way],
        )
    )


def read_orders(path: Path) -> tuple[dict[str, RequestLine], int, int]:
    """Read a run's file.

    Returns:
        What is in doubt by request id, how many whole lines there are, and how many bytes of a torn last one (a crash
        cuts only there; what it said was not acted on).

    Raises:
        Corrupt: a whole line that isn't what was written.
        StoreError: the file can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    open_requests: dict[str, RequestLine] = {}
    lines = whole = 0
    for line, length in order_lines(path, content):
        lines, whole = lines + 1, whole + length
        if line.request is not None:
            open_requests[line.request.request_id] = line.request
        elif line.outcome is not None:
            open_requests.pop(line.request_id, None)
    return open_requests, lines, len(content) - whole


def order_lines(path: Path, content: bytes) -> Iterator[tuple[OrderLine, int]]:
    """The whole lines of a run's file, and how many bytes each has.

    Raises:
        Corrupt: one that isn't what was written.
    """
    texts = content.split(b"\n")
    texts.pop()  # nothing, or a torn line
    for number, text in enumerate(texts):
        try:
            line = msgspec.json.decode(text, type=OrderLine)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Corrupt(path, f"line {number}: {error}") from None
        if line.n != number:
            raise Corrupt(path, f"line {number}: it says that it is line {line.n}")
        if number == 0 and line.format not in _READABLE:
            raise Corrupt(path, f"format {line.format}, expected one of {', '.join(map(str, _READABLE))}")
        yield line, len(text) + 1


def _size_and_hash(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _check_place(newest: Path, words: str, open_requests: int) -> None:
    """Refuse what belongs elsewhere: another exchange knows nothing of a request, which would count as never taken.

    Args:
        words: environment and endpoint of the run that is to begin; empty where nobody cares.
    """
    with newest.open("rb") as file:
        first = next(iter(order_lines(newest, file.readline())), None)
    before = "" if first is None else first[0].words
    if not before or not words or before == words:
        return
    if open_requests:
        raise ConfigError(
            f"{newest.parent}: the run before left {open_requests} requests in doubt at {before}, and what became of "
            f"them can only be found out there, not at {words}: go there, or give another directory"
        )
    if before.partition(" ")[0] != words.partition(" ")[0]:
        raise ConfigError(
            f"{newest.parent}: the run before was at {before}, this one would be at {words}: give each a directory"
        )


def order_files(directory: Path) -> list[Path]:
    """The runs' files of a trading directory, the oldest first: by number, however many digits; others are not ours."""
    files = (path for path in (directory / "orders").glob("*" + _ENDING) if path.stem.isdecimal())
    return sorted(files, key=lambda path: int(path.stem))


def in_doubt(directory: Path) -> list[RequestLine]:
    """What the latest run left without an outcome. Raises as `read_orders`."""
    return [line for path in order_files(directory)[-1:] for line in read_orders(path)[0].values()]


def is_held(directory: Path) -> bool:
    """Whether a client trades in a directory at the moment."""
    return is_locked(directory / "orders" / LOCK_NAME)


class OrderJournal:
    """The journal of one run; a context manager.

    Args:
        directory: of the account's trading; made where it is missing.
        words: about the run: environment, endpoint, software.
        fsync: COMMIT puts every request on the disk before it goes out; INTERVAL leaves it to `sync`, called once a
            second; NEVER to the system. A killed process loses nothing with any of them, a power cut what wasn't put.

    Attributes:
        restored: what the run before left in doubt.
        lines: written by this run.

    Raises:
        ConfigError: another run writes here, or the one before was of another exchange.
        Corrupt: the newest file isn't what was written.
        StoreError: the disk.
    """

    def __init__(self, directory: Path, words: str = "", fsync: Fsync = Fsync.INTERVAL) -> None:
        self._directory = directory / "orders"
        self._fsync = fsync
        self._syncs_each = fsync is Fsync.COMMIT
        self._dirty = False
        self.lines = 0
        self._descriptor = -1
        self._lock = -1
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._take_lock()
            runs = order_files(directory)
            open_requests = read_orders(runs[-1])[0] if runs else {}
            if runs:
                _check_place(runs[-1], words, len(open_requests))
            self.restored = [line.restored() for line in open_requests.values()]
            self._begin(runs[-1] if runs else None, words, open_requests)
        except OSError as error:
            self.close()
            raise StoreError(f"{self._directory}: {error.strerror or error}") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OrderJournal {self.path} lines={self.lines}>"

    def _take_lock(self) -> None:
        if not take_lock(self._lock):
            raise ConfigError(
                f"{self._directory}: another run writes here: end it, or give another directory"
            )

    def _begin(self, newest: Path | None, words: str, open_requests: Mapping[str, RequestLine]) -> None:
        start_ns = time.time_ns()
        if newest is not None and newest.stem.isdigit():
            start_ns = max(start_ns, int(newest.stem) + 1)
        self.path = self._directory / f"{start_ns}{_ENDING}"
        previous = None if newest is None else Previous(newest.name, *_size_and_hash(newest))
        first = [_encode(OrderLine(0, start_ns, "opened", FORMAT, previous, words=words))]
        first += [
            _encode(OrderLine(number, start_ns, "in doubt", request=line))
            for number, line in enumerate(open_requests.values(), 1)
        ]
        self.lines = len(first)
        temporary = self.path.with_suffix(".tmp")
        write_synced(temporary, b"\n".join(first) + b"\n")
        os.replace(temporary, self.path)  # noqa: PTH105
        sync_directories(self._directory)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    # -- writing -------------------------------------------------------------------------------------------

    def request(self, request: OrderRequest, way: Way, now_ns: int, written: bytes | None = None) -> None:
        """Write a request down, before it goes out.

        Args:
            written: its fields, where `execution.desk.wire.write_fields` has written them already.

        Raises:
            StoreError: it isn't written, so it must not go out.
        """
        fields = write_fields(request.fields) if written is None else written
        self.put_request(request_line(self.lines, now_ns, request, fields, way))

    def put_request(self, line: bytes) -> None:
        """Write down a request's line that is ready; its number is `lines`. Raises as `request`."""
        self._put(line)
        if self._syncs_each:
            self.sync()

    def outcome(self, request: OrderRequest, now_ns: int) -> None:
        """Write down how a request ended. Raises as `request` does."""
        self._append(
            OrderLine(self.lines, now_ns, "outcome", request_id=request.request_id, outcome=request.outcome)
        )

    def note(self, kind: str, words: str, now_ns: int) -> None:
        """Write down what else happened: connections, the kill switch, cancel-all. Raises as `request` does."""
        self._append(OrderLine(self.lines, now_ns, kind, words=words))

    def _append(self, line: OrderLine) -> None:
        self._put(_encode(line) + b"\n")

    def _put(self, payload: bytes) -> None:
        try:
            written = os.write(self._descriptor, payload)
            if written != len(payload):
                size = os.fstat(self._descriptor).st_size
                os.ftruncate(self._descriptor, size - written)
                raise OSError(28, f"only {written} of {len(payload)} bytes were written")
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}: nothing more is sent") from None
        self.lines += 1
        self._dirty = True

    def sync(self) -> None:
        """Put what was written on the disk.

        Raises:
            StoreError: the disk failed.
        """
        if not self._dirty or self._fsync is Fsync.NEVER:
            return
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}: nothing more is sent") from None
        self._dirty = False

    def close(self) -> None:
        """Close the run, put everything on the disk and let others write."""
        if self._descriptor >= 0:
            with suppress(
                OSError, StoreError
            ):  # a run that couldn't be closed was not, which is what it says then
                sha256 = _size_and_hash(self.path)[1]
                self._append(OrderLine(self.lines, time.time_ns(), CLOSED, sha256=sha256))
        for name in ("_descriptor", "_lock"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                if name == "_descriptor":
                    os.fsync(descriptor)
                os.close(descriptor)
