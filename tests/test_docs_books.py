"""docs/books.md keeps its word: its Python gives what it shows, its Cython and its C compile and give what it says."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.book import Book

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "engine" / "core" / "src"
TEXT = (ROOT / "docs" / "books.md").read_text()

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.S | re.M)


def _run(*command: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_python() -> None:
    blocks = _blocks("python")
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "docs/books.md", "docs/books.md", 0)
    assert len(examples.examples) >= 15
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples, out=report.append)
    assert runner.failures == 0, "".join(report)


@needs_compiler
def test_the_cython(tmp_path: Path) -> None:
    pytest.importorskip("Cython", reason="compiles a strategy (the dev extra)")
    pytest.importorskip("setuptools", reason="compiles a strategy (the dev extra)")
    (code,), (script,) = _blocks("cython"), _blocks("setup")
    (tmp_path / "slippage.pyx").write_text(code)
    (tmp_path / "setup.py").write_text(script)
    _run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path)
    (built,) = [path for path in tmp_path.glob("slippage.*") if path.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location("slippage", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Slippage(Book(5), 1).on_frame() == -1  # an empty book fills nothing


@needs_compiler
def test_the_c(tmp_path: Path) -> None:
    (code,) = _blocks("c")
    (command,) = re.findall(r"^    (cc .*)$", TEXT, re.M)
    (tmp_path / "example.c").write_text(code)
    (tmp_path / "engine").symlink_to(ROOT / "engine")
    _run(*command.split(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", cwd=tmp_path)
    (promised,) = re.findall(r"It prints `([^`]*)`", TEXT)
    assert _run("./example", cwd=tmp_path) == promised + "\n"


def test_every_measure_is_on_the_page() -> None:
    described = {
        "recomputed_digest",
        "digest",
        "counts",
        "topic",
        "depth",
    }  # by their docstrings, and no measures
    names = {name for name in vars(Book) if not name.startswith("_")} - described
    assert [name for name in sorted(names) if not re.search(rf"`{name}\b", TEXT)] == []


def test_every_c_level_twin_is_on_the_page() -> None:
    declared = set(re.findall(r"\b(c_\w+)\(self", (ROOT / "engine" / "core" / "book.pxd").read_text()))
    internal = {"c_readable"}
    assert declared - internal == set(re.findall(r"`?(c_\w+)\(", TEXT))
