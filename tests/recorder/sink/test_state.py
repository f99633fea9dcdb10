from __future__ import annotations

from pathlib import Path

import pytest

from recorder.sink.messages import Place
from recorder.sink.state import SinkState, load_state, only_sink, save_state
from schemas.errors import ConfigError, StoreError


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert load_state(tmp_path, "nats", "linear") is None
    with only_sink(tmp_path, "nats"):
        state = SinkState(collector="linear", prefix="p", place=Place(5, 6, 0, 2), sent=7, removed=3, torn=1)
        save_state(tmp_path, "nats", state)
        assert load_state(tmp_path, "nats", "linear") == state
        assert state.missing == 4
        assert load_state(tmp_path, "other", "linear") is None
        assert sorted(path.name for path in (tmp_path / "nats" / "nats").iterdir()) == ["linear.json", "lock"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"collector":"other","prefix":""}',
        b'{"collector":"linear","prefix":"","version":2}',
    ],
)
def test_what_is_no_state_is_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nats" / "nats" / "linear.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"linear\.json: .*--from"):
        load_state(tmp_path, "nats", "linear")


def test_one_sink_of_a_name(tmp_path: Path) -> None:
    with (
        only_sink(tmp_path, "nats"),
        only_sink(tmp_path, "other"),
        pytest.raises(ConfigError, match="'nats' is at work there already"),
        only_sink(tmp_path, "nats"),
    ):
        pytest.fail("it was let in")
    with only_sink(tmp_path, "nats"):
        pass


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "nats").write_text("a file")
    with pytest.raises(StoreError), only_sink(tmp_path, "nats"):
        pytest.fail("it was let in")
    with pytest.raises(StoreError, match="cannot be written"):
        save_state(tmp_path, "nats", SinkState(collector="linear", prefix="p"))
    with pytest.raises(StoreError, match="cannot be read"):
        load_state(tmp_path, "nats", "linear")
