"""Configuration files: what is taken, and what an error names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.config_file import load_config
from schemas.config import DEFAULT_TOPICS, RecordConfig
from schemas.errors import ConfigError
from schemas.names import Category


def _file(directory: Path, text: str) -> Path:
    path = directory / "record.toml"
    path.write_text(text)
    return path


def test_nothing_given_is_the_defaults() -> None:
    config = load_config(None, {})
    assert config == RecordConfig()
    assert (config.category, config.topics, config.collector) == (
        Category.LINEAR,
        list(DEFAULT_TOPICS),
        "linear",
    )


@pytest.mark.parametrize("head", ["", "[record]\n"])
def test_a_file_and_options_over_it(tmp_path: Path, head: str) -> None:
    path = _file(tmp_path, head + 'category = "spot"\nsymbols = ["A", "B"]\nduration = 5\nroll = false\n')
    config = load_config(path, {"duration": 7.5, "category": None, "name": "mine"})
    assert (config.category, config.symbols, config.duration, config.roll) == (
        Category.SPOT,
        ["A", "B"],
        7.5,
        False,
    )
    assert config.collector == "mine"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            'category = "linear"\nsymbol = ["A"]\n',
            [":2:", "found key 'symbol'", "expected one of category, symbols", "nearest is 'symbols'"],
        ),
        ("\n\nzzz = 1\n", [":3:", "found key 'zzz'", "the nearest is "]),
        (
            'category = "linar"\n',
            [
                ":1: category",
                "found 'linar'",
                "expected one of spot, linear, inverse, option",
                "nearest is 'linear'",
            ],
        ),
        ('symbols = ["A"]\ncommit_ms = "ten"\n', [":2: commit_ms", "found 'ten'", "expected `float`"]),
        ('keep_journal = "30"\n', [":1: keep_journal", "found '30'", "such as 30d"]),
        (
            '# size\nkeep_journal_bytes = "1 PB"\n',
            [":2: keep_journal_bytes", "found '1 PB'", "such as 500GB"],
        ),
        ("commit_kib = 1e9\n", [":1: commit_kib", "found 1000000000.0", "<= 65536", "the nearest is 65536"]),
        ("live_depth = 20\n", [":1: live_depth", "found 20", "expected `str`", 'the nearest is "20"']),
        ("lines = 9\n", [":1: lines", "found 9", "<= 4", "the nearest is 4"]),
        (
            'lines = 0\nregion = "us"\n',
            [":1: lines", "the nearest is 1", ":2: region", "'us'", "the nearest is 'eu'"],
        ),
        ("region = 3\n", [":1: region", "found 3", "expected `str`"]),
        ("min_free_mib = -1\n", [":1: min_free_mib", "found -1", "the nearest is 0"]),
        (
            'fsync = "commmit"\n',
            [":1: fsync", "expected one of interval, commit, never", "the nearest is 'commit'"],
        ),
        ("duration = -1\n", [":1: duration", "found -1", "> 0"]),
        ("# one\nlines = 1.5\n", [":2: lines", "found 1.5", "expected `int`"]),
        ('symbols = "BTCUSDT"\n', [":1: symbols", "found 'BTCUSDT'", "expected `array`"]),
        ("symbols = [1]\n", [":1: symbols", "found [1]", "expected `str`"]),
        ('"roll" = "no"\n', [":1: roll", "found 'no'", "expected `bool`"]),
        ("category = 7\n", [":1: category", "found 7", "expected `str`"]),
        ("category = \n", ["not TOML", "line 1"]),
        ('endpoint = "a"\nendpoint = "b"\n', ["not TOML", "line 2"]),
        ("[record]\nsegment_mib = 0\n", [":2: segment_mib", "found 0", "> 0"]),
        ("[recording]\nlines = 1\n", ["found key 'recording'"]),
        ('symbols = ["A"]\nregion = "turkiye"\n', [":2: region", "'turkiye'", "the nearest is 'tr'"]),
        ('environment = "Testnet."\n', [":1: environment", "'Testnet.'", "the nearest is 'testnet'"]),
    ],
)
def test_what_an_error_names(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    message = str(caught.value)
    for part in [str(path), *parts]:
        assert part in message, message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"category": "futures"}, ["--category", "found 'futures'", "spot, linear, inverse, option"]),
        ({"stop_after_idle": 0.0}, ["--stop-after-idle", "found 0.0", "> 0"]),
        ({"segment_mib": -3.0}, ["--segment-mib", "found -3.0"]),
    ],
)
@pytest.mark.parametrize("with_file", [False, True])
def test_an_option_is_named_as_it_was_given(
    tmp_path: Path, given: dict[str, Any], parts: list[str], with_file: bool
) -> None:
    path = _file(tmp_path, 'category = "spot"\nduration = 3\n') if with_file else None
    with pytest.raises(ConfigError) as caught:
        load_config(path, given)
    for part in parts:
        assert part in str(caught.value)
    assert "record.toml" not in str(caught.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: no such file; expected a TOML file"):
        load_config(tmp_path / "nothing.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path, {})


def test_a_region_that_was_given_as_an_option(tmp_path: Path) -> None:
    path = _file(tmp_path, 'environment = "testnet"\n')
    with pytest.raises(ConfigError, match=r"^--region: region 'xx': expected one of global, tr"):
        load_config(path, {"region": "xx"})
    with pytest.raises(ConfigError, match=r"^--region: region 'jp': it has no testnet that is published"):
        load_config(path, {"region": "jp"})
    assert load_config(path, {"region": "global"}).environment == "testnet"
