from __future__ import annotations

from typing import Any

import pytest

from engine.venue import Refusal
from recorder.gateway.trading.disconnects import Disconnects
from schemas.names import Category


def test_the_window_begins_when_the_last_one_is_gone() -> None:
    dcp = Disconnects()
    dcp.set_window("1", "DERIVATIVES", 5)
    dcp.joined("1", ["dcp.future", "order"])
    dcp.joined("1", ["dcp.future"])
    dcp.left("1", ["dcp.future"], 1_000)
    assert dcp.due(100_000) == []
    dcp.left("1", ["dcp.future", "order"], 2_000)
    assert dcp.due(6_999) == []
    assert dcp.due(7_000) == [("1", (Category.LINEAR, Category.INVERSE))]
    assert dcp.due(9_000) == []  # once


def test_coming_back_in_time_ends_it() -> None:
    dcp = Disconnects()
    dcp.joined("1", ["dcp.spot"])
    dcp.left("1", ["dcp.spot"], 0)
    dcp.joined("1", ["dcp.spot"])
    assert dcp.due(50_000) == []
    dcp.left("1", ["dcp.spot"], 60_000)
    assert dcp.due(69_999) == []
    assert dcp.due(70_000) == [("1", (Category.SPOT,))]


def test_who_never_protected_triggers_nothing() -> None:
    dcp = Disconnects()
    dcp.joined("1", ["order", "wallet"])
    dcp.left("1", ["order", "wallet", "dcp.option"], 0)
    assert dcp.due(10**9) == []


@pytest.mark.parametrize(
    ("product", "seconds"),
    [("SPOT", 2), ("SPOT", 301), ("SPOT", "10"), ("SPOT", True), ("SPOT", None), ("spot", 10)],
)
def test_windows_that_do_not_exist(product: str, seconds: Any) -> None:
    with pytest.raises(Refusal):
        Disconnects().set_window("1", product, seconds)
