"""docs/ranges.md names every function as it is called, and every column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder.ranges import FUNCTIONS, REQUIRED, RangeFunction

DOCUMENT = Path(__file__).parents[3] / "docs" / "ranges.md"
_SAMPLE = {"side": "buy", "size": 1}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_parameter_and_column_is_told(function: RangeFunction) -> None:
    text = DOCUMENT.read_text()
    found = re.search(rf"^## {function.name}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found is not None
    section = found[1]
    called = re.search(rf"`{function.name}\((.*?)\)`", section, re.S)
    assert called is not None
    named = [part.split(":=")[0].strip() for part in re.sub(r"\[.*?\]", "", called[1]).split(",")]
    assert named == [parameter.name for parameter in function.parameters]
    arguments = {
        each.name: _SAMPLE.get(each.name, "2024-08-08T00:00:00Z")
        for each in function.parameters
        if each.default is REQUIRED
    }
    for name in function.schema(function.bind((), arguments)).names:
        assert f"`{name}`" in section or f"`{name}`" in text.split("\n## snapshots")[0], name
