"""What sinks have written of themselves, as ``tapebook status`` tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.sink.messages import Place
from recorder.sink.state import SinkState, only_sink, save_state, sink_directory
from recorder.sink.told import told_sinks
from recorder.status import data_status
from recorder.status_text import print_status, print_troubles
from schemas.time import format_ns
from tests.recorder.recordings import START_NS, record_day

SECOND = 10**9


def state(**changes: object) -> SinkState:
    fields = {"prefix": "p", "place": Place(5, 1234, 0, 2), "receive_ns": START_NS, "sent": 7} | changes
    return SinkState(collector="linear", **fields)  # type: ignore[arg-type]


def shown(data: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_status(data_status(data, now_ns=START_NS), now_ns=START_NS + 90 * SECOND)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("  sink ")]


def test_where_there_is_none_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told_sinks(tmp_path) == {}
    record_day(tmp_path)
    assert shown(tmp_path, capsys) == []
    assert data_status(tmp_path)["collectors"][0]["sinks"] == []


def test_each_sink_by_its_name_at_work_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_day(tmp_path)
    save_state(tmp_path, "b", state(behind_bytes=5 << 20, behind_s=2.5, connected=True, stream="S"))
    save_state(tmp_path, "a", state(place=None, receive_ns=0, removed=3, trouble="the server is away"))
    with only_sink(tmp_path, "b"):
        (first, second) = data_status(tmp_path)["collectors"][0]["sinks"]
        assert (first["sink"], first["running"], first["sequence"], first["receive_time"]) == (
            "a",
            False,
            None,
            None,
        )
        assert (first["behind_bytes"], first["trouble"]) == (None, "")
        assert second == {
            "sink": "b", "running": True, "connected": True, "stream": "S", "sequence": 1234,
            "receive_time": format_ns(START_NS), "sent": 7, "acknowledged": 0, "missing": 0,
            "behind_bytes": 5 << 20, "behind_s": 2.5, "updated_time": None, "trouble": "",
        }  # fmt: skip
        assert shown(tmp_path, capsys) == [
            "  sink      a: nothing sent yet; not at work; 3 sequences missing",
            "  sink      b: sent up to sequence 1,234, received 90.0 s ago; behind by 5.0 MiB of journal, 2.5 s",
        ]
        save_state(tmp_path, "b", state())
        assert shown(tmp_path, capsys)[1].endswith("; nothing waits")
    (_, second) = data_status(tmp_path)["collectors"][0]["sinks"]
    assert (second["running"], second["connected"], second["behind_s"]) == (False, False, None)


def test_one_that_cannot_send_is_a_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_day(tmp_path)
    save_state(tmp_path, "nats", state(trouble="the server is away"))
    assert data_status(tmp_path)["collectors"][0]["troubles"] == []  # it was stopped
    with only_sink(tmp_path, "nats"):
        assert print_troubles(data_status(tmp_path), json=False) == 1
    assert "linear: sink 'nats': the server is away\n" in capsys.readouterr().out


def test_what_is_no_state_is_passed_over(tmp_path: Path) -> None:
    directory = sink_directory(tmp_path, "nats")
    directory.mkdir(parents=True)
    for name, content in {"a": b"", "b": b"[]", "c": b'{"collector":1}', "d": b" " * (2 << 20)}.items():
        (directory / f"{name}.json").write_bytes(content)
    (tmp_path / "nats" / "file").touch()
    assert told_sinks(tmp_path) == {}
