"""Sink, server and collector are killed again and again: the stream has every record once, and in order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")

from recorder.journal import recompress, segments
from recorder.sink.messages import Place
from recorder.sink.state import SinkState, load_state
from tests.brokers import NatsServer, needs_nats, stream_messages
from tests.processes import Running, gateway, recording, wait_until
from tests.recorder.sink.test_messages import made, records

pytestmark = needs_nats

MARKET = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 10]
RECORD = ["--symbols", "BTCUSDT", "--no-roll", "--segment-seconds", 1, "--topics", "orderbook.50,publicTrade"]


class Chain:
    """A collector, a sink and a server as processes, over their lives."""

    def __init__(self, scratch: Path, endpoint: str, server: NatsServer, *options: object) -> None:
        self.data = scratch / "data"
        self.data.mkdir()  # the sink may come first, and waits in an empty one
        self.server = server
        self._scratch = scratch
        self._endpoint = endpoint
        self._options = options
        self._lives = 0
        self.collector = self._collector()
        self.sink = self._sink()

    def _collector(self) -> Running:
        self._lives += 1
        return recording(
            self._scratch / f"collector-{self._lives}", self._endpoint, self.data, *RECORD,
            "--state-dir", self._scratch / "state",
        )  # fmt: skip

    def _sink(self) -> Running:
        self._lives += 1
        arguments = [
            "nats",
            "--data",
            self.data,
            "--server",
            self.server.url,
            "--from",
            "oldest",
            *self._options,
        ]
        return Running([*arguments, "--format", "json"], self._scratch / f"sink-{self._lives}")

    def kill(self, what: str) -> None:
        """Kill one, and start it again."""
        match what:
            case "collector":
                self.collector.kill()
                self.collector = self._collector()
            case "sink":
                self.sink.kill()
                self.sink = self._sink()
            case "server":
                self.server.kill()
                self.server.start()

    def state(self) -> SinkState | None:
        return load_state(self.data, "nats", "linear")

    def wait_for_more(self, count: int) -> None:
        """Until so many more messages were acknowledged."""
        before = self.state()
        least = count + (0 if before is None else before.acknowledged)
        wait_until(lambda: (now := self.state()) is not None and now.acknowledged >= least, "more was sent")

    def finish(self) -> SinkState:
        """End the collector, have everything sent, and end the sink."""
        done = self.collector.stop()
        assert done.code == 0, done.err
        last = made(self.data)[-1].place
        self.sink.until(
            lambda: (now := self.state()) is not None and now.place == last, "everything was sent"
        )
        done = self.sink.stop()
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert Place(*told["place"]) == last
        state = self.state()
        assert state is not None
        return state


@contextmanager
def chain(scratch: Path, *options: object) -> Iterator[Chain]:
    with ExitStack() as stack:
        served = stack.enter_context(gateway(scratch / "gateway", *MARKET))
        server = stack.enter_context(NatsServer(scratch / "server"))
        found = Chain(scratch, served.url, server, *options)
        stack.callback(lambda: found.collector.__exit__(None, None, None))
        stack.callback(lambda: found.sink.__exit__(None, None, None))
        yield found


def run(scratch: Path, kills: list[str]) -> None:
    with chain(scratch, "--jetstream") as found:
        found.wait_for_more(50)
        for what in kills:
            found.kill(what)
            for segment in segments(found.data):
                recompress(segment)
            found.wait_for_more(30)
        state = found.finish()
        stored: list[Any] = []
        asyncio.run(stream_messages(found.server.url, "tapebook-linear", stored.append))
        expected = made(found.data)
        assert [each.headers["Nats-Msg-Id"] for each in stored] == [
            m.headers["Nats-Msg-Id"] for m in expected
        ]
        assert [(each.subject, each.data) for each in stored] == [(m.subject, m.payload) for m in expected]
        # which are all records of the journal
        wanted = [(start_ns, record.sequence) for start_ns, record in records(found.data)]
        assert sorted({(m.place.start_ns, m.place.sequence) for m in expected if m.missing is None}) == wanted
        assert (state.removed, state.damaged, state.withdrawn) == (0, 0, 0)


def test_a_stream_of_what_a_much_killed_chain_recorded(tmp_path: Path) -> None:
    run(tmp_path, ["sink", "server", "collector"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_for_minutes(tmp_path: Path) -> None:
    draw = random.Random(5)
    run(tmp_path, [draw.choice(["sink", "server", "collector"]) for _ in range(40)])


def test_who_listens_hears_everything_at_least_once_and_in_order(tmp_path: Path) -> None:
    import nats

    with chain(tmp_path) as found:
        heard: list[tuple[int, int, int]] = []

        async def listen() -> None:
            client = await nats.connect(found.server.url, allow_reconnect=False)

            async def hear(message: Any) -> None:
                place = Place.of_headers(message.headers)
                heard.append((place.start_ns, place.sequence, place.part))

            await client.subscribe("tapebook.linear.>", cb=hear)
            await client.flush()
            await asyncio.to_thread(found.wait_for_more, 1)
            for what in ("sink", "collector"):
                await asyncio.to_thread(found.kill, what)
                await asyncio.to_thread(found.wait_for_more, 40)
            await asyncio.to_thread(found.finish)
            await client.flush()
            await client.close()

        asyncio.run(listen())
        expected = [(m.place.start_ns, m.place.sequence, m.place.part) for m in made(found.data)]
        first = dict.fromkeys(heard)  # each where it was heard first
        began = expected.index(heard[0])
        assert list(first) == expected[began:]
        # what was heard twice is what the sink had not noted down when it was killed
        steps_back = sum(later < before for before, later in pairwise(heard))
        assert steps_back <= 2
