"""Rules for every test: what runs slowly runs nightly, and how hard the property tests try."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# Machines that run the tests are shared: an example that takes long there says nothing about the code.
# Explaining a failure takes minutes where a run is long; shrinking it is enough.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
settings.register_profile("default", deadline=None, phases=PHASES)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=40,
    derandomize=True,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session", autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What collectors tell each other stays among those of this run, those in processes of their own included."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that is run in this process says what is logged from there on; the next test must not feel it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    asyncio_level = logging.getLogger("asyncio").level
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.getLogger("asyncio").setLevel(asyncio_level)


@pytest.fixture(scope="session")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording that pages of docs/ are about; nobody writes into it."""
    from tests.simulated import record_evening

    data = tmp_path_factory.mktemp("evening") / "data"
    record_evening(data)
    return data


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked slow unless this is the nightly run."""
    if os.environ.get("TAPEBOOK_NIGHTLY") == "1":
        return
    skip = pytest.mark.skip(reason="slow: runs when TAPEBOOK_NIGHTLY=1 is set")
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(skip)
