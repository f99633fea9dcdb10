"""``tapebook init``: a commented configuration file with every key, its default and what it means."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.config import RecordConfig
from schemas.errors import ConfigError, StoreError
from schemas.names import Category

__all__ = ["ABOUT", "commented_config", "described", "run_init", "toml_value"]

# key -> what it means, with its unit, and an example where the default says nothing; what is not here is described as
# the configuration itself does
ABOUT: Final[dict[str, tuple[str, Any]]] = {
    "category": (f"Product line, one of {', '.join(Category)}. One collector records one.", None),
    "symbols": (
        'Symbols, patterns ("BTC*") and rules ("USDT perpetuals with turnover24h > 5e6, top 100"), or ["all"].\n'
        "A list asks nobody; everything else asks the exchange first.",
        ["BTCUSDT", "ETHUSDT"],
    ),
    "topics": ("Topic prefixes to combine with the symbols, or full topics such as orderbook.50.BTCUSDT.", None),
    "environment": ("mainnet or testnet; empty is mainnet.", "testnet"),
    "region": ("Where your account is registered, for hosts of a region: tr, kz, id, ge, jp, eu. Empty: global.", "eu"),
    "endpoint": ("Root of the stream, instead of those two; for a gateway of your own.", "ws://127.0.0.1:9001"),
    "ca_file": ("PEM file of one more certificate authority to trust, for a wss:// endpoint of your own.", "ca.pem"),
    "state_dir": (
        "Where collectors of this machine keep what they share, such as the budget of new connections.",
        "/var/lib/tapebook/state",
    ),
    "data": ("Data directory: journal/ and archive/ are made in it. Several collectors may share it.", None),
    "name": ("Name of the collector; empty is the category. Each of a data directory has its own.", "eu"),
    "lines": ("Connections that carry every feed; with 2, one may break without a gap.", None),
    "duration": ("Stop after so many seconds.", 3600.0),
    "stop_after_idle": ("Stop after so many seconds without a data frame.", 60.0),
    "roll": ("Turn sealed segments into Parquet while recording; else `tapebook roll` does it later.", None),
    "archive_url": (
        "Upload the archive there behind each roll (docs/places.md); credentials come from the environment. Empty: no.",
        "s3://bucket/prefix",
    ),
    "keep_archive": (
        "Remove the archive's files here of days that ended so long ago, each once archive_url was proved to have it.\n"
        "Empty: never.",
        "90d",
    ),
    "keep_journal": (
        "Remove journal segments that are in the archive once they ended so long ago: s, min, h, d or w. Empty: never.",
        "30d",
    ),
    "keep_journal_bytes": (
        "Remove the oldest of them while the journal is larger than that: kB to TB, KiB to TiB. Empty: any size.",
        "500GB",
    ),
    "commit_ms": ("A group commit is written every so many milliseconds: what a kill can lose,", None),
    "commit_kib": ("or at so many KiB.", None),
    "fsync": (
        "When what is written is put on the disk: interval (each fsync_s), commit (each group commit), or never (only\n"
        "when a segment is sealed).",
        None,
    ),
    "fsync_s": ("fsync every so many seconds: what a power cut can lose.", None),
    "segment_seconds": ("A journal segment is sealed, and can be rolled, after so many seconds,", None),
    "segment_mib": ("or at so many MiB.", None),
    "backlog_mib": (
        "Reading pauses when so many MiB wait for the disk; rolling pauses at an eighth of it.",
        None,
    ),
    "min_free_mib": (
        "Recording ends cleanly when the disk has fewer MiB left; it is warned at four times as many. 0: never.",
        None,
    ),
    "shard": ("Record this share of the symbols only, NUMBER/OF. `tapebook supervise` sets it itself.", "1/2"),
    "pins": ("Shares of symbols that do not go by their hash.", ["BTCUSDT=1", "ETHUSDT=2"]),
    "metrics": (
        "HOST:PORT of /metrics (Prometheus), /status (JSON) and /healthz; without a host on 127.0.0.1. Empty: none.",
        "9464",
    ),
    "live": ("Publish the books to other processes of this user, through shared memory (docs/live-books.md).", None),
    "live_depth": (
        "Levels a side of them: a number, or all. Empty: the topic's depth, 1000 of orderbook.full.",
        "20",
    ),
    "tape_mib": ("MiB of shared memory for the tape of changes that other processes can follow; 0: none.", None),
}  # fmt: skip

HEAD: Final = """\
# Configuration of tapebook: `tapebook check FILE` explains it, `tapebook record FILE` (or `supervise FILE`) runs it.
# Every key has an option of the same name for `tapebook record` (--stop-after-idle), and the option wins.
# A key that is commented out has the value that stands there as its default, or an example of one.
"""

TAIL: Final = """\
# Several collectors, each a process of its own, for `tapebook supervise`: the keys above are their defaults (but data,
# metrics, roll, recompress and keep_journal…, which are said once), and every table below makes one collector, or
# several where it has shards.
#
# [[collector]]
# category = "linear"
# symbols = ["USDT perpetuals"]
# shards = 2      # deal the symbols out to so many processes; "auto": as many as their measured load needs
#
# [[collector]]
# category = "spot"
# symbols = ["BTCUSDT", "ETHUSDT"]
"""


def run_init(path: Path) -> None:
    """Write the file.

    Raises:
        ConfigError: there is one already.
        StoreError: it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise ConfigError(
            f"{path}: exists already and is left alone; choose another name, or move it away"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(commented_config())


def commented_config() -> str:
    """The text of the file: what must be chosen is set, the rest is commented out."""
    parts = [HEAD]
    defaults = RecordConfig()
    for field in msgspec.structs.fields(RecordConfig):
        about, example = ABOUT.get(field.name) or (described()[field.name], None)
        default = getattr(defaults, field.name)
        chosen = field.name in ("category", "symbols", "topics", "data")
        says_nothing = default is None or default in ("", [])
        value = example if says_nothing and example is not None else default
        note = "   # an example; unset by default" if value is example and not chosen else ""
        lines = [f"# {line}" for line in about.splitlines()]
        if value is None:
            lines.append(f"# {field.name} is unset by default")
        else:
            lines.append(f"{'' if chosen else '# '}{field.name} = {toml_value(value)}{note}")
        parts.append("\n".join(lines) + "\n")
    parts.append(TAIL)
    return "\n".join(parts)


def described() -> dict[str, str]:
    """What the documentation of ``RecordConfig`` says about each of its keys."""
    text = inspect.cleandoc(RecordConfig.__doc__ or "").partition("Attributes:")[2]
    out: dict[str, str] = {}
    for names, words in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n        .*)*)", text, re.M):
        said = re.sub(r"\s*\n\s+", "\n", words).replace("``", "")
        out.update((name, said[:1].upper() + said[1:]) for name in names.split(", "))
    return out


def toml_value(value: Any) -> str:
    """A value as TOML writes it: text, numbers, booleans, lists of them (a subset that JSON shares)."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return msgspec.json.encode(str(value)).decode().replace("\x7f", "\\u007f")
    return msgspec.json.encode(value).decode()
