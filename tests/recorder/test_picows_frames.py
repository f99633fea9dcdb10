"""picows' parser by itself: what it needs of picows, and what it does where chunks end anywhere."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from recorder.picows_frames import FrameParser, load_parser
from schemas.errors import ConfigError

LIMIT = 400_000
needs_picows = pytest.mark.usefixtures("picows")


@pytest.fixture
def picows() -> ModuleType:
    module: ModuleType = pytest.importorskip(
        "picows", reason="picows isn't installed: pip install 'tapebook[picows]'"
    )
    return module


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    load_parser.cache_clear()
    yield
    load_parser.cache_clear()


def text(payload: bytes) -> bytes:
    return b"\x81\x7f" + struct.pack("!Q", len(payload)) + payload


@needs_picows
@pytest.mark.parametrize("size", [1_000, 100_000, 131_072, 1_000_000])
async def test_chunks_larger_than_the_buffer_are_taken_whole(size: int) -> None:
    messages = [b"%06d" % number * 12_000 for number in range(20)]
    stream = b"".join(map(text, messages))
    parser = load_parser()(LIMIT)
    found = [message for at in range(0, len(stream), size) for message in parser.feed(stream[at : at + size])]
    assert found == messages
    assert not parser.is_inside
    assert parser.fault == ""


@needs_picows
@pytest.mark.parametrize(
    ("rest", "inside"),
    [(b"", False), (b"\x81", True), (text(b"x" * 70_000)[:-1], True)],
    ids=["nothing", "a byte", "all but a byte"],
)
async def test_a_stream_that_ends_within_a_message_is_known(rest: bytes, inside: bool) -> None:
    parser = load_parser()(LIMIT)
    # more than the buffer holds, so that what is left comes in a piece of its own
    assert len(parser.feed(text(b"y" * 200_000) + text(b"z" * 90_000) + rest)) == 2
    assert parser.is_inside is inside


@needs_picows
async def test_nothing_is_parsed_once_something_is_broken() -> None:
    parser = load_parser()(100)
    assert parser.feed(b"\x81\x01a\x81\x7e\x00\xc8" + b"b" * 50) == [b"a"]
    assert parser.fault_code == 1009
    # picows itself would hand that over: the rest of what is too long, and what follows
    assert parser.feed(b"b" * 150 + b"\x81\x01c") == []
    assert parser.feed(b"\x81\x01d") == []


@needs_picows
async def test_nothing_is_parsed_after_the_closing_frame() -> None:
    parser = load_parser()(100)
    assert parser.feed(b"\x89\x00\x81\x01a\x88\x02\x03\xe8\x81\x01b\xff\xff") == [b"a"]
    assert parser.controls == [(9, b""), (8, b"\x03\xe8")]
    assert parser.fault == ""


@needs_picows
def test_it_is_loaded_with_and_without_a_running_loop() -> None:
    async def made() -> FrameParser:
        return load_parser()(10)

    outside = load_parser()
    load_parser.cache_clear()
    assert asyncio.run(made()).feed(b"\x81\x01a") == [b"a"]
    assert callable(outside)


@needs_picows
@pytest.mark.parametrize("wrong", [{}, {"WSProtocol": lambda *_: None}])
def test_a_picows_that_parses_otherwise_is_refused(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModuleType("picows.picows")
    vars(other).update(wrong)
    monkeypatch.setitem(sys.modules, "picows.picows", other)
    with pytest.raises(
        ConfigError, match=r"picows [\d.]+ is not one that can be used here .*tapebook\[picows\]"
    ):
        load_parser()


def test_what_is_not_installed_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picows", None)
    with pytest.raises(ConfigError, match=r"transport picows: it is not installed .*pip install 'tapebook"):
        load_parser()
