"""The status as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.status_text import print_status
from tests.recorder.test_health import NOW, feed, live


def status(*feeds: dict[str, Any], **changes: Any) -> dict[str, Any]:
    from recorder.health import sum_by_class

    told = live(*feeds) | {
        "category": "linear", "environment": "gateway", "frames": 1_234_567, "frame_bytes": 3 << 30, "resyncs": 2,
        "undecodable": {"not_json": 3}, "unknown_topics": 4,
        "pressure": {"held": 2, "held_seconds": 1.5, "level": "ease"},
        "vitals": {"resident_bytes": 100 << 20},
        "live": {"directory": "/dev/shm/x", "books": 4, "bytes": 9 << 20, "trouble": ""},
        "lateness": {
            "classes": {
                "tickers": {
                    "push": {"recent": {"p50_ms": 1.25, "p99_ms": 20.0}},
                    "match": {"recent": {"p50_ms": None, "p99_ms": None}},
                }
            },
            "applied": {"recent": {"p50_ms": 0.1, "p99_ms": 0.2}},
            "journaled": {"recent": {"p50_ms": 8.0, "p99_ms": 12.0}},
        },
    }  # fmt: skip
    collector = {
        "collector": "linear", "running": True, "segments": {"open": 1, "sealed": 2, "torn": 0, "rolled": 2},
        "journal_bytes": 5 << 20, "archive_bytes": 1 << 20, "rows": {"trades": 7}, "gaps": 3,
        "last_receive_time": "2023-11-14T22:13:20Z", "age_s": 1.0, "feeds": told["feeds"], "live": told,
        "classes": sum_by_class(told["feeds"]), "troubles": [],
    }  # fmt: skip
    disk = {"free_bytes": 10 << 30, "total_bytes": 20 << 30, "bytes_per_second": 1000, "days_left": 12.34}
    return {"data": "d", "disk": disk, "collectors": [collector | changes]}


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any, **options: Any) -> list[str]:
    print_status(*arguments, now_ns=NOW, **options)
    return capsys.readouterr().out.splitlines()


def test_everything_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(printed(capsys, status(feed("tickers.X"), troubles=["the sky is falling"])))
    for part in (
        "linear: recording linear of gateway for 60.0 min",
        "1 open, 2 sealed, 2 rolled  (5.0 MiB)",
        "7 trades  (1.0 MiB, 3 gaps)",
        "1,234,567  (3.0 GiB, 3 undecodable, 4 of unknown topics; 2 resyncs)",
        "line 0 up (1 connects), line 1 up (1 connects)",
        "0 bytes, paused 2 times, 1.5 s",
        "applied 0.1 ms / 0.2 ms, journaled 8.0 ms / 12.0 ms",
        "100.0 MiB",
        "live      4 books for other processes (9.0 MiB in /dev/shm/x)",
        "1.2 ms / 20.0 ms, - / -",
        "tickers.X  live             10      1            100",
        "trouble   the sky is falling",
        "disk: 10.0 GiB of 20.0 GiB free, full in 12.3 days at this rate",
    ):
        assert part in text, f"{part!r} is missing from\n{text}"


def test_live_books_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    told = status()
    shared = told["collectors"][0]["live"]["live"]
    shared.update(trouble="no memory for the book of orderbook.50.X: No space left on device")
    assert any(
        line.endswith("/dev/shm/x); no memory for the book of orderbook.50.X: No space left on device")
        for line in printed(capsys, told)
    )
    shared.update(directory=None, trouble="none can be published: it is full")
    assert "  live      no books for other processes: none can be published: it is full" in printed(
        capsys, told
    )
    told["collectors"][0]["live"]["live"] = None  # --no-live
    assert not any(line.startswith("  live ") for line in printed(capsys, told))


def test_six_hundred_feeds_fit_on_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    feeds = [feed(f"{prefix}.S{number}") for prefix in ("orderbook.50", "tickers") for number in range(300)]
    feeds[7]["state"] = "stale"
    feeds[400]["refused"] = "no such symbol"
    lines = printed(capsys, status(*feeds))
    assert len(lines) < 25
    assert max(map(len, lines)) < 150
    text = "\n".join(lines)
    assert "orderbook.50.S7  stale" in text
    assert "tickers.S100     refused" in text
    assert "orderbook.50.S8" not in text
    assert len(printed(capsys, status(*feeds), every=True)) > 600
    for each in feeds:
        each["state"] = "stale"
    lines = printed(capsys, status(*feeds))
    assert len(lines) < 70
    assert "560 more" in lines[-2]


def test_a_fleet_of_lines_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = status(feed("tickers.X"))
    found["collectors"][0]["live"]["lines"] = [
        {"line": number, "connected": number > 0, "connects": 2} for number in range(9)
    ]
    assert any("8 of 9 up (18 connects)" in line for line in printed(capsys, found))
