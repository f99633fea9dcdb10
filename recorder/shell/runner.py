"""Running what was typed: statements and the shell's own commands, so that Ctrl-C stops a query and nothing else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import BinaryIO, Final

from recorder.archive import Archive
from recorder.remarks import OnlyRow, remarks
from recorder.render import Format, write_rows
from recorder.shell.help import HELP, about, function_list, view_list
from recorder.shell.vocabulary import Vocabulary, vocabulary_of
from schemas.errors import ConfigError, NoData

__all__ = ["FORMATS", "Leave", "Runner", "Stopped"]

FORMATS: Final = (Format.TABLE, Format.CSV, Format.JSON)
_POLL_S: Final = 0.05
_SYMBOLS_IN_A_LINE: Final = 8


class Leave(Exception):
    """The user wants to go."""


class Stopped(Exception):
    """The user stopped a query."""


class Runner:
    """Runs statements and commands over an archive.

    Args:
        open_: opens the archive; again when the user asks for it.
        out: where rows go.
        say: takes a line that is not part of the rows.
        style: how rows are written.
        timing: whether each query says how long it took.
    """

    def __init__(
        self,
        open_: Callable[[], Archive],
        out: BinaryIO,
        say: Callable[[str], None],
        *,
        style: Format,
        timing: bool,
    ) -> None:
        self._open = open_
        self._out = out
        self._say = say
        self.style = style
        self.timing = timing
        self.archive = self._opened()
        self._words: Vocabulary | None = None
        self._says_nothing = False

    @property
    def words(self) -> Vocabulary:
        """The archive's words; asked for when they are first needed."""
        if self._words is None:
            self._words = vocabulary_of(self.archive)
        return self._words

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def run(self, text: str) -> None:
        """Run a statement or a command.

        Raises:
            TapebookError: it is wrong, or can't be answered.
            Leave: the user wants to go.
            Stopped: the user stopped it.
        """
        text = text.strip()
        if not text:
            return
        if text.startswith("\\"):
            self._command(text)
        elif text.lower().rstrip(";").strip() in ("exit", "quit"):
            raise Leave
        elif text.lower().rstrip(";").strip() == "help":
            self._say(HELP)
        else:
            self._statement(text)

    def _statement(self, sql: str) -> None:
        began = perf_counter()
        rows = self._interruptible(lambda: self._write(sql))
        for line in remarks(self.archive, sql, self.style, rows, says_nothing=self._says_nothing):
            self._say(line)
        if self.timing:
            shown = f"{rows:,} row{'' if rows == 1 else 's'}"
            self._say(f"{shown} in {perf_counter() - began:.3f} s")

    def _write(self, sql: str) -> int:
        try:
            result = self.archive.sql(sql)
            seen = OnlyRow(result)
            try:
                return write_rows(seen.result, self.style, self._out)
            finally:
                self._says_nothing = seen.says_nothing
                result.close()
                self._out.flush()
        except NoData as error:
            self.archive.tell_open_segments(error)
            raise

    def _interruptible(self, work: Callable[[], int]) -> int:
        """Do work beside the main thread, which alone hears of Ctrl-C, and keeps calm about it meanwhile."""
        outcome: list[int] = []
        failure: list[BaseException] = []
        done, stop = threading.Event(), threading.Event()

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:  # handed to the other thread
                failure.append(error)
            finally:
                done.set()

        before = signal.signal(signal.SIGINT, lambda _signal, _frame: stop.set())
        try:
            threading.Thread(target=run, name="query", daemon=True).start()
            while not done.wait(_POLL_S):
                if stop.is_set():  # again and again: what it is to stop may not have begun when it came
                    self.archive.interrupt()
        finally:
            signal.signal(signal.SIGINT, before)
        if stop.is_set():
            raise Stopped
        if failure:
            raise failure[0]
        return outcome[0]

    def _command(self, text: str) -> None:
        name, _, argument = text.removeprefix("\\").partition(" ")
        argument = argument.strip().rstrip(";").strip()
        match name.rstrip(";").lower():
            case "q":
                raise Leave
            case "?" | "h" | "help":
                self._say(HELP)
            case "d" if argument:
                self._about(argument)
            case "d":
                self._rows([*view_list(self.words), *function_list(self.words)])
            case "df" if argument:
                self._about(argument)
            case "df":
                self._rows(function_list(self.words))
            case "s":
                self._symbols(argument)
            case "f":
                self._format(argument)
            case "timing":
                self.timing = {"on": True, "off": False}.get(argument.lower(), not self.timing)
                self._say(f"timing is {'on' if self.timing else 'off'}")
            case "r":
                self._reopen()
            case _:
                raise ConfigError(f"no command \\{name}; \\? shows those that there are")

    def _about(self, name: str) -> None:
        try:
            text, rows = about(name, self.words)
        except KeyError as error:
            raise ConfigError(str(error.args[0])) from None
        if text:
            self._say(text)
        self._rows(rows)

    def _symbols(self, part: str) -> None:
        found = [value for value in self.words.values if part.lower() in value.lower()]
        if not found:
            self._say("no such symbol was recorded" if part else "nothing was recorded")
        for start in range(0, len(found), _SYMBOLS_IN_A_LINE):
            self._say("  ".join(found[start : start + _SYMBOLS_IN_A_LINE]))

    def _format(self, name: str) -> None:
        if name.lower() not in FORMATS:
            raise ConfigError(f"format {name!r}: expected {', '.join(FORMATS)}")
        self.style = Format(name.lower())

    def _reopen(self) -> None:
        fresh = self._opened()
        self.archive.close()
        self.archive = fresh
        self._words = None

    def _opened(self) -> Archive:
        archive = self._open()
        for warning in archive.warnings:
            self._say(f"warning: {warning}")
        return archive

    def _rows(self, rows: Iterable[tuple[str, ...]]) -> None:
        cells = list(rows)
        widths = [max(len(row[index]) for row in cells) for index in range(len(cells[0]))] if cells else []
        for row in cells:
            self._say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
