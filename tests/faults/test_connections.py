"""How connections are made: certificates, regions, and an exchange that sends us away. Real processes, real sockets."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.bybit.limits import CONNECT_WINDOW_NS, CONNECTS_PER_WINDOW
from recorder.cli import main
from recorder.shared_budget import SharedBudget
from schemas.time import format_ns
from tests.processes import Tally, gateway, json_lines, recording, tapebook
from tests.tls import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_recording_over_wss_and_https(tmp_path: Path, certificates: Certificates) -> None:
    shown = ["--tls-cert", certificates.certificate, "--tls-key", certificates.key]
    with gateway(tmp_path / "gateway", "--simulate", 3, *shown) as exchange:
        assert exchange.url.startswith("wss://127.0.0.1:")
        options = [
            "--symbols",
            "BTCUSDT",
            "--commit-ledger",
            tmp_path / "commits",
            "--ca-file",
            certificates.ca_file,
            "--format",
            "json",
        ]
        with recording(tmp_path / "record", exchange.url, tmp_path / "data", *options) as recorder:
            commits = Tally(tmp_path / "commits")
            recorder.until(lambda: commits() > 40, "data")
            done = recorder.stop()
        assert done.code == 0, done.err
        assert "instruments-info could not be had" not in done.err  # https works as well
        feeds = {feed["topic"]: feed for feed in json_lines(done.out)}
        assert feeds["orderbook.50.BTCUSDT"]["state"] == "live"
        assert feeds["orderbook.50.BTCUSDT"]["messages"] > 10
        # without the authority it is told what was found and what to do
        done = tapebook(
            "record", "--symbols", "BTCUSDT", "--endpoint", exchange.url, "--data", tmp_path / "none"
        )
        assert done.code == 3
        (last,) = [line for line in done.err.splitlines() if line.startswith("tapebook: 127.0.0.1")]
        assert "its certificate is not trusted" in last
        assert "--ca-file" in last


def test_a_bad_region_is_told_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", "--symbols", "BTCUSDT", "--data", str(tmp_path / "data"), "--region", "turkey"])
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (2, 1), told
    assert "--region: region 'turkey': expected one of global, tr, kz" in told


@contextmanager
def refusing(status: int, words: bytes) -> Iterator[tuple[str, list[str]]]:
    """An exchange that answers everything with one status; yields its root and the paths that were asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.server_address[1]}", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_exchange_that_is_closed_to_this_country_is_named_as_such(tmp_path: Path) -> None:
    with refusing(403, b"The Amazon CloudFront distribution is configured to block access") as (root, paths):
        done = tapebook("record", "--symbols", "BTCUSDT", "--endpoint", root, "--data", tmp_path / "data")
    assert done.code == 3
    last = done.err.splitlines()[-1]
    for words in ["HTTP 403", "US and mainland China", "--region", "another network", "CloudFront"]:
        assert words in last
    assert paths.count("/v5/public/linear") == 1  # who is sent away at the door doesn't knock again


def test_collectors_of_one_machine_share_the_connects(tmp_path: Path) -> None:
    """All but two of the 500 are taken already, and come back in two seconds: three collectors want one each."""
    with gateway(tmp_path / "gateway", "--simulate", 3, "--category", "linear") as exchange:
        domain = exchange.url.removeprefix("ws://")
        shared = SharedBudget(
            tmp_path / "state", f"connects-{domain}", CONNECTS_PER_WINDOW, CONNECT_WINDOW_NS
        )
        back_ns = time.monotonic_ns() + 2 * 10**9
        earlier = SharedBudget(
            tmp_path / "state",
            f"connects-{domain}",
            CONNECTS_PER_WINDOW,
            CONNECT_WINDOW_NS,
            clock=lambda: back_ns - CONNECT_WINDOW_NS,
        )
        for _ in range(CONNECTS_PER_WINDOW - 2):
            assert earlier.take(0)
        with ExitStack() as stack:
            recorders = [
                stack.enter_context(
                    recording(
                        tmp_path / name,
                        exchange.url,
                        tmp_path / "data",
                        *("--symbols", "BTCUSDT", "--name", name, "--no-roll"),
                        *("--state-dir", tmp_path / "state"),
                    )
                )
                for name in ("one", "two", "three")
            ]
            for recorder, name in zip(recorders, ("one", "two", "three"), strict=True):
                status = tmp_path / "data" / "journal" / name / "status.json"
                recorder.until(
                    lambda status=status: status.exists() and json.loads(status.read_bytes())["frames"] > 0,  # type: ignore[misc]
                    "a frame",
                )
            for recorder in recorders:
                assert recorder.stop().code == 0
        content = shared.path.read_bytes()
        times = sorted(struct.unpack_from(f"<{CONNECTS_PER_WINDOW}q", content, 40))
    taken = [at for at in times if at > back_ns - CONNECT_WINDOW_NS]
    assert len(taken) == 3
    assert taken[2] >= back_ns  # two were left; the third had to wait


def test_histories_are_fetched_over_https_too(
    tmp_path: Path, certificates: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ["--tls-cert", certificates.certificate, "--tls-key", certificates.key]
    start = format_ns(time.time_ns() - 20 * 86_400 * 10**9)
    arguments = ["backfill", "--symbols", "BTCUSDT", "--from", start, "--no-roll"]
    arguments += ["--data", str(tmp_path / "data")]
    with gateway(tmp_path / "gateway", "--simulate", 3, "--category", "linear", *shown) as exchange:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--endpoint", exchange.url, "--ca-file", str(certificates.ca_file)])
        assert ended.value.code == 0, capsys.readouterr().err
    assert "BTCUSDT" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--region", "turkey"])
    assert ended.value.code == 2
    assert "--region: region 'turkey': expected one of global, tr, kz" in capsys.readouterr().err
