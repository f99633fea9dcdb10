"""``python -m benchmarks NAME [--data FILE]``: run one benchmark, print one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from schemas.errors import TapebookError

NAMES = ("decode",)


def main() -> int:
    """Run the benchmark that was asked for; return the exit code of its error, if any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument(
        "--data", type=Path, help="lines of `<receive_ns> <frame>`, plain or .gz; default: generated"
    )
    parser.add_argument(
        "--frames", type=int, default=20_000, help="order-book frames to measure with (%(default)s)"
    )
    parser.add_argument("--repetitions", type=int, default=7, help="passes of each contender (%(default)s)")
    options = parser.parse_args()
    if options.frames < 1 or options.repetitions < 1:
        parser.error("--frames and --repetitions: expected at least 1")
    try:
        # Here, so that a missing orjson or an unbuilt core is a message and not a traceback.
        from benchmarks.decode import decode
        from benchmarks.feed import generated, recorded

        feed = recorded(options.data, options.frames) if options.data else generated(options.frames)
        result = decode(feed, options.repetitions)
    except TapebookError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
