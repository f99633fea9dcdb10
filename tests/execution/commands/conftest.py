"""A gateway that trades, in a process of its own, and the commands run in this one against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recorder.cli import main
from tests.processes import gateway

KEY, SECRET = "demo-key-of-many-letters", "a-secret-that-nobody-sees"
NO_LIMITS = """
[limits]
order_notional = "none"
position_notional = "none"
requests_per_second = "none"
collar = "none"
daily_loss = "none"
"""


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it printed with ``--format json``."""
        return [json.loads(line) for line in self.out.splitlines()]


class Desk:
    """Commands of one trading directory."""

    def __init__(self, root: str, directory: Path, ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.directory = directory
        self.ledger = ledger
        self.config = directory / "trade.toml"
        self._capsys = capsys
        self.said = ""

    def configure(self, text: str = NO_LIMITS) -> None:
        self.config.write_text(f'endpoint = "{self.root}"\ndirectory = "{self.directory}/trading"\n{text}')

    def __call__(self, *arguments: object) -> Ended:
        """Run ``tapebook trade ...``."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["trade", *map(str, arguments), "--config", str(self.config)])
        told = self._capsys.readouterr()
        self.said += told.out + told.err
        return Ended(int(caught.value.code or 0), told.out, told.err)

    def rows(self, *arguments: object) -> list[dict[str, Any]]:
        """Run one that must end well, and return its rows."""
        ended = self(*arguments, "--format", "json")
        assert ended.code == 0, ended.err
        return ended.rows

    def requests(self) -> list[dict[str, Any]]:
        """The order requests that the exchange judged so far."""
        lines = (
            json.loads(line)
            for line in self.ledger.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        )
        return [line for line in lines if line.get("event") == "request"]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A gateway for all of these tests; each has an account of its own."""
    scratch = tmp_path_factory.mktemp("gateway")
    keys = [f"{KEY}-{number}:{SECRET}" for number in range(64)]
    trade = [word for key in keys for word in ("--trade", key)]
    looker = ["--trade", f"{KEY}-looker:{SECRET}:1001:ro"]
    market = ["--simulate", 7, "--category", "linear", "--symbol-count", 2]
    ledger = scratch / "ledger"
    with gateway(scratch, *market, *trade, *looker, "--ledger", ledger, "--order-limit", 100) as there:
        yield there.url, ledger


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return iter(range(64))


@pytest.fixture
def desk(
    served: tuple[str, Path],
    _numbers: Iterator[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    """Commands without limits, of an account that nobody else trades; nothing that they say may show the key."""
    root, ledger = served
    monkeypatch.setenv("TAPEBOOK_API_KEY", f"{KEY}-{next(_numbers)}")
    monkeypatch.setenv("TAPEBOOK_API_SECRET", SECRET)
    made = Desk(root, tmp_path, ledger, capsys)
    made.configure()
    yield made
    for secret in (KEY, SECRET):
        assert secret not in made.said
        for file in (path for path in tmp_path.rglob("*") if path.is_file()):
            assert secret.encode() not in file.read_bytes(), file
