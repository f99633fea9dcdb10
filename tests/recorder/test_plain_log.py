"""The log on standard error: a terminal is not told what to do by what the exchange says."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from recorder.plain_log import log_to_stderr, plain


@pytest.fixture
def _root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.usefixtures("_root")
def test_what_others_say_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO)
    log = logging.getLogger("tapebook")
    log.warning(
        "line %d: connection lost: %s", 0, "closed by the peer: 1000 (OK) \x1b]0;owned\x07\x1b[2J\x9b1m bye"
    )
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        log.exception("failed")
    log.debug("not told")
    told = capsys.readouterr().err
    assert told.startswith(
        "tapebook: WARNING: line 0: connection lost: closed by the peer: 1000 (OK) ?]0;owned??[2J?1m bye\n"
    )
    assert told.endswith("ValueError: ?[31mred\n")
    assert "\x1b" not in told


@pytest.mark.parametrize("text", ["", "Käse 0.1 €", "two\nlines\tand a tab"])
def test_what_can_be_printed_stays(text: str) -> None:
    assert plain(text) == text
