"""Rates out of counters."""

from __future__ import annotations

from recorder.watch.rates import Rates
from tests.recorder.watch.statuses import NOW, SECOND, feed, line, live


def test_rates_are_differences_over_what_has_passed() -> None:
    rates = Rates()
    rates.add(live(feed("a.X", messages=10)))
    assert (rates.frames, rates.bytes, rates.messages("a.X"), rates.line(0)) == (None, None, None, None)
    rates.add(live(feed("a.X", messages=10)))  # the same status once more
    assert rates.frames is None
    rates.add(
        live(
            feed("a.X", messages=30),
            feed("a.Y"),
            written_ns=NOW + 2 * SECOND,
            frames=5600,
            frame_bytes=1_000_500,
            lines=[line(frames=5200, bytes=900_100), line(1)],
        )
    )
    assert (rates.frames, rates.bytes, rates.messages("a.X")) == (300.0, 250.0, 10.0)
    assert rates.messages("a.Y") is None
    assert rates.messages("a.Z") is None
    assert rates.line(0) == (100.0, 50.0)
    assert rates.line(1) is None
    rates.add(
        live(feed("a.Y", messages=1007), written_ns=NOW + 3 * SECOND, frames=5700)
    )  # one that is new, one that is gone
    assert (rates.messages("a.X"), rates.messages("a.Y")) == (None, 7.0)


def test_old_samples_are_forgotten() -> None:
    rates = Rates()
    for second in range(20):
        rates.add(live(written_ns=NOW + second * SECOND, frames=1000 * min(second, 10)))
    assert rates.frames == 0.0


def test_another_process_begins_anew() -> None:
    rates = Rates()
    rates.add(live())
    rates.add(live(written_ns=NOW + SECOND, frames=6000))
    assert rates.frames == 1000.0
    rates.add(live(pid=78, written_ns=NOW + 5 * SECOND, frames=7000))
    assert rates.frames is None
    rates.add(live(pid=78, written_ns=NOW + 6 * SECOND, frames=7200))
    assert rates.frames == 200.0
    rates.add(
        live(pid=78, written_ns=NOW + 7 * SECOND, frames=10)
    )  # a run that began again in the same process
    assert rates.frames is None
