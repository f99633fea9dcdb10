"""``tapebook serve`` as a process: a recorder beside it, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import aiohttp
import pytest

from recorder.cli import main
from recorder.status import live_status
from tests.processes import Running, gateway, recording, tapebook
from tests.recorder.serving.served import heard

TOPICS = "orderbook.50,publicTrade"


def _url(running: Running) -> str:
    running.until(lambda: "Ctrl-C" in running.out, "it served")
    found = re.search(r"serving \S+ on (http\S+)/ ", running.out)
    assert found is not None
    return found[1]


async def _see(url: str) -> tuple[int, list[str], int]:
    """Feeds that are live and have prices, what is not well, and how many books changed meanwhile."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/live") as socket:
        await socket.send_str(
            json.dumps({"listen": ["feeds", "summary", "book/linear/orderbook.50.BTCUSDT"]})
        )
        priced: dict[int, bool] = {}
        updates = set()
        while sum(priced.values()) < 2 or len(updates) < 5:
            for number, cell in (await heard(socket, "feeds"))["cells"]:
                priced[number] = cell[0] == "live" and cell[1] is not None and cell[2] is not None
            book = await heard(socket, "book/linear/orderbook.50.BTCUSDT")
            updates.add(book["ladder"].get("update_id"))
        troubles = [each["words"] for each in (await heard(socket, "summary"))["troubles"]]
        return sum(priced.values()), troubles, len(updates)


def test_beside_a_recorder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        gateway(tmp_path / "gateway", "--simulate", 3, "--category", "linear") as exchange,
        recording(
            tmp_path / "record",
            exchange.url,
            data,
            "--symbols",
            "BTCUSDT,ETHUSDT",
            "--topics",
            TOPICS,
            "--no-roll",
        ) as recorder,
    ):
        recorder.until(lambda: live_status(data, "linear") is not None, "it told something")
        with Running(["serve", "--data", data, "--bind", "0"], tmp_path / "serve") as serving:
            priced, troubles, updates = asyncio.run(_see(_url(serving)))
            assert priced == 2
            assert not any("died" in words for words in troubles), troubles
            assert updates >= 5
            recorder.kill()

            async def died() -> None:
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(f"{_url(serving)}/live") as socket,
                ):
                    await socket.send_str('{"listen":["summary","feeds"]}')
                    words = ""
                    while "died without a word" not in words:
                        words = str((await heard(socket, "summary"))["troubles"])
                    states = {cell[0] for _, cell in (await heard(socket, "feeds"))["cells"]}
                    assert states <= {"dead"}

            asyncio.run(died())
            done = serving.stop(signal.SIGINT)
            assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bind", "0.0.0.0:0"], "add --token-file FILE"),
        (["--bind", "[::]:0"], "add --token-file FILE"),
        (["--allow-host", "tape.example.com"], "add --token-file FILE"),
        (["--bind", "nowhere"], "--bind: found 'nowhere', expected HOST:PORT"),
        (["--tls-key", "x"], "--tls-cert"),
        (["--data", "nowhere"], "no such data directory"),
        (["--rate", "1000"], "--rate"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--data", str(tmp_path), *options])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    done = tapebook(
        "serve", "--data", tmp_path, "--bind", "203.0.113.77:1", "--token-file", tmp_path / "token"
    )
    assert done.code == 2
    assert "--bind: cannot listen on 203.0.113.77:1" in done.err


def test_others_need_the_token(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    token_file = tmp_path / "token"
    with Running(
        ["serve", "--data", tmp_path, "--bind", "0.0.0.0:0", "--token-file", token_file], tmp_path / "serve"
    ) as serving:
        url = _url(serving).replace("0.0.0.0", "127.0.0.1")
        token = token_file.read_text().strip()

        async def asked(**headers: str) -> int:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{url}/gaps", headers=headers) as answer,
            ):
                return answer.status

        assert asyncio.run(asked()) == 401
        assert asyncio.run(asked(Authorization=f"Bearer {token}")) == 200
        done = serving.stop()
    assert done.code == 0
    assert "a new token is in it" in done.out
    assert "in the clear" in done.err
    assert token not in done.out + done.err
