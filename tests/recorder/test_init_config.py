"""The configuration that `tapebook init` writes, held against what the recorder takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.config_file import KEYS, load_config
from recorder.fleet import load_fleet
from recorder.init_config import ABOUT, commented_config, described, run_init, toml_value
from schemas.config import RecordConfig
from schemas.errors import ConfigError, StoreError


def test_every_key_is_in_it_and_no_other() -> None:
    assert set(ABOUT) <= set(KEYS)
    assert set(KEYS) == set(described()), "a key that the documentation of RecordConfig leaves out"
    assert all(len(words) > 10 for words in described().values())
    keys = re.findall(
        r"^(?:# )?([a-z_]+) (?:= |is unset)", commented_config().split("# Several collectors")[0], re.M
    )
    assert keys == list(KEYS)


def test_as_it_is_it_means_the_defaults(tmp_path: Path) -> None:
    run_init(tmp_path / "tapebook.toml")
    config = load_config(tmp_path / "tapebook.toml", {})
    assert config == msgspec.structs.replace(RecordConfig(), symbols=["BTCUSDT", "ETHUSDT"])


def test_with_every_comment_taken_away_each_value_is_the_default_or_an_example(tmp_path: Path) -> None:
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", commented_config().split("# Several collectors")[0], flags=re.M)
    path = tmp_path / "tapebook.toml"
    path.write_text(text)
    values = tomllib.loads(text)
    examples = set(re.findall(r"^([a-z_]+) = .*# an example", text, re.M)) | {"symbols"}
    for key, default in msgspec.structs.asdict(RecordConfig()).items():
        assert (values.get(key) == default) != (key in examples), key
    config = load_config(path, {"environment": ""})  # an example that has no region
    assert config.lines == RecordConfig().lines


def test_the_tables_for_several_collectors_work_too(tmp_path: Path) -> None:
    text = commented_config()
    head, tail = text.split("# Several collectors", 1)
    tables = re.sub(r"^# ?(?=\[\[|[a-z]+ = )", "", tail, flags=re.M)
    path = tmp_path / "tapebook.toml"
    path.write_text(f"{head}# Several collectors{tables}")
    assert [config.collector for config in load_fleet(path).configs] == ["linear-1", "linear-2", "spot"]


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tapebook.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already and is left alone"):
        run_init(path)
    assert path.read_text() == "mine"
    with pytest.raises(StoreError, match="cannot be written"):
        run_init(tmp_path / "nowhere" / "tapebook.toml")


scalars = st.text(st.characters(codec="utf-8")) | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(
    allow_nan=False, allow_infinity=False, width=32
)  # fmt: skip


@given(scalars | st.lists(scalars))
def test_values_as_toml_writes_them(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value
