"""Several collectors out of one file: what is taken, what an error names, how symbols are dealt out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.sharding import parse_shard
from recorder.fleet import FRAMES_PER_SECOND, child_file, expected_loads, load_fleet, measured_loads
from recorder.housekeeping import Housekeeping
from recorder.retention import Keep
from recorder.supervisor import write_child
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from tests.recorder.test_health import feed, live

TWO = """\
data = "{data}"
metrics = "9464"
fsync_s = 0.5

[[collector]]
category = "linear"
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
shards = 2

[[collector]]
category = "spot"
symbols = ["BTCUSDT"]
fsync_s = 2
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text.replace("{data}", str(tmp_path / "data")))
    return path


def told(tmp_path: Path, name: str, *feeds: dict[str, Any], **changes: Any) -> None:
    path = tmp_path / "data" / "journal" / name / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(live(*feeds, running=False, category="linear") | changes))


def test_housekeeping_is_the_supervisors(tmp_path: Path) -> None:
    text = 'min_free_mib = 0\nrecompress = false\nkeep_journal = "3d"\nkeep_journal_bytes = "5GB"\n' + TWO
    fleet = load_fleet(file(tmp_path, text))
    assert fleet.housekeeping == Housekeeping(recompress=False, keep=Keep(3 * 86_400 * 10**9, 5 * 10**9))
    # whoever only records, without a roller, is not asked to remove anything
    assert {(config.keep_journal, config.keep_journal_bytes) for config in fleet.configs} == {("", "")}


def test_tables_over_defaults(tmp_path: Path) -> None:
    fleet = load_fleet(file(tmp_path, TWO))
    assert (fleet.data, fleet.metrics, fleet.roll) == (tmp_path / "data", "9464", True)
    assert [config.collector for config in fleet.configs] == ["linear-1", "linear-2", "spot"]
    assert [config.shard for config in fleet.configs] == ["1/2", "2/2", ""]
    assert [config.fsync_s for config in fleet.configs] == [0.5, 0.5, 2.0]
    for config in fleet.configs:
        assert (config.data, config.metrics, config.roll) == (str(tmp_path / "data"), "", False)
    # a list is dealt out evenly even when nothing was measured
    shards = [parse_shard(config.shard, config.pins) for config in fleet.configs[:2]]
    taken = [sum(shard.takes(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")) for shard in shards]
    assert sorted(taken) == [1, 2]


def test_a_file_without_tables_is_one_collector(tmp_path: Path) -> None:
    fleet = load_fleet(file(tmp_path, 'category = "spot"\nsymbols = ["BTCUSDT"]\nroll = false\n'))
    assert [config.collector for config in fleet.configs] == ["spot"]
    assert fleet.roll is False


def test_a_share_may_be_fixed_by_hand(tmp_path: Path) -> None:
    """As of a machine that records one of two: then it is taken as it is."""
    (config,) = load_fleet(file(tmp_path, 'symbols = ["A", "B"]\nshard = "2/2"\npins = ["A=2"]\n')).configs
    assert (config.collector, config.shard, config.pins) == ("linear", "2/2", ["A=2"])


def test_what_is_written_for_a_child_is_read_back(tmp_path: Path) -> None:
    from recorder.config_file import load_config

    for config in load_fleet(file(tmp_path, TWO)).configs:
        path = write_child(tmp_path / "data", config)
        assert path == child_file(tmp_path / "data", config.collector)
        assert load_config(path, {}) == msgspec.structs.replace(config, name=config.collector)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            'lines = 1.5\n[[collector]]\nsymbol = ["A"]\n\n[[collector]]\ncategory = "linar"\ncommit_ms = "10"\n',
            [
                ":1: lines: found 1.5",
                "nearest is 2",
                ":3: found key 'symbol'",
                "nearest is 'symbols'",
                ":6: category: found 'linar'",
                "nearest is 'linear'",
                ":7: commit_ms: found '10'",
                "nearest is 10",
            ],
        ),
        ('[[collector]]\ndata = "x"\nsymbols = ["A"]\n', [":2: data: is said once"]),
        ('[[collector]]\nkeep_journal = "3d"\nsymbols = ["A"]\n', [":2: keep_journal: is said once"]),
        ('keep_journal = "3"\n[[collector]]\nsymbols = ["A"]\n', [":1: keep_journal: found '3'"]),
        ('roll = false\nkeep_journal = "3d"\n[[collector]]\nsymbols = ["A"]\n', ["--no-roll (roll = false)"]),
        (
            '[[collector]]\nsymbols = ["A"]\nshard = "1/2"\nshards = 2\n',
            [":3: shard: with shards the supervisor deals the symbols out itself"],
        ),
        ('[[collector]]\nsymbols = ["A"]\nshards = 0\n', [":3: shards: found 0, expected 1 to 64"]),
        ('[[collector]]\nsymbols = ["A"]\nshards = "many"\n', [":3: shards: found 'many'"]),
        (
            '[[collector]]\nsymbols = ["A"]\n[[collector]]\nsymbols = ["B"]\n',
            [":3: name: 'linear' is the collector of line 1 already"],
        ),
        (
            '[[collector]]\nsymbols = ["A", "B"]\nshards = 2\n[[collector]]\nname = "linear-2"\nsymbols = ["C"]\n',
            [": name: 'linear-2' is a shard's name too"],
        ),
        ('[[collector]]\nsymbols = ["A"]\nname = "../x"\n', [":3: name: collector name '../x'"]),
        ('[[collector]]\nsymbols = ["A"]\ntopics = ["markPrice"]\n', [":3: topics:"]),
        (
            '[[collector]]\ncategory = "spot"\n',
            [":1: symbols: found none, and orderbook.50, publicTrade, tickers need some"],
        ),
        (
            'symbols = []\ntopics = ["tickers.A", "kline.1"]\n',
            [":1: symbols: found none, and kline.1 needs some"],
        ),
        (
            'symbols = ["A"]\nendpoint = "ws://h:1/x"\nlive_depth = "0"\n',
            [":2: endpoint: endpoint 'ws://h:1/x': has a path", ":3: live_depth: found '0', expected 1 to"],
        ),
        (
            '[[collector]]\nsymbols = ["USDT perpetuals with turnover > 5"]\n',
            [":2: symbols:", "turnover"],
        ),
        ('metrics = "host"\nsymbols = ["A"]\n', [":1: metrics: found 'host', expected HOST:PORT"]),
        ("collector = 5\n", [":1: collector: expected tables"]),
        ('symbols = "A, B"\n', [":1: symbols: found 'A, B'", 'the nearest is ["A", "B"]']),
        ('roll = "yes"\n', ["the nearest is true"]),
        ("fsync_s = 0\n", ["more than 0, such as the default 1"]),
        ('region = "xx"\nsymbols = ["A"]\n', [":1: region: region 'xx'", "nearest is"]),
    ],
)
def test_what_errors_name(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_fleet(path)
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert message.startswith(str(path))


def mistakes(path: Path) -> list[tuple[int, str]]:
    """(line, key) of each, as they are told."""
    with pytest.raises(ConfigError) as caught:
        load_fleet(path)
    found = [word.removeprefix(f"{path}:").split(":")[:2] for word in str(caught.value).splitlines()]
    return [(int(line), key.strip().partition(",")[0].removeprefix("found key ")) for line, key in found]


def test_every_mistake_at_once_and_in_order(tmp_path: Path) -> None:
    text = """\
data = 5
symbls = ["BTCUSDT"]
category = "linaer"
lines = 9
segment_seconds = -1
metrics = "99999"
min_free_mib = "x"
topics = ["orderbook.51"]
endpoint = "ws://127.0.0.1:19001/foo"
[[collector]]
name = "a/b"
symbols = []
shards = 0
[[collector]]
data = "x"
category = "spot"
symbols = ["BTCUSDT"]
"""
    assert mistakes(file(tmp_path, text)) == [
        (1, "data"),
        (2, "'symbls'"),
        (3, "category"),
        (4, "lines"),
        (5, "segment_seconds"),
        (6, "metrics"),
        (7, "min_free_mib"),
        (8, "topics"),
        (9, "endpoint"),
        (11, "name"),
        (12, "symbols"),
        (13, "shards"),
        (15, "data"),
    ]


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ('symbls = ["BTCUSDT"]\n', (1, "'symbls'")),  # of symbols it is not said that there are none
        ('categry = "spot"\nsymbols = ["A"]\ntopics = ["allLiquidation"]\n', (1, "'categry'")),
        ('category = "spt"\nsymbols = ["A"]\ntopics = ["orderbook.500"]\n', (1, "category")),
        ('symbols = "A"\n', (1, "symbols")),
        ('symbols = ["A"]\ntopics = "tickers"\n', (2, "topics")),
        ('name = 5\n[[collector]]\nsymbols = ["A"]\n[[collector]]\nsymbols = ["B"]\n', (1, "name")),
        ('symbols = ["A"]\nshards = 1.5\n', (2, "shards")),
    ],
)
def test_nothing_is_said_of_what_depends_on_a_mistake(
    tmp_path: Path, text: str, only: tuple[int, str]
) -> None:
    assert mistakes(file(tmp_path, text)) == [only]


def test_shards_by_measured_load(tmp_path: Path) -> None:
    """What the last run counted decides: the busiest symbol is alone, the others together."""
    seconds = 100.0
    counts = {"BTCUSDT": 900_000, "ETHUSDT": 300_000, "SOLUSDT": 200_000}
    told(
        tmp_path, "linear",
        *(feed(f"{prefix}.{s}", messages=n // 2) for s, n in counts.items() for prefix in ("orderbook.50", "tickers")),
        seconds=seconds,
    )  # fmt: skip
    config = RecordConfig(data=str(tmp_path / "data"))
    assert measured_loads(config) == {symbol: count / seconds for symbol, count in counts.items()}
    fleet = load_fleet(file(tmp_path, TWO))
    assert fleet.configs[0].pins == ["BTCUSDT=1", "ETHUSDT=2", "SOLUSDT=2"]
    auto = load_fleet(file(tmp_path, TWO.replace("shards = 2", 'shards = "auto"')))
    wanted = min(-(-sum(counts.values()) // int(seconds) // FRAMES_PER_SECOND), os.cpu_count() or 1)
    assert sum(config.category == "linear" for config in auto.configs) == wanted
    assert any("measured 14,000 frames/s" in note for note in auto.notes)


def test_a_short_or_foreign_run_measures_nothing(tmp_path: Path) -> None:
    told(tmp_path, "linear", feed("tickers.A"), seconds=59.0)
    told(tmp_path, "linear-1", feed("tickers.A"), seconds=600.0, category="spot")
    told(tmp_path, "linear-x", feed("tickers.A"), seconds=600.0)
    assert measured_loads(RecordConfig(data=str(tmp_path / "data"))) == {}
    auto = load_fleet(file(tmp_path, TWO.replace("shards = 2", 'shards = "auto"')))
    assert [config.collector for config in auto.configs] == ["linear", "spot"]
    assert any("expected" in note for note in auto.notes)
    rule = TWO.replace('"BTCUSDT", "ETHUSDT", "SOLUSDT"', '"USDT perpetuals"')
    assert load_fleet(file(tmp_path, rule)).configs[0].pins == []
    auto = load_fleet(file(tmp_path, rule.replace("shards = 2", 'shards = "auto"')))
    assert auto.notes == ["linear: no load is known yet, so 1 process"]


def test_a_list_is_dealt_out_by_what_is_expected_of_it(tmp_path: Path) -> None:
    symbols = [f"S{number}USDT" for number in range(9)]
    config = RecordConfig(symbols=symbols, topics=["orderbook.50", "tickers.S0USDT"])
    loads = expected_loads(config)
    assert set(loads) == set(symbols)
    assert loads["S0USDT"] > loads["S1USDT"] == loads["S8USDT"] > 0
    assert expected_loads(RecordConfig(symbols=["all"])) == {}


def test_after_a_crash_nothing_is_dealt_out_anew(tmp_path: Path) -> None:
    """Whoever was recording a feed owns up to its gap."""
    first = load_fleet(file(tmp_path, TWO)).configs
    for config in first[:2]:
        write_child(tmp_path / "data", config)
    loads = [feed("tickers.SOLUSDT", messages=10**6), feed("tickers.BTCUSDT"), feed("tickers.ETHUSDT")]
    told(tmp_path, "linear-1", *loads, running=True)
    told(tmp_path, "linear-2")
    assert load_fleet(file(tmp_path, TWO)).configs[0].pins == first[0].pins
    told(tmp_path, "linear-1", *loads)
    assert load_fleet(file(tmp_path, TWO)).configs[0].pins != first[0].pins
