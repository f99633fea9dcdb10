"""The skin of ``tapebook watch``: a terminal; keys in, pictures out. The model and the pages know nothing of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, Self, TextIO

from prompt_toolkit import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from recorder.watch.keys import KEYS, Action
from recorder.watch.model import Watch
from recorder.watch.pace import Pace
from recorder.watch.paint import paint
from recorder.watch.text import Glyphs, Line

__all__ = ["STYLES", "CountingOutput", "Screen", "Source"]

# Okabe and Ito's colours, told apart with any colour vision; and nothing is said by a colour alone.
STYLES: Final = {
    "bid": "#56b4e9",
    "ask": "#e69f00",
    "bid-best": "bold #56b4e9",
    "ask-best": "bold #e69f00",
    "bar-bid": "#56b4e9",
    "bar-ask": "#e69f00",
    "good": "#56b4e9",
    "warn": "#f0e442",
    "bad": "bold #e07b39",
    "verdict-good": "reverse #56b4e9",
    "verdict-warn": "reverse #f0e442",
    "verdict-bad": "reverse bold #e07b39",
    "banner": "reverse bold #e07b39",
    "stale": "#808080",
    "dim": "#949494",
    "rule": "#808080",
    "head": "underline #949494",
    "name": "bold",
    "tab": "",
    "tab-on": "reverse",
    "cursor": "reverse",
    "prompt": "bold",
    "prompt-cursor": "reverse",
    "foot": "#949494",
    "key": "bold",
}
LOOK_NS: Final = 500_000_000
"""How often status files are looked at; they are written once a second."""
ESCAPE_S: Final = 0.05
"""After so long an Esc is no beginning of another key's sequence."""


class Source(Protocol):
    """Where what is shown comes from."""

    def look(self, watch: Watch, now_ns: int) -> None:
        """Look at the recorders' status. Wall clock."""

    def read(self, watch: Watch, now_ns: int, depth: int) -> None:
        """Read the chosen book, so many levels a side, and what is new on the tapes."""


class CountingOutput(Vt100_Output):
    """Counts the bytes that go to the terminal.

    Attributes:
        sent: so far.
    """

    sent = 0

    @classmethod
    def of_terminal(cls, terminal: TextIO, term: str | None) -> Self:
        """Of a terminal that is there."""
        made = cls.from_pty(terminal, term=term, default_color_depth=_colours(terminal, term))
        assert isinstance(made, cls)
        return made

    def write(self, data: str) -> None:
        """Write text."""
        self.sent += len(data) if data.isascii() else len(data.encode("utf-8", "replace"))
        super().write(data)

    def write_raw(self, data: str) -> None:
        """Write control sequences."""
        self.sent += len(data)
        super().write_raw(data)


def _colours(terminal: TextIO, term: str | None) -> ColorDepth | None:
    """What colours a terminal has: what the environment says, such as NO_COLOR, else what is known of its kind."""
    asked = ColorDepth.from_env()
    if asked is not None:
        return asked
    try:
        import curses
    except ImportError:  # some builds of Python have none
        return None
    try:
        curses.setupterm(term, terminal.fileno())
        count = curses.tigetnum("colors")
    except curses.error:  # nobody knows this kind
        return None
    if count < 8:
        return ColorDepth.DEPTH_1_BIT
    return ColorDepth.DEPTH_4_BIT if count < 256 else ColorDepth.DEPTH_8_BIT


class Screen:
    """A watch at a terminal.

    Args:
        watch: what is shown.
        source: what fills it.
        output: the terminal.
        glyphs: what it can show.
        pace: how often.
        input: keys; the terminal's by default.
        clock, monotonic: in nanoseconds.
    """

    def __init__(
        self,
        watch: Watch,
        source: Source,
        output: CountingOutput,
        glyphs: Glyphs,
        pace: Pace,
        *,
        input: Input | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._watch = watch
        self._source = source
        self._output = output
        self._glyphs = glyphs
        self._pace = pace
        self._clock = clock
        self._monotonic = monotonic
        self._lines: list[Line] = []
        self._size = Size(0, 0)
        self._drawn_size = output.get_size()
        self._looked_ns: int | None = None
        self._sent = 0
        self._app: Application[None] = Application(
            Layout(Window(FormattedTextControl(self._text, show_cursor=False), always_hide_cursor=True)),
            full_screen=True,
            key_bindings=self._bindings(),
            style=Style.from_dict(STYLES),
            output=output,
            input=input,
            after_render=self._rendered,
        )
        self._app.ttimeoutlen = ESCAPE_S
        self._app.timeoutlen = ESCAPE_S

    async def run(self) -> None:
        """Show until the user leaves, or a signal ends it.

        What goes wrong in reading is raised: a picture that stands still would look live.
        """
        self._read()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # no main thread's loop
                loop.add_signal_handler(number, self._leave)
        ticking = asyncio.create_task(self._ticks())
        ticking.add_done_callback(lambda _: self._leave())
        try:
            with suppress(EOFError):  # the terminal is gone
                await self._app.run_async()
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking

    def _leave(self) -> None:
        self._watch.done = True
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    async def _ticks(self) -> None:
        while True:
            # what the last picture took is known once it is drawn, while this sleeps
            wait_s = self._pace.wait_s(self._monotonic())
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            self._read()
            self._clear_when_resized()
            if self._paint():
                self._app.invalidate()
            self._pace.drew(self._monotonic(), 0)

    def _clear_when_resized(self) -> None:
        """Draw all anew: where the cursor and the lines are behind a change of size is the terminal's own affair."""
        size = self._output.get_size()
        if size != self._drawn_size:
            self._drawn_size = size
            self._app.renderer.clear()
            self._app.invalidate()

    def _rendered(self, _app: Application[Any]) -> None:
        size, self._sent = self._output.sent - self._sent, self._output.sent
        self._pace.drew(self._monotonic(), size)

    def _read(self) -> None:
        now_ns = self._clock()
        if self._looked_ns is None or not 0 <= now_ns - self._looked_ns < LOOK_NS:
            self._looked_ns = now_ns
            self._source.look(self._watch, now_ns)
        self._source.read(self._watch, now_ns, max(1, self._output.get_size().rows) * self._watch.price_step)

    def _paint(self) -> bool:
        """Make the picture; returns whether it differs from the one before."""
        before, size = self._lines, self._output.get_size()
        self._size = size
        self._lines = paint(self._watch, size.columns, size.rows, self._clock(), self._glyphs)
        return self._lines != before

    def _text(self) -> StyleAndTextTuples:
        if self._output.get_size() != self._size:
            self._paint()
        out: StyleAndTextTuples = []
        for line in self._lines:
            if out:
                out.append(("", "\n"))
            out += [(f"class:{style}" if style else "", text) for style, text in line]
        return out

    # ---- keys ----

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()
        searching = Condition(lambda: self._watch.search is not None)
        for key in KEYS:
            for name, action in key.bound.items():
                always = action in (Action.BACK,) or name == "c-c"
                keys.add(
                    name, filter=Condition(lambda: True) if always else ~searching, eager=name == "escape"
                )(self._doing(action))
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        keys.add("c-l")(lambda event: event.app.renderer.clear())

        @keys.add(Keys.Any, filter=searching)
        def _typed(event: KeyPressEvent) -> None:
            if event.data.isprintable():
                self._watch.type(event.data)
            self._shown()

        @keys.add("backspace", filter=searching)
        def _back(_event: KeyPressEvent) -> None:
            self._watch.type("")
            self._shown()

        @keys.add("enter", filter=searching)
        def _taken(_event: KeyPressEvent) -> None:
            self._watch.take()
            self._shown()

        return keys

    def _doing(self, action: Action) -> Callable[[KeyPressEvent], None]:
        def do(_event: KeyPressEvent) -> None:
            self._watch.act(action)
            if self._watch.done:
                self._leave()
            else:
                self._shown()

        return do

    def _shown(self) -> None:
        """After a key: read what it chose, so that the next picture has it."""
        self._read()
        self._paint()
