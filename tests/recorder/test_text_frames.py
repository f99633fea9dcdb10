"""Frames are those that another implementation reads, and no two have the same key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from recorder.text_frames import TextFrames


def parsed(frame: bytes) -> Frame:
    """What websockets' own parser makes of a frame; it refuses one that isn't masked, or not whole."""
    reader = StreamReader()
    reader.feed_data(frame)
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=True)
    try:
        while True:
            next(parsing)
    except StopIteration as end:
        assert reader.at_eof
        found: Frame = end.value
        return found


@given(st.binary(max_size=400), st.lists(st.sampled_from((0, 125, 126, 65_535, 65_536, 70_000)), max_size=2))
def test_another_reads_what_was_written(text: bytes, sizes: list[int]) -> None:
    frames = TextFrames()
    for payload in (text, *(b"x" * size for size in sizes)):
        read = parsed(frames.frame(payload))
        assert (read.opcode, read.fin, bytes(read.data)) == (Opcode.TEXT, True, payload)
        assert (read.rsv1, read.rsv2, read.rsv3) == (False, False, False)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_the_bytes_are_websockets_own(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_bytes", lambda count: b"\x01\x02\x03\x04"[:count])
    payload = bytes(range(256)) * 300
    frames = TextFrames(lambda count: b"\x01\x02\x03\x04" * (count // 4))
    text = payload[:size]
    assert frames.frame(text) == Frame(Opcode.TEXT, text).serialize(mask=True)


def test_every_key_is_drawn_and_none_is_used_twice() -> None:
    drawn: list[bytes] = []

    def draw(count: int) -> bytes:
        start = 256 * len(drawn)
        drawn.append(b"".join(number.to_bytes(4, "big") for number in range(start, start + count // 4)))
        return drawn[-1]

    frames = TextFrames(draw)
    keys = [frames.frame(b"")[2:] for _ in range(1_000)]
    assert len(set(keys)) == 1_000
    assert set(keys) <= {batch[at : at + 4] for batch in drawn for at in range(0, len(batch), 4)}
    assert len(drawn) == 4
    assert "keys left" in repr(frames)


def test_the_systems_randomness_is_the_default() -> None:
    keys = {TextFrames().frame(b"")[2:] for _ in range(50)}
    assert len(keys) > 45
