"""``tapebook backfill`` against the gateway: what comes into the archive is what the gateway says; twice is once."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import recorder.backfill
from engine.bybit.histories import DAY_MS, HOUR_MS, History, Window
from recorder.archive import open_archive
from recorder.backfill import Fetched, Plan, Progress, run_backfill
from recorder.cli import main
from recorder.disk_budget import DiskBudget
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.errors import ConfigError, ExchangeError, OutOfSpace, Rejected
from schemas.names import Category
from schemas.time import format_ns
from tests.processes import gateway, json_lines, tapebook


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(tmp_path_factory.mktemp("gateway"), "--simulate", 4, "--symbol-count", 2) as running:
        yield running.url


@pytest.fixture
def config(exchange: str, tmp_path: Path) -> RecordConfig:
    return RecordConfig(endpoint=exchange, state_dir=str(tmp_path / "state"))


NOW_MS = time.time_ns() // 1_000_000
EVERYTHING = list(History)


def plan(histories: list[History], *, days: int = 3, symbols: list[str] | None = None, **more: Any) -> Plan:
    return Plan(
        Category.LINEAR, symbols or ["BTCUSDT"], histories, "60", NOW_MS - days * DAY_MS, NOW_MS, **more
    )


def rows(data: Path, sql: str) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        return archive.sql(sql).table().to_pylist()


def asked(exchange: str, target: str) -> dict[str, Any]:
    with urllib.request.urlopen(exchange.replace("ws:", "http:") + target) as answer:
        found: dict[str, Any] = json.load(answer)["result"]
    return found


def test_every_history_lands_in_its_table(tmp_path: Path, config: RecordConfig, exchange: str) -> None:
    done = run_backfill(plan(EVERYTHING), tmp_path, config)
    assert [fetched.history for fetched in done] == [history.value for history in EVERYTHING]
    assert all(fetched.rows and fetched.refused is None for fetched in done)
    result = verify(tmp_path)
    assert result.failures == []

    told = asked(
        exchange, f"/v5/market/funding/history?category=linear&symbol=BTCUSDT&endTime={NOW_MS}&limit=9"
    )
    expected = {int(row["fundingRateTimestamp"]): Decimal(row["fundingRate"]) for row in told["list"]}
    found = rows(
        tmp_path,
        "SELECT epoch_ms(funding_time) AS t, funding_rate AS r, symbol, category, collector "
        "FROM funding_history",
    )
    assert {(row["symbol"], row["category"], row["collector"]) for row in found} == {
        ("BTCUSDT", "linear", "backfill-linear")
    }
    known = {row["t"]: row["r"] for row in found}
    assert len(known) == len(found)
    assert expected.items() <= known.items()

    end_ms = NOW_MS // HOUR_MS * HOUR_MS - 1
    for kind, endpoint in (
        ("mark", "mark-price-kline"),
        ("trade", "kline"),
        ("premium", "premium-index-price-kline"),
    ):
        told = asked(
            exchange,
            f"/v5/market/{endpoint}?category=linear&symbol=BTCUSDT&interval=60&start={end_ms - DAY_MS}&end={end_ms}",
        )
        candles = rows(
            tmp_path,
            "SELECT epoch_ms(start_time) AS t, open_price, high_price, low_price, close_price FROM reference_klines "
            f"WHERE kind = '{kind}' AND interval = '60' AND t BETWEEN {end_ms - DAY_MS} AND {end_ms} ORDER BY t DESC",
        )
        assert [[str(row["t"]), *(row[name] for name in list(row)[1:])] for row in candles] == [
            [row[0], *(Decimal(text) for text in row[1:5])] for row in told["list"]
        ]
        assert len(candles) == 24
    (deliveries,) = rows(tmp_path, "SELECT count(*) AS n FROM delivery_prices")
    assert deliveries["n"] == 21
    (interest,) = rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT time) AS t FROM open_interest")
    assert interest["n"] == interest["t"] > 70


def test_again_asks_only_for_what_was_not_over_yet(tmp_path: Path, config: RecordConfig) -> None:
    first = run_backfill(plan([History.MARK], days=100), tmp_path, config)
    assert (first[0].answers, first[0].known) == (3 if first[0].answers == 3 else 4, 0)
    before = rows(tmp_path, "SELECT count(*) AS n FROM reference_klines")
    again = run_backfill(plan([History.MARK], days=100), tmp_path, config)
    assert again[0].answers == 1  # the window that holds this hour
    assert again[0].known == first[0].answers - 1
    assert rows(tmp_path, "SELECT count(*) AS n FROM reference_klines") == before
    (raw,) = rows(tmp_path, "SELECT count(*) AS n FROM reference_klines_raw")
    assert raw["n"] > before[0]["n"]
    assert verify(tmp_path).failures == []


def test_segments_are_cut_and_progress_follows_what_is_sealed(
    tmp_path: Path, config: RecordConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.backfill, "ANSWERS_PER_SEGMENT", 2)
    done = run_backfill(plan([History.FUNDING], days=60), tmp_path, config)
    sealed = list((tmp_path / "journal" / "backfill-linear").glob("*.arrows"))
    assert len(sealed) == done[0].answers // 2 + 1
    progress = json.loads((tmp_path / "journal" / "backfill-linear" / "progress.json").read_text())
    ((start, end),) = progress["funding/BTCUSDT"]
    assert (end - start) // (200 * HOUR_MS) == done[0].answers - 1
    assert verify(tmp_path).failures == []


def test_a_refused_symbol_is_named_and_the_others_go_on(tmp_path: Path, config: RecordConfig) -> None:
    done = run_backfill(plan([History.FUNDING], symbols=["NOSUCH", "BTCUSDT"]), tmp_path, config)
    assert done[0].refused is not None
    assert "symbol invalid NOSUCH" in done[0].refused
    assert done[1].rows > 0
    with pytest.raises(Rejected, match="NOSUCH"):
        run_backfill(plan([History.FUNDING], symbols=["NOSUCH"]), tmp_path, config)


def test_all_means_what_trades(tmp_path: Path, config: RecordConfig) -> None:
    done = run_backfill(plan([History.FUNDING], symbols=["all"]), tmp_path, config)
    assert len({fetched.symbol for fetched in done}) == 2


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Plan(Category.LINEAR, ["X"], [History.FUNDING], "60", 5, 5), "--from must lie before --to"),
        (Plan(Category.LINEAR, [], [History.FUNDING], "60", 0, 5), "--symbols"),
        (Plan(Category.LINEAR, ["X"], [History.MARK], "7", 0, 5), "--interval '7'"),
        (Plan(Category.SPOT, ["X"], [History.FUNDING], "60", 0, 5), "funding of spot"),
    ],
)
def test_what_cannot_be_fetched_is_told_before_anything_is(tmp_path: Path, bad: Plan, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run_backfill(bad, tmp_path / "data", RecordConfig(endpoint="ws://127.0.0.1:1"))
    assert not (tmp_path / "data").exists()


def test_a_beginning_that_is_yet_to_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            ["backfill", "--from", "2230-01-01T00:00:00Z", "--symbols", "X", "--data", str(tmp_path / "data")]
        )
    assert ended.value.code == 2
    assert "--from 2230-01-01T00:00:00Z lies in the future, and without --to" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_progress_outlives_a_process_and_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    window = Window(History.MARK, "X", "60", 100, 200)
    progress = Progress(tmp_path)
    assert not progress.has(window)
    progress.add([window])
    assert Progress(tmp_path).has(window)
    assert not Progress(tmp_path).has(window._replace(to_ms=201))
    assert not Progress(tmp_path).has(window._replace(symbol="Y"))
    (tmp_path / "progress.json").write_text("[")
    assert not Progress(tmp_path).has(window)
    assert "everything is fetched again" in caplog.text


def test_a_signal_ends_it_cleanly_and_it_goes_on(
    tmp_path: Path, config: RecordConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = recorder.backfill._fetch_window
    count = 0

    async def interrupted(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            os.kill(os.getpid(), signal.SIGINT)
        await fetch(*arguments)

    monkeypatch.setattr(recorder.backfill, "_fetch_window", interrupted)
    (done,) = run_backfill(plan([History.FUNDING], days=60), tmp_path, config)
    assert 3 <= done.answers < 7
    monkeypatch.setattr(recorder.backfill, "_fetch_window", fetch)
    (again,) = run_backfill(plan([History.FUNDING], days=60), tmp_path, config)
    assert again.known >= 3
    assert again.known + again.answers >= 8
    assert verify(tmp_path).failures == []


def test_an_exchange_that_fails_in_the_middle_costs_nothing_that_is_on_disk(
    tmp_path: Path, config: RecordConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = recorder.backfill._fetch_window
    count = 0

    async def failing(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise ExchangeError("no more")
        await fetch(*arguments)

    monkeypatch.setattr(recorder.backfill, "ANSWERS_PER_SEGMENT", 2)
    monkeypatch.setattr(recorder.backfill, "_fetch_window", failing)
    with pytest.raises(ExchangeError, match="no more"):
        run_backfill(plan([History.FUNDING], days=60), tmp_path, config)
    monkeypatch.setattr(recorder.backfill, "_fetch_window", fetch)
    (again,) = run_backfill(plan([History.FUNDING], days=60), tmp_path, config)
    assert again.known == 3
    assert verify(tmp_path).failures == []


def test_the_command(tmp_path: Path, exchange: str) -> None:
    start = format_ns((NOW_MS - DAY_MS) * 1_000_000)
    done = tapebook(
        "backfill", "--endpoint", exchange, "--data", tmp_path / "data", "--symbols", "BTCUSDT", "--from", start,
        "--what", "funding,mark", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [row["history"] for row in json_lines(done.out)] == ["funding", "mark"]
    bad = tapebook("backfill", "--symbols", "BTCUSDT", "--from", start, "--what", "fundings")
    assert bad.code == 2
    assert "--what 'fundings': expected some of funding, mark" in bad.err
    assert Fetched("a", "b").refused is None


def test_below_the_floor_it_ends_and_goes_on_later(
    config: RecordConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = msgspec.structs.replace(config, min_free_mib=1e12)
    with pytest.raises(OutOfSpace, match="nothing more is fetched or rolled") as caught:
        run_backfill(plan([History.FUNDING]), tmp_path / "data", full)
    assert caught.value.exit_code == 4
    checks = []

    def third_fails(self: DiskBudget) -> None:
        checks.append(1)
        if len(checks) == 3:
            raise OutOfSpace("no more")

    monkeypatch.setattr(DiskBudget, "check", third_fails)
    wanted = plan([History.FUNDING], days=400)
    with pytest.raises(OutOfSpace):
        run_backfill(wanted, tmp_path / "data", config)
    before = rows(tmp_path / "data", "SELECT count(*) AS n FROM funding_history")[0]["n"]
    assert before > 0
    (done,) = run_backfill(wanted, tmp_path / "data", config)
    assert done.known > 0
    found = rows(
        tmp_path / "data",
        "SELECT count(*) AS n, count(DISTINCT funding_time) AS moments FROM funding_history",
    )
    assert found[0]["n"] == found[0]["moments"] > before
    assert not verify(tmp_path / "data").failures
