from __future__ import annotations

from decimal import Context, Decimal, getcontext, localcontext

from execution.reckoning import RECKONING, own_context


def test_a_task_reckons_in_a_context_of_its_own() -> None:
    with localcontext(Context(prec=3)):
        assert own_context().run(lambda: Decimal("1.2345") + 1) == Decimal("2.2345")
        assert getcontext().prec == 3
        own_context().run(lambda: setattr(getcontext(), "prec", 5))
    assert RECKONING.prec == 28
    assert own_context().run(getcontext) is not RECKONING


def test_it_is_pythons_own() -> None:
    own, python = RECKONING, Context()
    assert (own.prec, own.rounding, own.traps) == (python.prec, python.rounding, python.traps)
