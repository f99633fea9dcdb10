"""What Python believes about the C structs, and the core about the tables: field by field."""

from __future__ import annotations

import re
from pathlib import Path

from engine.core.feeds import ticker_keys
from engine.events import ERRORS, EventKind
from schemas.names import FeedState, GapCause, RowKind
from schemas.tables import CAUSES, ROW_KINDS, TICKER_FIELDS

SOURCES = Path(__file__).parents[3] / "engine" / "core" / "src"


def _text(name: str) -> str:
    return re.sub(r"/\*.*?\*/", "", (SOURCES / name).read_text(), flags=re.S)


def _constants() -> dict[str, int]:
    found = re.findall(r"#define (\w+) (\d+)\b", _text("tb_frame.h") + _text("tb_rows.h"))
    return {name: int(value) for name, value in found}


def test_ticker_keys_are_those_of_the_table() -> None:
    assert ticker_keys() == [(field.key, field.kind) for field in TICKER_FIELDS]
    assert len(ticker_keys()) == _constants()["TB_TICKER_FIELDS"]
    # the masks have 64 bits
    assert len(TICKER_FIELDS) <= 64


def _enumeration(header: str, prefix: str) -> list[str]:
    """Names of an enumeration in their order, without prefix and end mark."""
    names = re.findall(rf"\b{prefix}(\w+)\b(?:\s*=\s*\d+)?\s*[,}}\n]", _text(header))
    return [name.lower() for name in dict.fromkeys(names) if not name.endswith("COUNT")]


def test_enumerations_are_mirrored() -> None:
    assert _enumeration("tb_types.h", "TB_CAUSE_") == list(CAUSES) == [cause.value for cause in GapCause]
    assert [kind.name.lower() for kind in EventKind] == _enumeration("tb_engine.h", "TB_EVENT_")
    errors = re.search(r"typedef enum \{\s*TB_OK = 0,(.*?)TB_ERROR_COUNT", _text("tb_types.h"), re.S)
    assert errors is not None
    assert ["ok", *(name.lower() for name in re.findall(r"TB_(\w+)", errors.group(1)))] == list(ERRORS)
    states = re.search(r"typedef enum \{ (TB_EMPTY = 0.*?)\} tb_state", _text("tb_types.h"))
    assert states is not None
    assert [name.lower() for name in re.findall(r"TB_(\w+)", states.group(1))] == [
        state.value for state in FeedState
    ]
    assert tuple(kind.value for kind in RowKind) == ROW_KINDS
    kinds = re.search(r"typedef enum \{ (TB_SNAPSHOT = 0.*?)\} tb_row_kind", _text("tb_types.h"))
    assert kinds is not None
    assert tuple(name.lower() for name in re.findall(r"TB_(\w+)", kinds.group(1))) == ROW_KINDS
