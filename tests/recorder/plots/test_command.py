"""The command ``plot``: files of the kind that their names say, and sentences where there is nothing to draw."""

from __future__ import annotations

import builtins
import io
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from recorder.plots.command import plotting
from schemas.errors import ConfigError, NoData, TapebookError
from schemas.names import Table
from tests.recorder.plots.archives import gap, made, span, trade
from tests.recorder.plots.test_depth import TOPIC, book_row

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("plots") / "data"
    rows = [trade(n, 500 * n, 10_000 + n, 1000) for n in range(40)]
    books = [book_row(200 + n, 500 * n, [(9_990, 5)], [(10_000 + n, 7)], kind="snapshot") for n in range(40)]
    made(
        at,
        trades=rows,
        coverage=[span(1, 0, 20), span(2, 0, 20, TOPIC)],
        gaps=[gap(90, 4, 6)],
        more={(Table.BOOK_UPDATES, "BTCUSDT"): books},
    ).close()
    return at


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plotting, [str(argument) for argument in arguments])


def fails(kind: type[TapebookError], *arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, kind), (result.exception, result.output)
    return str(result.exception)


BOOKS = {"depth": ["BTCUSDT"], "spread": ["BTCUSDT"]}
COMMANDS: dict[str, list[Any]] = {"trades": ["BTCUSDT"], "latency": [], "coverage": [], **BOOKS}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_suffix_decides(data: Path, tmp_path: Path, name: str) -> None:
    png, svg = tmp_path / "x.png", tmp_path / "x.SVG"
    for path in (png, svg):
        result = run(name, *COMMANDS[name], "--data", data, "-o", path, "--width", 640, "--height", 480)
        assert result.exception is None, result.output
    written = png.read_bytes()
    assert written.startswith(PNG)
    assert [int.from_bytes(written[at : at + 4], "big") for at in (16, 20)] == [640, 480]
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_picture_has_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        for number in range(2):
            run("trades", "BTCUSDT", "--data", data, "-o", tmp_path / f"{number}.{suffix}")
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()


def test_a_picture_goes_to_a_pipe(data: Path) -> None:
    assert run("coverage", "--data", data, "-o", "-").stdout_bytes.startswith(PNG)
    assert b"<svg" in run("coverage", "--data", data, "-o", "-", "--format", "svg").stdout_bytes


def test_a_terminal_gets_no_picture(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal(io.BytesIO()))
    from recorder.plots.command import _draw

    with pytest.raises(ConfigError, match="--output"):
        _draw(data, Path("-"), None, lambda archive: pytest.fail("drawn"), None, None)


def test_what_makes_no_sense_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    nothing = ("--data", tmp_path / "none")
    for name, other in (("x.pdf", ()), ("x", ()), ("x.png", ("--format", "svg"))):
        assert "--output" in fails(ConfigError, "coverage", *nothing, "-o", tmp_path / name, *other)
    naive = ("--from", "2024-08-08T12:00:00")
    assert "2024-08-08T12:00:00Z" in fails(ConfigError, "coverage", *nothing, "-o", "x.png", *naive)
    turned = ("--from", "2024-08-08T12:00:00Z", "--to", "2024-08-08T12:00:00Z")
    assert "does not lie before" in fails(ConfigError, "coverage", *nothing, "-o", "x.png", *turned)
    assert "tapebook record --data" in fails(ConfigError, "coverage", *nothing, "-o", "x.png")


def test_nothing_to_draw_is_exit_code_1_and_leaves_no_file(data: Path, tmp_path: Path) -> None:
    later = ("--from", "2025-01-01T00:00:00Z")
    for name, arguments in COMMANDS.items():
        message = fails(NoData, name, *arguments, "--data", data, "-o", tmp_path / "x.png", *later)
        assert "2024-08-08T12:00:00.000000000Z to" in message
    assert "recorded: BTCUSDT" in fails(NoData, "trades", "XRPUSDT", "--data", data, "-o", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
    assert NoData.exit_code == 1


def test_without_matplotlib_it_says_how_to_get_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(("matplotlib", "recorder.plots."))]:
        if module != "recorder.plots.command":
            monkeypatch.delitem(sys.modules, module)
    real = builtins.__import__

    def without(name: str, *others: Any, **more: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    message = fails(ConfigError, "coverage", "--data", data, "-o", tmp_path / "x.png")
    assert "pip install 'tapebook[plot]'" in message
