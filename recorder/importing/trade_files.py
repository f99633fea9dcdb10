"""The exchange's trade files (protocol section 9.3): CSV of spot, of linear, inverse and dated contracts, of options.

Rows that follow each other and are of one millisecond and topic are one record, stamped with the last one's time.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, cast

from engine.trade_files import columns_of, read_row, topic_of_trade
from recorder.importing.sources import Bad, Trades, excerpt, lines_of, opened, reading
from schemas.errors import ConfigError, DataError
from schemas.notes import ImportedTrades

__all__ = ["TradeFile"]

MOST_ROWS: Final = 1000
"""Of one record: what a message of the stream may carry, nearly."""
_SPOT_NAME: Final = re.compile(r"([A-Z0-9]+)[_-][0-9]{4}-[0-9]{2}(-[0-9]{2})?\.csv(\.gz|\.zst|\.zip)?")


class TradeFile:
    """A trades CSV, plain, ``.gz``, ``.zst``, or in a ``.zip``.

    Args:
        path: of the file.
        spot: the file is of spot, whose rows have no symbol: it is in the name.

    Raises:
        ConfigError: of spot, and the name says no symbol.
    """

    form: ClassVar[str] = "bybit-trades"
    overlaps: ClassVar[bool] = False

    def __init__(self, path: Path, *, spot: bool = False) -> None:
        self.path = path
        self.read_bytes = 0
        self.symbol = ""
        if spot:
            found = _SPOT_NAME.fullmatch(path.name)
            if found is None:
                raise ConfigError(
                    f"{path}: found no symbol in the name, expected one such as BTCUSDT_2026-08-31.csv.gz, since "
                    "rows of spot have none; rename the file"
                )
            self.symbol = found[1]

    def items(self) -> Iterator[Trades | Bad]:
        """Yield the rows; blank lines are none. A header is line 1."""
        with reading(self.path) as reached, ExitStack() as stack:
            file = stack.enter_context(opened(self))
            if self.path.suffix == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(file))
                members = [member for member in archive.infolist() if not member.is_dir()]
                if len(members) != 1:
                    raise DataError(f"{self.path}: found {len(members)} members, expected one CSV file")
                file = cast(
                    BinaryIO,
                    io.BufferedReader(cast(io.RawIOBase, stack.enter_context(archive.open(members[0])))),
                )
            yield from self._rows(lines_of(file, reached))

    def _rows(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[Trades | Bad]:
        columns: str | None = None
        held: list[str] = []
        key: tuple[str, int] | None = None
        last, last_ns = 0, 0

        def group() -> Trades:
            assert key is not None
            assert columns is not None
            return Trades(last, last_ns, ImportedTrades(key[0], columns, held, self.symbol))

        for number, line in lines:
            if not line or line.isspace():
                continue
            try:
                text = line.decode("ascii")
                if columns is None:
                    columns = columns_of(text)
                    if columns is None or (columns[:2] == "id") != bool(self.symbol):
                        raise DataError(
                            f"{self.path}, line {number}: found {excerpt(line)}, expected the columns of the "
                            "exchange's trade files of this category (docs/import-export.md)"
                        )
                    if text.strip() == columns:
                        continue
                trade = read_row(columns, text, self.symbol)
            except ValueError as error:
                if held:
                    yield group()
                    held = []
                yield Bad(number, f"line {number}", excerpt(line), f"a row of a trade: {error}")
                continue
            at = (topic_of_trade(columns, trade.symbol), trade.match_ns // 10**6)
            if held and (at != key or len(held) >= MOST_ROWS):
                yield group()
                held = []
            key, last, last_ns = at, number, trade.match_ns
            held.append(text)
        if held:
            yield group()
