"""When an archive has every trade of a symbol: recorded by somebody, and in no gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from schemas.names import Category

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["UNDER_WAY_MS", "Span", "joined", "recorded_spans", "trusted_spans", "without"]

UNDER_WAY_MS: Final = 1_000
"""Trades matched so shortly before a recording ended may have been under way still."""

# Gaps whose trades were fetched back cost nothing. Coverage and the moments that a gap has by our clock alone stand for
# match times: what is received from a moment on was matched from then on, but for what was under way. Trades of the
# millisecond in which a gap ends may be lost too. A frame too damaged to tell its topic may have been anybody's trades.
_SPANS: Final = f"""
SELECT
    collector,
    true AS recorded,
    epoch_ms(start_time::TIMESTAMPTZ) AS start_ms,
    epoch_ms(end_time::TIMESTAMPTZ) - {UNDER_WAY_MS} AS end_ms
FROM coverage
WHERE category = $1 AND symbol IN ($2, $3) AND topic = $4
UNION ALL
SELECT
    collector,
    false AS recorded,
    coalesce(epoch_ms(start_match_time), epoch_ms(start_time::TIMESTAMPTZ) - {UNDER_WAY_MS}),
    coalesce(epoch_ms(end_match_time), epoch_ms(end_time::TIMESTAMPTZ)) + 1
FROM gaps
WHERE category = $1 AND symbol IN ($2, $3, '_') AND topic IN ($4, '') AND healed_by IS DISTINCT FROM 'backfill'
"""


class Span(NamedTuple):
    """A span of match time in milliseconds, the end not included."""

    start_ms: int
    end_ms: int


def trusted_spans(archive: Archive, category: str, symbol: str) -> list[Span]:
    """Return the spans in which no trade of a symbol can be missing, in order; they are read once per archive."""
    return _spans(archive, category, symbol).trusted


def recorded_spans(archive: Archive, category: str, symbol: str) -> list[Span]:
    """Return the spans in which anybody recorded a symbol's trades, gaps or not, in order; they are read but once."""
    return _spans(archive, category, symbol).recorded


class _Spans(NamedTuple):
    recorded: list[Span]
    trusted: list[Span]


def _spans(archive: Archive, category: str, symbol: str) -> _Spans:
    known = _KNOWN.setdefault(archive, {})
    spans = known.get((category, symbol))
    if spans is None:
        feed = symbol.partition("-")[0] if category == Category.OPTION else symbol
        rows = archive.sql(_SPANS, [category, symbol, feed, f"publicTrade.{feed}"]).table().to_pylist()
        recorded: dict[str, list[Span]] = {}
        lost: dict[str, list[Span]] = {}
        for row in rows:
            end_ms = 2**62 if row["end_ms"] is None else row["end_ms"]
            of_kind = recorded if row["recorded"] else lost
            of_kind.setdefault(row["collector"], []).append(Span(row["start_ms"], end_ms))
        spans = _Spans(
            joined([Span(start, end + UNDER_WAY_MS) for its in recorded.values() for start, end in its]),
            joined(
                [
                    span
                    for each, its in recorded.items()
                    for span in without(joined(its), joined(lost.get(each, [])))
                ]
            ),
        )
        known[category, symbol] = spans
    return spans


_KNOWN: Final[WeakKeyDictionary[Archive, dict[tuple[str, str], _Spans]]] = WeakKeyDictionary()


def joined(spans: list[Span]) -> list[Span]:
    """Return what spans cover together, in order, none touching the next."""
    out: list[Span] = []
    for span in sorted(spans):
        if span.start_ms >= span.end_ms:
            continue
        if out and span.start_ms <= out[-1].end_ms:
            out[-1] = Span(out[-1].start_ms, max(out[-1].end_ms, span.end_ms))
        else:
            out.append(span)
    return out


def without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """Return what joined spans cover outside of joined holes."""
    out: list[Span] = []
    for start_ms, end_ms in spans:
        at = start_ms
        for hole in holes:
            if hole.end_ms <= at or hole.start_ms >= end_ms:
                continue
            if hole.start_ms > at:
                out.append(Span(at, hole.start_ms))
            at = hole.end_ms
        if at < end_ms:
            out.append(Span(at, end_ms))
    return out
