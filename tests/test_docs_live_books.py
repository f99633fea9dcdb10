"""docs/live-books.md keeps its word: its C and its Cython compile, and read a recorder that runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.shared import SharedBook
from recorder import live_books
from tests.processes import ROOT, gateway, recording, wait_until

TEXT = (ROOT / "docs" / "live-books.md").read_text()
TOPIC = "orderbook.50.BTCUSDT"

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.S | re.M)


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


def _is_live(data: Path) -> bool:
    try:
        return live_books.open_book(data, "BTCUSDT").best() is not None
    except live_books.ConfigError:
        return False


@needs_compiler
def test_the_c_and_the_cython(tmp_path: Path) -> None:
    pytest.importorskip("Cython", reason="compiles a module (the dev extra)")
    pytest.importorskip("setuptools", reason="compiles a module (the dev extra)")
    (code,) = _blocks("c")
    (command,) = re.findall(r"^    (cc .*)$", TEXT, re.M)
    (tmp_path / "example.c").write_text(code)
    (tmp_path / "engine").symlink_to(ROOT / "engine")
    strict = ("-Wall", "-Wextra", "-Werror")
    if shutil.which("c++") is not None:
        built = _run("c++", "-x", "c++", *command.split()[1:], "-std=c++11", "-O2", *strict, cwd=tmp_path)
        assert built.returncode == 0, built.stderr
    built = _run(*command.split(), "-std=c11", "-O2", *strict, cwd=tmp_path)
    assert built.returncode == 0, built.stderr

    (module,) = _blocks("cython")
    (tmp_path / "spreads.pyx").write_text(module)
    (tmp_path / "setup.py").write_text(
        "from Cython.Build import cythonize\nfrom setuptools import Extension, setup\n"
        f"module = Extension('spreads', ['spreads.pyx'], include_dirs=[{str(ROOT / 'engine/core/src')!r}])\n"
        f"setup(name='spreads', ext_modules=cythonize([module], include_path=[{str(ROOT)!r}], language_level=3))\n"
    )
    built = _run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (library,) = [path for path in tmp_path.glob("spreads.*") if path.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location("spreads", library)
    assert spec is not None
    assert spec.loader is not None
    spreads = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spreads)

    data = tmp_path / "data"
    directory = str(data / "live" / "linear")
    refused = _run("./example", directory, TOPIC, cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (1, f"{directory}/control: nobody publishes it\n")
    with gateway(tmp_path / "gateway", "--simulate", 7) as exchange:
        command_line = ["--symbols", "BTCUSDT", "--topics", "orderbook.50", "--no-roll"]
        with recording(tmp_path / "record", exchange.url, data, *command_line) as recorder:
            recorder.until(lambda: _is_live(data), "the book was live")
            shown = _run("./example", directory, TOPIC, cwd=tmp_path)
            book = live_books.open_book(data, "BTCUSDT")
            assert isinstance(book, SharedBook)
            assert spreads.spread(book) > 0
            other = _run("./example", directory, "orderbook.1.BTCUSDT", cwd=tmp_path)
            assert other.stderr == f"{directory}/orderbook.1.BTCUSDT: no such book is published there\n"
            recorder.kill()
            wait_until(lambda: book.trouble() == "writer dead", "its death was noticed")
            assert spreads.spread(book) == -1
            dead = _run("./example", directory, TOPIC, cwd=tmp_path)
            assert (dead.returncode, dead.stderr[:25]) == (1, "not to be believed now: t")
    assert shown.returncode == 0, shown.stderr
    first, *changes = shown.stdout.splitlines()
    assert re.fullmatch(r"\d+ x \d+, \d+ x \d+ \(exponents -\d, -\d\), update id \d+", first)
    assert len(changes) == 3
    assert all(
        re.fullmatch(rf"{re.escape(TOPIC)}: update id \d+, \d+ bids, \d+ asks", line) for line in changes
    )


def test_the_python_is_python() -> None:
    blocks = _blocks("python")
    assert len(blocks) == 4
    for block in blocks:
        compile(block, "docs/live-books.md", "exec")


def test_every_word_of_trouble_is_on_the_page() -> None:
    from engine.core.shared import TROUBLES

    for trouble in TROUBLES[1:]:
        assert f"`{trouble}`" in TEXT
