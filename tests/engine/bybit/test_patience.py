import pytest

from engine.bybit.patience import FirstData, Heartbeat, SessionOptions


@pytest.mark.parametrize("name", SessionOptions.__struct_fields__)
def test_options_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SessionOptions(**{name: 0})


def test_silence_must_be_longer_than_the_ping_interval() -> None:
    with pytest.raises(ValueError, match="must exceed"):
        SessionOptions(ping_interval_ns=100, silence_timeout_ns=100)


def test_round_trip_by_id_by_order_or_unknown() -> None:
    heartbeat = Heartbeat(SessionOptions())
    heartbeat.pinged("p1", 10)
    assert heartbeat.ponged("", 25) == 15
    heartbeat.pinged("p2", 30)
    heartbeat.pinged("p3", 40)
    assert heartbeat.ponged("p3", 45) == 5
    assert heartbeat.pings_open == 0
    heartbeat.pinged("p4", 50)
    heartbeat.pinged("p5", 60)
    assert heartbeat.ponged("", 65) is None
    heartbeat.pinged("p6", 70)
    assert heartbeat.ponged("p6", 60) == 0


def test_timers_of_an_earlier_subscription_do_not_count() -> None:
    first = FirstData(100)
    first.expect("a")
    first.arm("a", 0)
    first.forget("a")
    first.expect("a")
    assert first.deadline_ns() is None
    first.arm("a", 50)
    assert first.silent(149) == []
    assert first.silent(150) == ["a"]
    assert first.silent(1_000) == []


def test_a_topic_whose_data_came_first_gets_no_timer() -> None:
    first = FirstData(100)
    first.expect("a")
    first.awaiting.discard("a")
    first.arm("a", 0)
    assert first.deadline_ns() is None
