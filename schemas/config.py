"""Typed configuration of a recording, with the defaults and their reasons."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.names import Category, Fsync, Transport

__all__ = ["DEFAULT_TOPICS", "MOST_LINES", "RecordConfig"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
MOST_LINES = 4
"""Each costs what the first one does: connections, arguments, traffic, journal."""


DEFAULT_TOPICS = ("orderbook.50", "publicTrade", "tickers")


class RecordConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``tapebook record`` does; a TOML file has these keys, and every one has an option of the same name.

    Attributes:
        category: product line; one collector records one.
        symbols: names, patterns (``BTC*``) and rules (``USDT perpetuals with turnover24h > 5e6, top 100``),
            or ``["all"]`` for everything that instruments-info lists as trading; see docs/universe.md.
        topics: prefixes combined with the symbols (``orderbook.50``), or full topics.
        environment: ``mainnet`` (the default) or ``testnet``.
        region: where the account is registered (``tr``, ``eu``, ...); empty for the global hosts.
        endpoint: root of the stream, instead of those two.
        state_dir: where the collectors of this machine share their budgets of connections and requests; empty for
            ``tapebook`` in the user's state directory.
        ca_file: PEM file with one more authority to trust, for an endpoint of your own.
        transport: what reads the stream: ``websockets``, or ``picows``, which costs less processor time where many
            frames come at once and must be installed with ``pip install 'tapebook[picows]'`` (docs/connections.md).
        data: data directory.
        name: of the collector; empty for the category.
        lines: connections that carry each feed, 1 to 4: what one of them loses another brings (docs/lines.md).
        frames_per_connection: what one connection should carry a second. A wake-up for a lone frame costs as much as
            several frames, so few busy connections are cheaper than many quiet ones; but one that is lost, or waits for
            a lost packet, holds up all that it carries.
        rebalance: move topics between connections as their measured rates ask for, without a gap.
        duration: stop after so many seconds.
        stop_after_idle: stop after so many seconds without a data frame.
        roll: turn sealed segments into the archive while recording.
        recompress: compress segments once they are rolled (docs/journal.md).
        compact: merge the archive's files of a day once it is over and quiet (docs/archive.md).
        archive_url: ``s3://BUCKET/PREFIX`` that the archive is uploaded to behind each roll (docs/places.md); empty for
            none.
        keep_archive: remove the archive's files of a day once it ended so long ago (``90d``) and the object store was
            proved to have them (docs/places.md); empty to keep all.
        keep_journal: remove segments that the archive has once they ended so long ago (``30d``); empty to keep all.
        keep_journal_bytes: remove the oldest of them while the journal is larger (``500GB``); empty for any size.
        commit_ms, commit_kib: a group commit is written at whichever comes first; what a kill can lose.
        fsync: when what is written is put on the disk: ``interval`` (each ``fsync_s``), ``commit`` (each group commit),
            or ``never`` (when the system does by itself); in any case when a segment is sealed (docs/journal.md).
        fsync_s: the interval; what a power cut can lose.
        segment_seconds, segment_mib: a segment is sealed at whichever comes first.
        backlog_mib: data waiting for the disk before reading pauses.
        min_free_mib: recording ends cleanly when the disk has less than that left; 0 for never. It is warned at four
            times as much.
        shard: ``NUMBER/OF``: record this share of the symbols only, by their hash; empty for all of them.
        pins: ``SYMBOL=NUMBER``: shares of symbols that do not go by their hash.
        metrics: HOST:PORT of /metrics, /status and /healthz; without a host on the loopback address; empty for none.
        live: publish the books to other processes of this user, through shared memory (docs/live-books.md).
        live_depth: levels a side of them: a number, or ``all``; empty for the topic's depth, 1000 of
            ``orderbook.full``.
        tape_mib: of shared memory for the tape of changes that readers can follow; 0 for none.
        audit_every: hold one book against REST each so many seconds, all in turn; 0 for never. Depths of a symbol are
            held against each other in any case.
        backfill: fetch trades that a gap lost back over REST, as far as it reaches.
        clock_every: ask for the exchange's clock each so many seconds; 0 for never.
        refresh_every: ask what is listed each so many seconds, and follow listings and delistings; 0 for never.
    """

    category: Category = Category.LINEAR
    symbols: list[str] = []
    topics: list[str] = msgspec.field(default_factory=lambda: list(DEFAULT_TOPICS))
    environment: str = ""
    region: str = ""
    endpoint: str = ""
    ca_file: str = ""
    state_dir: str = ""
    transport: Transport = Transport.WEBSOCKETS
    data: str = "data"
    name: str = ""
    lines: Annotated[int, msgspec.Meta(ge=1, le=MOST_LINES)] = 1
    frames_per_connection: Positive = 4000.0
    rebalance: bool = True
    duration: Positive | None = None
    stop_after_idle: Positive | None = None
    roll: bool = True
    recompress: bool = True
    compact: bool = True
    archive_url: str = ""
    keep_archive: str = ""
    keep_journal: str = ""
    keep_journal_bytes: str = ""
    commit_ms: Positive = 10.0
    commit_kib: Annotated[float, msgspec.Meta(gt=0, le=65_536)] = 256.0
    fsync: Fsync = Fsync.INTERVAL
    fsync_s: Positive = 1.0
    segment_seconds: Positive = 900.0
    segment_mib: Positive = 512.0
    backlog_mib: Positive = 64.0
    min_free_mib: NotNegative = 256.0
    shard: str = ""
    pins: list[str] = []
    metrics: str = ""
    live: bool = True
    live_depth: str = ""
    tape_mib: Annotated[float, msgspec.Meta(ge=0, le=4096)] = 8.0
    audit_every: NotNegative = 60.0
    backfill: bool = True
    clock_every: NotNegative = 30.0
    refresh_every: NotNegative = 3600.0

    @property
    def collector(self) -> str:
        """The collector's name."""
        return self.name or self.category.value
