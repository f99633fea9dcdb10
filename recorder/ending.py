"""What a signal does before and after a recording, when no collector is there to end cleanly: it says what it ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["NOT_BEGUN", "signals_end"]

NOT_BEGUN: Final = ("before it recorded anything", 0)
"""Of a recording that is still to begin: it needs a second or two, of which its imports take most."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_end(words: str, code: int) -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM end the process at once, with ``words`` on standard error and this exit code.

    Whatever is at work then must be safe against a kill. Does nothing outside the main thread.
    """

    def end(number: int, _: FrameType | None) -> None:
        os.write(2, f"tapebook: ended by {signal.Signals(number).name} {words}\n".encode())
        os._exit(code)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
