"""The house rules that no linter knows: which way imports go, what the pure packages may touch, what is public."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "engine", "recorder", "execution")
PURE = ("schemas", "engine", "execution/desk")
ALLOWED = {
    "schemas": {"schemas"},
    "engine": {"schemas", "engine"},
    "recorder": {"schemas", "engine", "recorder"},
    "execution": {"schemas", "engine", "recorder", "execution"},
}
# Modules that touch the world; a pure package imports none of them.
WORLDLY = {
    "aiohttp", "asyncio", "fcntl", "glob", "http", "logging", "multiprocessing", "os", "requests", "select",
    "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
    "uvloop", "websockets",
}  # fmt: skip
READS_ITS_OWN_RESOURCES = {"schemas/views.py"}
# The simulated market draws lots and makes prices up, in ticks; no number of the exchange passes through it.
DRAWS_LOTS = "engine/market/"
# What a book can tell includes averages and ratios: they leave the core and never come back into it.
TELLS_RATIOS = {"engine/core/book.pyx", "engine/core/src/tb_measure.c", "engine/core/src/tb_measure.h"}


def _sources(*packages: str) -> list[Path]:
    found = [
        path
        for package in packages
        for pattern in ("*.py", "*.pyx", "*.pyi")
        for path in sorted((ROOT / package).rglob(pattern))
    ]
    return [path for path in found if "build" not in path.parts]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> Iterator[str]:
    """Every module that a source names, at whatever depth it is imported."""
    text = path.read_text()
    if path.suffix == ".pyx":  # not Python's grammar
        for match in re.finditer(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", text, re.M):
            yield match.group(1) or match.group(2)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_is_something_to_walk() -> None:
    assert len(_sources("schemas")) > 5
    assert len([path for path in _sources("engine") if path.suffix == ".pyx"]) > 4
    assert len(_sources("recorder")) > 30
    assert len(_sources("execution/desk")) > 8


@pytest.mark.parametrize("path", _sources(*PACKAGES), ids=_name)
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    for module in _imports(path):
        top = module.split(".", 1)[0]
        assert top not in PACKAGES or top in ALLOWED[own], f"{_name(path)} imports {module}"
        assert top not in ("tests", "benchmarks"), f"{_name(path)} imports {module}"


@pytest.mark.parametrize("path", _sources(*PURE), ids=_name)
def test_the_pure_packages_touch_nothing(path: Path) -> None:
    for module in _imports(path):
        for worldly in WORLDLY:
            assert not f"{module}.".startswith(f"{worldly}."), f"{_name(path)} imports {module}"
    if path.suffix == ".pyx" or _name(path) in READS_ITS_OWN_RESOURCES:
        assert not re.search(r"\bopen\(", path.read_text())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("open", "print", "input", "Path", "pathlib.Path"), (
                f"{_name(path)}: {called}()"
            )
            assert not re.search(
                r"\b(now|utcnow|today|read_text|read_bytes|write_text|write_bytes|urandom)$", called
            ), f"{_name(path)}: {called}()"


def _inexact(path: Path) -> str:
    """What may not be in a source of the core."""
    return r"\b(atof|strtod)\b" if _name(path) in TELLS_RATIOS else r"\b(float|double|atof|strtod)\b"


@pytest.mark.parametrize("path", [path for path in _sources(*PURE) if path.suffix != ".pyi"], ids=_name)
def test_no_price_becomes_a_float(path: Path) -> None:
    """Between the wire and the disk no number of the exchange passes through binary fractions."""
    if _name(path).startswith(DRAWS_LOTS):
        return
    if path.suffix == ".pyx":
        assert not re.search(_inexact(path), path.read_text())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("float", "np.float64"), f"{_name(path)}:{node.lineno}"


def test_nor_in_c() -> None:
    sources = [path for pattern in ("*.c", "*.h") for path in (ROOT / "engine/core/src").glob(pattern)]
    assert len(sources) > 8
    for path in sources:
        text = re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", path.read_text(), flags=re.S)
        assert not re.search(_inexact(path), text), _name(path)


def _modules() -> list[str]:
    """Modules of our packages that are Python and no command's entry."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in _sources(*PACKAGES)
        if path.suffix == ".py" and path.name != "__main__.py"
    ]


@pytest.mark.parametrize("module", _modules())
def test_public_names(module: str) -> None:
    """What a module defines without an underscore and means for others is in its `__all__`, sorted, and is there."""
    path = ROOT / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    tree = ast.parse(source.read_text())
    loaded = importlib.import_module(module)
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    }
    names = getattr(loaded, "__all__", None)
    if names is None:
        assert not defined, f"{module} has no __all__"
        return
    assert list(names) == sorted(names, key=_isort_key), f"{module}.__all__ is not sorted"
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(loaded, name), f"{module}.{name}"
    commands = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("app.") for decorator in node.decorator_list)
    }
    assert defined - commands <= set(names), (
        f"{module}: not in __all__: {sorted(defined - commands - set(names))}"
    )


def _isort_key(name: str) -> tuple[int, str]:
    """The order that ruff keeps: constants, classes, the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def test_the_changelog_and_the_build_speak_of_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    top = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert top is not None
    assert top.group(1).strip("[]") == version
