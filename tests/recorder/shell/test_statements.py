"""recorder.shell.statements: where a statement ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.shell.statements import is_complete, split_statements


@pytest.mark.parametrize(
    ("text", "whole", "rest"),
    [
        ("SELECT 1;", ["SELECT 1"], ""),
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT ';'; SELECT \"a;b\" ;\n FROM", ["SELECT ';'", 'SELECT "a;b"'], "FROM"),
        ("SELECT 1 -- one; two\n;", ["SELECT 1 -- one; two"], ""),
        ("SELECT /* ; */ $$;$$;", ["SELECT /* ; */ $$;$$"], ""),
        ("SELECT 'open;", [], "SELECT 'open;"),
        (";;  ; -- nothing;\n", [], ""),
        ("SELECT 'ü;'; x", ["SELECT 'ü;'"], "x"),
        ("", [], ""),
        ("/* open;\n", [], "/* open;"),
        ("SELECT 1; /* a /* b */;", ["SELECT 1"], "/* a /* b */;"),
        ("/* a /* b */; */ SELECT 1;", ["/* a /* b */; */ SELECT 1"], ""),
    ],
)
def test_statements_end_with_their_semicolon(text: str, whole: list[str], rest: str) -> None:
    assert split_statements(text) == (whole, rest)
    assert is_complete(text) == (rest == "")


@pytest.mark.parametrize("text", ["\\d trades", "help", " QUIT ", "exit", "\n", "\\"])
def test_commands_are_one_line(text: str) -> None:
    assert is_complete(text)


@given(
    st.lists(st.sampled_from(["a", "';'", '";"', "-- ;\n", "/* ; */", "(1)"]).map(str), min_size=1),
    st.integers(1, 4),
)
def test_as_many_statements_as_are_written(parts: list[str], times: int) -> None:
    text = " ".join(parts)
    whole, rest = split_statements(f"{text};\n" * times + text)
    is_nothing = all(part.startswith(("--", "/*")) for part in parts)
    assert whole == ([] if is_nothing else [text.strip()] * times)
    assert rest == ("" if is_nothing else text.strip())


def test_stray_bytes_are_handed_on_to_who_says_so() -> None:
    assert split_statements("SELECT '\udce9'") == (["SELECT '\udce9'"], "")
    assert is_complete("SELECT '\udce9'")
