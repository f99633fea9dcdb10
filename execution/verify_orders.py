"""`tapebook verify` of a trading directory: whether its order journals are whole, follow each other and make sense.

What is proved, and by what:

- *each line* is one that we write, numbered without a gap (its form; ``n``);
- *no line of a run that was closed was altered or removed*: its last line has the hash of all before it;
- *no run that another followed was altered or removed, nor one from between or before*: each first line names the
  file before it and has the hash of its bytes, killed or closed;
- *no request went out twice, each has one outcome, and what a run left in doubt the next took over*.

What is not: the newest run's lines, while it was not closed; and somebody who makes the whole directory anew. For the
latter the chain's newest value is printed: kept elsewhere, it holds everything before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from execution.desk.outcomes import OutcomeKind
from execution.desk.wire import Op
from execution.kill_switch import KillSwitch
from execution.order_journal import (
    CLOSED,
    LOCK_NAME,
    OrderLine,
    Previous,
    RequestLine,
    is_held,
    order_files,
    order_lines,
)
from recorder.findings import Verification
from schemas.errors import Corrupt

__all__ = ["OrderVerifier", "verifier"]

_OPENED: Final = "opened"
_IN_DOUBT: Final = "in doubt"
_REQUEST: Final = "request"
_OUTCOME: Final = "outcome"
_NAMED: Final = 3
_UNCHAINED: Final = 1
"""The format whose runs didn't name the one before."""


class OrderVerifier:
    """The plug-in of ``tapebook.verifiers``."""

    def recognizes(self, directory: Path) -> bool:
        """Whether order journals are in a directory."""
        return bool(order_files(directory))

    def verify(
        self, directory: Path, result: Verification, progress: Callable[[str], None]
    ) -> Mapping[str, int]:
        """Check every run, the oldest first; returns how many of what there is."""
        held = is_held(directory)
        check = _Check(result)
        files = order_files(directory)
        progress(f"{len(files)} order journals")
        for path in files:
            check.run(path, is_written=held and path == files[-1])
        check.end()
        for path in sorted((directory / "orders").iterdir()):
            if path.name != LOCK_NAME and path not in files:
                result.note(path, "no run's file: it counts for nobody")
        switch = KillSwitch(directory)
        if switch.is_on:
            result.note(directory, f"the kill switch is on: {switch.reason}")
        if check.before is not None:
            result.chains["orders"] = check.before.sha256
        return check.counts


verifier: Final = OrderVerifier()


class _Check:
    """What is known while the runs are gone through.

    Attributes:
        before: the run before, as the next has to name it; None before the first.
    """

    def __init__(self, result: Verification) -> None:
        self._result = result
        self.before: Previous | None = None
        self.counts = dict.fromkeys(
            ("runs", "lines", "requests", "outcomes", "open", "not_closed", "cut_short"), 0
        )
        self._path = Path()
        self._open: dict[str, RequestLine] = {}
        self._known: set[str] = set()
        self._names: set[tuple[str, str]] = set()
        self._is_trusted = True
        self._carried: dict[str, RequestLine] = {}

    def run(self, path: Path, *, is_written: bool) -> None:
        """Check one run's file; ``is_written``: by a client, at this moment."""
        self._path = path
        self.counts["runs"] += 1
        try:
            content = path.read_bytes()
        except OSError as error:
            self._fail(f"cannot be read: {error.strerror or error}")
            self.before, self._is_trusted = None, False
            return
        self._carried, self._open = self._open, {}
        closed = self._lines(path, content)
        torn = len(content) - content.rfind(b"\n") - 1
        if torn and closed:
            self._fail(f"{torn} bytes follow the line that closed it")
        elif torn and not is_written:
            self.counts["cut_short"] += 1
            self._note(
                f"cut short: {torn} bytes of a last line that was not acted on, as a crash leaves them"
            )
        if not closed:
            self.counts["not_closed"] += 1
            if is_written:
                self._note("being written")
            else:
                self._note(
                    "not closed: its program was killed, or the disk failed; the next run vouches for it"
                )
        self.before = Previous(path.name, len(content), hashlib.sha256(content).hexdigest())

    def _lines(self, path: Path, content: bytes) -> bool:
        """Check the lines; returns whether the last closes the run."""
        hashed, offset = hashlib.sha256(), 0
        closed = False
        begun = False
        try:
            for line, length in order_lines(path, content):
                self.counts["lines"] += 1
                if closed:
                    self._fail(f"line {line.n} follows the one that closed it")
                    return closed
                if line.n == 0:
                    self._first(line, path)
                elif line.kind != _IN_DOUBT and not begun:
                    begun = True
                    self._taken_over()
                self._line(line)
                if line.kind == CLOSED:
                    closed = True
                    if line.sha256 != hashed.hexdigest():
                        self._fail(
                            f"line {line.n}: the lines before it are not those that it closed: it was altered"
                        )
                hashed.update(content[offset : offset + length])
                offset += length
        except Corrupt as error:
            self._fail(error.why)
            self._is_trusted = False
            return closed
        if not begun:
            self._taken_over()
        self._is_trusted = True
        return closed

    def _first(self, line: OrderLine, path: Path) -> None:
        """The line that opens a run names the one before."""
        if str(line.at_ns) != path.stem:
            self._fail(f"it says that it was opened at {line.at_ns}: its name was changed")
        before, named = self.before, line.previous
        if line.format == _UNCHAINED:
            if before is not None:
                self._note("of format 1, which does not name the run before it")
        elif named is None:
            if before is not None:
                self._fail(f"it says that it is the first, and {before.name} is there: put here, or altered")
        elif before is None:
            if self._is_trusted:
                self._fail(f"the run before it, {named.name}, is not here: it was removed")
        elif named.name != before.name:
            self._fail(
                f"the run before it is {named.name}, found {before.name}: runs are missing, or were put here"
            )
        elif named != before:
            self._result.fail(
                path.with_name(before.name),
                f"{before.bytes} bytes with sha256 {before.sha256[:16]}…, the run after it says {named.bytes} with "
                f"{named.sha256[:16]}…: it was altered",
            )

    def _taken_over(self) -> None:
        """Whether what the run before left in doubt is here."""
        missing = self._carried.keys() - self._open.keys()
        if missing and self._is_trusted:
            self._fail(f"{_listed(missing)}, in doubt at the end of the run before, were not taken over")

    def _line(self, line: OrderLine) -> None:
        request = line.request
        if line.kind in (_REQUEST, _IN_DOUBT):
            if request is None:
                self._fail(f"line {line.n}: a {line.kind!r} line without a request")
            elif line.kind == _IN_DOUBT:
                self._in_doubt(line.n, request)
            else:
                self._requested(line.n, request)
        elif line.kind == _OUTCOME:
            self._ended(line)
        elif (line.kind == _OPENED) != (line.n == 0):
            self._fail(f"line {line.n}: found {line.kind!r}, expected {_OPENED!r} first and nowhere else")

    def _in_doubt(self, number: int, request: RequestLine) -> None:
        carried = self._carried.get(request.request_id)
        if carried != request and self._is_trusted:
            what = "is not what the run before wrote" if carried is not None else "was not open at its end"
            self._fail(f"line {number}: {request.request_id}, taken over from the run before, {what}")
        self._open[request.request_id] = request
        self._known.add(request.request_id)
        if request.op is Op.CREATE:
            self._names.add((request.category.value, request.link_id))

    def _requested(self, number: int, request: RequestLine) -> None:
        self.counts["requests"] += 1
        if request.request_id in self._known:
            self._fail(f"line {number}: request {request.request_id} went out before: it was sent twice")
        self._known.add(request.request_id)
        self._open[request.request_id] = request
        if request.op is not Op.CREATE:
            return
        name = request.category.value, request.link_id
        if not request.link_id:
            self._fail(f"line {number}: an order without an orderLinkId")
        elif name in self._names:
            self._fail(f"line {number}: orderLinkId {request.link_id}: an order of this name was sent before")
        self._names.add(name)

    def _ended(self, line: OrderLine) -> None:
        self.counts["outcomes"] += 1
        if line.outcome is None:
            self._fail(f"line {line.n}: an outcome line without an outcome")
            return
        request = self._open.pop(line.request_id, None)
        if request is not None:
            if request.op is Op.CREATE and line.outcome.kind in (OutcomeKind.REJECTED, OutcomeKind.EXPIRED):
                self._names.discard(
                    (request.category.value, request.link_id)
                )  # it may be used for another order
        elif line.request_id in self._known:
            self._fail(f"line {line.n}: a second outcome of request {line.request_id}")
        else:
            self._fail(f"line {line.n}: an outcome of request {line.request_id}, which no line says was sent")

    def end(self) -> None:
        """What is open now."""
        self.counts["open"] = len(self._open)
        if self._open:
            self._note(
                f"{_listed(self._open)} without an outcome: the next run finds out what became of them"
            )

    def _fail(self, what: str) -> None:
        self._result.fail(self._path, what)

    def _note(self, what: str) -> None:
        self._result.note(self._path, what)


def _listed(names: Mapping[str, object] | set[str]) -> str:
    """How many requests, and the first of them."""
    few = ", ".join(sorted(names)[:_NAMED])
    return f"{len(names)} requests ({few}{', …' if len(names) > _NAMED else ''})"
