"""A source distribution holds what it is built of, and what is installed holds what Cython and C programs include."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("Cython", reason="runs setup.py (the dev extra)")
pytest.importorskip("setuptools", reason="runs setup.py (the dev extra)")

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "engine", "recorder", "execution")
LEFT = shutil.ignore_patterns("*.so", "__pycache__")


def _setup(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "setup.py", "-q", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def _names(directory: Path, *patterns: str) -> set[str]:
    return {str(path.relative_to(directory)) for pattern in patterns for path in directory.glob(pattern)}


def test_what_is_distributed_can_be_built_and_included(tmp_path: Path) -> None:
    checkout, made, unpacked = tmp_path / "checkout", tmp_path / "made", tmp_path / "unpacked"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, checkout / package, ignore=LEFT)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, checkout)
    _setup(checkout, "sdist", "--formats=tar", "-d", str(made))
    (archive,) = made.glob("*.tar")
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    sources = ("engine/core/*.pyx", "engine/core/src/*.[ch]", "execution/desk/*.pyx")
    assert _names(source, *sources) == _names(ROOT, *sources)
    _setup(source, "build_py", "-d", str(tmp_path / "installed"))
    included = ("engine/core/*.p*", "engine/core/src/*.[ch]", "*/py.typed", "execution/desk/*.p*")
    assert _names(tmp_path / "installed", *included) == _names(ROOT, *included)
    generated = ("engine/core/*.c", "execution/desk/*.c")
    assert _names(source, *generated)
    assert not _names(tmp_path / "installed", *generated)
