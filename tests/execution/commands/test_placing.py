"""`tapebook trade buy|sell|amend|cancel|cancel-all` on a gateway: what it knows, what is printed, exit codes."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from execution.order_journal import OrderJournal, in_doubt, is_held, order_files, read_orders
from tests.execution.commands.conftest import KEY, NO_LIMITS, SECRET, Desk
from tests.processes import Running, gateway, tapebook

SOME_LIMITS = """
[limits]
order_notional = 1000
position_notional = "none"
requests_per_second = 5
collar = 0.01
daily_loss = { USDT = 200 }
"""


def requests_of(desk: Desk, order_id: str) -> list[str]:
    """What the exchange was asked about an order, and its codes."""
    lines = [line for line in desk.requests() if line.get("orderId") == order_id]
    return [f"{line['op']} {line['retCode']}" for line in lines]


def resting_price(desk: Desk, share: str = "0.97") -> Decimal:
    """A share of the market's price, in whole ticks."""
    url = f"{desk.root.replace('ws:', 'http:')}/v5/market/tickers?category=linear&symbol=BTCUSDT"
    with urllib.request.urlopen(url) as answer:
        row = json.load(answer)["result"]["list"][0]
    return (Decimal(row["lastPrice"]) * Decimal(share)).quantize(Decimal(1))


def test_an_order_rests_is_changed_and_cancelled(desk: Desk) -> None:
    price = resting_price(desk)
    (row,) = desk.rows(
        "buy", "BTCUSDT", "0.0105", "--price", f"{price}.07", "--post-only", "--link-id", "mine-1"
    )
    assert (row["request"], row["outcome"], row["status"]) == ("create", "acked", "New")
    assert (row["price"], row["quantity"], row["link_id"]) == (str(price), "0.01", "mine-1"), "rounded"
    assert row["time_in_force"] == "PostOnly"
    asked = requests_of(desk, row["order_id"])
    assert asked == ["create 0"]
    (listed,) = desk.rows("orders")
    assert listed["order_id"] == row["order_id"]

    (row,) = desk.rows("amend", "mine-1", "--quantity", "0.02")
    assert (row["request"], row["outcome"], row["quantity"]) == ("amend", "acked", "0.02")
    (row,) = desk.rows("cancel", listed["order_id"])
    assert (row["request"], row["outcome"], row["status"]) == ("cancel", "acked", "Cancelled")
    asked = requests_of(desk, row["order_id"])
    assert asked == ["create 0", "amend 0", "cancel 0"]
    assert desk.rows("orders") == []
    (closed,) = desk.rows("orders", "--closed")
    assert closed["status"] == "Cancelled"

    again = desk("cancel", "mine-1")
    assert again.code == 2
    assert "no open order has this order id or link id" in again.err
    twice = desk("buy", "BTCUSDT", "0.01", "--price", price, "--link-id", "mine-1")
    assert twice.code == 2
    assert "an order of this name was placed already (Cancelled)" in twice.err
    assert [line["op"] for line in desk.requests() if line.get("orderLinkId") == "mine-1"] == ["create"]
    for file in order_files(desk.directory / "trading"):
        assert read_orders(file)[0] == {}, "each request has its outcome"
    assert not is_held(desk.directory / "trading")


def test_a_market_order_fills_and_is_closed_again(desk: Desk) -> None:
    resting_price(desk)
    (row,) = desk.rows("buy", "BTCUSDT", "0.01", "--market")
    assert (row["status"], row["filled"], row["type"]) == ("Filled", "0.01", "Market")
    assert Decimal(row["average"]) > 0
    (position,) = desk.rows("positions")
    assert (position["side"], position["size"], position["entry"]) == ("Buy", "0.01", row["average"])
    table = desk("sell", "BTCUSDT", "0.01", "--market", "--reduce-only")
    assert table.code == 0
    assert table.out.splitlines()[0].split()[:5] == ["updated", "category", "symbol", "side", "type"]
    assert " Filled " in table.out
    assert desk.rows("positions") == []


def test_a_conditional_order_waits_for_its_trigger(desk: Desk) -> None:
    above = resting_price(desk, "1.03")
    words = (
        "buy",
        "BTCUSDT",
        "0.01",
        "--market",
        "--trigger",
        above,
        "--trigger-when",
        "rises",
        "--stop-loss",
    )
    (row,) = desk.rows(*words, int(resting_price(desk, "0.9")), "--trigger-by", "MarkPrice")
    assert (row["status"], row["trigger"], row["type"]) == ("Untriggered", str(above), "Market")
    (row,) = desk.rows("amend", row["link_id"], "--trigger", above + 10)
    assert row["trigger"] == str(above + 10)
    (row,) = desk.rows("cancel", row["order_id"])
    assert row["status"] == "Deactivated"


def test_a_dry_run_sends_nothing(desk: Desk) -> None:
    before = len(desk.requests())
    ended = desk(
        "sell", "BTCUSDT", "0.0199", "--price", "70000.01", "--tif", "IOC", "--dry-run", "--format", "json"
    )
    assert ended.code == 0
    assert ended.rows == [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Sell",
            "orderType": "Limit",
            "qty": "0.019",
            "price": "70000.1",
            "timeInForce": "IOC",
        }
    ]
    assert "nothing was sent" in ended.err
    assert len(desk.requests()) == before
    assert not (desk.directory / "trading").exists()


def test_a_limit_refuses_and_a_dry_run_says_the_same(desk: Desk) -> None:
    desk.configure(SOME_LIMITS)
    price = resting_price(desk)
    before = len(desk.requests())
    too_large = desk("buy", "BTCUSDT", "1", "--price", price, "--format", "json")
    assert too_large.code == 2
    assert too_large.rows[0]["outcome"] == "refused"
    assert too_large.rows[0]["rule"] == "order notional"
    assert f"{price} USDT, 1000 is allowed" in too_large.err
    too_far = desk("buy", "BTCUSDT", "0.001", "--price", int(price * 2), "--dry-run")
    assert too_far.code == 2
    assert "not sent (price collar): BTCUSDT: Buy at" in too_far.err
    assert len(desk.requests()) == before
    assert desk.rows("orders") == []
    (row,) = desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
    assert row["status"] == "New", "within them, held against a book of its own"
    assert len(desk.rows("cancel-all")) == 1


def test_what_the_exchange_rejects_has_another_code(desk: Desk) -> None:
    price = int(resting_price(desk, "1.2"))
    ended = desk("buy", "BTCUSDT", "0.01", "--price", price, "--format", "json")
    assert ended.code == 3
    (row,) = ended.rows
    assert (row["outcome"], row["code"]) == ("rejected", 110121)
    assert "rejected by the exchange:" in ended.err
    assert "(code 110121)" in ended.err
    ended = desk("buy", "BTCUSDT", "0.01", "--price", price)
    assert (ended.code, ended.out) == (3, "")


def test_cancel_all_by_symbol_and_altogether(desk: Desk) -> None:
    price = resting_price(desk)
    for number in range(2):
        desk.rows("buy", "BTCUSDT", "0.01", "--price", price - number)
    assert desk("cancel-all", "--symbol", "ETHUSDT").out == "nothing is open\n"
    assert len(desk.rows("orders")) == 2
    cancelled = desk.rows("cancel-all", "--symbol", "BTCUSDT")
    assert [row["status"] for row in cancelled] == ["Cancelled", "Cancelled"]
    desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
    assert [row["status"] for row in desk.rows("cancel-all")] == ["Cancelled"]
    assert desk.rows("orders") == desk.rows("cancel-all") == []


def test_one_client_a_directory_and_looking_is_free(desk: Desk) -> None:
    with OrderJournal(desk.directory / "trading"):
        assert is_held(desk.directory / "trading")
        ended = desk("buy", "BTCUSDT", "0.01", "--price", "1")
        assert ended.code == 2
        assert "another run writes here" in ended.err
        assert desk.rows("orders") == []
    assert not is_held(desk.directory / "trading")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("buy", "BTCUSDT", "0.01"), "give either --price P or --market"),
        (("buy", "BTCUSDT", "0.01", "--price", "1", "--market"), "give either --price P or --market"),
        (("sell", "BTCUSDT", "0.01", "--market", "--post-only"), "--post-only needs --price"),
        (
            ("sell", "BTCUSDT", "0.01", "--price", "1", "--post-only", "--tif", "IOC"),
            "--post-only needs --price",
        ),
        (("buy", "BTCUSDT", "much", "--market"), "'much' is no number"),
        (("buy", "BTCUSDT", "nan", "--market"), "'nan' is no number"),
        (("buy", "BTCUSDT", "-1", "--market"), "such option"),
        (("buy", "BTCUSDT", "0", "--market"), "expected a positive one"),
        (("buy", "BTCUSDT", "1e30", "--market"), "expected a positive one"),
        (("buy", "btcusdt", "1", "--market"), "in upper case"),
        (("buy", "BTCUSDT", "1", "--price", "1", "--trigger", "2"), "contracts need trigger_rises"),
        (("buy", "BTCUSDT", "1", "--price", "1", "--limit", "colar=2"), "--limit: found 'colar=2'"),
        (("buy", "BTCUSDT", "1", "--price", "1", "--link-id", "a b"), "expected 1 to 36 characters"),
        (("buy", "BTCUSDT", "1", "--price", "1", "--category", "spread"), "orders are placed in"),
        (("amend", "x", "--price", "1", "--limit", "x"), "--limit: found 'x'"),
        (("amend", "x"), "it changes nothing"),
        (("cancel",), "ID..."),
        (("buy", "BTCUSDT", "1", "--market", "--endpoint", "http://x"), "http://x"),
    ],
)
def test_usage_is_told_before_anything_is_asked(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    desk.root = "ws://127.0.0.1:9"  # nobody is there
    desk.configure()
    ended = desk(*arguments)
    assert ended.code == 2, ended.err
    assert said in " ".join(ended.err.split())


def test_limits_have_to_be_said(desk: Desk) -> None:
    desk.configure("")
    for command in (("buy", "BTCUSDT", "1", "--market"), ("amend", "x", "--price", "1")):
        ended = desk(*command)
        assert ended.code == 2
        assert "every limit has to be said, and order_notional, position_notional" in ended.err


def test_only_configured_symbols(desk: Desk) -> None:
    desk.configure('[symbols]\nlinear = ["ETHUSDT"]\n' + NO_LIMITS)
    ended = desk("buy", "BTCUSDT", "0.01", "--price", "1")
    assert ended.code == 2
    assert "not sent (symbol): linear BTCUSDT" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("buy", "BTCUSDT", "0.01", "--price", "1"),
        ("buy", "BTCUSDT", "0.01", "--price", "1", "--dry-run"),
        ("amend", "x", "--price", "1"),
        ("cancel", "x"),
        ("cancel-all",),
    ],
)
def test_real_money_takes_two_words(desk: Desk, arguments: tuple[str, ...]) -> None:
    """It is refused before anybody is asked anything."""
    for more, said in (
        ((), "--live on the command"),
        (("--live",), "acknowledgement = 'I trade with real money'"),
    ):
        ended = desk(*arguments, "--endpoint", "wss://stream.bybit.com", *more)
        assert ended.code == 2
        assert said in ended.err


def test_in_doubt_until_it_is_known_and_killed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are lost: a command waits until that is known, and what a killed one left is resolved by the next."""
    monkeypatch.setenv("TAPEBOOK_API_KEY", KEY)
    monkeypatch.setenv("TAPEBOOK_API_SECRET", SECRET)
    market = ["--simulate", 7, "--category", "linear", "--symbol-count", 1, "--trade", f"{KEY}:{SECRET}"]
    with gateway(tmp_path / "gateway", *market, "--fault", "order_lost=1") as served:
        config = tmp_path / "trade.toml"
        config.write_text(f'endpoint = "{served.url}"\ndirectory = "{tmp_path}/trading"\n{NO_LIMITS}')
        words = ["trade", "buy", "BTCUSDT", "0.01", "--price", "60000", "--config", config]
        with Running(words, tmp_path / "killed") as killed:
            said = "is lost, so it is in doubt: asking the exchange until it is known"
            killed.until(lambda: said in killed.err, "it said that it waits")
            killed.kill()
        (line,) = in_doubt(tmp_path / "trading")
        ended = tapebook("trade", "cancel-all", "--symbol", "BTCUSDT", "--config", config)
        assert ended.code == 0, ended.err
        assert "an earlier run left 1 requests in doubt: asking the exchange about them" in ended.err
        assert f"the create of {line.link_id}: expired: it had no effect" in ended.err
        assert killed.out == ""
    assert in_doubt(tmp_path / "trading") == []


def test_nothing_is_in_doubt_where_there_is_nothing(tmp_path: Path) -> None:
    assert in_doubt(tmp_path) == order_files(tmp_path) == []
    assert not is_held(tmp_path)
