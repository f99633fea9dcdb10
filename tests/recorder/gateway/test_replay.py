"""Replaying over real sockets: byte for byte, once, in order; fresh snapshots; the gateway's own clock."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.gateway import Gateway, GatewayOptions, parse_faults
from recorder.gateway.books import Feeds, topic_of
from schemas.errors import ConfigError
from schemas.names import Category

Make = Callable[..., Any]

TOPICS = [
    f"{name}.{symbol}"
    for symbol in ("BTCUSDT", "ETHUSDT")
    for name in ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
]


def options(path: Path, **more: Any) -> GatewayOptions:
    return GatewayOptions(**{"replay": path, "speed": None, "settle_seconds": 0.0, **more})


async def rest(gateway: Gateway, path: str, **query: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{gateway.port}/v5/market/{path}"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


def ledger_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["feed.txt", "feed.gz"])
async def test_frames_arrive_unchanged_once_and_in_order(
    make_lines: Make, write_lines: Make, join: Make, name: str
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 5)
    async with Gateway(options(write_lines(lines, name))) as gateway:
        client = await join(gateway)
        assert (await client.subscribe(*TOPICS))["success"]
        await client.until(len(lines))
        await gateway.finished()
        assert client.frames == [payload for _, payload in lines]
        assert (await client.ask({"op": "ping", "req_id": "late"}))["req_id"] == "late"
        assert len(client.frames) == len(lines)


async def test_only_what_was_subscribed(make_lines: Make, write_lines: Make, join: Make) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 2)
    mine = ["orderbook.50.ETHUSDT", "publicTrade.BTCUSDT"]
    async with Gateway(options(write_lines(lines))) as gateway:
        client = await join(gateway)
        await client.subscribe(*mine)
        wanted = [payload for _, payload in lines if topic_of(payload) in mine]
        assert await client.until(len(wanted)) == wanted
        await gateway.finished()


async def test_two_connections_share_one_timeline(make_lines: Make, write_lines: Make, join: Make) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 3)
    payloads = [payload for _, payload in lines]
    async with Gateway(options(write_lines(lines), settle_seconds=0.3)) as gateway:
        first, second = await join(gateway), await join(gateway)
        await asyncio.gather(first.subscribe(*TOPICS), second.subscribe(*TOPICS))
        await asyncio.gather(first.until(len(lines)), second.until(len(lines)))
        assert first.frames == second.frames == payloads


async def test_a_late_subscriber_gets_the_state_of_that_moment(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 4)
    feeds = Feeds(Category.LINEAR)
    for _, payload in lines:
        feeds.apply(topic_of(payload) or "", payload)
    async with Gateway(options(write_lines(lines))) as gateway:
        early = await join(gateway)
        await early.subscribe(TOPICS[0])
        await gateway.finished()
        late = await join(gateway)
        for topic in TOPICS:
            await late.subscribe(topic)
        stateful = [topic for topic in TOPICS if not topic.startswith("publicTrade")]
        await late.until(len(stateful))
        await late.ask({"op": "ping"})
        assert [topic_of(frame) for frame in late.frames] == stateful
        for topic, frame in zip(stateful, late.frames, strict=True):
            message = json.loads(frame)
            rebuilt = feeds.snapshot(topic, message["ts"])
            assert rebuilt is not None
            assert frame == rebuilt[1]
            assert message["ts"] >= lines[-1][0] // 10**6
        again = len(late.frames)
        await late.unsubscribe("orderbook.50.BTCUSDT")
        await late.subscribe("orderbook.50.BTCUSDT")
        await late.until(again + 1)


async def test_joining_midway_is_seamless(make_lines: Make, write_lines: Make, join: Make) -> None:
    """A client that joins, leaves and joins again always holds the exact book of the last frame it got."""
    topic = "orderbook.50.BTCUSDT"
    lines = make_lines(Category.LINEAR, [topic], 3)
    truth: dict[int, Any] = {}
    oracle = Feeds(Category.LINEAR)
    for _, payload in lines:
        info = oracle.apply(topic, payload)
        assert info.update_id is not None
        truth[info.update_id] = oracle.book("BTCUSDT", (50,))
    async with Gateway(options(write_lines(lines), speed=2.0)) as gateway:
        await (await join(gateway)).subscribe(topic)
        client = await join(gateway)
        checked = 0
        for _ in range(4):
            state = Feeds(Category.LINEAR)
            client.frames.clear()
            await client.subscribe(topic)
            await client.until(12)
            await client.unsubscribe(topic)
            assert json.loads(client.frames[0])["type"] == "snapshot"
            for frame in client.frames:
                update_id = state.apply(topic, frame).update_id or 0
                seen = state.book("BTCUSDT", (50,))
                assert seen is not None
                assert (seen.bids, seen.asks, seen.cross_sequence) == (
                    truth[update_id].bids,
                    truth[update_id].asks,
                    truth[update_id].cross_sequence,
                )
                checked += 1
        assert checked >= 48


async def test_a_recording_that_starts_midway(make_lines: Make, write_lines: Make, join: Make) -> None:
    topic = "orderbook.50.BTCUSDT"
    lines = make_lines(Category.LINEAR, [topic], 2)[1:]
    async with Gateway(options(write_lines(lines))) as gateway:
        client = await join(gateway)
        await client.subscribe(topic)
        assert await client.until(len(lines)) == [payload for _, payload in lines]
        await gateway.finished()
        late = await join(gateway)
        await late.subscribe(topic)
        await late.ask({"op": "ping"})
        assert late.frames == []
        assert (await rest(gateway, "orderbook", category="linear", symbol="BTCUSDT"))["retCode"] == 10016


async def test_nothing_moves_before_the_first_subscription_has_settled(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 1)
    path = write_lines(lines)
    for settle_seconds in (0.4, 4.0, 40.0):
        async with Gateway(options(path, settle_seconds=settle_seconds)) as gateway:
            before = (await rest(gateway, "time"))["result"]["timeNano"]
            assert before == str(lines[0][0])
            client = await join(gateway)
            moments, early = [], 0
            for topic in TOPICS:
                moments.append(time.monotonic())
                await client.subscribe(topic)
                early += len(client.frames)
                await asyncio.sleep(0.05)
            now = (await rest(gateway, "time"))["result"]["timeNano"]
            moments.append(time.monotonic())
            if max(later - one for one, later in itertools.pairwise(moments)) > settle_seconds / 2:
                continue  # a machine this slow did not subscribe in time
            assert (early, now) == (0, before)
            await client.until(len(lines))
            assert client.frames == [payload for _, payload in lines]
            return
    raise AssertionError("the machine is too slow for any of them")


async def test_full_speed_holds_while_nobody_is_subscribed(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    # More frames than the sockets' buffers hold, so that the replay is somewhere in the middle when the client leaves.
    lines = make_lines(Category.LINEAR, TOPICS, 60)
    payloads = [payload for _, payload in lines]
    async with Gateway(options(write_lines(lines))) as gateway:
        client = await join(gateway, max_queue=4)
        await client.subscribe(*TOPICS)
        await client.until(50)
        await client.unsubscribe(*TOPICS)
        left_at = len(client.frames)
        reached = (await rest(gateway, "time"))["result"]["timeNano"]
        await asyncio.sleep(0.2)
        assert (await rest(gateway, "time"))["result"]["timeNano"] == reached
        client.frames.clear()
        await client.subscribe("publicTrade.BTCUSDT", "publicTrade.ETHUSDT")
        rest_of_trades = [p for p in payloads[left_at:] if (topic_of(p) or "").startswith("publicTrade")]
        assert left_at < len(payloads)
        await client.until(len(rest_of_trades))
        assert client.frames == rest_of_trades


async def test_a_slow_reader_loses_nothing_at_full_speed(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 40)
    async with Gateway(options(write_lines(lines))) as gateway:
        slow, quick = await join(gateway, max_queue=1), await join(gateway)
        await slow.subscribe(*TOPICS)
        await quick.subscribe(*TOPICS)
        reading = asyncio.create_task(quick.until(10))
        await asyncio.sleep(0.1)
        await slow.until(len(lines) // 2)
        await asyncio.sleep(0.1)
        await reading
        await asyncio.gather(slow.until(len(lines)), quick.until(10))
        assert slow.frames == [payload for _, payload in lines]


async def test_a_reader_that_stops_at_a_pace_is_cut_off_alone(
    make_lines: Make, write_lines: Make, join: Make, tmp_path: Path
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 60)
    ledger = tmp_path / "ledger"
    chosen = options(
        write_lines(lines), speed=100.0, max_backlog_bytes=100_000, ledger=ledger, settle_seconds=0.3
    )
    async with Gateway(chosen) as gateway:
        stuck, alive = await join(gateway, max_queue=1), await join(gateway)
        await asyncio.gather(stuck.subscribe(*TOPICS), alive.subscribe(*TOPICS))
        stuck.socket.transport.pause_reading()
        await alive.until(len(lines))
        assert alive.frames == [payload for _, payload in lines]
        assert {"event": "close", "connection": 1} in ledger_lines(ledger)
        stuck.socket.transport.abort()


async def test_the_pace_is_the_recordings(make_lines: Make, write_lines: Make, join: Make) -> None:
    lines = [
        (stamp, b'{"topic":"tickers.BTCUSDT","type":"x","n":%d}' % stamp)
        for stamp in (10**18, 10**18 + 3 * 10**9)
    ]
    async with Gateway(options(write_lines(lines), speed=10.0)) as gateway:
        client = await join(gateway)
        await client.subscribe("tickers.BTCUSDT")
        await client.until(1)
        started = asyncio.get_running_loop().time()
        await client.until(2)
        assert asyncio.get_running_loop().time() - started > 0.2
        now_ns = int((await rest(gateway, "time"))["result"]["timeNano"])
        assert now_ns >= lines[1][0]


async def test_ledger_tells_every_frame(
    make_lines: Make, write_lines: Make, join: Make, tmp_path: Path
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 2)
    ledger = tmp_path / "ledger.jsonl"
    async with Gateway(options(write_lines(lines), ledger=ledger)) as gateway:
        client = await join(gateway)
        await client.subscribe(*TOPICS)
        await client.until(len(lines))
        told = ledger_lines(ledger)
        assert (told[0]["event"], told[0]["connection"]) == ("open", 1)
        assert told[0]["conn_id"] == client.answers[0]["conn_id"]
        assert [line["topic"] for line in told if line["event"] == "subscribe"] == TOPICS
        frames = [line for line in told if line["event"] == "frame"]
        assert [line["crc32"] for line in frames] == [f"{zlib.crc32(frame):08x}" for frame in client.frames]
        for line, frame in zip(frames, client.frames, strict=True):
            message = json.loads(frame)
            data = message["data"]
            assert line["topic"] == message["topic"]
            assert line["type"] == message["type"]
            assert line["u"] == (data.get("u") if isinstance(data, dict) else None)
            assert line["rebuilt"] is False
        await client.unsubscribe(TOPICS[0])
        await client.subscribe(TOPICS[0])
        await client.until(len(lines) + 1)
        assert [line["event"] for line in ledger_lines(ledger)[-3:]] == ["unsubscribe", "subscribe", "frame"]
        assert ledger_lines(ledger)[-1]["rebuilt"] is True
    assert ledger_lines(ledger)[-1] == {"event": "close", "connection": 1}


async def received_all(client: Any) -> list[bytes]:
    """Everything that still comes, up to the answer to a ping sent now."""
    await client.ask({"op": "ping"})
    return list(client.frames)


FAULTS = "drop=0.05,repeat=0.05,reorder=0.05,corrupt=0.05,seed=3"


async def test_faults_are_told_exactly_and_repeat(
    make_lines: Make, write_lines: Make, join: Make, tmp_path: Path
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 3)
    path = write_lines(lines)
    runs = []
    for number in range(2):
        ledger = tmp_path / f"ledger{number}"
        async with Gateway(options(path, ledger=ledger, faults=parse_faults([FAULTS]))) as gateway:
            client = await join(gateway)
            await client.subscribe(*TOPICS)
            await gateway.finished()
            got: list[bytes] = []
            await client.send({"op": "ping"})
            while True:
                payload = await client.socket.recv(decode=False)
                if b'"pong"' in payload:
                    break
                got.append(payload)
            told = ledger_lines(ledger)
            sent = [line for line in told if line["event"] == "frame"]
            assert [line["crc32"] for line in sent] == [
                f"{zlib.crc32(payload):08x}" for payload in client.frames[:0] + got
            ]
            by_fault: dict[str, list[dict[str, Any]]] = {}
            for line in told:
                if line["event"] == "fault":
                    by_fault.setdefault(line["fault"], []).append(line)
            assert set(by_fault) == {"drop", "repeat", "reorder", "corrupt"}
            assert len(sent) == len(lines) - len(by_fault["drop"]) + len(by_fault["repeat"])
            damaged = [line for line in sent if line.get("fault") == "corrupt"]
            assert len(damaged) == len(by_fault["corrupt"])
            assert [line["u"] for line in damaged] == [line["u"] for line in by_fault["corrupt"]]
            originals = {f"{zlib.crc32(payload):08x}" for _, payload in lines}
            assert all(line["crc32"] in originals for faults in by_fault.values() for line in faults)
            runs.append(got)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_cut_sends_half_a_frame_and_drops_the_line(
    make_lines: Make, write_lines: Make, tmp_path: Path, run: Callable[..., None]
) -> None:
    lines = make_lines(Category.LINEAR, ["orderbook.50.BTCUSDT"], 1)
    ledger = tmp_path / "ledger"

    async def scenario() -> None:
        async with Gateway(
            options(write_lines(lines), ledger=ledger, faults=parse_faults(["cut=1"]))
        ) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(
                b"GET /v5/public/linear HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            request = b'{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}'
            # A masking key of zeros leaves the payload as it is.
            writer.write(bytes([0x81, 0x80 | len(request), 0, 0, 0, 0]) + request)
            rest_of_stream = await reader.read()
            whole = lines[0][1]
            start = rest_of_stream.index(whole[:40])
            half = rest_of_stream[start:]
            assert whole.startswith(half)
            assert abs(len(half) - len(whole) / 2) < 10
            writer.close()
            told = ledger_lines(ledger)
            assert [line["fault"] for line in told if line["event"] == "fault"] == ["cut"]
            assert [line for line in told if line["event"] == "frame"] == []

    run(scenario())


async def test_stall_ends_with_a_new_subscription(
    make_lines: Make, write_lines: Make, join: Make, tmp_path: Path
) -> None:
    topics = ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"]
    lines = make_lines(Category.LINEAR, topics, 3)
    ledger = tmp_path / "ledger"
    async with Gateway(
        options(write_lines(lines), ledger=ledger, faults=parse_faults(["stall=0.05,seed=1"]))
    ) as gateway:
        client = await join(gateway)
        await client.subscribe(*topics)
        await gateway.finished()
        await received_all(client)
        withheld = [line for line in ledger_lines(ledger) if line.get("fault") == "stall"]
        assert len(client.frames) + len(withheld) == len(lines)
        assert len(withheld) > len(lines) / 2
        before = len(client.frames)
        for _ in range(5):
            await client.unsubscribe(topics[0])
            await client.subscribe(topics[0])
        await received_all(client)
        assert len(client.frames) > before


async def test_close_ends_connections_politely(
    make_lines: Make, write_lines: Make, join: Make, tmp_path: Path
) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 1)
    ledger = tmp_path / "ledger"
    async with Gateway(
        options(write_lines(lines), ledger=ledger, faults=parse_faults(["close=0.2"]))
    ) as gateway:
        client = await join(gateway)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert [line.get("fault", line["event"]) for line in ledger_lines(ledger)] == ["open", "close", "close"]


async def test_retime_brings_the_clocks_to_now(make_lines: Make, write_lines: Make, join: Make) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 1)
    async with Gateway(options(write_lines(lines), is_retiming=True, speed=5.0)) as gateway:
        now_ms = (await rest(gateway, "time"))["time"]
        assert now_ms > lines[0][0] // 10**6 + 10**6
        client = await join(gateway)
        await client.subscribe(*TOPICS)
        await client.until(len(lines))
        stamps = [json.loads(frame)["ts"] for frame in client.frames]
        assert all(now_ms - 1_000 <= stamp <= now_ms + 60_000 for stamp in stamps)
        for frame, (_, payload) in zip(client.frames, lines, strict=True):
            new, old = json.loads(frame), json.loads(payload)
            if "cts" in old:
                assert new["ts"] - new["cts"] == old["ts"] - old["cts"]
            assert len(frame) == len(payload)


async def test_loop_starts_over(make_lines: Make, write_lines: Make, join: Make) -> None:
    lines = make_lines(Category.LINEAR, TOPICS, 1)
    payloads = [payload for _, payload in lines]
    async with Gateway(options(write_lines(lines), is_looping=True)) as gateway:
        client = await join(gateway)
        await client.subscribe(*TOPICS)
        await client.until(3 * len(lines))
        assert client.frames[: 3 * len(lines)] == payloads * 3


async def test_a_malformed_line_ends_the_replay_with_its_number(
    make_lines: Make, write_lines: Make, join: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.gateway.sources.SURVEY_BYTES", 1_000)
    path = write_lines(make_lines(Category.LINEAR, TOPICS, 1))
    with path.open("ab") as file:
        file.write(b"broken\n")
    count = len(path.read_bytes().splitlines())
    async with Gateway(options(path)) as gateway:
        client = await join(gateway)
        await client.subscribe(*TOPICS)
        with pytest.raises(ConfigError, match=f"line {count}: expected"):
            await gateway.finished()
    path.write_bytes(b"broken\n")
    with pytest.raises(ConfigError, match="line 1: expected"):
        async with Gateway(options(path)):
            pass


async def test_undecodable_and_foreign_frames_in_a_recording(write_lines: Make, join: Make) -> None:
    data = b'"data":{"s":"BTCUSDT","b":[["1","1"]],"a":[],"u":5}'
    snapshot = b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,%b,"cts":1}' % data
    broken = b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"da'
    lines = [
        (1, b'{"success":true,"op":"subscribe"}'),
        (2, snapshot),
        (3, b"no frame at all"),
        (4, broken),
        (5, b'{"topic":"kline.1.BTCUSDT","data":[]}'),
    ]
    async with Gateway(options(write_lines(lines))) as gateway:
        client = await join(gateway)
        await client.subscribe("orderbook.50.BTCUSDT")
        assert await client.until(2) == [snapshot, broken]
        await gateway.finished()
        assert await received_all(client) == [snapshot, broken]


async def test_wrong_paths_and_requests(make_lines: Make, write_lines: Make, join: Make) -> None:
    path = write_lines(make_lines(Category.LINEAR, TOPICS, 1))
    async with Gateway(options(path)) as gateway:
        for category in ("spot", "nonsense"):
            with pytest.raises(InvalidStatus) as refused:
                await join(gateway, category)
            assert refused.value.response.status_code == 404
        async with aiohttp.ClientSession() as session:
            for where, status in (("/v5/public/linear", 400), ("/v5/market/nonsense", 404), ("/", 404)):
                async with session.get(f"http://127.0.0.1:{gateway.port}{where}") as response:
                    assert response.status == status
        refused_category = await rest(gateway, "instruments-info", category="spot")
        assert (refused_category["retCode"], refused_category["result"]) == (10001, {})
        listed = await rest(gateway, "instruments-info", category="linear")
        assert [row["symbol"] for row in listed["result"]["list"]] == ["BTCUSDT", "ETHUSDT"]
        client = await join(gateway)
        assert (await client.subscribe("orderbook.50.XRPUSDT"))["success"] is False
        assert (await client.ask(b"\x00\x01"))["ret_msg"].startswith("Failed to decode")
        with pytest.raises(ConnectionClosed):
            await client.ask("x" * 300_000)


async def test_connections_are_limited(
    make_lines: Make, write_lines: Make, join: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.gateway.server.MAX_CONNECTIONS", 2)
    async with Gateway(options(write_lines(make_lines(Category.LINEAR, TOPICS, 1)))) as gateway:
        first = await join(gateway)
        await join(gateway)
        with pytest.raises(InvalidStatus) as refused:
            await join(gateway)
        assert refused.value.response.status_code == 429
        await first.ask({"op": "ping"})
        assert "2 connections" in repr(gateway)


async def test_a_client_that_never_reads_its_answers_waits_alone(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    async with Gateway(options(write_lines(make_lines(Category.LINEAR, TOPICS, 1)))) as gateway:
        greedy, other = await join(gateway, max_queue=1), await join(gateway)
        greedy.socket.transport.pause_reading()
        ping = json.dumps({"op": "ping", "req_id": "x" * 60_000})

        async def flood() -> None:
            while True:
                await greedy.socket.send(ping)

        flooding = asyncio.create_task(flood())
        for _ in range(20):
            await other.ask({"op": "ping"})
            await asyncio.sleep(0.02)
        assert max(connection.backlog_bytes for connection in gateway._connections) < 4 * 1024 * 1024
        flooding.cancel()
        greedy.socket.transport.abort()


async def test_a_taken_port_is_a_usage_error(make_lines: Make, write_lines: Make) -> None:
    path = write_lines(make_lines(Category.LINEAR, TOPICS, 1))
    async with Gateway(options(path)) as gateway:
        with pytest.raises(ConfigError, match="cannot listen on"):
            async with Gateway(options(path, port=gateway.port)):
                pass


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "nothing to send"),
        ({"replay": Path("x"), "simulate": 1}, "exclude each other"),
        ({"simulate": 1, "is_looping": True}, "belong to --replay"),
        ({"simulate": 1, "settle_seconds": -1.0}, "settle"),
        ({"simulate": 1, "port": 70_000}, "port 70000"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GatewayOptions(**wrong)


async def test_rpi_and_full_frames_are_passed_on_as_they_are(
    make_lines: Make, write_lines: Make, join: Make
) -> None:
    """Their books aren't rebuilt: a later subscriber gets the recording's own frames, and no snapshot."""
    topics = ["orderbook.rpi.BTCUSDT", "orderbook.full.BTCUSDT"]
    lines = make_lines(Category.LINEAR, topics, 4)
    async with Gateway(options(write_lines(lines))) as gateway:
        client = await join(gateway)
        assert (await client.subscribe(*topics))["success"]
        await client.until(len(lines))
        await gateway.finished()
        assert client.frames == [payload for _, payload in lines]
        late = await join(gateway)
        assert (await late.subscribe(*topics))["success"]
        await late.ask({"op": "ping"})
        assert late.frames == []
        assert (await rest(gateway, "full_orderbook", category="linear", symbol="BTCUSDT"))[
            "retCode"
        ] == 10016
