"""The shell at a terminal: a line editor with history, completion and colours around the runner."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import has_completions, is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from recorder.shell.runner import Leave, Runner, Stopped
from recorder.shell.statements import is_complete, split_statements
from recorder.shell.vocabulary import candidates, open_call
from schemas.errors import TapebookError

__all__ = ["converse", "status_line"]

_PROMPT: Final = "tapebook> "
_MORE: Final = "      ..> "


def converse(runner: Runner, history: Path | None) -> None:
    """Ask for statements and run them until the user leaves.

    Args:
        runner: runs them.
        history: file with earlier ones; None keeps them for this time only.
    """
    session: PromptSession[str] = PromptSession(
        message=_PROMPT,
        multiline=True,
        prompt_continuation=lambda width, _number, _wrapped: _MORE.rjust(width),
        lexer=PygmentsLexer(SqlLexer),
        completer=_Words(runner),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
        history=_history(history),
        key_bindings=_keys(),
        bottom_toolbar=lambda: status_line(session.default_buffer.document.text_before_cursor, runner),
    )
    print(f"{runner.archive.data}: {len(runner.words.views)} views; \\? for help, \\q to leave")
    while True:
        try:
            text = session.prompt()
        except KeyboardInterrupt:  # what was being written is dropped
            continue
        except EOFError:
            return
        try:
            _run(runner, text)
        except Leave:
            return


def _run(runner: Runner, text: str) -> None:
    """Run all that was entered; what is wrong is said, and ends but this entry."""
    is_command = text.strip().startswith("\\")
    whole, rest = ([], text) if is_command else split_statements(text)
    try:
        for statement in [*whole, rest]:
            runner.run(statement)
    except (Stopped, KeyboardInterrupt):  # the latter between two queries
        print("stopped")
    except TapebookError as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n")


class _Words(Completer):
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002
    ) -> Iterable[Completion]:
        """Offer what may follow at the cursor."""
        for found in candidates(document.text_before_cursor, document.text_after_cursor, self._runner.words):
            yield Completion(found.text, -found.length, display_meta=found.kind)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching & ~has_completions)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=False)

    return keys


def status_line(before: str, runner: Runner) -> str:
    """Return how the function is called whose arguments are being written before the cursor, else where we are."""
    function = open_call(before, runner.words)
    if function is not None:
        return function.signature
    return (
        f"{runner.archive.data}   {runner.style.value}   timing {'on' if runner.timing else 'off'}   \\? help"
    )


def _history(path: Path | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
