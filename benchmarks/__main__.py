"""``python -m benchmarks NAME [--data FILE]``: run one benchmark, print one JSON object.

Exit codes: 0 measured, 1 contenders disagree or instructions grew, 2 usage or something missing that it needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from schemas.errors import TapebookError

__all__ = ["NAMES", "main"]

NAMES = (
    "decode",
    "columns",
    "replay",
    "book",
    "growth",
    "instructions",
    "transport",
    "load",
    "roll",
    "size",
    "ranges",
    "journal",
    "query",
    "manifest",
    "live",
    "serve",
    "order",
    "nats",
)
INSTRUCTION_FRAMES = 5_000
"""Frames to count instructions with: valgrind is fifty times slower, and counts need no repetition."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run one benchmark and print one JSON object; benchmarks/README.md says what it means.",
    )
    out.add_argument("name", choices=NAMES)
    out.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="lines of `<receive_ns> <frame>`, plain or .gz; default: generated",
    )
    out.add_argument(
        "--topic", default="orderbook.50", help="topic to measure with, with or without symbol (%(default)s)"
    )
    out.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="frames to measure with (all of a recording, 20,000 generated ones; instructions: "
        f"{INSTRUCTION_FRAMES:,})",
    )
    out.add_argument(
        "--repetitions", type=int, default=7, metavar="N", help="passes of each contender (%(default)s)"
    )
    out.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="instructions: compare with this earlier result, and exit 1 if a frame takes over 5 %% more",
    )
    out.add_argument(
        "--rate",
        type=float,
        default=20_000.0,
        metavar="N",
        help="load, journal, serve, nats: frames a second (%(default)g)",
    )
    out.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="load: length of the schedule (60); transport, live: of one measurement (2, 5); nats: of the "
        "recording (5); roll: of all rolls together (10)",
    )
    out.add_argument(
        "--symbols",
        type=int,
        metavar="N",
        help="load, manifest: symbols (600); serve: (200); roll: simulated frames of so many symbols instead of two",
    )
    out.add_argument(
        "--segment-mib",
        type=float,
        default=256.0,
        metavar="M",
        help="roll: the frames are repeated until the segment holds so many MiB of them (%(default)g)",
    )
    out.add_argument(
        "--tick-ms",
        type=float,
        default=1.0,
        metavar="MS",
        help="load: how often what is due is sent (%(default)g)",
    )
    out.add_argument(
        "--segment-seconds",
        type=float,
        metavar="S",
        help="load: of the journal; rolling begins with the second (300, or half the run)",
    )
    out.add_argument(
        "--archive",
        type=Path,
        metavar="DIR",
        help="query: where its archives are kept for the next time (default: made anew, and deleted)",
    )
    out.add_argument(
        "--hours",
        type=float,
        default=24.0,
        metavar="H",
        help="query: hours of each of two symbols (%(default)g)",
    )
    out.add_argument(
        "--days",
        type=int,
        default=0,
        metavar="N",
        help="manifest: compacted days before, and what each kind of reader takes behind them (%(default)s)",
    )
    out.add_argument(
        "--compacted", action="store_true", help="query: with one file a day, which takes a while to make"
    )
    out.add_argument(
        "--moments", type=int, default=1_000, metavar="N", help="query: books to ask for (%(default)s)"
    )
    return out


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark that was asked for."""
    if options.name == "load":
        from benchmarks.load import load as load_benchmark

        return load_benchmark(
            options.rate,
            options.seconds or 60.0,
            options.symbols or 600,
            options.tick_ms,
            options.segment_seconds,
        )
    if options.name == "serve":
        from benchmarks.serve import serve

        return serve(options.rate, options.seconds or 20.0, options.symbols or 200, options.repetitions)
    if options.name == "order":
        from benchmarks.order import order

        return order(repetitions=options.repetitions)
    if options.name == "manifest":
        from benchmarks.manifest import manifest

        return manifest(options.symbols or 600, options.days)
    if options.name == "journal":
        from benchmarks.feed import load as load_feed
        from benchmarks.journal import journal

        feed = load_feed(options.data, None, options.frames)
        return journal(feed, options.rate, options.seconds or 5.0)
    if options.name == "nats":
        from benchmarks.feed import load as load_feed
        from benchmarks.nats_sink import nats_sink

        return nats_sink(load_feed(options.data, None, options.frames), options.rate, options.seconds or 5.0)
    if options.name == "query":
        from benchmarks.query import query

        return query(
            options.archive, options.hours, options.moments, options.repetitions, compacted=options.compacted
        )
    if options.name == "transport":
        from benchmarks.transport import transport

        return transport(options.seconds or 2.0, options.repetitions)
    # Here, so that a missing orjson or an unbuilt core is a message and not a traceback.
    from benchmarks.feed import load

    if options.name == "instructions":
        from benchmarks.instructions import instructions, read_baseline

        baseline = read_baseline(options.baseline) if options.baseline is not None else None
        return instructions(load(options.data, options.topic, options.frames or INSTRUCTION_FRAMES), baseline)
    if options.name == "roll":
        from benchmarks.roll import roll, simulated

        if options.data is None and options.symbols is not None:
            whole = simulated(options.symbols, options.frames)
        else:
            whole = load(options.data, None, options.frames)
        return roll(whole, options.seconds or 10.0, options.segment_mib)
    if options.name == "size":
        from benchmarks.size import size

        return size(load(options.data, None, options.frames), options.topic)
    feed = load(options.data, options.topic, options.frames)
    if options.name == "live":
        from benchmarks.live import live

        return live(feed, options.seconds or 5.0, options.repetitions)
    if options.name == "ranges":
        from benchmarks.ranges import ranges

        return ranges(feed)
    if options.name == "decode":
        from benchmarks.decode import decode

        return decode(feed, options.repetitions)
    if options.name == "columns":
        from benchmarks.columns import columns

        return columns(feed, load(options.data, None, options.frames), options.repetitions)
    if options.name == "replay":
        from benchmarks.replay import replay

        return replay(feed, options.repetitions)
    if options.name == "book":
        from benchmarks.book import book

        return book(feed, options.repetitions)
    from benchmarks.growth import growth

    return growth(feed, options.repetitions)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark that was asked for; return the exit code."""
    command = parser()
    options = command.parse_args(arguments)
    if (options.frames is not None and options.frames < 1) or options.repetitions < 1:
        command.error("--frames and --repetitions: expected at least 1")
    if (
        options.rate <= 0
        or (options.symbols is not None and options.symbols < 1)
        or options.tick_ms <= 0
        or options.segment_mib <= 0
    ):
        command.error("--rate, --symbols, --tick-ms and --segment-mib: expected more than 0")
    if options.hours < 0.25 or options.moments < 2:
        command.error("--hours: expected at least 0.25; --moments: at least 2")
    if any(value is not None and value <= 0 for value in (options.seconds, options.segment_seconds)):
        command.error("--seconds and --segment-seconds: expected more than 0")
    if options.baseline is not None and options.name != "instructions":
        command.error("--baseline: found with a benchmark of times, expected with instructions only")
    try:
        result = measure(options)
    except TapebookError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result, indent=2))
    compared = result.get("baseline")
    if compared is None or not compared["regressions"]:
        return 0
    print(f"benchmarks: {_regression(compared)}", file=sys.stderr)
    return 1


def _regression(compared: dict[str, Any]) -> str:
    grown = ", ".join(f"{name} by {compared['growth'][name]:.1%}" for name in compared["regressions"])
    if compared["same_compiler"]:
        advice = "find what grew, or store the printed result as the new baseline and say why"
    else:
        advice = (
            "another compiler made the baseline: make one with this compiler from the code before the change"
        )
    return f"instructions per frame grew: {grown}; expected at most 5 %: {advice}"


if __name__ == "__main__":
    sys.exit(main())
