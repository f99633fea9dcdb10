"""The benchmark of the journal: a short run of every policy."""

from __future__ import annotations

import json

import pytest

from benchmarks.feed import feed_of
from benchmarks.journal import POLICIES, journal
from benchmarks.market import generated_feed


def test_a_short_run() -> None:
    result = journal(feed_of(*generated_feed(500)), 2_000, 0.3)
    assert json.dumps(result)
    assert list(result["policies"]) == [policy.name for policy in POLICIES]
    for name, found in result["policies"].items():
        assert found["microseconds_per_frame"] > 0, name
        assert found["bytes_per_frame"] > result["feed"]["bytes_per_frame"], name
    syncs = {name: found["fsyncs_per_second"] for name, found in result["policies"].items()}
    assert syncs["fsync commit, commits of 10 ms"] > syncs["fsync never, commits of 10 ms"]
    for level, found in result["recompressed"].items():
        before, after = found["bytes_per_frame"]
        assert after < before / 2, level
    assert len(result["recompressed"]) == 3


@pytest.mark.parametrize("policy", POLICIES)
def test_names_tell_policies_apart(policy: object) -> None:
    assert sum(each.name == policy.name for each in POLICIES) == 1  # type: ignore[attr-defined]
