"""What is said of a book's range once it was read."""

from __future__ import annotations

from recorder.plots.book import ShownBook, seen
from recorder.plots.known import Known, Range
from recorder.plots.spans import Spans, union
from tests.recorder.plots.archives import SECOND_NS


def spans(*pairs: tuple[float, float]) -> Spans:
    return union([(int(start * SECOND_NS), int(end * SECOND_NS)) for start, end in pairs])


RANGE = Range(0, 100 * SECOND_NS)
BOOK = ShownBook(
    "linear",
    "BTCUSDT",
    "orderbook.50.BTCUSDT",
    50,
    RANGE,
    Known(spans((0, 90)), spans((0, 40), (50, 90)), 1, 0),
)


def test_what_nobody_showed_was_not_recorded_and_what_was_doubted_is_lost() -> None:
    known = seen(BOOK, spans((0, 60), (80, 90)), spans((20, 22), (95, 96)))
    assert known.lost.tolist() == spans((20, 22), (40, 50)).tolist()
    # Between the two recordings that answer, but for the second on each side of which nothing can be said.
    assert known.absent(RANGE).tolist() == spans((61, 79), (90, 100)).tolist()
    assert known.gaps == 1


def test_the_ends_of_a_recording_are_not_called_missing_for_the_clocks_sake() -> None:
    known = seen(BOOK, spans((0.2, 89.7)), spans())
    assert known.absent(RANGE).tolist() == spans((90, 100)).tolist()
    assert known.lost.tolist() == spans((40, 50)).tolist()
