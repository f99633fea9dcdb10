"""Every topic beside books, trades and tickers, from a simulated exchange over real sockets into the views."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.verify import verify
from schemas.names import Table
from tests.faults.sent import Arrival, Sent, match_arrivals
from tests.ledger import read_ledger
from tests.processes import Tally, gateway, recording, tapebook
from tests.recorded import Recorded

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PREFIXES = ("kline.1", "kline.5", "allLiquidation", "priceLimit", "publicTrade", "tickers")
TOPICS = [
    *(f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS),
    "insurance.USDT",
    "insurance.USDC",
    "adlAlert.USDT",
    "adlAlert.USDC",
    "system.status",
]
ASKED = [*PREFIXES, "insurance", "adlAlert", "system.status"]
PRICE_LIMIT_S = 0.3
"""Between two messages of a topic (protocol section 3)."""
ITEMS = {
    "kline": Table.KLINES, "allLiquidation": Table.LIQUIDATIONS, "priceLimit": Table.PRICE_LIMITS,
    "insurance": Table.INSURANCE, "adlAlert": Table.ADL_ALERTS, "system": Table.SYSTEM_STATUS,
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """At least two and a half minutes of a market, played in five seconds, in segments of two."""
    scratch = tmp_path_factory.mktemp("events")
    ledger = scratch / "ledger.jsonl"
    simulated = ("--simulate", 7, "--category", "linear", "--speed", 30, "--ledger", ledger)
    with gateway(scratch / "gateway", *simulated) as served:
        options = ("--symbols", ",".join(SYMBOLS), "--topics", ",".join(ASKED), "--segment-seconds", 2)
        limits = Tally(ledger, f'"priceLimit.{SYMBOLS[0]}"')
        with recording(scratch / "recorder", served.url, scratch / "data", *options) as recorder:
            recorder.until(lambda: limits() >= 150 / PRICE_LIMIT_S, "two and a half minutes")
            done = recorder.stop()
    assert done.code == 0, done.err
    return Recorded(scratch / "data", "linear")


def test_every_frame_that_was_sent_is_on_record(recorded: Recorded) -> None:
    """Of each connection all that it brought, in order, but what was on its way when it ended."""
    sent = Sent(read_ledger(recorded.data.parent / "ledger.jsonl"))
    arrivals = match_arrivals(recorded.records, sent)
    found = [one.entry.topic for one in arrivals.values() if isinstance(one, Arrival)]
    assert len(found) == len(recorded.frames)
    assert len(found) > 0.8 * sum(map(len, sent.frames.values()))
    assert set(found) >= set(TOPICS) - {"insurance.USDC"}


def _said(recorded: Recorded) -> Iterator[tuple[str, int, dict[str, Any], dict[str, Any]]]:
    """(first word of the topic, sequence, message, item) of each item of a frame."""
    for record in recorded.frames:
        message = json.loads(record.payload, parse_float=Decimal)
        data = message["data"]
        for item in data if isinstance(data, list) else [data]:
            yield message["topic"].partition(".")[0], record.sequence, message, item


READ = {
    Table.KLINES: lambda r: (
        r["start_time"], r["end_time"], r["interval"], r["open_price"], r["close_price"], r["high_price"],
        r["low_price"], r["volume"], r["turnover"], r["confirmed"], r["match_time"],
    ),
    Table.LIQUIDATIONS: lambda r: (r["match_time"], r["symbol"], r["side"], r["size"], r["price"]),
    Table.PRICE_LIMITS: lambda r: (r["symbol"], r["highest_bid"], r["lowest_ask"]),
    Table.INSURANCE: lambda r: (r["coin"], r["symbols"], r["balance"], r["update_time"]),
    Table.ADL_ALERTS: lambda r: (
        r["coin"], r["symbol"], r["balance"], r["maximum_balance"], r["trigger_ratio"], r["drawdown_ratio"],
        r["threshold_balance"], r["stop_ratio"],
    ),
    Table.SYSTEM_STATUS: lambda r: (r["status_id"], r["state"], r["begin_time"], r["end_time"], r["service_types"]),
}  # fmt: skip
WRITTEN = {
    Table.KLINES: lambda d: (
        d["start"], d["end"], d["interval"],
        *(Decimal(d[key]) for key in ("open", "close", "high", "low", "volume", "turnover")),
        d["confirm"], d["timestamp"],
    ),
    Table.LIQUIDATIONS: lambda d: (d["T"], d["s"], d["S"].lower(), Decimal(d["v"]), Decimal(d["p"])),
    Table.PRICE_LIMITS: lambda d: (d["symbol"], Decimal(d["buyLmt"]), Decimal(d["sellLmt"])),
    Table.INSURANCE: lambda d: (d["coin"], d["symbols"], Decimal(d["balance"]), int(d["updateTime"])),
    Table.ADL_ALERTS: lambda d: (
        d["c"], d["s"], d["b"], None, d["i_pr"], d["pr"], d["adl_tt"], d["adl_sr"]
    ),
    Table.SYSTEM_STATUS: lambda d: (d["id"], d["state"], int(d["begin"]), int(d["end"]), d["serviceTypes"]),
}  # fmt: skip


@pytest.mark.parametrize("head", ITEMS)
def test_the_rows_are_what_was_said(recorded: Recorded, head: str) -> None:
    table = ITEMS[head]
    expected: dict[int, list[Any]] = defaultdict(list)
    for name, sequence, message, item in _said(recorded):
        if name == head:
            expected[sequence].append((message["ts"], *WRITTEN[table](item)))
    found: dict[int, list[Any]] = defaultdict(list)
    for row in recorded.rows(table):
        found[row["sequence"]].append((row["push_time"], *READ[table](row)))
    assert expected
    assert {key: sorted(map(str, map(_plain, rows))) for key, rows in found.items()} == {
        key: sorted(map(str, map(_plain, rows))) for key, rows in expected.items()
    }


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [str(Decimal(v).normalize()) if isinstance(v, Decimal | int) else v for v in values]


def test_candles_are_what_the_trades_make(recorded: Recorded) -> None:
    with open_archive(recorded.data) as archive:
        rows = archive.sql(
            "WITH made AS (SELECT symbol, date_trunc('minute', match_time) AS start_time, "
            "min(exact_price(price_mantissa, price_exponent)) AS low, max(exact_price(price_mantissa, price_exponent)) "
            "AS high, sum(exact_size(size_mantissa, size_exponent)) AS volume FROM trades GROUP BY ALL) "
            "SELECT c.symbol, c.start_time, "
            "c.low_price = m.low AND c.high_price = m.high AND c.volume = m.volume AS same FROM candles AS c "
            "LEFT JOIN made AS m USING (symbol, start_time) WHERE c.interval = '1' AND c.confirmed "
            "ORDER BY symbol, start_time"
        ).table().to_pylist()  # fmt: skip
    # the first candle of each had begun before
    inner = [row for i, row in enumerate(rows) if i and rows[i - 1]["symbol"] == row["symbol"]]
    assert inner
    assert all(row["same"] for row in inner), rows


def test_a_candle_is_confirmed_once(recorded: Recorded) -> None:
    confirmed = [row for row in recorded.rows(Table.KLINES) if row["confirmed"]]
    ends = Counter((row["symbol"], row["interval"], row["start_time"]) for row in confirmed)
    assert ends
    assert set(ends.values()) == {1}


@pytest.mark.parametrize(
    "view",
    [
        "klines", "candles", "liquidations", "insurance", "adl_alerts", "price_limits", "system_status", "mark_prices",
        "index_prices", "funding_rates",
    ],
)  # fmt: skip
def test_every_view_shows_something(recorded: Recorded, view: str) -> None:
    with open_archive(recorded.data) as archive:
        rows = archive.sql(f"SELECT * FROM {view} LIMIT 3").table()
    assert rows.num_rows
    assert rows.column_names[:3] == ["category", "symbol", "date"]


def test_it_is_complete_and_right(recorded: Recorded) -> None:
    found = verify(recorded.data)
    assert found.findings == []
    assert found.segments >= 3
    assert recorded.gaps == []
    covered = {row["topic"] for row in recorded.rows(Table.COVERAGE)}
    assert covered == set(TOPICS)
    assert {row["symbol"] for row in recorded.rows(Table.ADL_ALERTS)} >= set(SYMBOLS)
    assert {row["symbol"] for row in recorded.rows(Table.SYSTEM_STATUS)} == {"_"}


def _bytes(recorded: Recorded) -> Counter[bytes]:
    return Counter(record.payload for record in recorded.frames)


def test_a_replay_sends_the_same_bytes(recorded: Recorded, tmp_path: Path) -> None:
    with gateway(
        tmp_path / "gateway", "--replay", recorded.data, "--category", "linear", "--speed", "max"
    ) as served:
        done = tapebook(
            "record", "--endpoint", served.url, "--data", tmp_path / "data", "--symbols", ",".join(SYMBOLS),
            "--topics", ",".join(ASKED), "--stop-after-idle", 1,
        )  # fmt: skip
    assert done.code == 0, done.err
    again = Recorded(tmp_path / "data", "linear")
    sent, found = _bytes(recorded), _bytes(again)
    # only tickers can be asked for a state that lies between two of their messages
    assert {json.loads(frame)["topic"].partition(".")[0] for frame in found - sent} <= {"tickers"}
    assert not sent - found
    assert again.gaps == []


def test_a_bad_network_is_in_the_gaps(tmp_path: Path) -> None:
    faults, ledger = "corrupt=0.03,repeat=0.02,close=1.2,seed=4", tmp_path / "ledger.jsonl"
    simulated = (
        "--simulate",
        7,
        "--category",
        "linear",
        "--speed",
        25,
        "--fault",
        faults,
        "--ledger",
        ledger,
    )
    with gateway(tmp_path / "gateway", *simulated) as served:
        options = ("--symbols", ",".join(SYMBOLS), "--topics", ",".join(ASKED))
        opened, damage = Tally(ledger, '"event":"open"'), Tally(ledger, '"fault":"corrupt"')
        with recording(tmp_path / "recorder", served.url, tmp_path / "data", *options) as recorder:
            # two lines; each comes again only when it knows that it was closed
            recorder.until(lambda: opened() >= 4 and damage() > 20, "enough of it")
            done = recorder.stop()
    assert done.code == 0, done.err
    recorded = Recorded(tmp_path / "data", "linear")
    assert verify(recorded.data).findings == []
    good: Counter[str] = Counter()
    damaged = 0
    for record in recorded.frames:
        try:
            message = json.loads(record.payload.decode())
        except ValueError:
            damaged += 1
            assert any(
                gap["start_ns"] <= record.receive_ns
                and (gap["end_ns"] is None or record.receive_ns <= gap["end_ns"])
                and (not gap["topic"] or gap["topic"].encode() in record.payload)
                for gap in recorded.gaps
            ), record
        else:
            good[message["topic"].partition(".")[0]] += (
                len(message["data"]) if isinstance(message["data"], list) else 1
            )
    assert damaged > 5
    # a repeat on the same line makes a row like any other
    for head, table in ITEMS.items():
        assert sum(1 for _ in recorded.rows(table)) == good[head], head
    causes = {gap["cause"] for gap in recorded.gaps}
    assert {"undecodable", "disconnect"} <= causes <= {"undecodable", "disconnect", "no_snapshot"}
