"""Prometheus metrics out of what collectors tell in their status. Pure: statuses in, text out.

The number of series is bounded: labels are the collector, the class of topics (at most 24), a state, a cause. Single
topics appear only while they are troubled, and only the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from engine.latency import Histogram
from recorder.health import is_troubled, sum_by_class
from recorder.version import VERSION
from schemas.names import FeedState

__all__ = ["CATALOGUE", "CONTENT_TYPE", "exposition", "families"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SHOWN_TROUBLED: Final = 20
SHOWN_LINES: Final = 50
SECOND_NS: Final = 1_000_000_000

EDGES_NS: Final = (0, *(1 << bit for bit in range(16, 37)))
"""Upper edges of a delay's buckets, 66 µs to 69 s by octaves: edges of the inner histogram, so nothing is rounded."""

STATES: Final = (*(state.value for state in FeedState), "refused")

# name -> (kind, labels beside the collector's, help)
CATALOGUE: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "tapebook_build_info": ("gauge", ("version",), "Always 1; the version is the label."),
    "tapebook_up": ("gauge", (), "Whether the collector's process is recording."),
    "tapebook_trouble": ("gauge", (), "How many things are not well, as `tapebook status --check` counts them."),
    "tapebook_restarts_total": ("counter", (), "Times the supervisor started the collector again."),
    "tapebook_uptime_seconds": ("gauge", (), "Time since the recording began."),
    "tapebook_frames_total": ("counter", (), "Frames recorded."),
    "tapebook_frame_bytes_total": ("counter", (), "Bytes of the frames recorded."),
    "tapebook_undecodable_frames_total": ("counter", ("cause",), "Frames kept that could not be decoded."),
    "tapebook_unknown_topic_frames_total": ("counter", (), "Frames kept of topics that were not asked for."),
    "tapebook_messages_total": ("counter", ("class",), "Messages decoded, by class of topics."),
    "tapebook_message_bytes_total": ("counter", ("class",), "Bytes of these messages."),
    "tapebook_gaps_total": ("counter", ("class",), "Gaps opened."),
    "tapebook_feeds": ("gauge", ("class", "state"), "Feeds by state; only live ones may be believed."),
    "tapebook_last_message_timestamp_seconds": ("gauge", ("class",), "When the newest message of the class came."),
    "tapebook_troubled_feed": (
        "gauge",
        ("topic", "state"),
        f"1 for a feed that is stale, refused or not live yet; the first {SHOWN_TROUBLED} of them.",
    ),
    "tapebook_resyncs_total": ("counter", (), "Topics subscribed anew to get a snapshot."),
    "tapebook_lines": ("gauge", (), "Connections that should be up."),
    "tapebook_lines_connected": ("gauge", (), "Connections that are."),
    "tapebook_saved_messages_total": ("counter", ("line",), "Messages that no other line brought; with two lines."),
    "tapebook_connects_total": ("counter", (), "Connections opened, of the lines there are."),
    "tapebook_connects_left": ("gauge", (), "New connections that the machine's budget still allows now."),
    "tapebook_topics_moved_total": ("counter", (), "Topics that changed their connection as planned."),
    "tapebook_round_trip_seconds": ("gauge", (), "Longest last ping of any connection."),
    "tapebook_match_delay_seconds": ("histogram", ("class",), "Engine's match stamp to ours, clock offset included."),
    "tapebook_push_delay_seconds": ("histogram", ("class",), "Push gateway's stamp to ours, clock offset included."),
    "tapebook_apply_delay_seconds": ("histogram", (), "From the receive stamp to the engine having the frame."),
    "tapebook_journal_delay_seconds": ("histogram", (), "From the receive stamp to the return of its write."),
    "tapebook_clock_ahead_seconds": ("gauge", (), "How far the exchange's clock is ahead of ours; negative: behind."),
    "tapebook_clock_error_seconds": ("gauge", (), "Bound of that estimate's error, either way."),
    "tapebook_clock_steps_total": ("counter", (), "Jumps of our own wall clock."),
    "tapebook_rest_audits_total": ("counter", ("outcome",), "Books held against REST, by outcome."),
    "tapebook_depth_audits_total": ("counter", ("outcome",), "Depths held against each other, by outcome."),
    "tapebook_disbelieved_total": ("counter", (), "Times a feed was declared stale because an audit disagreed."),
    "tapebook_backlog_bytes": ("gauge", (), "Records that wait for the disk."),
    "tapebook_backlog_limit_bytes": ("gauge", (), "Backlog at which reading pauses."),
    "tapebook_backlog_peak_bytes": ("gauge", (), "The highest backlog yet."),
    "tapebook_reading_paused": ("gauge", (), "Whether reading is paused because the disk is behind."),
    "tapebook_reading_pauses_total": ("counter", (), "Times it was."),
    "tapebook_reading_paused_seconds_total": ("counter", (), "How long it was."),
    "tapebook_rolling_paused_seconds_total": ("counter", (), "How long rolling gave way to recording."),
    "tapebook_journal_bytes_total": ("counter", (), "Bytes taken into the journal."),
    "tapebook_disk_free_bytes": ("gauge", (), "Free space where the data directory is."),
    "tapebook_disk_total_bytes": ("gauge", (), "Size of that file system."),
    "tapebook_disk_floor_bytes": ("gauge", (), "Free space at which recording ends; 0 for never."),
    "tapebook_resident_memory_bytes": ("gauge", (), "Memory of the collector's process."),
}  # fmt: skip

_FAMILIES: Final[dict[str, type[Any]]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
}

# where the status says it, for what needs no thought
_PLAIN: Final = {
    "tapebook_uptime_seconds": ("seconds",),
    "tapebook_frames_total": ("frames",),
    "tapebook_frame_bytes_total": ("frame_bytes",),
    "tapebook_unknown_topic_frames_total": ("unknown_topics",),
    "tapebook_resyncs_total": ("resyncs",),
    "tapebook_restarts_total": ("restarts",),
    "tapebook_clock_steps_total": ("clock", "steps"),
    "tapebook_disbelieved_total": ("audits", "disbelieved"),
    "tapebook_backlog_bytes": ("backlog_bytes",),
    "tapebook_backlog_limit_bytes": ("pressure", "limit_bytes"),
    "tapebook_backlog_peak_bytes": ("pressure", "peak_backlog_bytes"),
    "tapebook_reading_paused": ("paused",),
    "tapebook_reading_pauses_total": ("pressure", "held"),
    "tapebook_reading_paused_seconds_total": ("pressure", "held_seconds"),
    "tapebook_rolling_paused_seconds_total": ("pressure", "spared_seconds"),
    "tapebook_journal_bytes_total": ("vitals", "journal_bytes"),
    "tapebook_disk_free_bytes": ("vitals", "disk_free_bytes"),
    "tapebook_disk_total_bytes": ("vitals", "disk_total_bytes"),
    "tapebook_disk_floor_bytes": ("vitals", "disk_floor_bytes"),
    "tapebook_resident_memory_bytes": ("vitals", "resident_bytes"),
}


def exposition(statuses: Iterable[dict[str, Any]]) -> bytes:
    """The metrics of collectors as Prometheus reads them.

    Args:
        statuses: what each collector told last (``recorder.collector.Collector.status``); ``running`` says whether its
            process lives, ``troubles`` what is not well, ``restarts`` how often a supervisor started it again. What a
            status lacks has no sample.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Statuses(list(statuses)))
    return generate_latest(registry)


class _Statuses(Collector):
    """What ``prometheus_client`` asks."""

    def __init__(self, statuses: list[dict[str, Any]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        return families(self._statuses)


def families(statuses: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    """The metric families of the catalogue that have a sample."""
    found = _Samples()
    found.families["tapebook_build_info"].add_metric([VERSION], 1)
    for status in statuses:
        _of_one(found, status)
    for family in found.families.values():
        if family.samples:
            yield family


class _Samples:
    """The families being filled."""

    def __init__(self) -> None:
        self.families: dict[str, Any] = {}
        for name, (kind, labels, words) in CATALOGUE.items():
            own = () if name == "tapebook_build_info" else ("collector",)
            base = name.removesuffix("_total") if kind == "counter" else name
            self.families[name] = _FAMILIES[kind](base, words, labels=[*own, *labels])

    def add(self, name: str, labels: list[str], value: float | None) -> None:
        if value is not None:
            self.families[name].add_metric(labels, value)

    def add_histogram(self, name: str, labels: list[str], told: Any) -> None:
        """``told`` is a ``Histogram``, or what became of one in a file, or None."""
        if told is None:
            return
        histogram = msgspec.convert(told, Histogram, strict=False)
        if histogram.count:
            below = histogram.below_each(EDGES_NS)
            buckets = [(repr(edge / SECOND_NS), count) for edge, count in zip(EDGES_NS, below, strict=True)]
            self.families[name].add_metric(
                labels, [*buckets, ("+Inf", histogram.count)], histogram.sum_ns / SECOND_NS
            )


def _of_one(found: _Samples, status: dict[str, Any]) -> None:
    own = [status["collector"]]
    found.add("tapebook_up", own, int(status["running"]))
    if "troubles" in status:
        found.add("tapebook_trouble", own, len(status["troubles"]))
    for name, path in _PLAIN.items():
        value: Any = status
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        found.add(name, own, value)
    if not status["running"]:
        return
    for cause, count in status.get("undecodable", {}).items():
        found.add("tapebook_undecodable_frames_total", [*own, cause], count)
    lines = status.get("lines", [])
    found.add("tapebook_lines", own, len(lines))
    found.add("tapebook_lines_connected", own, sum(line["connected"] for line in lines))
    found.add("tapebook_connects_total", own, sum(line["connects"] for line in lines))
    found.add("tapebook_connects_left", own, status.get("connects_left"))
    found.add("tapebook_topics_moved_total", own, status.get("topics_moved"))
    for line in lines[:SHOWN_LINES]:
        found.add("tapebook_saved_messages_total", [*own, str(line["line"])], line.get("saved"))
    trips = [line["round_trip_ms"] for line in lines if line.get("round_trip_ms") is not None]
    found.add("tapebook_round_trip_seconds", own, max(trips) / 1000 if trips else None)
    _feeds(found, own, status.get("feeds", []))
    clock = status.get("clock") or {}
    for key in ("offset", "error"):
        value_ns = clock.get(f"{key}_ns")
        name = f"tapebook_clock_{'ahead' if key == 'offset' else 'error'}_seconds"
        found.add(name, own, None if value_ns is None else value_ns / SECOND_NS)
    audits = status.get("audits") or {}
    for outcome, count in audits.get("rest", {}).items():
        found.add("tapebook_rest_audits_total", [*own, outcome], count)
    for outcome in ("agreed", "disagreed"):
        found.add("tapebook_depth_audits_total", [*own, outcome], audits.get("depths", {}).get(outcome))
    lateness = status.get("lateness", {})
    for name, ways in lateness.get("classes", {}).items():
        for way in ("match", "push"):
            told = ways.get(way, {}).get("histogram")
            found.add_histogram(f"tapebook_{way}_delay_seconds", [*own, name], told)
    for key, metric in (("applied", "apply"), ("journaled", "journal")):
        told = lateness.get(key, {}).get("histogram")
        found.add_histogram(f"tapebook_{metric}_delay_seconds", own, told)


def _feeds(found: _Samples, own: list[str], feeds: list[dict[str, Any]]) -> None:
    for name, sums in sum_by_class(feeds).items():
        labels = [*own, name]
        found.add("tapebook_messages_total", labels, sums["messages"])
        found.add("tapebook_message_bytes_total", labels, sums["bytes"])
        found.add("tapebook_gaps_total", labels, sums["gaps"])
        for state in STATES:
            found.add("tapebook_feeds", [*labels, state], sums["states"].get(state, 0))
        if sums["last_receive_ns"] is not None:
            found.add("tapebook_last_message_timestamp_seconds", labels, sums["last_receive_ns"] / SECOND_NS)
    troubled = [feed for feed in feeds if is_troubled(feed)]
    for feed in troubled[:SHOWN_TROUBLED]:
        state = "refused" if feed.get("refused") is not None else feed["state"]
        found.add("tapebook_troubled_feed", [*own, feed["topic"], state], 1)
