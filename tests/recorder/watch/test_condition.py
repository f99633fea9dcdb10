"""In what condition a recorder is, and since when what is in trouble."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.housekeeping import Kept
from recorder.retention import Refusal
from recorder.watch.condition import (
    Beat,
    Condition,
    Trouble,
    Troubles,
    condition,
    condition_since_ns,
    is_believable,
)
from recorder.watch.look import Look, Told
from tests.recorder.watch.statuses import NOW, SECOND, feed, line, live, look, told

RESTARTING = {"collector": "linear", "state": "restarting", "restarts": 3, "code": 4, "words": "disk full"}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (told(), Condition.RECORDING),
        (told(live(written_ns=NOW - 5 * SECOND)), Condition.RECORDING),
        (told(live(written_ns=NOW - 6 * SECOND)), Condition.MUTE),
        (told(live(written_ns=NOW - 20 * SECOND, pressure={"level": "spare"})), Condition.RECORDING),
        (told(live(written_ns=NOW - 20 * SECOND, paused=True)), Condition.PAUSED),
        (told(live(written_ns=NOW - 26 * SECOND, paused=True)), Condition.MUTE),
        (told(held=False), Condition.DEAD),
        (told(live(running=False), held=False), Condition.STOPPED),
        (Told("linear", None, False), Condition.STOPPED),
        (Told("linear", None, True), Condition.STARTING),
        (told(live(running=False)), Condition.STARTING),
        (told()._replace(holder=78), Condition.STARTING),  # what stands there is the last one's
        (told(held=False, supervised=RESTARTING), Condition.RESTARTING),
        (told(held=False, supervised=RESTARTING | {"state": "failed"}), Condition.FAILED),
        (told(supervised=RESTARTING), Condition.RECORDING),
    ],
)
def test_conditions(one: Told, expected: Condition) -> None:
    found = condition(one, NOW)
    assert found is expected
    assert is_believable(found) == (expected in (Condition.RECORDING, Condition.PAUSED))


def test_a_heart_that_stands_still_is_noticed_before_the_status_is_old() -> None:
    assert condition(told(), NOW, Beat(SECOND, SECOND)) is Condition.RECORDING
    assert condition(told(), NOW, Beat(SECOND + 1, SECOND)) is Condition.MUTE
    stopped = {"linear": Beat(2 * SECOND, SECOND)}
    (found,) = Troubles().update(
        look(told(live(written_ns=NOW - 3 * SECOND))), {"linear": Condition.MUTE}, stopped
    )
    assert (found.kind, found.since_ns) == ("mute", NOW - 2 * SECOND)
    assert "nothing for 2.0 s" in found.words


def test_since_when() -> None:
    assert condition_since_ns(told(), Condition.RECORDING) == NOW - 3600 * SECOND
    assert condition_since_ns(told(), Condition.DEAD) == NOW
    assert condition_since_ns(told(), Condition.STARTING) is None
    assert condition_since_ns(Told("x", None, False), Condition.STOPPED) is None


def troubles(tracker: Troubles, seen: Look) -> list[Trouble]:
    return tracker.update(seen, {one.collector: condition(one, seen.now_ns) for one in seen.collectors})


def only(seen: Look) -> Trouble:
    (found,) = troubles(Troubles(), seen)
    return found


def test_all_is_well() -> None:
    assert troubles(Troubles(), look()) == []


@pytest.mark.parametrize(
    ("status", "kind", "since_ns"),
    [
        (
            live(
                feed("a.X", "stale", gap={"cause": "lost", "since_ns": NOW - 9 * SECOND}),
                feed("a.Y", "stale", gap={"cause": "lost", "since_ns": NOW - 8 * SECOND}),
                feed("a.Z"),
            ),
            "stale",
            NOW - 9 * SECOND,
        ),
        (
            live(lines=[line(0), line(1, connected=False, changed_ns=NOW - 4 * SECOND)]),
            "lines",
            NOW - 4 * SECOND,
        ),
        (live(lines=[line(0), line(1, connected=False, changed_ns=None)]), "lines", NOW - 3600 * SECOND),
        (live(feed("a.X", last_receive_ns=NOW - 200 * SECOND)), "silent", NOW - 200 * SECOND),
        (live(written_ns=NOW - 30 * SECOND), "mute", NOW - 30 * SECOND),
    ],
)
def test_what_tells_since_when_is_believed(status: dict[str, Any], kind: str, since_ns: int) -> None:
    found = only(look(told(status)))
    assert (found.collector, found.kind, found.since_ns, found.before) == ("linear", kind, since_ns, False)


def test_the_dead_and_the_restarting() -> None:
    death = only(look(told(live(written_ns=NOW - 7 * SECOND), held=False)))
    assert (death.collector, death.kind, death.since_ns) == ("linear", "died", NOW - 7 * SECOND)
    assert only(look(told(live(running=False), held=False))).words == "nothing is recording"
    again = troubles(Troubles(), look(told(held=False, supervised=RESTARTING), told(name="spot")))
    assert [each.words for each in again] == [
        "it ended with 4 (disk full), and the supervisor starts it again"
    ]
    assert troubles(Troubles(), look(told(live(running=False), held=False), told(name="spot"))) == []


def test_what_does_not_tell_counts_from_when_it_was_seen() -> None:
    tracker = Troubles()
    wrong = told(live(clock={"offset_ns": 700_000_000}))
    (first,) = troubles(tracker, look(wrong))
    assert (first.since_ns, first.before) == (NOW, True)
    later = wrong._replace(live=live(clock={"offset_ns": 800_000_000}, written_ns=NOW + 9 * SECOND))
    (still,) = troubles(tracker, look(later, now_ns=NOW + 9 * SECOND))
    assert (still.since_ns, still.before) == (NOW, True)
    assert "800 ms" in still.words
    well = told(live(written_ns=NOW + 20 * SECOND))
    assert troubles(tracker, look(well, now_ns=NOW + 20 * SECOND)) == []
    anew = wrong._replace(live=live(clock={"offset_ns": 700_000_000}, written_ns=NOW + 30 * SECOND))
    (again,) = troubles(tracker, look(anew, now_ns=NOW + 30 * SECOND))
    assert (again.since_ns, again.before) == (NOW + 30 * SECOND, False)


def test_a_start_that_takes_long_is_a_trouble_and_one_that_does_not_is_none() -> None:
    tracker = Troubles()
    starting = told(live(running=False))
    assert troubles(tracker, look(starting)) == []
    assert troubles(tracker, look(starting, now_ns=NOW + 59 * SECOND)) == []
    (found,) = troubles(tracker, look(starting, now_ns=NOW + 60 * SECOND))
    assert (found.kind, found.since_ns) == ("starting", NOW)
    assert troubles(tracker, look(told(live(written_ns=NOW + 61 * SECOND)), now_ns=NOW + 61 * SECOND)) == []


def test_the_gravest_come_first() -> None:
    many = live(
        feed("a.X", "stale", gap={"cause": "lost", "since_ns": NOW}),
        feed("a.Y", refused="no such symbol"),
        lines=[line(0), line(1, connected=False)],
        clock={"offset_ns": 700_000_000},
    )
    found = troubles(Troubles(), look(told(many), told(name="spot", held=False)))
    assert [each.kind for each in found] == ["died", "lines", "stale", "refused", "clock"]


def test_the_disk_and_the_housekeeping() -> None:
    assert only(look(free_bytes=1000 * 86_400)).words == "the disk is full in 24 h at the present rate"
    assert troubles(Troubles(), look(free_bytes=3 * 1000 * 86_400)) == []
    kept = Kept(time_ns=NOW, refused={"linear/5": Refusal("not proved", NOW)}, not_uploaded="no such bucket")
    assert [(each.collector, each.kind) for each in troubles(Troubles(), look(kept=kept))] == [
        ("linear", "stuck"),
        ("", "upload"),
    ]
