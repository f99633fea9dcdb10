"""What the journal holds besides frames: JSON payloads of record kinds REST, SESSION and NOTE.

Everything that influences the archive and isn't in a frame is one of these, so that replaying a segment needs nothing
else. Update ids and clocks that do not exist are null. Digests are 16 hex digits.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = [
    "Audited",
    "Begin",
    "Carrier",
    "ClockOffset",
    "ClockStepped",
    "Close",
    "Connected",
    "Control",
    "Copy",
    "Crashed",
    "Digest",
    "Disconnected",
    "End",
    "Ended",
    "FeedCheckpoint",
    "Feeds",
    "FetchedTrades",
    "FullBook",
    "Gone",
    "Imported",
    "ImportedTrades",
    "Instruments",
    "LineCheckpoint",
    "MergeState",
    "Note",
    "OpenGap",
    "Refused",
    "Rest",
    "RestAnswer",
    "Session",
    "Shared",
    "Stale",
    "Subscribed",
    "TickerState",
    "Unsubscribed",
    "Widened",
    "decode_note",
    "decode_rest",
    "decode_session",
    "encode",
]


class _Note(msgspec.Struct, frozen=True, tag_field="note", omit_defaults=True, kw_only=True):
    """Base of kind NOTE."""


class OpenGap(msgspec.Struct, frozen=True, omit_defaults=True):
    """A gap that is still open: cause (``schemas.tables.CAUSES``), its first update id and where it began.

    ``reach_ns`` and ``reach_match_ms``: from where on gaps ahead of this one have been told while it was open.
    """

    cause: str
    start_ns: int
    start_match_ms: int | None = None
    first_update_id: int | None = None
    reach_ns: int | None = None
    reach_match_ms: int | None = None


class LineCheckpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One connection slot: its last frame that no feed could be blamed for, its last good one, its open gap."""

    line: int
    damage_sequence: int | None = None
    good_ns: int | None = None
    gap: OpenGap | None = None


class Begin(_Note, frozen=True, tag="begin"):
    """First record of a segment; its receive stamp is where coverage of this segment begins.

    Attributes:
        run: start_ns of the recording run.
        continued: the run goes on from the segment before; false for its first one.
    """

    run: int
    continued: bool


class End(_Note, frozen=True, tag="end"):
    """Last thing that the recorder says in a segment it closes itself: its receive stamp is the segment's end."""

    reason: str


class Feeds(_Note, frozen=True, tag="feeds"):
    """These topics are ours from here on; frames of others are counted as unknown."""

    topics: list[str]


class Ended(_Note, frozen=True, tag="ended"):
    """These topics are ours no longer: coverage ends here, no gap begins, and their frames are unknown from here on."""

    topics: list[str]


class Shared(_Note, frozen=True, tag="shared"):
    """Checkpoint of what feeds share: ``symbols`` maps to [price decimals, size decimals]."""

    symbols: dict[str, tuple[int, int]]
    lines: list[LineCheckpoint]


class TickerState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The merged ticker: bit masks over ``schemas.tables.TICKER_FIELDS``, values x 10^18 (or ms) as text."""

    keys: int
    present: int
    values: dict[int, str]
    texts: tuple[str, str]


class Carrier(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a feed that several carry (docs/lines.md).

    Attributes:
        up: it carries the feed now; ``opened``: it has delivered since it was subscribed; ``met``: and has brought what
            another did, or has led.
        position: the last update id it brought; ``place``: the last frame by which it was compared with others;
            ``untold``: the first ordinal behind what it had brought then.
        said_ms: push time of its last frame; ``missed_ms``: of the newest one that was followed, and forgotten before
            this line brought it.
        since_ns: of its subscription, 0 for the beginning; ``heard_ns``, ``hurt_ns``: of its last frame and its last
            damaged one.
    """

    line: int
    up: bool = False
    opened: bool = False
    met: bool = False
    position: int | None = None
    place: int | None = None
    since_ns: int = 0
    heard_ns: int | None = None
    hurt_ns: int | None = None
    hurt_sequence: int | None = None
    untold: int = 0
    said_ms: int | None = None
    missed_ms: int | None = None


class Copy(msgspec.Struct, frozen=True, array_like=True):
    """A frame that is remembered, to know its copies: hash of its bytes, stamps, which carriers brought it (bits), and
    whether it was taken, was its line's first, says nothing about others, was a repeat on its line (bits 0 to 3)."""

    hash: str
    push_ms: int
    match_ms: int | None
    receive_ns: int
    lines: int
    flags: int


class MergeState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A feed over several lines.

    Attributes:
        elected: which of ``carriers``.
        copies: the last frames before the one of ordinal ``next_copy``.
        burst: trades since ``burst_ns``; ``trade_room``: how many ids are remembered.
    """

    carriers: list[Carrier]
    elected: int = 0
    alike: int = 0
    unanswered: int = 0
    waiting_ns: int | None = None
    head_ms: int | None = None
    chain_ms: int | None = None
    next_copy: int = 0
    copies: list[Copy] = []
    burst: int = 0
    burst_ns: int = 0
    trade_room: int = 0


class FeedCheckpoint(_Note, frozen=True, tag="feed"):
    """The whole state of one feed, so that a segment stands alone.

    Attributes:
        update_id, cross_sequence, match_ms, push_ms, receive_ns, sequence: of the last good frame.
        seen: spans of update ids recorded in this chain.
        bids, asks: [price, size] mantissas at the decimals of ``Shared``, best first.
        rpi_bids, rpi_asks: the same with the second sizes of an RPI book, where they are not 0.
        trade_ids: hashes of the last trade ids, 32 hex digits each, oldest first.
        carried: ``line`` carries the feed; ``merge``: where several do or did; ``left``: none does, and none is to.
    """

    topic: str
    state: str
    line: int
    subscribed: bool = False
    crossed: bool = False
    update_id: int | None = None
    cross_sequence: int | None = None
    match_ms: int | None = None
    push_ms: int | None = None
    receive_ns: int | None = None
    sequence: int | None = None
    since_digest: int = 0
    seen: list[tuple[int, int]] = []
    digest: str | None = None
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []
    rpi_bids: list[tuple[int, int]] = []
    rpi_asks: list[tuple[int, int]] = []
    gap: OpenGap | None = None
    ticker: TickerState | None = None
    trade_ids: str = ""
    carried: bool = False
    left: bool = False
    merge: MergeState | None = None


class Digest(_Note, frozen=True, tag="digest"):
    """The live book's digest after the frame with this update id."""

    topic: str
    update_id: int
    digest: str


class Widened(_Note, frozen=True, tag="widened"):
    """A symbol's exponent pair in force; source ``frame`` (follows from the frames) or ``instruments`` (announced)."""

    symbol: str
    price_decimals: int
    size_decimals: int
    source: str


class Stale(_Note, frozen=True, tag="stale"):
    """A feed was declared stale for a reason that no frame shows, e.g. ``silence``."""

    topic: str
    cause: str


class ClockOffset(_Note, frozen=True, tag="clock"):
    """An estimate: the exchange's clock minus our wall clock at this record's receive stamp, within ``error_ns``.

    Attributes:
        method: of the observation that it follows (``schemas.upkeep_tables.CLOCK_METHODS``).
        round_trip_ns: of that observation, where a question was asked.
    """

    offset_ns: int
    error_ns: int
    method: str
    round_trip_ns: int | None = None


class ClockStepped(_Note, frozen=True, tag="clock_stepped"):
    """Our wall clock jumped by so much against the monotonic one, some time since the last look."""

    step_ns: int


class Audited(_Note, frozen=True, tag="audited"):
    """A book was held against another source of it.

    Attributes:
        topic: the book.
        against: ``rest``, or another depth's topic.
        outcome: of ``schemas.upkeep_tables.AUDIT_OUTCOMES``.
        comparisons: how many this note stands for; the rest is of the last one.
        update_id, cross_sequence: of ``topic`` when it was compared.
        levels: compared a side.
        side, level: the first that differs: ``bid`` or ``ask``, from 1.
        ours, theirs: its price and size as decimals; null where one side has no such level.
        disbelieved: one disagreement too many in a row; ``Stale`` notes follow.
    """

    topic: str
    against: str
    outcome: str
    comparisons: int = 1
    update_id: int | None = None
    cross_sequence: int | None = None
    levels: int | None = None
    side: str | None = None
    level: int | None = None
    ours: tuple[str, str] | None = None
    theirs: tuple[str, str] | None = None
    disbelieved: bool = False


class Crashed(_Note, frozen=True, tag="crashed"):
    """The run before this one ended without a word: the feed's gap from its last good frame on.

    Its trade ids are as in ``FeedCheckpoint``: trades that are fetched back may be among those recorded by then.
    """

    topic: str
    gap: OpenGap
    update_id: int | None = None
    trade_ids: str = ""


class Instruments(_Note, frozen=True, tag="instruments"):
    """Checkpoint of what instruments-info has said: a digest (16 hex digits) of each symbol's fields."""

    known: dict[str, str]


class Gone(_Note, frozen=True, tag="gone"):
    """These symbols are listed no longer; the recorder has asked for each of them."""

    symbols: list[str]


class Imported(_Note, frozen=True, tag="imported"):
    """Where the frames since the last of these notes, or since the segment's beginning, were read.

    Attributes:
        source: the file's name.
        size, sha256: of the file as it lies on the disk.
        form: what kind of file it is (docs/import-export.md).
        first, last: ordinals of what was read of it, from 1; lines that are blank count, those left out too.
        refused: of these were bad and skipped.
        known: of these an earlier file of this run had brought.
        whole: ``last`` is the file's last.
    """

    source: str
    size: int
    sha256: str
    form: str
    first: int
    last: int
    refused: int = 0
    known: int = 0
    whole: bool = False


Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]


class Close(_Note, frozen=True, tag="close", omit_defaults=False):
    """The last record of a sealed segment (alone in the last batch); its counts leave itself out.

    Attributes:
        reason: ``rotated``, ``stopped``, ``recovered``, or what the writer was closed with.
        batches, rows: how many came before.
        last_sequence: of the record before; one less than the first sequence when there was none.
        bytes_set_aside: what a recovery cut off into ``.torn`` files.
        content_sha256: content hash of the segment, this note included as ``as_content`` has it, by whoever wrote the
            segment; unset where nobody took it.
    """

    reason: str
    batches: int
    rows: int
    last_sequence: int
    bytes_set_aside: int = 0
    content_sha256: Sha256 | msgspec.UnsetType = msgspec.UNSET

    def as_content(self) -> Close:
        """The note as it counts for the content: without what belongs to the file, and without the hash itself."""
        return msgspec.structs.replace(self, batches=0, content_sha256=msgspec.UNSET)


Note = (
    Begin
    | End
    | Feeds
    | Ended
    | Shared
    | FeedCheckpoint
    | Digest
    | Widened
    | Stale
    | Crashed
    | Instruments
    | Gone
    | ClockOffset
    | ClockStepped
    | Audited
    | Imported
    | Close
)


class _Session(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True, kw_only=True):
    """Base of kind SESSION; the record's line says which connection."""


class Connected(_Session, frozen=True, tag="connected"):
    """A connection was opened."""

    url: str


class Disconnected(_Session, frozen=True, tag="disconnected"):
    """A connection ended; ``clean`` when we closed it at the end of the run."""

    reason: str
    clean: bool = False


class Subscribed(_Session, frozen=True, tag="subscribed"):
    """The exchange acknowledged these topics."""

    topics: list[str]


class Unsubscribed(_Session, frozen=True, tag="unsubscribed"):
    """These topics are no longer recorded."""

    topics: list[str]


class Refused(_Session, frozen=True, tag="refused"):
    """The exchange refused a topic, in its own words."""

    topic: str
    words: str


class Control(_Session, frozen=True, tag="control"):
    """A message that is an answer to us, as received: acknowledgement, pong."""

    text: str


Session = Connected | Disconnected | Subscribed | Unsubscribed | Refused | Control


class RestAnswer(msgspec.Struct, frozen=True, tag_field="rest", tag="answer"):
    """A REST answer that was used: path with query, and the body as received."""

    path: str
    body: str


class FullBook(msgspec.Struct, frozen=True, tag_field="rest", tag="full_book"):
    """The full book that a REST answer gave, and what the stream had said since.

    With it an ``orderbook.full`` feed begins anew (protocol section 3.3).

    Attributes:
        topic: of the feed.
        path: of the request, with its query.
        body: the answer as received.
        deltas: frames of the feed that follow the answer, as received; each is a record of its own too.
    """

    topic: str
    path: str
    body: str
    deltas: list[str]


class FetchedTrades(msgspec.Struct, frozen=True, tag_field="rest", tag="trades"):
    """Recent trades, asked for because a gap of a trades topic may have lost some.

    Attributes:
        topic: of the feed.
        path: of the request, with its query.
        body: the answer as received.
        cause, start_ns, end_ns, start_match_ms, end_match_ms: of the gap, which had been closed by then.
        until_match_ms: match time that the stream had reached before the question; null where nothing had come since.
        is_settled: whether the gap was closed for so long that REST has caught up, as far as one can tell.
    """

    topic: str
    path: str
    body: str
    cause: str
    start_ns: int
    end_ns: int
    start_match_ms: int
    end_match_ms: int | None
    until_match_ms: int | None
    is_settled: bool = True


class ImportedTrades(msgspec.Struct, frozen=True, tag_field="rest", tag="imported_trades"):
    """Trades of one millisecond out of a history file of the exchange (protocol section 9.3).

    Attributes:
        topic: of the trades feed that would have brought them.
        columns: of the file, separated by commas.
        rows: its lines, as they are.
        symbol: of all rows, where the file's name alone tells it.
    """

    topic: str
    columns: str
    rows: list[str]
    symbol: str = ""


Rest = RestAnswer | FullBook | FetchedTrades | ImportedTrades

_ENCODER = msgspec.json.Encoder()
_NOTES: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)
_SESSIONS: msgspec.json.Decoder[Session] = msgspec.json.Decoder(Session)
_RESTS: msgspec.json.Decoder[Rest] = msgspec.json.Decoder(Rest)


def encode(value: msgspec.Struct) -> bytes:
    """Encode a note, session event or REST answer as the payload of a record."""
    return _ENCODER.encode(value)


def decode_note(payload: bytes) -> Note:
    """Decode a NOTE payload. Raises ``msgspec.DecodeError`` or ``msgspec.ValidationError``."""
    return _NOTES.decode(payload)


def decode_rest(payload: bytes) -> Rest:
    """Decode a REST payload. Raises ``msgspec.DecodeError`` or ``msgspec.ValidationError``."""
    return _RESTS.decode(payload)


def decode_session(payload: bytes) -> Session:
    """Decode a SESSION payload. Raises ``msgspec.DecodeError`` or ``msgspec.ValidationError``."""
    return _SESSIONS.decode(payload)
