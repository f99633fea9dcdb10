"""Runs docs/notebook.ipynb; ``python -m tests.notebook`` writes it with what came out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["NOTEBOOK", "run_notebook"]

ROOT: Final = Path(__file__).parents[1]
NOTEBOOK: Final = ROOT / "docs" / "notebook.ipynb"


def run_notebook() -> Any:
    """Run the notebook in a kernel of its own, and return it with its outputs. Raises CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=180,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(ROOT)}},
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    return notebook


def main() -> None:
    """Run it, and write it anew."""
    import nbformat

    nbformat.write(run_notebook(), NOTEBOOK)
    print(f"{NOTEBOOK} is written: {NOTEBOOK.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
