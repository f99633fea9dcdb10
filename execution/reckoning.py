"""The decimal context in which a client reckons: Python's own, whatever a strategy has set for itself."""

from __future__ import annotations

import contextvars
from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation, Overflow, setcontext
from typing import Final

__all__ = ["RECKONING", "own_context"]

RECKONING: Final = Context(
    prec=28, rounding=ROUND_HALF_EVEN, capitals=1, traps=[InvalidOperation, DivisionByZero, Overflow]
)
"""For ``localcontext``, which takes a copy."""


def own_context() -> contextvars.Context:
    """The present context with `RECKONING`, for tasks: what they are called back with inherits it."""
    context = contextvars.copy_context()
    context.run(setcontext, RECKONING.copy())
    return context
