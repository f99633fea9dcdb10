"""Published clients of the real exchange, unmodified, trade on the gateway over TLS.

What they report is held against the gateway's ledger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, gateway, json_lines
from tests.tls import make_certificates

CLIENTS = Path(__file__).parent / "clients"
PATIENCE_S = 200.0
D = Decimal


class Told:
    """What a client reported, and the gateway's own account."""

    def __init__(self, report: dict[str, Any], ledger: Path) -> None:
        self.report = report
        self.lines = json_lines(ledger.read_text())

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def requests(self) -> list[tuple[str, str]]:
        return [(line["op"], line["retCode"]) for line in self.events("request")]


def session(client: str, directory: Path, *more: str) -> Told:
    certificates = make_certificates(directory)
    ledger = directory / "ledger"
    options = ["--simulate", 7, "--trade", "demo:demo-secret", "--symbol-count", 2, "--ledger", ledger]
    tls = ["--tls-cert", certificates.certificate, "--tls-key", certificates.key]
    with gateway(directory / "gateway", *options, *tls, *more) as running:
        done = subprocess.run(
            [
                sys.executable,
                CLIENTS / f"{client}_session.py",
                running.url.rpartition(":")[2],
                certificates.ca_file,
            ],
            cwd=ROOT,
            env={**os.environ, "WEBSOCKET_CLIENT_CA_BUNDLE": str(certificates.ca_file)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4_000:]
    return Told(json.loads(done.stdout), ledger)


@pytest.fixture(scope="module")
def pybit(tmp_path_factory: pytest.TempPathFactory) -> Told:
    pytest.importorskip("pybit", reason="pybit is not installed: pip install 'tapebook[interop]'")
    # pybit sends a request before it knows whom to tell of its answer: one that comes at once is lost on it.
    return session("pybit", tmp_path_factory.mktemp("pybit"), "--fault", "order_held=1,delay=0.05")


@pytest.fixture(scope="module")
def ccxt(tmp_path_factory: pytest.TempPathFactory) -> Told:
    pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'tapebook[interop]'")
    return session("ccxt", tmp_path_factory.mktemp("ccxt"))


def test_pybit_places_amends_and_cancels(pybit: Told) -> None:
    report = pybit.report
    rests = [row for row in report["heard"]["order"] if row["orderLinkId"] == "rests"]
    assert [(row["orderStatus"], row["qty"]) for row in rests] == [
        ("New", "0.01"),
        ("New", "0.02"),
        ("Cancelled", "0.02"),
    ]
    assert (report["opened"]["orderId"], report["opened"]["qty"]) == (rests[0]["orderId"], "0.02")
    assert report["refused"]["retCode"] == 110010
    assert [item["code"] for item in report["batched"]["retExtInfo"]["list"]] == [0, 0]
    assert report["permissions"]["uta"] == 1
    assert report["position"]["leverage"] == "5"
    assert D(report["position"]["stopLoss"]) == D(rests[0]["price"])


def test_what_pybit_hears_is_what_the_gateway_did(pybit: Told) -> None:
    report = pybit.report
    heard = report["heard"]
    told = [(line["orderId"], line["orderStatus"]) for line in pybit.events("order")]
    rows = [(row["orderId"], row["orderStatus"]) for row in heard["order"]]
    assert rows == told[: len(rows)]
    fills = pybit.events("execution")
    assert fills
    for known in (heard["execution"], heard["execution.fast"], report["executions"][::-1]):
        assert [row["execId"] for row in known] == [line["execId"] for line in fills]
    bought = sum(D(line["execQty"]) for line in fills)
    assert bought == D(report["position"]["size"]) == D("0.01")
    fees = sum(D(line["execFee"]) for line in fills)
    assert D(report["before"]["walletBalance"]) - D(report["after"]["walletBalance"]) == fees
    assert pybit.requests() == [
        ("create", "0"),
        ("amend", "0"),
        ("cancel", "0"),
        ("cancel", "110010"),
        ("create-batch", "0"),
        ("create-batch", "0"),
        ("create-batch", "0"),
        ("create", "0"),
    ]


def test_ccxt_places_amends_and_cancels(ccxt: Told) -> None:
    report = ccxt.report
    assert report["markets"] == 8
    assert report["created"] == report["edited"] == report["cancelled"]
    assert report["opened"] == [[report["created"], 0.02, "open"]]
    assert report["refused"] == "InvalidOrder"
    assert ccxt.requests() == [
        ("create", "0"),
        ("amend", "0"),
        ("cancel", "0"),
        ("cancel", "110010"),
        ("create", "0"),
    ]


def test_what_ccxt_hears_is_what_the_gateway_did(ccxt: Told) -> None:
    report = ccxt.report
    last = {identity: status for identity, status, _ in report["orders"]}
    assert last == {report["created"]: "canceled", report["taken"]: "closed"}
    fills = ccxt.events("execution")
    assert fills
    assert [trade[0] for trade in report["trades"]] == [line["execId"] for line in fills]
    assert {tuple(trade[1:2]) + tuple(trade[3:]) for trade in report["trades"]} == {
        (report["taken"], "taker")
    }
    assert {trade[0] for trade in report["fetched"]} == {line["execId"] for line in fills}
    bought = sum(D(line["execQty"]) for line in fills)
    ((side, contracts, _),) = report["positions"]
    assert (side, D(str(contracts))) == ("long", bought)
    fees = sum(D(line["execFee"]) for line in fills)
    assert abs(D(str(report["before"])) - D(str(report["after"])) - fees) < D("1e-9")
