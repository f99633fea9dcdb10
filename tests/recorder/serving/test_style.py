"""Colours can be read: contrast as the Web Content Accessibility Guidelines count it, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from recorder.serving.pages import load_assets


def _colours(block: str) -> dict[str, tuple[int, int, int]]:
    text = load_assets()["style.css"].content.decode()
    body = text.partition(f"{block} {{")[2].partition("}")[0]
    return {
        name: (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16))
        for name, code in re.findall(r"--([\w-]+): #([0-9a-f]{6});", body)
    }


def _luminance(colour: tuple[int, int, int]) -> float:
    parts = [value / 255 for value in colour]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_counted_right() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("block", [":root", ":root.dark"])
def test_colours_can_be_read(block: str) -> None:
    colours = _colours(block)
    assert len(colours) >= 16
    for ground in ("sheet", "paper", "hover", "chosen"):
        for text in ("ink", "soft", "buy", "gap", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["faint"], colours[ground]) >= 3, ground
    for text, ground in (
        ("buy", "buy-soft"),
        ("sell", "sell-soft"),
        ("gap", "gap-soft"),
        ("ink", "buy-soft"),
        ("ink", "sell-soft"),
    ):
        assert contrast(colours[text], colours[ground]) >= 4, (text, ground)


def test_every_colour_has_a_dark_one() -> None:
    assert _colours(":root").keys() == _colours(":root.dark").keys()
    assert _colours(":root:not(.light, .dark)") == _colours(":root.dark")
