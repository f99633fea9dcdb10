"""How far the exchange's clock is from ours, with bounds that hold, and whether our wall clock jumped. Pure.

Everything is measured on our monotonic clock, which never jumps: an *offset* is the exchange's clock minus the
monotonic clock. What the wall clock lacks follows from reading both of ours together. The offset is known only as an
interval, and the interval is never narrower than what was observed allows:

- An answer that names the exchange's time ``s``, to a question sent at ``a`` and answered at ``b``, was stamped at an
  unknown moment between the two. So the offset lies in ``[s - b, s + resolution - a]``, whichever way was the slower.
- A frame stamped ``ts`` and received at ``b`` was stamped before ``b``: the offset is at least ``ts - b``.
- Between observations clocks drift apart: the interval grows on both sides by ``drift_ppm``.

All of them hold at once, so the interval is their intersection.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["DRIFT_PPM", "Bounds", "ClockEstimate", "StepDetector"]

DRIFT_PPM: Final = 50
"""Quartz is within some 20 ppm at either end."""
STEP_THRESHOLD_NS: Final = 20_000_000
"""Smaller jumps are taken for slewing and for the time that reading two clocks takes."""
SLEW_PPM: Final = 1_000
"""Twice what kernels slew at most."""


class Bounds(NamedTuple):
    """The offset lies in ``low_ns`` to ``high_ns``."""

    low_ns: int
    high_ns: int

    @property
    def offset_ns(self) -> int:
        """The middle."""
        return (self.low_ns + self.high_ns) // 2

    @property
    def error_ns(self) -> int:
        """How far from the middle the truth may be."""
        return max(self.high_ns - self.offset_ns, self.offset_ns - self.low_ns)

    def against_wall(self, wall_ns: int, monotonic_ns: int) -> Bounds:
        """The same for our wall clock, which showed ``wall_ns`` when the monotonic one showed ``monotonic_ns``."""
        ahead_ns = wall_ns - monotonic_ns
        return Bounds(self.low_ns - ahead_ns, self.high_ns - ahead_ns)


class ClockEstimate:
    """The exchange's clock minus our monotonic clock, as an interval.

    Args:
        drift_ppm: how fast the two may drift apart, in millionths.

    Attributes:
        probes: two-sided observations.
        contradictions: observations that no offset within the interval explains: a clock jumped over there, or drifts
            faster than allowed. A two-sided one starts the estimate anew, a one-sided one is left aside.
    """

    def __init__(self, drift_ppm: int = DRIFT_PPM) -> None:
        self._drift_ppm = drift_ppm
        self._low_ns: int | None = None
        self._high_ns: int | None = None
        self._at_ns = 0
        self.probes = 0
        self.contradictions = 0

    def probe(self, sent_ns: int, received_ns: int, exchange_ns: int, resolution_ns: int = 1) -> bool:
        """Take in an answer to a question.

        Args:
            sent_ns, received_ns: monotonic, before the question left and after the answer came.
            exchange_ns: the time that the answer names.
            resolution_ns: what that time was cut to (1,000,000 where it is in milliseconds).

        Returns:
            False when it contradicts what was known; the estimate then begins with it.

        Raises:
            ValueError: answered before it was asked.
        """
        if received_ns < sent_ns or resolution_ns < 1:
            raise ValueError(f"sent at {sent_ns}, received at {received_ns}, resolution {resolution_ns}")
        self.probes += 1
        apart_ns = self._drift(received_ns - sent_ns)
        low_ns = exchange_ns - received_ns - apart_ns
        high_ns = exchange_ns + resolution_ns - sent_ns + apart_ns
        self._advance(received_ns)
        # an observation that comes late is as old as it is
        age_ns = self._drift(self._at_ns - received_ns)
        low_ns, high_ns = low_ns - age_ns, high_ns + age_ns
        known_low_ns = low_ns if self._low_ns is None else max(low_ns, self._low_ns)
        known_high_ns = high_ns if self._high_ns is None else min(high_ns, self._high_ns)
        if known_low_ns > known_high_ns:
            self.contradictions += 1
            self._low_ns, self._high_ns = low_ns, high_ns
            return False
        self._low_ns, self._high_ns = known_low_ns, known_high_ns
        return True

    def push(self, received_ns: int, exchange_ns: int) -> bool:
        """Take in the stamp of a frame (monotonic, the exchange's): it was made before it was received.

        Returns:
            False when it contradicts what was known; it is left aside then.
        """
        self._advance(received_ns)
        low_ns = exchange_ns - received_ns - self._drift(self._at_ns - received_ns)
        if self._high_ns is not None and low_ns > self._high_ns:
            self.contradictions += 1
            return False
        self._low_ns = low_ns if self._low_ns is None else max(low_ns, self._low_ns)
        return True

    def bounds(self, now_ns: int) -> Bounds | None:
        """What is known of the offset at a monotonic moment; None before the first answer."""
        if self._low_ns is None or self._high_ns is None:
            return None
        apart_ns = self._drift(abs(now_ns - self._at_ns))
        return Bounds(self._low_ns - apart_ns, self._high_ns + apart_ns)

    def _advance(self, to_ns: int) -> None:
        """Let the interval age up to a moment; it never grows younger."""
        if to_ns <= self._at_ns:
            return
        apart_ns = self._drift(to_ns - self._at_ns)
        if self._low_ns is not None:
            self._low_ns -= apart_ns
        if self._high_ns is not None:
            self._high_ns += apart_ns
        self._at_ns = to_ns

    def _drift(self, elapsed_ns: int) -> int:
        return -(-abs(elapsed_ns) * self._drift_ppm // 1_000_000)


class StepDetector:
    """Finds jumps of our wall clock: it then moves otherwise than the monotonic clock.

    Args:
        threshold_ns: a smaller jump passes unseen.
        slew_ppm: what the wall clock may gain or lose by being slewed.

    Attributes:
        steps: jumps found.
    """

    def __init__(self, threshold_ns: int = STEP_THRESHOLD_NS, slew_ppm: int = SLEW_PPM) -> None:
        self._threshold_ns = threshold_ns
        self._slew_ppm = slew_ppm
        self._last: tuple[int, int] | None = None
        self.steps = 0

    def look(self, wall_ns: int, monotonic_ns: int) -> int | None:
        """Take in a reading of both clocks; return by how much the wall clock jumped since the last one, or None."""
        last, self._last = self._last, (wall_ns, monotonic_ns)
        if last is None:
            return None
        elapsed_ns = monotonic_ns - last[1]
        jump_ns = wall_ns - last[0] - elapsed_ns
        if abs(jump_ns) <= self._threshold_ns + elapsed_ns * self._slew_ppm // 1_000_000:
            return None
        self.steps += 1
        return jump_ns
