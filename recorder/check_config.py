"""``tapebook check``: every mistake of a configuration file at once, or what it would record."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from recorder.fleet import Fleet, load_fleet
from recorder.health import class_of
from recorder.network import open_network
from recorder.objections import objections
from recorder.record import uvloop_runner
from recorder.tls import client_context
from recorder.transports import connection_kind
from recorder.universe import plan_of, resolve, selection_of
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.names import Fsync
from schemas.units import age, amount

__all__ = ["run_check"]

NAMED = 6
_LOST = {
    Fsync.INTERVAL: "{:g} s",
    Fsync.COMMIT: "one group commit",
    Fsync.NEVER: "what the system has not put on the disk by itself",
}


def run_check(path: Path, *, offline: bool) -> None:
    """Print what the file means.

    Args:
        path: of the file.
        offline: leave rules as they are, instead of asking the exchange what they come to.

    Raises:
        ConfigError: it is wrong; each mistake has a line of the message.
        ExchangeError: the exchange could not be asked.
    """
    fleet = load_fleet(path, further=_all_objections)
    for note in fleet.notes:
        print(note)
    with uvloop_runner() as runner:
        for config in fleet.configs:
            print(runner.run(_told(config, offline)))
    print(_frame(fleet))


def _all_objections(config: RecordConfig, doubtful: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong, with what only this machine knows: a file that is read, a library that is there."""
    yield from objections(config, doubtful)
    if "ca_file" not in doubtful and config.ca_file:
        try:
            client_context(Path(config.ca_file))
        except ConfigError as error:
            yield "ca_file", str(error).removeprefix("--ca-file ")
    if "transport" not in doubtful:
        try:
            connection_kind(config.transport)
        except ConfigError as error:
            yield "transport", str(error).removeprefix("--transport ")


async def _told(config: RecordConfig, offline: bool) -> str:
    """One collector in a few lines."""
    network = open_network(config)
    head = f"{config.collector}: {config.category.value} from {network.root}"
    if config.shard:
        head += f", share {config.shard} of the symbols"
    selection = selection_of(config)
    if offline and not selection.is_list:
        return f"{head}\n  {', '.join(config.topics)} of {selection} (not asked what that is)"
    resolved = await resolve(config, network)
    plan_of(config, resolved)  # refuses what breaks a limit
    topics = resolved.topics
    by_class: dict[str, list[str]] = {}
    for topic in topics:
        name = class_of(topic)
        by_class.setdefault(name, []).append(topic[len(name) + 1 :])
    lines = [f"{head}: {len(topics)} topics over {config.lines} connection{'s' * (config.lines > 1)} each"]
    for name, symbols in by_class.items():
        more = f" and {len(symbols) - NAMED} more" if len(symbols) > NAMED else ""
        lines.append(f"  {name}: {', '.join(symbols[:NAMED])}{more}")
    return "\n".join(lines)


def _frame(fleet: Fleet) -> str:
    config = fleet.configs[0]
    rolled = "rolled into Parquet" if fleet.roll else "not rolled"
    port = f"; metrics on {fleet.metrics}" if fleet.metrics else ""
    kept = ""
    keep = fleet.housekeeping.keep
    if keep.age_ns is not None:
        kept += f", journal kept for {age(keep.age_ns / 1e9)}"
    if keep.bytes is not None:
        kept += f", journal kept up to {amount(keep.bytes)}"
    return (
        f"into {fleet.data}, {rolled}{kept}, "
        f"a segment every {config.segment_seconds:g} s or {config.segment_mib:g} MiB; "
        f"a kill loses {config.commit_ms:g} ms, a power cut {_LOST[config.fsync].format(config.fsync_s)}{port}"
    )
