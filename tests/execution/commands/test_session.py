"""What is printed of outcomes, and which of them end a command with which code."""

from __future__ import annotations

import json

import pytest

from execution.commands.session import report
from execution.desk.live import LiveAccount, LiveOrder
from execution.desk.orders import OrderKey
from execution.desk.outcomes import Evidence, OrderRequest, Outcome, OutcomeKind
from execution.desk.wire import Op
from recorder.options import ReportFormat
from schemas.errors import ExchangeError
from schemas.names import Category

KEY = OrderKey(Category.LINEAR, "BTCUSDT", "", "mine")
REQUEST = OrderRequest("id", Op.CREATE, KEY, {})


def order() -> LiveOrder:
    row = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "theirs",
        "orderLinkId": "mine",
        "orderStatus": "New",
        "side": "Buy",
        "qty": "0.010",
        "price": "60000.50",
        "updatedTime": "1760000000000",
        "rejectReason": "EC_\x1b[31m",
    }
    found = LiveAccount().on_order(row, 0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (OutcomeKind.REJECTED, "the create of mine: rejected by the exchange: no money (code 7)"),
        (
            OutcomeKind.EXPIRED,
            "the create of mine: expired: it had no effect, and can have none any more: no money",
        ),
        (
            OutcomeKind.FORGOTTEN,
            "the create of mine: forgotten: not open, and whether it was taken can't be known",
        ),
    ],
)
def test_what_did_not_come_to_be_ends_with_3(
    kind: OutcomeKind, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = (REQUEST, Outcome(kind, Evidence.REST, 7, "no money", True), None)
    for style in ReportFormat:
        with pytest.raises(ExchangeError) as caught:
            report([result], style)
        assert caught.value.exit_code == 3
        assert str(caught.value).startswith(said)
    row = json.loads(capsys.readouterr().out)
    assert (row["outcome"], row["code"], row["words"]) == (kind.value, 7, "no money")
    assert (row["was_unknown"], row["link_id"], row["order_id"]) == (True, "mine", None)


def test_several_are_all_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that came to be are printed, whatever became of the others."""
    good = (REQUEST, Outcome(OutcomeKind.ACKED, Evidence.REPLY), order())
    bad = (REQUEST, Outcome(OutcomeKind.REJECTED, Evidence.REPLY, 1, "no"), None)
    with pytest.raises(ExchangeError):
        report([bad, good], ReportFormat.TABLE)
    table = capsys.readouterr().out
    assert "60000.5 " in table
    assert "2025-10-09T08:53:20.000Z" in table
    assert "\x1b" not in table, "a terminal obeys escape sequences"
    with pytest.raises(ExchangeError):
        report([bad, good], ReportFormat.JSON)
    assert [json.loads(line)["outcome"] for line in capsys.readouterr().out.splitlines()] == [
        "rejected",
        "acked",
    ]


def test_acked_and_not_shown_yet(capsys: pytest.CaptureFixture[str]) -> None:
    report([(REQUEST, Outcome(OutcomeKind.ACKED, Evidence.REPLY), None)], ReportFormat.TABLE)
    told = capsys.readouterr()
    assert told.out == ""
    assert "the create of mine: acked, and no row has shown it yet" in told.err
