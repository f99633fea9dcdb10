from __future__ import annotations

import pytest

from execution.desk.codes import is_gone, leaves_open, may_retry


@pytest.mark.parametrize("code", [10000, 10016, 170007, 170146])
def test_codes_after_which_it_may_have_happened(code: int) -> None:
    assert leaves_open(code, is_create=True)
    assert leaves_open(code, is_create=False)


@pytest.mark.parametrize("code", [110072, 170141])
def test_a_duplicate_name_is_our_own_order(code: int) -> None:
    assert leaves_open(code, is_create=True)
    assert not leaves_open(code, is_create=False)


@pytest.mark.parametrize("code", [0, 10001, 10002, 10004, 10006, 10019, 10429, 110007, 110094, 170131])
def test_refusals_are_refusals(code: int) -> None:
    assert not leaves_open(code, is_create=True)


def test_what_may_be_tried_again() -> None:
    """Section 10: 429, 10000, 10002, 10006, 10016, 10429, and a restarting service on another connection."""
    assert all(map(may_retry, (10000, 10002, 10006, 10016, 10019, 10429)))
    assert not any(map(may_retry, (10001, 10003, 10004, 10005, 110007, 110072)))


def test_codes_of_orders_that_are_over() -> None:
    assert all(map(is_gone, (110001, 110008, 110010, 170213, 170142, 170139)))
    assert not is_gone(110079), "busy is not over"
