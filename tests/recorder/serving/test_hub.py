"""What goes to whom: made once, never queued, nobody waits for anybody."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from recorder.serving.hub import MOST_CHANNELS, NEVER, WINDOW, Hub, Listener


class Numbers:
    """A channel of numbers that only grows; a message says which came since."""

    def __init__(self) -> None:
        self.version = 0
        self.encoded: list[int] = []

    def encode(self, since: int) -> bytes:
        self.encoded.append(since)
        return json.dumps(list(range(since + 1, self.version + 1))).encode()


def _hub(*names: str) -> tuple[Hub, dict[str, Numbers]]:
    hub = Hub()
    channels = {name: Numbers() for name in names}
    hub.channels.update(channels)
    return hub, channels


def _joined(hub: Hub, *names: str) -> Listener:
    listener = Listener()
    hub.listeners.add(listener)
    listener.listen(names)
    return listener


def test_everything_first_and_then_what_changed() -> None:
    hub, channels = _hub("a")
    channels["a"].version = 2
    listener = _joined(hub, "a")
    assert [json.loads(each) for each in hub.due(listener)] == [[0, 1, 2]]
    assert list(hub.due(listener)) == []
    channels["a"].version = 5
    assert [json.loads(each) for each in hub.due(listener)] == [[3, 4, 5]]
    assert channels["a"].encoded == [NEVER, 2]


def test_a_message_is_made_once_for_all_who_are_as_far() -> None:
    hub, channels = _hub("a")
    listeners = [_joined(hub, "a") for _ in range(50)]
    for version in range(1, 6):
        channels["a"].version = version
        for listener in listeners:
            list(hub.due(listener))
            listener.has_seen(listener.sent)
    assert channels["a"].encoded == [NEVER, 1, 2, 3, 4]
    assert (hub.made, hub.given) == (5, 250)


def test_who_shows_nothing_is_sent_nothing_more_and_catches_up_with_one_message() -> None:
    hub, channels = _hub("a")
    slow, fast = _joined(hub, "a"), _joined(hub, "a")
    for version in range(1, 101):
        channels["a"].version = version
        list(hub.due(slow))
        list(hub.due(fast))
        fast.has_seen(fast.sent)
    assert (slow.sent, fast.sent) == (WINDOW, 100)
    assert not slow.is_ready
    slow.has_seen(slow.sent)
    assert [json.loads(each) for each in hub.due(slow)] == [list(range(WINDOW + 1, 101))]


def test_nobody_can_say_that_he_has_seen_more_than_he_was_sent() -> None:
    hub, channels = _hub("a")
    listener = _joined(hub, "a")
    listener.has_seen(10**9)
    assert listener.seen == 0
    for version in range(1, 100):
        channels["a"].version = version
        list(hub.due(listener))
    assert listener.sent == WINDOW
    listener.has_seen(3)
    listener.has_seen(-5)
    assert listener.seen == 3


def test_only_what_is_listened_to_is_wanted() -> None:
    hub, channels = _hub("a", "b", "c")
    listener = _joined(hub, "a", "b")
    assert hub.wanted() == {"a", "b"}
    channels["a"].version = channels["b"].version = channels["c"].version = 1
    assert len(list(hub.due(listener))) == 2
    listener.listen(["b", "c", "gone"])
    assert [json.loads(each) for each in hub.due(listener)] == [[0, 1]]
    listener.seen = listener.sent - WINDOW
    assert hub.wanted() == set()
    assert hub.listened() == {"b", "c", "gone"}
    listener.listen(map(str, range(100)))
    assert len(listener.channels) == MOST_CHANNELS


def test_a_channel_that_went_and_came_back_begins_anew() -> None:
    hub, channels = _hub("a")
    channels["a"].version = 3
    one = _joined(hub, "a")
    list(hub.due(one))
    hub.drop("a")
    assert list(hub.due(one)) == []
    hub.channels["a"] = Numbers()
    hub.channels["a"].version = 3  # type: ignore[misc]
    other = _joined(hub, "a")
    assert [json.loads(each) for each in hub.due(other)] == [[0, 1, 2, 3]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["change", "send", "seen"]), st.integers(0, 2), st.integers(1, 12)),
        max_size=120,
    )
)
def test_whoever_is_how_slow_misses_nothing_and_gets_nothing_twice(steps: list[tuple[str, int, int]]) -> None:
    hub, channels = _hub("a", "b")
    listeners = [_joined(hub, "a", "b") for _ in range(3)]
    got: list[list[int]] = [[] for _ in listeners]

    def send(at: int) -> None:
        got[at].extend(number for message in hub.due(listeners[at]) for number in json.loads(message))
        assert listeners[at].sent - listeners[at].seen <= WINDOW

    for what, at, amount in steps:
        if what == "change":
            channels["ab"[at % 2]].version += amount
        elif what == "send":
            send(at)
        else:
            listeners[at].has_seen(listeners[at].seen + amount)
    for at, listener in enumerate(listeners):
        listener.has_seen(listener.sent)
        send(at)
        every = sorted(number for channel in channels.values() for number in range(channel.version + 1))
        assert sorted(got[at]) == every
