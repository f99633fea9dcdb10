"""One pass of `growth`'s batches, for a tool that counts what it does: instructions and cache lines, not time.

    valgrind --tool=cachegrind --cache-sim=yes --D1=49152,12,64 --LL=1048576,16,64 \\
        python -m benchmarks.growth_counted FILE 2000 [run|prepare [held|ranked|even]]

With ``prepare`` it makes the batches, all of them, and applies none: the difference of the two is the deltas'
(``PYTHONHASHSEED=0`` makes the rest the same). The caches are those of a processor
with 48 KiB and 1 MiB of its own; what misses both comes from a cache that is shared, or from memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.feed import load
from benchmarks.growth import Batches
from benchmarks.growth_traffic import Traffic, readdress, weights_of


def main(data: str, books: str, step: str = "run", traffic: str = "even") -> None:
    """Hold so many books, and apply every delta of orderbook.50 once; print how many."""
    feed = load(Path(data), "orderbook.50", None)
    held = Batches(readdress(feed, weights_of(Traffic(traffic), int(books))), books)
    held.prepare()
    pieces = list(held.pieces())
    if step == "run":
        for piece in pieces:
            held.take(piece)
    print(held.frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
