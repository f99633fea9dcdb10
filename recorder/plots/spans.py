"""Sets of time as arrays: what was recorded, what can be trusted, and how much of either a bucket holds. Pure.

A set is an int64 array of shape (n, 2): spans from (included) to (not included) in nanoseconds, in order, none of them
empty and no two of them touching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "NOTHING",
    "Bools",
    "Doubles",
    "Ints",
    "Spans",
    "cells",
    "inside",
    "intersect",
    "overlap",
    "subtract",
    "total",
    "union",
]

Ints: TypeAlias = npt.NDArray[np.int64]
Spans: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

NOTHING: Final[Spans] = np.empty((0, 2), np.int64)


def union(spans: Iterable[tuple[int, int]] | Spans) -> Spans:
    """Return the set of these spans, which may lie in any order and overlap; empty ones are ignored."""
    given = np.asarray(spans if isinstance(spans, np.ndarray) else list(spans), np.int64).reshape(-1, 2)
    given = given[given[:, 0] < given[:, 1]]
    if not len(given):
        return NOTHING
    given = given[np.argsort(given[:, 0], kind="stable")]
    reached = np.maximum.accumulate(given[:, 1])
    begins = np.concatenate([[True], given[1:, 0] > reached[:-1]])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(given)) - 1
    return np.column_stack([given[first, 0], reached[last]])


def intersect(one: Spans, other: Spans) -> Spans:
    """Return what is in both sets."""
    return _where(one, other, lambda in_one, in_other: in_one & in_other)


def subtract(one: Spans, other: Spans) -> Spans:
    """Return what is in the first set and not in the second."""
    return _where(one, other, lambda in_one, in_other: in_one & ~in_other)


def total(spans: Spans) -> int:
    """Return how long the set is."""
    return int((spans[:, 1] - spans[:, 0]).sum())


def overlap(spans: Spans, edges: Ints) -> Ints:
    """Return how much of the set lies in each bucket between two neighbouring edges."""
    if not len(spans):
        return np.zeros(len(edges) - 1, np.int64)
    before = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])
    index = np.searchsorted(spans[:, 0], edges, "right")
    ahead = np.where(index > 0, np.maximum(spans[index - 1, 1] - edges, 0), 0)
    return np.diff(before[index] - ahead)


def cells(spans: Spans, edges: Ints) -> tuple[Ints, Spans]:
    """Cut a set at the edges of buckets.

    Returns:
        The bucket of each piece, and the pieces, in order: neighbours touch where the set goes on.
    """
    if not len(spans):
        return np.empty(0, np.int64), NOTHING
    cuts = np.unique(np.concatenate([edges, spans.ravel()]))
    pieces = np.column_stack([cuts[:-1], cuts[1:]])
    pieces = pieces[inside(spans, pieces[:, 0]) & (pieces[:, 0] >= edges[0]) & (pieces[:, 0] < edges[-1])]
    return np.searchsorted(edges, pieces[:, 0], "right") - 1, pieces


def inside(spans: Spans, moments: Ints) -> Bools:
    """Whether each moment is in the set."""
    if not len(spans):
        return np.zeros(len(moments), np.bool_)
    index = np.searchsorted(spans[:, 0], moments, "right") - 1
    found: Bools = (index >= 0) & (moments < spans[index, 1])
    return found


def _where(one: Spans, other: Spans, keep: Callable[[Bools, Bools], Bools]) -> Spans:
    cuts = np.unique(np.concatenate([one.ravel(), other.ravel()]))
    if len(cuts) < 2:
        return NOTHING
    starts = cuts[:-1]
    kept = keep(inside(one, starts), inside(other, starts))
    return union(np.column_stack([starts, cuts[1:]])[kept])
