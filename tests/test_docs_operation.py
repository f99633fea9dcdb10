"""The files that operators take over: they parse, and every metric and command in them exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from recorder.cli import app
from recorder.metrics import CATALOGUE

ROOT = Path(__file__).parents[1]
OPERATION = ROOT / "docs" / "operation"
GROUP: Any = typer.main.get_command(app)
SERIES = {
    series: labels
    for name, (kind, labels, _) in CATALOGUE.items()
    for series in ([f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name])
}


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((OPERATION / "alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((OPERATION / "dashboard.json").read_text())
    return loaded


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_every_metric_is_exported_and_has_the_labels(name: str, expression: str) -> None:
    found = re.findall(r"(tapebook_\w+)(?:\{([^}]*)\})?", expression)
    assert found, f"{name} asks for nothing of ours"
    known = {"instance", "collector", "job", "le"}
    for series, selector in found:
        assert series in SERIES, f"{name}: {series}"
        for label in re.findall(r"(\w+)\s*[=!]~?=?", selector):
            assert label in known | set(SERIES[series]), f"{name}: {series} has no label {label}"
    for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        for label in group.split(", "):
            assert label in known | {label for series, _ in found for label in SERIES[series]}, name
    assert expression.count("(") == expression.count(")")
    for pair in ("{}", "[]"):
        assert expression.count(pair[0]) == expression.count(pair[1])


def test_histograms_are_asked_for_quantiles_and_counters_for_rates() -> None:
    for name, expression in expressions():
        for series in re.findall(r"tapebook_\w+_total\b", expression):
            assert re.search(rf"(rate|increase)\({series}", expression), f"{name}: {series} without a rate"
        if "_bucket" in expression:
            assert "histogram_quantile" in expression
            assert re.search(r"by \([^)]*\ble\)", expression), f"{name}: a quantile needs le"


def test_rules_say_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert len(rule["annotations"]["summary"]) > 20
        assert len(rule["annotations"]["action"]) > 20


def test_the_dashboard_shows_all_there_is() -> None:
    board = dashboard()
    shown = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    alerted = " ".join(rule["expr"] for rule in rules())
    for name in CATALOGUE:
        if name not in ("tapebook_build_info", "tapebook_message_bytes_total", "tapebook_frames_total"):
            assert name in shown + alerted, f"{name} is looked at by nobody"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        covered = {
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & covered, f"{panel['title']} lies on another panel"
        cells |= covered
    used = set(re.findall(r"\$(\w+)", shown)) - {"__rate_interval"}
    assert used <= {variable["name"] for variable in board["templating"]["list"]}


def test_the_unit_starts_what_exists() -> None:
    unit = (OPERATION / "tapebook.service").read_text()
    commands = re.findall(r"^Exec\w+=.*\btapebook (\w+)(.*)$", unit, re.M)
    assert [name for name, _ in commands] == ["check", "supervise"]
    for name, rest in commands:
        assert name in GROUP.list_commands(None)
        GROUP.get_command(None, name).make_context(name, rest.split())
    assert "RestartPreventExitStatus=2" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Verified as it stands, but for the user, which this machine needn't have, and where the commands are."""
    unit = (OPERATION / "tapebook.service").read_text()
    path = tmp_path / "tapebook.service"
    path.write_text(re.sub(r"^(User|Group)=.*\n", "", unit, flags=re.M))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "tapebook" in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr
