"""Audits over real sockets: right books agree, wrong ones are found, disbelieved and on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorder.archive import open_archive
from tests.processes import Running, gateway, recording, tapebook

TOPICS = "orderbook.50,orderbook.1000"


def record(
    tmp_path: Path, *lies: str, topics: str = TOPICS, until: Callable[[Running, Path], bool]
) -> tuple[Path, str]:
    """Record two symbols until enough has happened; returns the data and what was told."""
    data = tmp_path / "data"
    options = [option for lie in lies for option in ("--lie", lie)]
    with gateway(tmp_path / "gateway", "--simulate", 3, "--category", "linear", *options) as exchange:
        running = recording(
            tmp_path / "record", exchange.url, data,
            "--symbols", "BTCUSDT,ETHUSDT", "--topics", topics, "--audit-every", 0.2, "--clock-every", 1,
        )  # fmt: skip
        with running:
            running.until(lambda: until(running, data), "enough was audited")
            done = running.stop()
    assert done.code == 0, done.err
    return data, done.err


def agreed(_: Running, data: Path) -> bool:
    """Whether the status counts a few agreements of both kinds."""
    try:
        audits = json.loads((data / "journal" / "linear" / "status.json").read_text())["audits"]
    except (OSError, ValueError, KeyError):
        return False
    return audits["rest"].get("agreed", 0) >= 4 and audits["depths"]["agreed"] >= 3


def disbelieved(feeds: int) -> Callable[[Running, Path], bool]:
    """So many gaps for disagreement were told."""
    return lambda running, _: running.err.count("gap (disagreement)") >= feeds


def rows(data: Path, sql: str) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        return archive.sql(sql).table().to_pylist()


def verified(data: Path) -> None:
    done = tapebook("verify", "--data", data)
    assert done.code == 0, done.out


def test_right_books_agree_with_rest_and_with_each_other(tmp_path: Path) -> None:
    data, told = record(
        tmp_path,
        until=agreed,
    )
    assert "disagree" not in told
    found = rows(data, "SELECT against, outcome, topic, sum(comparisons) AS n FROM audits GROUP BY ALL")
    assert {row["outcome"] for row in found} <= {"agreed", "missed"}
    counts = {(row["topic"], row["against"]): row["n"] for row in found if row["outcome"] == "agreed"}
    audited = {topic for topic, against in counts if against == "rest"}
    assert audited
    assert audited <= {"orderbook.1000.BTCUSDT", "orderbook.1000.ETHUSDT"}
    assert any(against.startswith("orderbook.") for _, against in counts)
    # the answer that was used is in the journal, and the clock was asked
    (clock,) = rows(data, "SELECT count(*) AS n, max(abs(offset_ns) - error_ns) AS beyond FROM clock_offsets")
    assert clock["n"] >= 1
    assert rows(data, "SELECT topic, cause FROM gaps") == []
    verified(data)


def test_a_wrong_book_is_found_against_rest(tmp_path: Path) -> None:
    data, told = record(tmp_path, "rest", topics="orderbook.1000", until=disbelieved(1))
    assert "orderbook.1000." in told
    assert "and REST disagree" in told
    found = rows(data, "SELECT * EXCLUDE (receive_time) FROM audits WHERE disbelieved AND against = 'rest'")
    assert found
    assert all((row["side"], row["level"]) == ("bid", 1) for row in found)
    assert all(row["their_size"] == 2 * row["our_size"] for row in found)
    (differed,) = rows(data, "SELECT count(*) AS n FROM audits WHERE outcome = 'disagreed'")
    assert differed["n"] >= 3
    gaps = rows(data, "SELECT topic, cause, healed_by FROM gaps WHERE cause = 'disagreement'")
    assert {gap["topic"] for gap in gaps} <= {row["topic"] for row in found}
    assert gaps
    verified(data)


def test_a_wrong_depth_is_found_against_another(tmp_path: Path) -> None:
    data, told = record(
        tmp_path,
        "orderbook.50",
        topics="orderbook.50,orderbook.200",
        until=disbelieved(2),
    )
    assert "orderbook.50.BTCUSDT and orderbook.200.BTCUSDT disagree" in told or (
        "orderbook.50.ETHUSDT and orderbook.200.ETHUSDT disagree" in told
    )
    (found, *_) = rows(
        data, "SELECT * EXCLUDE (receive_time) FROM audits WHERE disbelieved ORDER BY sequence"
    )
    assert found["our_size"] == 2 * found["their_size"] or found["our_price"] == found["their_price"]
    assert found["levels"] == 50
    gaps = rows(data, "SELECT topic, healed_by FROM gaps WHERE cause = 'disagreement'")
    assert {gap["topic"].split(".")[1] for gap in gaps} == {"50", "200"}
    verified(data)
