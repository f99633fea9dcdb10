"""Random fault schedules: a few here, a thousand by night."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.schedules import command_of, draw, run_schedules

NIGHTLY = 1_000
TOGETHER = 4


def run(seeds: range, directory: Path) -> None:
    failures, faults, inconclusive = [], Counter[str](), 0
    for start in range(seeds.start, seeds.stop, TOGETHER):
        for verdict in run_schedules(range(start, min(start + TOGETHER, seeds.stop)), directory):
            faults += verdict.judged.faults
            inconclusive += verdict.inconclusive
            if verdict.failure and not verdict.inconclusive:
                failures.append(
                    f"{draw(verdict.seed)}\n{verdict.failure}\nagain: {command_of(verdict.seed)}\n"
                )
    assert not failures, "\n".join(failures)
    assert inconclusive <= len(seeds) // 2, (
        f"the machine stalls: {inconclusive} of {len(seeds)} schedules say nothing"
    )
    assert len(faults) > 8, f"too few kinds of faults: {faults}"


def test_recordings_under_random_faults_are_what_the_ledger_says(tmp_path: Path) -> None:
    seeds = range(4, 16)  # some of each kind
    assert {(schedule.lines, schedule.tls) for schedule in map(draw, seeds)} == {
        (1, False),
        (1, True),
        (2, False),
        (2, True),
    }
    run(seeds, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_a_thousand_of_them(tmp_path: Path) -> None:
    run(range(NIGHTLY), tmp_path)


def test_a_seed_means_the_same_schedule_for_ever() -> None:
    assert draw(4711) == draw(4711)
    assert len({draw(seed) for seed in range(50)}) == 50
