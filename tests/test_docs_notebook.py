"""The notebook runs to its end, and shows what it says that it shows."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.notebook import NOTEBOOK, run_notebook

pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'tapebook[notebook]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install 'tapebook[notebook]'")
pytest.importorskip("pandas", reason="pandas is not installed: pip install 'tapebook[notebook]'")


def _outputs(notebook: Any) -> list[dict[str, Any]]:
    """What each cell of code gave, by kind; text that was printed is ``printed``."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            own: dict[str, Any] = {}
            for output in cell.outputs:
                own.update(output.get("data", {"printed": output.get("text", "")}))
            found.append(own)
    return found


def test_it_runs_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_SECONDS", "4")
    record, coverage, gaps, books, lines, costs, depth, latency, _ = _outputs(run_notebook())
    assert "orderbook.50.BTCUSDT" in record["printed"]
    assert "publicTrade.ETHUSDT" in coverage["text/plain"]
    assert "healed_by" in gaps["text/plain"]
    assert "imbalance" in books["text/plain"]
    assert re.search(r"buy +\d", costs["text/plain"])
    for picture in (lines, depth, latency):
        assert picture["image/png"].startswith("iVBOR")


def test_what_is_committed_was_run_and_names_no_place_on_a_machine() -> None:
    import nbformat

    outputs = _outputs(nbformat.read(NOTEBOOK, as_version=4))
    assert sum("image/png" in output for output in outputs) == 3
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|work|root|Users)/", text)
