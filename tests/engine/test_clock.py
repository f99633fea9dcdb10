"""The clock estimate: the true offset is always inside, whatever delays and drift do; jumps are found."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import STEP_THRESHOLD_NS, Bounds, ClockEstimate, StepDetector

MS = 1_000_000
SECOND = 1_000 * MS
START = 5_000 * SECOND


class World:
    """Two clocks that drift; ours is the monotonic one."""

    def __init__(self, offset_ns: int) -> None:
        self.now_ns = START
        self.offset = Fraction(offset_ns)

    def pass_time(self, elapsed_ns: int, drift_ppm: int) -> None:
        self.now_ns += elapsed_ns
        self.offset += Fraction(elapsed_ns * drift_ppm, 1_000_000)

    def exchange_ns(self, resolution_ns: int = 1) -> int:
        read = self.now_ns + self.offset
        return int(read // resolution_ns) * resolution_ns


delays = st.one_of(st.integers(0, 5 * MS), st.integers(0, 2 * SECOND))
events = st.lists(
    st.tuples(
        st.sampled_from(["rest", "pong", "push"]),
        st.integers(0, 3600 * SECOND),  # pause before it
        delays,  # way there
        delays,  # way back
        st.integers(-50, 50),  # drift until the next
    ),
    max_size=25,
)


@settings(max_examples=300)
@given(st.integers(-(10**12), 10**12), events)
def test_the_true_offset_is_always_inside(
    offset_ns: int, happens: list[tuple[str, int, int, int, int]]
) -> None:
    world, clock = World(offset_ns), ClockEstimate(drift_ppm=50)
    for what, pause_ns, there_ns, back_ns, drift in happens:
        world.pass_time(pause_ns, drift)
        sent_ns = world.now_ns
        world.pass_time(there_ns, drift)
        resolution_ns = 1 if what == "rest" else MS
        stamp_ns = world.exchange_ns(resolution_ns)
        world.pass_time(back_ns, drift)
        if what == "push":
            assert clock.push(world.now_ns, stamp_ns)
        else:
            assert clock.probe(sent_ns, world.now_ns, stamp_ns, resolution_ns)
        bounds = clock.bounds(world.now_ns)
        if bounds is not None:
            assert bounds.low_ns <= world.offset <= bounds.high_ns
            assert abs(bounds.offset_ns - world.offset) <= bounds.error_ns
    assert clock.contradictions == 0


@given(st.lists(st.tuples(delays, delays), min_size=1, max_size=20))
def test_the_interval_is_no_wider_than_the_best_answer(ways: list[tuple[int, int]]) -> None:
    world, clock = World(0), ClockEstimate(drift_ppm=0)
    for there_ns, back_ns in ways:
        sent_ns = world.now_ns
        world.pass_time(there_ns, 0)
        stamp_ns = world.exchange_ns()
        world.pass_time(back_ns, 0)
        clock.probe(sent_ns, world.now_ns, stamp_ns)
    bounds = clock.bounds(world.now_ns)
    assert bounds is not None
    assert bounds.high_ns - bounds.low_ns == min(a for a, _ in ways) + min(b for _, b in ways) + 1


def test_nothing_is_known_before_an_answer_and_a_push_alone_bounds_one_side() -> None:
    clock = ClockEstimate()
    assert clock.bounds(START) is None
    clock.push(START, START + 7)
    assert clock.bounds(START) is None
    clock.probe(START, START + 10, START + 5)
    assert clock.bounds(START + 10) == Bounds(6, 7)  # the push says 7, and clocks may have drifted by 1 since


def test_an_interval_ages_on_both_sides() -> None:
    clock = ClockEstimate(drift_ppm=50)
    clock.probe(START, START, START + 100)
    assert clock.bounds(START) == Bounds(100, 101)
    assert clock.bounds(START + SECOND) == Bounds(100 - 50_000, 101 + 50_000)


def test_an_answer_that_comes_late_counts_as_old_as_it_is() -> None:
    clock = ClockEstimate(drift_ppm=50)
    clock.probe(START, START + 1000 * MS, START)
    clock.probe(START, START, START)
    bounds = clock.bounds(START + 1000 * MS)
    assert bounds == Bounds(-50_000, 1 + 50_000)


def test_a_jump_over_there_starts_the_estimate_anew() -> None:
    clock = ClockEstimate()
    clock.probe(START, START + MS, START)
    assert not clock.probe(START + SECOND, START + SECOND + MS, START + 3600 * SECOND)
    bounds = clock.bounds(START + SECOND + MS)
    assert bounds is not None
    assert bounds.low_ns > 3500 * SECOND
    assert clock.contradictions == 1


def test_a_push_that_contradicts_is_left_aside() -> None:
    clock = ClockEstimate()
    clock.probe(START, START + MS, START)
    before = clock.bounds(START + MS)
    assert not clock.push(START + MS, START + SECOND)
    assert clock.bounds(START + MS) == before
    assert clock.contradictions == 1


@pytest.mark.parametrize(("sent", "received", "resolution"), [(2, 1, 1), (1, 1, 0)])
def test_what_cannot_be_is_refused(sent: int, received: int, resolution: int) -> None:
    with pytest.raises(ValueError, match="received at"):
        ClockEstimate().probe(sent, received, 0, resolution)


def test_against_the_wall_clock() -> None:
    assert Bounds(10, 30).against_wall(1_007, 1_000) == Bounds(3, 23)
    assert Bounds(3, 23).offset_ns == 13
    assert Bounds(3, 24).error_ns == 11


@given(
    st.lists(st.tuples(st.integers(1, 10**10), st.integers(-500, 500)), max_size=20),
    st.integers(-(10**15), 10**15).filter(lambda step: abs(step) > 3 * STEP_THRESHOLD_NS),
    st.integers(0, 20),
)
def test_a_step_is_found_and_slewing_is_none(pauses: list[tuple[int, int]], step_ns: int, at: int) -> None:
    detector = StepDetector()
    wall_ns, monotonic_ns = 10**18, START
    assert detector.look(wall_ns, monotonic_ns) is None
    for number, (pause_ns, slew_ppm) in enumerate(pauses):
        monotonic_ns += pause_ns
        wall_ns += pause_ns + pause_ns * slew_ppm // 1_000_000
        if number == at:
            found = detector.look(wall_ns + step_ns, monotonic_ns)
            assert found is not None
            assert abs(found - step_ns) <= pause_ns // 1_000 + 1
            wall_ns += step_ns
        else:
            assert detector.look(wall_ns, monotonic_ns) is None
    assert detector.steps == (1 if at < len(pauses) else 0)
