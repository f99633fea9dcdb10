"""How often pictures are drawn."""

from __future__ import annotations

from recorder.watch.pace import Pace

SECOND = 10**9


def drawn(pace: Pace, size: int, seconds: int) -> int:
    """Pictures of that size that are drawn in that time."""
    now_ns, count = 0, 0
    while now_ns < seconds * SECOND:
        pace.drew(now_ns, size)
        count += 1
        now_ns += max(1, round(pace.wait_s(now_ns) * SECOND))
    return count


def test_no_oftener_than_asked() -> None:
    assert drawn(Pace(10, 1e9), 1, 10) == 100


def test_no_more_bytes_than_asked() -> None:
    assert drawn(Pace(10, 32_768), 65_536, 20) == 10
    assert drawn(Pace(10, 32_768), 3_276, 10) == 100


def test_a_large_picture_is_paid_for_by_those_after_it() -> None:
    pace = Pace(10, 1_000)
    pace.drew(0, 2_000)
    assert pace.wait_s(0) == 2.0
    pace.drew(SECOND // 2, 500)  # a key could not wait
    assert pace.wait_s(SECOND // 2) == 2.0
    assert pace.wait_s(3 * SECOND) == 0.0
