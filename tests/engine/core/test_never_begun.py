"""Objects that were never begun (by ``__new__``, or an heir that forgot its base) answer in words and crash nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.drive import Driver, FanOut, Strategy
from engine.core.feeds import Engine
from engine.core.publisher import Publisher
from engine.core.shared import SharedBook, SharedControl, SharedTape
from tests.engine.core.shared_memory import Published

# Every class of the compiled modules, made without its arguments; then whatever it has, with arguments of many kinds.
ASK = r"""
import importlib, sys

ARGUMENTS = [(), (1,), (0,), (None,), ("linear",), (b"{}",), (b"{}", 1, 1), (1, 1), ("a", "b", 1, 1), ([],), (0, None),
             (0, 0, 0), (None, None), (1, bytearray(8), 1)]

def ask(thing):
    for name in dir(thing):
        if name in ("__class__", "__init_subclass__", "__subclasshook__", "__new__", "__init__"):
            continue
        try:
            found = getattr(thing, name)
        except Exception:
            continue
        if callable(found):
            for arguments in ARGUMENTS:
                try:
                    found(*arguments)
                except Exception:
                    pass

for module in sys.argv[1:]:
    module = importlib.import_module(module)
    for kind in list(vars(module).values()):
        if not isinstance(kind, type) or kind.__module__ != module.__name__:
            continue
        kinds = [kind]
        if kind.__flags__ & 1 << 10:
            kinds.append(type("Heir", (kind,), {"__init__": lambda self: None}))
        for kind in kinds:
            for make in (lambda: kind.__new__(kind), lambda: kind()):
                try:
                    thing = make()
                except Exception:
                    continue
                print(kind.__module__, kind.__name__, flush=True)
                ask(thing)
                try:
                    memoryview(thing).tobytes()
                except TypeError:
                    pass
                del thing
print("done")
"""
CORE = Path(__file__).parents[3] / "engine" / "core"


def test_nothing_crashes() -> None:
    modules = [f"engine.core.{path.stem}" for path in sorted(CORE.glob("*.pyx"))]
    assert len(modules) > 10
    run = subprocess.run(
        [sys.executable, "-c", ASK, *modules], capture_output=True, text=True, timeout=300, check=False
    )
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, ["done"]), (run.stdout, run.stderr)
    assert "engine.core.drive Driver" in run.stdout


def test_readers_of_shared_memory_are_made_whole_or_not_at_all() -> None:
    for kind in (SharedControl, SharedBook, SharedTape):
        with pytest.raises(TypeError, match="argument"):
            kind.__new__(kind)


def test_a_reader_stays_what_it_was_made_of() -> None:
    engine = Engine("linear")
    engine.add_feed("orderbook.50.BTCUSDT")
    published = Published(engine)
    book, tape = published.book(0), published.tape()
    book.__init__(bytearray(8), published.reads, published.clock)  # type: ignore[misc]
    tape.__init__(bytearray(8), published.reads, published.clock)  # type: ignore[misc]
    assert (book.depth, book.best(), tape.read()) == (50, None, [])


class Forgetful(Driver):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("driver", [Forgetful(), Driver.__new__(Driver)], ids=["heir", "new"])
def test_a_driver_that_was_never_begun(driver: Driver) -> None:
    asked = [
        lambda: driver.apply(b"{}", 0, 0),
        lambda: driver.acted(0, 0),
        driver.said,
        lambda: driver.disconnect(0, 0, 0),
        lambda: driver.stale("orderbook.50.BTCUSDT", "silence", 0, 0),
    ]
    for ask in asked:
        with pytest.raises(RuntimeError, match=rf"found a {type(driver).__name__} that was never begun"):
            ask()
    engine = Engine("linear")
    Driver.__init__(driver, engine, Strategy())
    assert driver.apply(b"{}", 0, 0) == -1


def test_a_publisher_is_begun_once() -> None:
    engine = Engine("linear")
    published = Published(engine)
    again = {"collector": "linear", "environment": "gateway", "token": 7, "pid": 1, "started_ns": 1}
    for other in (engine, Engine("linear")):
        with pytest.raises(ValueError, match="begun already"):
            published.publisher.__init__(  # type: ignore[misc]
                other, published.control, **again, now_ns=1, interval_ns=1, timeout_ns=1
            )
    never = Publisher.__new__(Publisher)
    assert (never.feed_count, never.is_open) == (0, False)
    with pytest.raises(ValueError, match="never begun"):
        never.beat(1)


def test_a_fan_out_that_was_never_begun() -> None:
    never = FanOut.__new__(FanOut)
    with pytest.raises(TypeError):
        never.add(Strategy())
