"""The sink before a real server: what arrives, once and in order, whatever server, stream and journal do meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

nats = pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")

from recorder.journal import segments  # noqa: E402
from recorder.sink import sink as sink_module  # noqa: E402
from recorder.sink.broker import Broker, StreamLimits  # noqa: E402
from recorder.sink.messages import Message, Place  # noqa: E402
from recorder.sink.run import Sinks  # noqa: E402
from recorder.sink.sink import SinkOptions, describe  # noqa: E402
from recorder.sink.state import SinkState, load_state  # noqa: E402
from schemas.errors import ConfigError  # noqa: E402
from tests.brokers import NatsServer, needs_nats, stream_messages  # noqa: E402
from tests.processes import PATIENCE_S  # noqa: E402
from tests.recorder.lines import until as until_or_never  # noqa: E402
from tests.recorder.recordings import BOOK, MS, START_NS, TRADES, Tape, market, trade  # noqa: E402
from tests.recorder.sink.test_messages import made, recorded  # noqa: E402

pytestmark = needs_nats

STREAM = "tapebook-linear"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "server") as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(sink_module, "SAVE_S", 0.01)


def options(data: Path, **more: Any) -> SinkOptions:
    return SinkOptions(**{"data": data, "start": "oldest", "jetstream": True} | more)


async def once(given: SinkOptions, url: str, *collectors: str) -> list[SinkState]:
    """Send everything that is there."""
    sinks = Sinks(replace(given, once=True), lambda: Broker([url]), collectors)
    await asyncio.wait_for(sinks.run(), PATIENCE_S)
    return sinks.states


AT_WORK: list[asyncio.Task[None]] = []


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it, as long as the sink works."""

    def holds() -> bool:
        for task in AT_WORK:
            if task.done():
                task.result()
        return bool(condition())

    await until_or_never(holds, what)


@asynccontextmanager
async def sending(given: SinkOptions, url: str, *collectors: str) -> AsyncIterator[Sinks]:
    """A sink at work."""
    sinks = Sinks(given, lambda: Broker([url]), collectors)
    task = asyncio.create_task(sinks.run())
    AT_WORK.append(task)
    try:
        yield sinks
    finally:
        AT_WORK.remove(task)
        sinks.stop()
        await asyncio.wait_for(task, PATIENCE_S)


@asynccontextmanager
async def listening(url: str, subject: str = "tapebook.>") -> AsyncIterator[list[Any]]:
    """What a subscriber hears."""
    client = await nats.connect(url, allow_reconnect=False)
    heard: list[Any] = []

    async def hear(message: Any) -> None:
        heard.append(message)

    await client.subscribe(subject, cb=hear)
    await client.flush()
    try:
        yield heard
        await client.flush()
    finally:
        await client.close()


async def stored(url: str, stream: str = STREAM) -> list[Any]:
    found: list[Any] = []
    await stream_messages(url, stream, found.append)
    return found


def is_sent(sinks: Sinks, data: Path) -> bool:
    """Whether all that the journal has by now was acknowledged."""
    messages = made(data)
    return bool(messages and sinks.states) and sinks.states[0].place == messages[-1].place


def same(found: list[Any], expected: list[Message]) -> None:
    """What arrived is what was to be sent: each once, in order, byte for byte."""
    assert [each.headers["Nats-Msg-Id"] for each in found] == [
        each.headers["Nats-Msg-Id"] for each in expected
    ]
    for each, message in zip(found, expected, strict=True):
        assert (each.subject, each.data) == (message.subject, message.payload)
        assert {key: each.headers[key] for key in message.headers} == message.headers


async def test_everything_is_in_the_stream_once_and_in_order(tmp_path: Path, server: NatsServer) -> None:
    recorded(tmp_path)
    expected = made(tmp_path)
    (state,) = await once(options(tmp_path), server.url)
    same(await stored(server.url), expected)
    assert (state.sent, state.acknowledged, state.again, state.missing) == (
        len(expected),
        len(expected),
        0,
        0,
    )
    assert (state.place, state.stream, state.behind_bytes) == (expected[-1].place, STREAM, 0)
    assert load_state(tmp_path, "nats", "linear") == state
    assert describe(state) == f"linear: {len(expected):,} sent, {len(expected):,} acknowledged"
    # again: nothing is sent twice, also where the sink has forgotten everything
    (state,) = await once(options(tmp_path), server.url)
    assert state.sent == len(expected)
    (tmp_path / "nats" / "nats" / "linear.json").unlink()
    (state,) = await once(options(tmp_path), server.url)
    assert (state.sent, state.place) == (0, expected[-1].place)
    same(await stored(server.url), expected)


async def test_whoever_listens_hears_it_all(tmp_path: Path, server: NatsServer) -> None:
    recorded(tmp_path)
    expected = made(tmp_path, prefix="market.data")
    async with listening(server.url, "market.data.>") as heard:
        (state,) = await once(options(tmp_path, jetstream=False, prefix="market.data"), server.url)
    same(heard, expected)
    assert (state.acknowledged, state.stream) == (len(expected), None)
    async with listening(server.url, "market.data.>") as heard:
        await once(options(tmp_path, jetstream=False, prefix="market.data"), server.url)
    assert heard == []


@pytest.mark.parametrize("jetstream", [True, False])
async def test_beside_a_recording_while_the_server_dies(
    tmp_path: Path, server: NatsServer, jetstream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tape = Tape(tmp_path)
    frames = market(0, 400)
    heard: list[Any] = []
    async with sending(options(tmp_path, jetstream=jetstream), server.url) as sinks:
        for number in range(8):
            tape.frames(frames[number * 100 : number * 100 + 100], flush_every=10)
            tape.journal.flush()
            if number in (2, 5):
                await until(lambda: is_sent(sinks, tmp_path), "all was sent")
                server.kill()
                await until(lambda: sinks.states[0].trouble, "it noticed")
                tape.rotate()
                server.start()
            if not jetstream:
                # a subscriber of its own life with the server
                async with listening(server.url) as ears:
                    tape.frames([trade(f"m{number}", "1", "1", START_NS // MS)])
                    tape.journal.flush()
                    await until(lambda: any(b"m%d" % number in each.data for each in ears), "it was heard")  # noqa: B023
                    heard += ears
        tape.stop()
        await until(lambda: is_sent(sinks, tmp_path), "everything was sent")
        (state,) = sinks.states
    assert state.connects >= 3
    assert state.acknowledged == len(made(tmp_path))
    assert "it is tried again, and nothing is lost meanwhile" in caplog.text
    assert "goes on" in caplog.text
    if jetstream:
        same(await stored(server.url), made(tmp_path))
    else:
        sequences = [int(each.headers["Tapebook-Sequence"]) for each in heard]
        assert sequences == sorted(sequences)


async def test_what_the_server_lost_is_sent_again(
    tmp_path: Path, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(tmp_path)
    expected = made(tmp_path)
    await once(options(tmp_path), server.url)
    client = await nats.connect(server.url, allow_reconnect=False)
    await client.jetstream().delete_stream(STREAM)
    await once(options(tmp_path), server.url)
    assert await stored(server.url) == []  # somebody made it empty on purpose: it goes on where it was
    await client.jetstream().delete_stream(STREAM)
    (tmp_path / "nats" / "nats" / "linear.json").unlink()
    # A server that is put back from a backup: its stream is older than what was acknowledged.
    half = len(expected) // 2
    await client.jetstream().add_stream(
        name=STREAM, subjects=sink_module.stream_subjects("tapebook", "linear")
    )
    for message in expected[:half]:
        await client.jetstream().publish(message.subject, message.payload, headers=message.headers)
    await client.close()
    state = SinkState(collector="linear", prefix="tapebook", place=expected[-5].place)
    sink_module.save_state(tmp_path, "nats", state)
    await once(options(tmp_path), server.url)
    same(await stored(server.url), expected)
    assert "what it lost is sent again" in caplog.text


async def test_a_stream_that_refuses_is_told_and_waited_for(
    tmp_path: Path, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(tmp_path)
    client = await nats.connect(server.url, allow_reconnect=False)
    manager = client.jetstream()
    config = nats.js.api.StreamConfig(
        name=STREAM, subjects=sink_module.stream_subjects("tapebook", "linear"), max_msgs=20,
        discard=nats.js.api.DiscardPolicy.NEW,
    )  # fmt: skip
    await manager.add_stream(config)
    async with sending(options(tmp_path), server.url) as sinks:
        await until(lambda: sinks.states and "maximum messages" in sinks.states[0].trouble, "why was told")
        assert sinks.states[0].acknowledged == 20
        assert "the stream refuses: maximum messages exceeded" in caplog.text
        config.max_msgs = -1
        await manager.update_stream(config)
        await until(lambda: is_sent(sinks, tmp_path), "it went on")
        assert sinks.states[0].trouble == ""
    same(await stored(server.url), made(tmp_path))
    await client.close()


async def test_two_sinks_by_mistake_send_everything_once(tmp_path: Path, server: NatsServer) -> None:
    recorded(tmp_path)
    one, other = options(tmp_path), options(tmp_path, name="other")
    await asyncio.gather(once(one, server.url), once(other, server.url))
    same(await stored(server.url), made(tmp_path))


async def test_two_recorders_of_one_name_are_told_apart(tmp_path: Path, server: NatsServer) -> None:
    """On two machines, say: what each has is not what the other skips."""
    here, there = tmp_path / "here", tmp_path / "there"
    recorded(here)
    later = Tape(there, start_ns=segments(here)[-1].start_ns + 1)
    later.frames(market(0, 10))
    later.stop()
    await once(options(here), server.url)
    await once(options(there), server.url)  # it can't tell whether it was there before, or another
    with pytest.raises(ConfigError, match="another recorder of the name 'linear'"):
        await once(options(here), server.url)
    await once(options(there), server.url)
    expected = [*made(here), *made(there)]
    ours = [each for each in await stored(server.url) if not each.subject.endswith(".break")]
    same(ours, expected)


async def test_from_now_on(tmp_path: Path, server: NatsServer) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.rotate()
    tape.frames(market(30, 40))
    tape.journal.flush()
    await until(lambda: len(segments(tmp_path)) == 2, "the next segment")
    newest = segments(tmp_path)[-1].start_ns
    async with sending(options(tmp_path, start="now"), server.url) as sinks:
        await until(lambda: sinks.states and sinks.states[0].connected, "it began")
        tape.frames(market(40, 60))
        tape.journal.flush()
        # and another collector that begins only now is sent whole
        second = Tape(tmp_path, collector="second", start_ns=START_NS + 5)
        second.frames(market(0, 10))
        second.stop()
        tape.stop()
        await until(lambda: len(sinks.states) == 2 and is_sent(sinks, tmp_path), "all")
        await until(
            lambda: sinks.states[1].behind_s == 0 and sinks.states[1].acknowledged > 30, "the other one too"
        )
    # the segment that was being written, from its beginning
    same(await stored(server.url), [each for each in made(tmp_path) if each.place.start_ns >= newest])
    assert sum(b"topic" in m.data for m in await stored(server.url, "tapebook-second")) >= len(market(0, 10))


async def test_what_was_pruned_before_it_was_sent_is_told(
    tmp_path: Path, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(tmp_path)
    expected = made(tmp_path)
    first, second, third = segments(tmp_path)
    sent = next(
        m for m in expected if m.place.start_ns == second.start_ns and m.place.part + 1 == m.place.parts
    )
    state = SinkState(collector="linear", prefix="tapebook", place=sent.place)
    sink_module.save_state(tmp_path, "nats", state)
    first.path.unlink()
    second.path.unlink()
    async with listening(server.url, "tapebook.linear.break") as heard:
        (state,) = await once(options(tmp_path), server.url)
    later = [message for message in expected if message.place.start_ns == third.start_ns]
    found = await stored(server.url)
    same(found[1:], later)
    lost = later[0].place.sequence - sent.place.sequence - 1
    assert (state.removed, state.missing, state.acknowledged) == (lost, lost, len(later) + 1)
    assert f"{lost:,} sequences missing" in describe(state)
    assert json.loads(found[0].data) == {
        "kind": "removed", "first_sequence": sent.place.sequence + 1, "last_sequence": later[0].place.sequence - 1,
    }  # fmt: skip
    assert [each.data for each in heard] == [found[0].data]
    assert "their segments were removed before they were sent" in caplog.text
    (state,) = await once(options(tmp_path), server.url)
    assert (state.removed, len(await stored(server.url))) == (lost, len(later) + 1)


async def test_a_payload_beyond_the_servers_limit(tmp_path: Path) -> None:
    recorded(tmp_path)
    config = tmp_path / "small.conf"
    config.write_text("max_payload: 3000\n")
    with NatsServer(tmp_path / "server", "-c", str(config)) as server:
        (state,) = await once(options(tmp_path), server.url)
        same(await stored(server.url), made(tmp_path, max_bytes=3000 - 2048))
    assert state.omitted > 0
    assert f"{state.omitted:,} too large" in describe(state)


async def test_best_levels_go_to_who_listens_and_not_into_the_stream(
    tmp_path: Path, server: NatsServer
) -> None:
    tape = Tape(tmp_path, [BOOK, TRADES])
    async with listening(server.url, "tapebook.*.top.>") as heard:
        async with sending(options(tmp_path, tops_s=0.01), server.url) as sinks:
            tape.frames(market(0, 20))
            tape.journal.flush()
            await until(lambda: heard, "best levels")
            tape.disconnect()
            tape.journal.flush()
            await until(lambda: json.loads(heard[-1].data)["state"] == "stale", "that they are stale")
            tape.stop()
            await until(lambda: is_sent(sinks, tmp_path), "everything was sent")
        assert sinks.states[0].tops == len(heard)
    first = json.loads(heard[0].data)
    assert (heard[0].subject, first["state"], first["bid"][0]) == (
        f"tapebook.linear.top.{BOOK}",
        "live",
        "100.0",
    )
    same(await stored(server.url), made(tmp_path))


async def test_a_server_without_streams_and_one_that_is_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(tmp_path)
    with NatsServer(tmp_path / "server", jetstream=False) as server:
        async with sending(options(tmp_path), server.url) as sinks:
            await until(
                lambda: sinks.states and "start the server with JetStream" in sinks.states[0].trouble, "why"
            )
        server.kill()
        async with sending(options(tmp_path, jetstream=False), server.url) as sinks:
            await until(lambda: sinks.states and sinks.states[0].trouble, "that nobody is there")
            server.start()
            await until(lambda: is_sent(sinks, tmp_path), "everything was sent")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda manager: manager.add_stream(name=STREAM, subjects=["tapebook.linear.frame.>"]),
            "found subjects",
        ),
        (lambda manager: manager.add_stream(name="other", subjects=["tapebook.linear.>"]), "overlap"),
    ],
)
async def test_streams_that_will_not_do(
    tmp_path: Path, server: NatsServer, spoil: Callable[[Any], Any], words: str
) -> None:
    recorded(tmp_path)
    client = await nats.connect(server.url, allow_reconnect=False)
    await spoil(client.jetstream())
    with pytest.raises(ConfigError, match=words):
        await once(options(tmp_path), server.url)
    await client.close()


async def test_a_stream_with_somebody_elses_messages(tmp_path: Path, server: NatsServer) -> None:
    recorded(tmp_path)
    await once(options(tmp_path, limits=StreamLimits(3600.0, 1 << 24)), server.url)
    client = await nats.connect(server.url, allow_reconnect=False)
    info = await client.jetstream().stream_info(STREAM)
    assert (info.config.max_age, info.config.max_bytes) == (3600.0, 1 << 24)
    await client.jetstream().publish("tapebook.linear.frame.mine", b"")
    await client.close()
    with pytest.raises(ConfigError, match="none of ours"):
        await once(options(tmp_path), server.url)


async def test_credentials(tmp_path: Path) -> None:
    recorded(tmp_path)
    with NatsServer(tmp_path / "server", "--user", "tape", "--pass", "secret") as server:
        with pytest.raises(ConfigError, match=r"refuses these credentials") as caught:
            await once(options(tmp_path), server.url.replace("//", "//tape:wrong@"))
        assert "wrong" not in str(caught.value)
        (state,) = await once(options(tmp_path), server.url.replace("//", "//tape:secret@"))
        assert state.place == Place(*made(tmp_path)[-1].place)


async def test_one_collector_that_fails_ends_all(tmp_path: Path, server: NatsServer) -> None:
    recorded(tmp_path)
    Tape(tmp_path, collector="other").stop()
    (tmp_path / "journal" / "no collector!").mkdir()
    client = await nats.connect(server.url, allow_reconnect=False)
    await client.jetstream().add_stream(name="tapebook-other", subjects=["tapebook.other.frame.>"])
    await client.close()
    with pytest.raises(ConfigError, match="tapebook-other"):
        await once(options(tmp_path), server.url)
    await once(options(tmp_path), server.url, "linear")
    with pytest.raises(ConfigError, match="collector name"):
        await once(options(tmp_path), server.url, "no collector!")
