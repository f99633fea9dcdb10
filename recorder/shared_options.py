"""Options that several commands have: told once, as the fields of what they come to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["with_options"]

P = ParamSpec("P")
T = TypeVar("T")


def with_options(
    make: Callable[..., T],
) -> Callable[[Callable[Concatenate[T, P], None]], Callable[..., None]]:
    """Return a decorator for commands whose first argument is made of the options of ``make``.

    The command gets these behind its own arguments and options.

    Args:
        make: a dataclass, or a function, whose parameters are annotated as typer wants it.
    """
    shared = inspect.signature(make, eval_str=True).parameters

    def decorate(command: Callable[Concatenate[T, P], None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())[1:]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            made = make(**{name: given.pop(name) for name in shared})
            command(made, **given)  # type: ignore[call-arg]

        keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared.values())]
        run.__signature__ = signature.replace(parameters=keyword)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in keyword} | {"return": None}
        return run

    return decorate
