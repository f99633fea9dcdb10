"""When a gap makes a feed's last good book stale: one rule for books at a moment and for whole ranges of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recorder.feed_rows import NO_MOMENT, Clock, FeedGap

__all__ = ["Prefix", "stale_after"]


class Prefix(NamedTuple):
    """A run of a feed's rows, from the first one on, as far as gaps are concerned.

    Attributes:
        times: the clocks of the last row that the book took.
        last_receive_ns: when the last row was received, be it one that the book could not take.
        next_receive_ns: when the first row behind the run was received; None where there is none.
        is_followed: whether a later update that the book could not take comes behind the last one that it took.
    """

    times: Mapping[Clock, int]
    last_receive_ns: int
    next_receive_ns: int | None
    is_followed: bool


def stale_after(gap: FeedGap, prefix: Prefix, clock: Clock) -> int | None:
    """Return the moment on the clock behind which the gap makes the book of a prefix stale.

    ``NO_MOMENT``: it is stale whatever the moment; None: the gap lies elsewhere.
    """
    receive_ns, match_ns = prefix.times[Clock.RECEIVE], prefix.times[Clock.MATCH]
    # Earlier gaps were healed by the last good row or before it, later ones begin behind the next row.
    if gap.start_ns < receive_ns:
        return None
    # What healed a gap may have come in the same read as what broke the feed: then its match time tells.
    if (
        gap.end_ns is not None
        and gap.end_ns <= receive_ns
        and (gap.end_match_ns is None or gap.end_match_ns <= match_ns)
    ):
        return None
    following_ns = prefix.next_receive_ns
    if following_ns is not None and (
        gap.start_ns > following_ns
        # Frames of one read share a stamp: then the match time tells behind which of them the gap begins.
        or (gap.start_ns == following_ns and gap.start_match_ns != match_ns and not gap.names_no_topic)
    ):
        return None
    # A row that the gap kept from the book may carry the very times of the last good one.
    if prefix.last_receive_ns > gap.start_ns or prefix.is_followed:
        return NO_MOMENT
    if gap.names_no_topic:  # what it brought may be as old as the last good row
        return prefix.times[clock]
    if clock is Clock.MATCH and gap.start_match_ns is not None:
        return gap.start_match_ns
    return prefix.times[clock] + gap.start_ns - receive_ns
