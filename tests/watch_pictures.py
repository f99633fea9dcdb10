"""Makes the pictures of docs/watch.md: what `tapebook watch` shows of a recorder at work, and of one that has died."""

from __future__ import annotations

import io
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from recorder.watch.keys import View
from recorder.watch.model import Watch
from recorder.watch.paint import paint
from recorder.watch.screen import STYLES
from recorder.watch.source import DataSource
from recorder.watch.text import Line, nice_glyphs
from tests.processes import gateway, recording, wait_until

__all__ = ["IMAGES", "make"]

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 80, 24
SYMBOL: Final = "BTCUSDT"
DARK: Final = TerminalTheme((22, 25, 29), (230, 233, 236), [(0, 0, 0)] * 8, [(255, 255, 255)] * 8)


def svg(lines: list[Line], title: str) -> str:
    """Draw a screen."""
    console = Console(
        width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in lines:
        text = Text()
        for style, part in line:
            text.append(part, Style.parse(STYLES.get(style, "") or "none"))
        console.print(text, no_wrap=True, crop=True)
    drawn = console.export_svg(title=title, theme=DARK, unique_id="watch")
    # a page that shows it loads nothing from elsewhere
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


def make(images: Path = IMAGES) -> None:
    """Record a simulated market for a while and draw what is seen of it."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        with gateway(scratch / "gateway", "--simulate", 7, "--symbol-count", 4) as exchange:
            data = scratch / "live-data"
            options = ("--category", "linear", "--symbols", "all", "--lines", 2, "--no-roll")
            with recording(scratch / "record", exchange.url, data, *options) as recorder:
                source, watch = DataSource(data), Watch(View.BOOK, symbol=SYMBOL, data=data.name)

                def draw(name: str, view: View) -> None:
                    watch.view = view
                    now_ns = time.time_ns()
                    source.look(watch, now_ns)
                    source.read(watch, now_ns, HEIGHT)
                    drawn = svg(paint(watch, WIDTH, HEIGHT, now_ns, nice_glyphs()), "tapebook watch")
                    (images / name).write_text(drawn)
                    print(f"{images / name}: {len(drawn):,} bytes", file=sys.stderr)

                def is_rich() -> bool:
                    source.look(watch, time.time_ns())
                    source.read(watch, time.time_ns(), HEIGHT)
                    live = [told.live for told in watch.look.collectors if told.live is not None]
                    return (
                        bool(live)
                        and live[0]["seconds"] > 12
                        and watch.book.is_live
                        and len(watch.trades) > 20
                    )

                recorder.until(is_rich, "some seconds were recorded")
                draw("watch-book.svg", View.BOOK)
                draw("watch-overview.svg", View.OVERVIEW)
                recorder.kill()
                wait_until(
                    lambda: not (source.look(watch, time.time_ns()) or watch.troubles == []), "the death"
                )
                time.sleep(2)
                draw("watch-dead.svg", View.BOOK)


if __name__ == "__main__":
    make()
