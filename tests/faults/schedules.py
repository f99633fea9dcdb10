"""Random fault schedules over real sockets: a seed makes a market, faults and topics; the recording is judged.

::

    python -m tests.faults.schedules 4711                 # one schedule, told in full
    python -m tests.faults.schedules 0 --count 1000 --jobs 3

A whole gateway server and a whole collector with its journal on disk share one process, and one event loop: frames go
through loopback sockets, every second schedule's with TLS, over two lines in every fourth. Everything that waits for
seconds in earnest is scaled down (`HURRIED`), nothing else is. Some schedules carry candles, liquidations or price
limits beside books, trades and tickers. What must be true of a recording says tests/faults/judge.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import uvloop

from engine.bybit.patience import SessionOptions
from engine.market.listing import default_symbols
from engine.timing import Timing
from recorder.collector import Collector
from recorder.gateway import Gateway, GatewayOptions, parse_faults
from recorder.network import Network
from recorder.roll import roll_data, roll_lock
from recorder.tls import client_context
from schemas.config import RecordConfig
from schemas.errors import ConnectError, Rejected
from schemas.names import Category, FeedState
from tests.faults.judge import Judged, Sample, judge
from tests.ledger import is_chain
from tests.recorded import market_feed
from tests.tls import make_certificates

__all__ = ["HURRIED", "Schedule", "Verdict", "draw", "run_schedule", "run_schedules"]

_MS: Final = 1_000_000

HURRIED: Final = Timing(
    session=SessionOptions(
        ping_interval_ns=200 * _MS,
        missed_pongs=2,
        silence_timeout_ns=1_500 * _MS,
        acknowledgement_timeout_ns=400 * _MS,
        resync_timeout_ns=250 * _MS,
        first_data_timeout_ns=500 * _MS,
    ),
    least_silence_ns=450 * _MS,
    repeat_silence_ns=3_000 * _MS,
    first_retry_ns=150 * _MS,
    last_retry_ns=500 * _MS,
    first_snapshot_ns=400 * _MS,
    steady_ns=100 * _MS,
    backoff_base_ns=30 * _MS,
    backoff_cap_ns=150 * _MS,
    banned_ns=100 * _MS,
    too_many_ns=50 * _MS,
    tick_s=0.02,
)
"""The waiting times of a recorder, some twenty to hundred times shorter."""

STALLED_S: Final = 0.1
"""A machine that lets the event loop wait this long makes silences of its own: such a run may not fail, it is made
again."""
ATTEMPTS: Final = 5
RETRIED_S: Final = 30.0
"""So long after the first attempt no schedule is begun again: the machine has no time to give."""
HEARD_S: Final = 30.0
"""How long the first message of all may take: with handshakes answered 503, and on a machine that has no time."""
HEALING_S: Final = 8.0
"""How long everything may take to be LIVE again after the last fault."""
ELECTED_S: Final = 10.0
"""And over several lines, what follows an elected one until it has been silent for so long while another one delivers
(docs/lines.md): a time of the core's own, which is not scaled down."""

TURN_S: Final = 0.02
"""How long faults go on is counted in turns of the event loop, of so many seconds each where the machine keeps up: so
a slow machine suffers as many of them as a quick one."""

FEED_S: Final = 60
"""Length of a replayed market: longer than any schedule at its speed."""

PER_SYMBOL: Final = {
    Category.SPOT: (
        "orderbook.1",
        "orderbook.50",
        "orderbook.200",
        "orderbook.1000",
        "publicTrade",
        "tickers",
    ),
    Category.LINEAR: (
        "orderbook.1",
        "orderbook.50",
        "orderbook.200",
        "orderbook.1000",
        "publicTrade",
        "tickers",
    ),
    Category.INVERSE: ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers"),
    Category.OPTION: ("orderbook.25", "orderbook.100", "tickers"),
}
PLAIN_PER_SYMBOL: Final = {
    Category.SPOT: ("kline.1", "priceLimit"),
    Category.LINEAR: ("kline.1", "priceLimit", "allLiquidation"),
    Category.INVERSE: ("kline.1", "priceLimit", "allLiquidation"),
    Category.OPTION: (),
}
"""Topics whose messages stand for themselves."""
SYMBOLS: Final = {
    Category.SPOT: ("BTCUSDT", "ETHUSDT"),
    Category.LINEAR: ("BTCUSDT", "ETHUSDT"),
    Category.INVERSE: ("BTCUSD", "ETHUSD"),
}


@dataclass(frozen=True)
class Schedule:
    """What one seed means.

    Attributes:
        faults: as ``--fault`` takes them.
        lines: connections that carry each topic.
        tls: the gateway shows a certificate, which only the test authority's file makes trusted.
        replays: a recording rather than a simulated market.
        seconds: of the whole thing before the healing, after the first message; faults end ``until`` seconds after
            it. Both are counted in turns of the event loop (`TURN_S`).
    """

    seed: int
    category: Category
    prefixes: tuple[str, ...]
    symbol_count: int
    faults: str
    replays: bool
    speed: float
    rate: float
    seconds: float
    lines: int
    tls: bool


def draw(seed: int) -> Schedule:
    """Draw a schedule."""
    chance = Random(f"schedule/{seed}")
    category = chance.choices(list(Category)[:4], weights=[3, 8, 2, 2])[0]
    prefixes = PER_SYMBOL[category]
    chains = [prefix for prefix in prefixes if is_chain(prefix + ".X")]
    chosen = {chance.choice(chains), *chance.sample(prefixes, chance.randint(0, len(prefixes) - 1))}
    seconds = round(chance.uniform(0.8, 1.5), 2)
    plain = Random(f"plain/{seed}")
    return Schedule(
        seed,
        category,
        (
            *(prefix for prefix in prefixes if prefix in chosen),
            *(prefix for prefix in PLAIN_PER_SYMBOL[category] if plain.random() < 0.3),
        ),
        symbol_count=chance.randint(1, 2),
        faults=",".join(_faults(chance, seed, seconds)),
        replays=category is Category.LINEAR and chance.random() < 0.3,
        speed=round(chance.uniform(3, 6), 1),
        rate=round(chance.uniform(0.5, 4), 1),
        seconds=seconds,
        lines=1 if Random(f"lines/{seed}").random() < 0.75 else 2,
        tls=Random(f"tls/{seed}").random() < 0.5,
    )


def _faults(chance: Random, seed: int, seconds: float) -> Iterable[str]:
    """A mix of faults: each in some schedules only, each at rates from rare to reckless."""

    def share(least: float, most: float) -> str:
        return f"{least * (most / least) ** chance.random():.5f}"

    for deed in ("drop", "repeat", "reorder", "corrupt"):
        if chance.random() < 0.4:
            yield f"{deed}={share(0.001, 0.05)}"
    for deed in ("cut", "stall", "half_open", "late"):
        if chance.random() < 0.25:
            yield f"{deed}={share(0.0005, 0.01)}"
    for deed in ("slow_ack", "data_first", "lost_ack", "double_ack"):
        if chance.random() < 0.25:
            yield f"{deed}={share(0.05, 0.24)}"
    if chance.random() < 0.1:
        yield f"refuse={share(0.02, 0.04)}"
    for deed in ("forbidden", "too_many", "unavailable"):
        if chance.random() < 0.1:
            yield f"{deed}={share(0.05, 0.3)}"
    if chance.random() < 0.15:
        yield f"close={seconds * chance.uniform(0.2, 0.8):.2f}"
    if chance.random() < 0.35:
        yield f"restart={seconds * chance.uniform(0.15, 0.8):.2f}"
    yield f"delay={chance.uniform(0.02, 0.2):.2f}"
    yield f"until={seconds}"
    yield f"seed={seed}"


@dataclass
class Verdict:
    """What came of a schedule; ``failure`` is empty when every claim held.

    Attributes:
        inconclusive: it failed each time, and each time the machine had stalled: that says nothing either way.
    """

    seed: int
    judged: Judged = field(default_factory=Judged)
    failure: str = ""
    voided: int = 0
    inconclusive: bool = False
    seconds: float = 0.0


class _Made(NamedTuple):
    samples: list[Sample]
    void: bool
    failure: str


def topics_of(schedule: Schedule) -> list[str]:
    """Full topics of a schedule."""
    symbols: Iterable[str]
    if schedule.category is Category.OPTION:
        symbols = default_symbols(Category.OPTION, 2, time.time_ns())[: schedule.symbol_count]
    else:
        symbols = SYMBOLS[schedule.category][: schedule.symbol_count]
    return [f"{prefix}.{symbol}" for prefix in schedule.prefixes for symbol in symbols]


async def record_schedule(schedule: Schedule, scratch: Path) -> _Made:
    """Run gateway and collector until the faults are over and everything has healed."""
    certificates = make_certificates(scratch) if schedule.tls else None
    plan = parse_faults([schedule.faults])
    assert plan is not None
    assert plan.until_seconds is not None
    calm_s = plan.until_seconds
    options = GatewayOptions(
        replay=_feed(scratch, schedule.category) if schedule.replays else None,
        simulate=None if schedule.replays else schedule.seed,
        category=schedule.category,
        speed=schedule.speed,
        settle_seconds=0.05,
        ledger=scratch / "ledger.jsonl",
        ledgers_books=True,
        faults=replace(plan, until_seconds=None),
        symbol_count=2,
        rate=schedule.rate,
        tls_cert=None if certificates is None else certificates.certificate,
        tls_key=None if certificates is None else certificates.key,
    )
    config = RecordConfig(
        category=schedule.category,
        data=str(scratch / "data"),
        commit_ms=5,
        fsync_s=5,
        lines=schedule.lines,
        backfill=False,
    )
    samples: list[Sample] = []
    failure = ""
    async with Gateway(options) as gateway, _Watch() as watch:
        assert gateway.url.startswith("wss:" if schedule.tls else "ws:")
        trust = None if certificates is None else client_context(certificates.ca_file)
        way = Network(gateway.url, ssl=trust)
        collector = Collector(config, way, topics_of(schedule), crashed=[], timing=HURRIED)
        recording = asyncio.create_task(collector.run())
        failure = await _something_heard(collector, recording)
        for turn in range(round(schedule.seconds / TURN_S)):
            if recording.done():
                break
            if turn == round(calm_s / TURN_S):
                gateway.calm()
            _sample(collector, samples)
            await asyncio.sleep(TURN_S)
        gateway.calm()
        if not failure and not recording.done():
            patience_s = HEALING_S if schedule.lines == 1 else HEALING_S + ELECTED_S
            failure = await _healed(collector, recording, samples, patience_s)
        collector.stop("the schedule is over")
        try:
            await recording
        except (Rejected, ConnectError) as error:
            # With every topic refused, or the first handshakes, there is nothing to record: that is told, and the end.
            failure = (
                "" if any(f"{deed}=" in schedule.faults for deed in _HOPELESS) else f"ended by {error!r}"
            )
    return _Made(samples, watch.worst_s > STALLED_S, failure)


_HOPELESS: Final = ("refuse", "forbidden", "too_many", "unavailable")


async def _something_heard(collector: Collector, recording: asyncio.Task[object]) -> str:
    """Wait for the first message; returns that there was none, or nothing."""
    engine = collector.engine
    end_s = time.monotonic() + HEARD_S
    while not any(engine.messages(feed) for feed, _ in enumerate(engine.topics())):
        if recording.done():
            return ""
        if time.monotonic() > end_s:
            return f"no message within {HEARD_S:g} s"
        await asyncio.sleep(TURN_S)
    return ""


async def _healed(
    collector: Collector, recording: asyncio.Task[object], samples: list[Sample], patience_s: float
) -> str:
    """Wait until every feed that isn't refused is LIVE and says something new; returns which don't, or nothing."""
    engine = collector.engine
    wanted = {topic: engine.feed_index(topic) for topic in collector.topics}
    wanted = {topic: feed for topic, feed in wanted.items() if topic.startswith("orderbook.")}
    heard = {feed: engine.messages(feed) for feed in wanted.values()}
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s and not recording.done():
        refused = collector.lines.refused
        sick = [
            f"{topic} ({engine.state(feed).value})"
            for topic, feed in wanted.items()
            if topic not in refused
            # A feed that stops after its first few words is no feed whose silence can be judged.
            and collector.freshness.threshold_ns(feed) is not None
            and (engine.state(feed) is not FeedState.LIVE or engine.messages(feed) < heard[feed] + 3)
        ]
        if not sick:
            return ""
        _sample(collector, samples)
        await asyncio.sleep(TURN_S)
    return "" if recording.done() else f"not healed {patience_s:g} s after the last fault: {', '.join(sick)}"


def _sample(collector: Collector, samples: list[Sample]) -> None:
    """Look at the LIVE books of consecutive ids as they are now."""
    engine = collector.engine
    for feed, topic in enumerate(engine.topics()):
        if is_chain(topic) and engine.state(feed) is FeedState.LIVE:
            note = engine.checkpoint(feed)
            assert note.update_id is not None
            price, size = engine.exponents(topic.split(".", 2)[2])
            samples.append(
                Sample(topic, note.update_id, note.cross_sequence, note.bids, note.asks, price, size)
            )


class _Watch:
    """Notices when the event loop has to wait for the machine."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def __aenter__(self) -> _Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.01)
            self.worst_s = max(self.worst_s, time.monotonic() - before_s)


def _feed(scratch: Path, category: Category) -> Path:
    """A capture to replay, made once per directory."""
    path = scratch.parent / f"{category.value}.txt"
    if not path.exists():
        prefixes = (*PER_SYMBOL[category], *PLAIN_PER_SYMBOL[category])
        topics = [f"{prefix}.{symbol}" for prefix in prefixes for symbol in SYMBOLS[category]]
        market_feed(path.with_suffix(".tmp"), category, topics, FEED_S)
        path.with_suffix(".tmp").rename(path)
    return path


def run_schedule(seed: int, directory: Path) -> Verdict:
    """Run one schedule in a directory of its own, which stays if it fails."""
    return run_schedules([seed], directory)[0]


def run_schedules(seeds: Iterable[int], directory: Path) -> list[Verdict]:
    """Run schedules in one event loop, then judge each; what failed on a stalling machine is run again, alone."""
    schedules = [draw(seed) for seed in seeds]
    verdicts = {schedule.seed: Verdict(schedule.seed) for schedule in schedules}
    together = schedules
    end_s = 0.0
    for _ in range(ATTEMPTS):
        void = []
        for group in [together] if together is schedules else [[one] for one in together]:
            began_s = time.monotonic()
            if group is not schedules and began_s > end_s:
                void += group
                continue
            made = uvloop.run(_together(group, directory))
            for schedule, result in zip(group, made, strict=True):
                verdict = verdicts[schedule.seed]
                verdict.seconds = time.monotonic() - began_s
                _conclude(schedule, result, directory / str(schedule.seed), verdict)
                if verdict.failure and isinstance(result, _Made) and result.void:
                    verdict.voided += 1
                    void.append(schedule)
        end_s = end_s or time.monotonic() + RETRIED_S
        together = void
        if not void:
            break
    for schedule in together:
        verdicts[schedule.seed].failure += " (the machine stalled each time)"
        verdicts[schedule.seed].inconclusive = True
    return [verdicts[schedule.seed] for schedule in schedules]


async def _together(schedules: list[Schedule], directory: Path) -> list[_Made | BaseException]:
    scratches = [directory / str(schedule.seed) for schedule in schedules]
    for schedule, scratch in zip(schedules, scratches, strict=True):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        if schedule.replays:
            _feed(scratch, schedule.category)
    return await asyncio.gather(
        *(record_schedule(schedule, scratch) for schedule, scratch in zip(schedules, scratches, strict=True)),
        return_exceptions=True,
    )


def _conclude(schedule: Schedule, made: _Made | BaseException, scratch: Path, verdict: Verdict) -> None:
    verdict.failure = ""
    try:
        if isinstance(made, BaseException):
            raise made
        assert not made.failure, made.failure
        data = scratch / "data"
        with roll_lock(data, wait=True):
            roll_data(data)
        ledger = scratch / "ledger.jsonl"
        verdict.judged = judge(data, ledger, schedule.category, made.samples, lines=schedule.lines)
    except Exception as error:
        verdict.failure = f"{type(error).__name__}: {error}"
        if not isinstance(error, AssertionError):
            verdict.failure = "".join(traceback.format_exception(error))
    else:
        shutil.rmtree(scratch)


def command_of(seed: int) -> str:
    """What repeats a schedule."""
    return f"python -m tests.faults.schedules {seed}"


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.schedules", description=__doc__.split("\n")[0]
    )
    parser.add_argument("seed", type=int, help="the first, or the only, seed")
    parser.add_argument("--count", type=int, default=1, help="so many seeds from there on")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument(
        "--directory", type=Path, help="where failed schedules are left [default: a temporary one]"
    )
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="schedules-"))
    logging.basicConfig(level=logging.CRITICAL)
    if arguments.count == 1:
        logging.getLogger("tapebook").setLevel(logging.DEBUG)
    schedules = [draw(seed) for seed in range(arguments.seed, arguments.seed + arguments.count)]
    total, voided = Judged(), 0
    failed: list[int] = []
    inconclusive: list[int] = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(run_schedule, schedule.seed, directory / f"job-{schedule.seed % arguments.jobs}")
            for schedule in schedules
        ]
        for job in as_completed(jobs):
            verdict = job.result()
            voided += verdict.voided
            _add(total, verdict.judged)
            if verdict.failure or arguments.count == 1:
                print(f"{draw(verdict.seed)}\n  {verdict.failure or 'fine'}", flush=True)
            if verdict.failure:
                (inconclusive if verdict.inconclusive else failed).append(verdict.seed)
                print(f"  again: {command_of(verdict.seed)}   (left in {directory})", flush=True)
    print(
        json.dumps(
            {
                "schedules": arguments.count,
                "two_lines": sum(schedule.lines > 1 for schedule in schedules),
                "over_tls": sum(schedule.tls for schedule in schedules),
                "failed": sorted(failed),
                "inconclusive": sorted(inconclusive),
                "void_runs_repeated": voided,
                "frames": total.frames,
                "book_rows": total.rows,
                "books_compared": total.books,
                "live_books_compared": total.samples,
                "faults": dict(sorted(total.faults.items())),
                "gaps": dict(sorted(total.gaps.items())),
            }
        )
    )
    return 1 if failed or inconclusive else 0


def _add(total: Judged, one: Judged) -> None:
    for name in ("frames", "rows", "books", "samples"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.faults += one.faults
    total.gaps += one.gaps


if __name__ == "__main__":
    sys.exit(_main())
