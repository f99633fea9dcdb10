"""Row groups of several sizes: smaller ones are read less of, and take more room."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks import __main__ as command
from benchmarks import ranges


def test_what_is_read_grows_with_the_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "ROWS", (200, 2_000))
    assert command.main(["ranges", "--frames", "3000"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    small, large = found["row_groups"]["200"], found["row_groups"]["2000"]
    assert small["bytes_per_row"] > large["bytes_per_row"] > 0
    assert small["seconds_per_group"] < large["seconds_per_group"]
    assert small["footer_of_a_day"] > large["footer_of_a_day"]
    for figures in (small, large):
        assert 0 < figures["share_of_the_day"] <= 1
        assert figures["one_minute_of_a_day"] > figures["footer_of_a_day"]
