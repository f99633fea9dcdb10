"""What a recording over several lines must be (docs/lines.md): judged by what the exchange published and what befell
each copy of it on its way, never by what the recorder made of it.

Claims, beside those of tests/faults/judge.py:

1. *Every row is a message that arrived*, in its own words, once, or again where a fault repeated it.
2. *Nothing is missing.* Between two applied rows of a topic that no gap lies between, everything that any line brought
   whole is recorded, in the order in which it was published; of topics with consecutive ids also what no line brought.
   Rows that are not applied lie in gaps. Every trade that any line brought is a row, once, where it first arrived;
   every candle, liquidation and price limit is a row, whenever it came.
3. *Being blind is a gap*: whenever no line carries a topic any more, ``gaps`` says so.
4. *Every gap is due to faults*, and on every line that could have prevented it: the other lines were absent, had been
   subscribed just then, were ahead because of a loss of their own, or lost the same. Only a topic without ids shows a
   loss of one line alone, by what another one brings too late; or, where messages have no time of their own, too early:
   a line that swaps them, as none does in earnest, makes such a gap too.

Of topics without ids claim 2 leaves out what docs/lines.md says may go unseen: what one line lost ahead of the first
frame that both have; and until the lines are known for alike, what isn't between two frames that both have, or where
each of them lacks something there, or swapped something.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any, Final

from schemas.names import Table
from tests.faults.account import Account, Damage, End, Message, Row
from tests.faults.sent import explain_end
from tests.ledger import PLAIN, QUIET, is_chain
from tests.recorded import Recorded, items_of, plain_levels, row_sides

__all__ = ["hold_lines"]

OVERLAP_NS: Final = 500_000_000
HURT_NS: Final = 2_000_000_000
WAIT_NS: Final = 1_000_000_000
ALIKE: Final = 12
"""Copies, less four times the losses, from which on the lines are surely known for alike: eight are promised."""
MOST_ALIKE: Final = 32
MISS: Final = 4
NEVER: Final = 2**63
HARMLESS: Final = {"repeat", "late"}
"""Faults that take nothing away and change no order."""
SILENCING: Final = ("half_open", "late")

_RESYNCS: Final = ("late", "lost_ack", "slow_ack", "double_ack")

Gap = dict[str, Any]


def hold_lines(recorded: Recorded, account: Account, lines: int) -> None:
    """Assert the claims about a recording over several lines.

    Raises:
        AssertionError: one that isn't true.
    """
    judge = _Judge(recorded, account, range(lines))
    for topic in account.messages:
        if topic.startswith("publicTrade."):
            continue
        judge.rows(topic)
    judge.trades()
    for end in account.ends:
        explain_end(account.sent, end.connection, end.reason)
        judge.blindness(end)
    for gap in recorded.gaps:
        judge.gap(gap)


class _Judge:
    def __init__(self, recorded: Recorded, account: Account, lines: range) -> None:
        self._recorded = recorded
        self._account = account
        self._lines = lines
        self._gaps: dict[str, list[Gap]] = {}
        for gap in recorded.gaps:
            self._gaps.setdefault(gap["topic"], []).append(gap)

    def _is_in_gap(self, topic: str, from_ns: int, to_ns: int) -> bool:
        return any(
            gap["start_ns"] <= from_ns and (gap["end_ns"] is None or to_ns <= gap["end_ns"])
            for gap in self._gaps.get(topic, ())
        )

    # ---- claims 1 and 2 ----

    def rows(self, topic: str) -> None:
        """Rows of a topic that has a state."""
        account = self._account
        if topic.startswith(PLAIN):
            self._hold_plain(topic)
            return
        for row in account.rows[topic]:
            self._hold_content(topic, row)
        counts = Counter(row.sequence for row in account.rows[topic])
        twice = [sequence for sequence, count in counts.items() if count > 1]
        assert not twice, f"{topic}: records {twice[:3]} are rows more than once"
        order = [row.sequence for row in account.rows[topic]]
        assert order == sorted(order), f"{topic}: rows are not in the order of their records"
        applied = account.applied(topic)
        self._hold_unapplied(topic)
        alike = _Alike(account, topic)
        for before, after in pairwise(applied):
            if not self._is_in_gap(topic, before.receive_ns, after.receive_ns):
                self._hold_pair(topic, before, after, alike)
        if applied:
            self._hold_tail(topic, applied[-1], alike)

    def _hold_plain(self, topic: str) -> None:
        """Messages that stand for themselves: each is its rows; nothing comes too late."""
        account = self._account
        counts = Counter(row.sequence for row in account.rows[topic])
        for sequence, count in counts.items():
            said = items_of(account.payloads[sequence])
            assert count == said, f"{topic}: record {sequence} says {said} things and makes {count} rows"
        made: defaultdict[int, set[int]] = defaultdict(set)
        for row in account.rows[topic]:
            made[row.message.place].add(row.sequence)
        alike = _Alike(account, topic)
        for message in account.messages[topic]:
            if not message.brought or message.entry.rebuilt:
                continue
            first = message.brought[0]
            repeated = any("repeat" in faults for faults in message.befallen.values())
            assert len(made[message.place]) <= 1 or repeated, f"{topic}: {message} is recorded twice"
            if made[message.place] or not self._is_shown(topic, message, alike):
                continue
            is_everywhere = {one.line for one in message.brought} == set(self._lines)
            waits = not is_everywhere and account.last_ns - first.receive_ns <= WAIT_NS
            assert waits or self._is_in_gap(topic, first.receive_ns, first.receive_ns), (
                f"{topic}: {message} arrived as record {first.sequence} and is no row, and no gap says so"
            )

    def _hold_content(self, topic: str, row: Row) -> None:
        said, values = self._account.decoded(row.sequence), row.values
        assert values["kind"] == said["type"], f"{topic}: the row of {row.message} is a {values['kind']}"
        if topic.startswith("orderbook."):
            payload = self._account.payloads[row.sequence]
            assert values["update_id"] == said["data"]["u"], (
                f"{topic}: the row of {row.message} has another u"
            )
            assert row_sides(values) == plain_levels(payload), (
                f"{topic}: the row of {row.message} has other levels than the message"
            )
        else:
            assert values["push_time"] == said["ts"], f"{topic}: the row of {row.message} has another time"

    def _hold_unapplied(self, topic: str) -> None:
        reached = None
        for row in self._account.rows[topic]:
            if row.applied:
                reached = row.message.entry.u
                continue
            is_old = is_chain(topic) and reached is not None and (row.message.entry.u or 0) <= reached
            assert is_old or self._is_in_gap(topic, row.receive_ns, row.receive_ns), (
                f"{topic}: the row of {row.message} is not applied, and no gap says why"
            )

    def _hold_pair(self, topic: str, before: Row, after: Row, alike: _Alike) -> None:
        first, second = before.message, after.message
        if first is second:
            repeated = any("repeat" in faults for faults in first.befallen.values())
            assert repeated, f"{topic}: {first} is a row twice, and nobody repeated it"
            return
        if second.place < first.place:
            held = any("reorder" in faults for faults in second.befallen.values())
            is_chain_of_its_own = is_chain(topic) and second.entry.type == "snapshot"
            is_alone = not is_chain(topic) and not alike.shown(before.sequence, after.sequence)
            may_be = held and (is_chain_of_its_own or is_alone)
            assert may_be, f"{topic}: {second} is recorded behind {first}, which came after it"
            return
        hidden: set[int] = set()
        if first.entry.type == "snapshot" and any("reorder" in faults for faults in first.befallen.values()):
            # It was held back while a gap was open, and heals it behind messages that are newer than it is.
            hidden = {row.message.place for row in self._account.rows[topic] if not row.applied}
        if not is_chain(topic):  # a row elsewhere: whether it may be there, that pair of rows tells
            hidden |= {row.message.place for row in self._account.applied(topic)}
        else:  # told again, as by a service that was started anew twice: it is no news
            hidden = {
                message.place
                for message in self._account.messages[topic][first.place + 1 : second.place]
                if (message.entry.type, message.entry.u, message.entry.seq)
                == (first.entry.type, first.entry.u, first.entry.seq)
            }
        skipped = [
            message
            for message in self._account.messages[topic][first.place + 1 : second.place]
            if not message.entry.rebuilt
            and message.place not in hidden
            and (is_chain(topic) or self._is_shown(topic, message, alike))
        ]
        if (
            is_chain(topic)
            and second.entry.type == "snapshot"
            and (second.entry.u or 0) <= (first.entry.u or 0)
        ):
            return  # a new chain: its ids hide what the old one lost
        assert not skipped, (
            f"{topic}: {skipped[0]} is missing between the rows of {first} and {second}, and no gap says so"
            + (f"; brought as {skipped[0].brought}" if skipped[0].brought else "")
        )

    def _is_shown(self, topic: str, message: Message, alike: _Alike) -> bool:
        """Whether the loss of a message of a topic without ids is promised to be seen."""
        if not message.brought:
            return False
        sequence = message.brought[0].sequence
        begun, ended = self._account.company(topic, sequence)
        near = {
            one.place: {brought.line for brought in one.brought if begun < brought.sequence < ended}
            for one in self._account.messages[topic]
            if not one.entry.rebuilt
        }
        common = [place for place, lines in near.items() if len(lines) == len(self._lines)]
        first = max((place for place in common if place < message.place), default=None)
        if any(self._account.carried(topic, line, sequence) is None for line in self._lines):
            return True  # the others aren't there
        if message.place in common:
            return True  # whichever is followed has brought it
        if first is None:
            return False
        if alike.shown(sequence, sequence):
            return True
        last = min((place for place in common if place > message.place), default=None)
        if last is None:
            return False
        between = self._account.messages[topic][first : last + 1]
        swaps = any("reorder" in faults for one in between for faults in one.befallen.values())
        lacking = {
            line
            for one in between
            for line in self._lines
            if near.get(one.place) and line not in near[one.place]
        }
        return not swaps and len(lacking) == 1

    def _hold_tail(self, topic: str, last: Row, alike: _Alike) -> None:
        """Behind the last row nothing has arrived but what still waits for another line."""
        account = self._account
        for message in account.messages[topic][last.message.place + 1 :]:
            if message.entry.rebuilt or not message.brought:
                continue
            first = message.brought[0]
            if not is_chain(topic) and not alike.shown(last.sequence, first.sequence):
                return
            waits = account.last_ns - first.receive_ns <= WAIT_NS
            assert waits or self._is_in_gap(
                topic, max(last.receive_ns, first.receive_ns), first.receive_ns
            ), f"{topic}: {message} arrived as record {first.sequence} and is no row behind {last.message}"

    def trades(self) -> None:
        """Every trade that arrived is a row, once, where it arrived first."""
        wanted: list[tuple[int, str, str]] = []
        known: set[tuple[str, str]] = set()
        topics = [topic for topic in self._account.messages if topic.startswith("publicTrade.")]
        arrived = [pair for topic in topics for pair in self._account.frames_of(topic)]
        for brought, _ in sorted(arrived, key=lambda pair: pair[0].sequence):
            for trade in self._account.decoded(brought.sequence)["data"]:
                if (trade["s"], trade["i"]) not in known:
                    known.add((trade["s"], trade["i"]))
                    wanted.append((brought.sequence, trade["s"], trade["i"]))
        made = [
            (row["sequence"], row["symbol"], row["trade_id"]) for row in self._recorded.rows(Table.TRADES)
        ]
        made.sort(key=lambda row: row[0])
        counts = Counter(row[1:] for row in made)
        twice = [trade for trade, count in counts.items() if count > 1]
        assert not twice, f"trades recorded twice: {twice[:3]}"
        missing = [trade for trade in wanted if trade[1:] not in counts]
        assert not missing, f"{len(missing)} trades arrived and are no rows: {missing[:3]}"
        invented = [trade for trade in made if trade[1:] not in known]
        assert not invented, f"trades that never arrived: {invented[:3]}"
        assert made == wanted, "trades are not in the order in which they arrived first"

    # ---- claim 3 ----

    def blindness(self, end: End) -> None:
        """Where a lost connection was the last one of a topic, that is a gap."""
        account = self._account
        for topic in account.messages:
            if account.carried(topic, end.line, end.sequence) is None:
                continue
            others = [
                line
                for line in self._lines
                if line != end.line and account.carried(topic, line, end.sequence) is not None
            ]
            has_state = topic.startswith(QUIET) or any(
                row.sequence < end.sequence for row in account.applied(topic)
            )
            if has_state and not others:
                assert self._is_in_gap(topic, end.receive_ns, end.receive_ns), (
                    f"{topic}: no line carries it from record {end.sequence} on ({end.reason}), and no gap says so"
                )

    # ---- claim 4 ----

    def gap(self, gap: Gap) -> None:
        """What a gap is due to."""
        topic, cause = gap["topic"], gap["cause"]
        explain = {
            "disconnect": self._explain_disconnect,
            "silence": self._explain_silence,
            "undecodable": self._explain_damage,
            "lost": self._explain_loss,
            "reset": self._explain_loss,
            "no_snapshot": self._explain_no_snapshot,
        }.get(cause)
        assert explain is not None, f"{topic}: no fault makes a gap like {gap}"
        explain(topic, gap)

    def _before(self, topic: str, gap: Gap) -> Row | None:
        """The row that was followed last before a gap ended."""
        end = gap["sequence"] if gap["end_ns"] is not None else None
        rows = [row for row in self._account.applied(topic) if end is None or row.sequence < end]
        return rows[-1] if rows else None

    def _others(self, line: int) -> list[int]:
        return [other for other in self._lines if other != line]

    @staticmethod
    def _is_within(gap: Gap, sequence: int, receive_ns: int) -> bool:
        ended = gap["end_ns"] is not None and sequence > gap["sequence"]
        return receive_ns >= gap["start_ns"] and not ended

    def _explain_disconnect(self, topic: str, gap: Gap) -> None:
        ends = [end for end in self._account.ends if self._is_within(gap, end.sequence, end.receive_ns)]
        carrying = [end for end in ends if self._account.carried(topic, end.line, end.sequence) is not None]
        assert carrying, f"{topic}: a gap, but no connection that carried it was lost: {gap}"
        assert any(
            not any(
                self._is_trusted(topic, other, end.sequence, end.receive_ns)
                for other in self._others(end.line)
            )
            for end in carrying
        ), f"{topic}: a gap (disconnect), although another line carried it all the time: {gap}"

    def _is_trusted(self, topic: str, line: int, sequence: int, receive_ns: int) -> bool:
        """Whether a line can be expected to bring whatever comes next in a topic, as of just before a record."""
        since = self._account.carried(topic, line, sequence)
        if since is None:
            return False
        brought = [
            (one, message)
            for one, message in self._account.frames_of(topic)
            if one.line == line and since.sequence <= one.sequence < sequence
        ]
        rows = [row for row in self._account.applied(topic) if row.sequence < sequence]
        reached = rows[-1].message.place if rows else -1
        followed = {row.message.place for row in rows}
        is_ahead = any(
            message.place > reached and message.place not in followed and not message.entry.rebuilt
            for _, message in brought
        )
        if not is_chain(
            topic
        ):  # or has passed over something that wasn't followed, and brought nothing since that was
            behind = [message for _, message in brought if not message.entry.rebuilt]
            is_ahead = is_ahead or bool(behind and behind[-1].place not in followed)
        if is_chain(topic):  # of a chain that it has said nothing of, its ids can't tell
            begun = _begun(rows)
            place = -1 if begun is None else begun.message.place
            return any(message.place >= place for _, message in brought) and not is_ahead
        if topic.startswith("publicTrade."):
            is_ahead = False
        return receive_ns - since.receive_ns >= OVERLAP_NS and not is_ahead

    def _explain_silence(self, topic: str, gap: Gap) -> None:
        notes = [
            note
            for note in self._account.silences
            if note.topic == topic and self._is_within(gap, note.sequence, note.receive_ns)
        ]
        assert notes, f"{topic}: a gap (silence), but the recorder noticed none: {gap}"
        for line in self._lines:
            since = self._account.carried(topic, line, notes[0].sequence)
            if since is not None:
                faults = self._account.sent.faults_of[since.connection]
                assert any(
                    fault.fault in SILENCING or (fault.fault == "stall" and fault.topic == topic)
                    for fault in faults
                ), f"{topic}: a gap (silence), although nothing befell connection {since.connection}: {gap}"

    def _explain_damage(self, topic: str, gap: Gap) -> None:
        damages = [
            damage
            for damage in self._account.damages
            if damage.topic in (None, topic or None)
            and self._is_within(gap, damage.sequence, damage.receive_ns)
        ]
        assert damages, f"{topic}: a gap (undecodable), and nothing that was damaged arrived: {gap}"
        if topic and self._before(topic, gap) is None:
            return  # where nothing is followed yet, nobody covers anything
        if is_chain(topic):
            self._explain_loss(topic, gap)
            return
        topics = [topic] if topic else [name for name in self._account.messages if name]
        assert any(not self._is_covered(name, damage) for name in topics for damage in damages), (
            f"{topic or 'a line'}: a gap (undecodable), although another line was whole: {gap}"
        )

    def _is_covered(self, topic: str, damage: Damage) -> bool:
        """Whether another line can be trusted to bring what was damaged."""
        for line in self._others(damage.line):
            since = self._account.carried(topic, line, damage.sequence)
            if not self._is_trusted(topic, line, damage.sequence, damage.receive_ns) or since is None:
                continue
            if is_chain(topic):
                return True
            hurt = any(
                other.line == line
                and other.topic in (None, topic)
                and since.sequence < other.sequence < damage.sequence
                and damage.receive_ns - other.receive_ns <= HURT_NS
                for other in self._account.damages
            )
            if not hurt:
                return True
        return False

    def _explain_loss(self, topic: str, gap: Gap) -> None:
        before = self._before(topic, gap)
        if is_chain(topic) and before is not None:
            self._explain_missing_ids(topic, gap, before)
            return
        applied = self._account.applied(topic)
        rows = {row.message.place for row in applied}
        if gap["healed_by"] == "gap":  # found in another one; it ends with that one's last good row
            ending = [row for row in applied if row.receive_ns <= gap["end_ns"]][-1:]
        else:
            ending = [row for row in applied if row.sequence == gap["sequence"]]
        healed = next((row.message.place for row in ending), -1)
        between = range(before.message.place if before is not None else 0, healed)
        lost = [
            message
            for brought, message in self._account.frames_of(topic)
            if message.place not in rows
            and (message.place in between or self._is_within(gap, brought.sequence, brought.receive_ns))
        ]
        swapped = topic.startswith(PLAIN) and any(  # they have no time that would show which one is older
            "reorder" in faults
            for message in self._account.messages[topic]
            if message.place in between
            for faults in message.befallen.values()
        )
        late = [like for message in lost for like in self._likes(topic, message)]
        assert swapped or any(self._is_lacking(message) for message in [*lost, *late]), (
            f"{topic}: a gap ({gap['cause']}), and no line lost anything that another one brought: {gap}"
        )

    def _likes(self, topic: str, message: Message) -> list[Message]:
        """Messages of the same push time: behind one that its line lacks nobody can tell which of the two is older."""
        account = self._account
        times = {
            other.place: account.decoded(other.brought[0].sequence)["ts"]
            for other in account.messages[topic][max(0, message.place - 4) : message.place + 5]
            if other.brought
        }
        return [
            account.messages[topic][place]
            for place, time in times.items()
            if place != message.place and time == times.get(message.place)
        ]

    def _is_lacking(self, message: Message) -> bool:
        """Whether a line lacks it, or had it out of its order."""
        return any(self._befell(message, line) or self._was_absent(message, line) for line in self._lines)

    def _was_absent(self, message: Message, line: int) -> bool:
        """Whether a line didn't bring a message because it wasn't there, or was lost before it could."""
        connections = self._account.connections[line]
        if any(one.line == line for one in message.brought):
            return False
        if sent := message.sent & connections:
            return any(end.connection in sent for end in self._account.ends)
        return not message.listening & connections

    def _explain_missing_ids(self, topic: str, gap: Gap, before: Row) -> None:
        messages = self._account.messages[topic]
        behind = messages[before.message.place + 1 :]
        missing = next((message for message in behind if not message.entry.rebuilt), None)
        end = NEVER if gap["end_ns"] is None else gap["sequence"]
        unapplied = [
            row
            for row in self._account.rows[topic]
            if before.sequence < row.sequence < end and not row.applied
        ]
        shown = unapplied[0] if unapplied else None
        opening = end if shown is None else shown.sequence
        if shown is not None and shown.message.place < before.message.place:
            # An old message seemed to come from far ahead, as over a restart.
            held = any("reorder" in faults for faults in shown.message.befallen.values())
            assert held, f"{topic}: a gap ({gap['cause']}) at {shown.message}, which nobody held back: {gap}"
            return
        held = any("reorder" in faults for faults in before.message.befallen.values())
        if held and before.message.entry.type == "snapshot":
            return  # a snapshot that was held back has put the book behind what was followed already
        assert missing is not None, f"{topic}: a gap ({gap['cause']}) behind the last message: {gap}"
        for line in self._lines:
            if self._account.carried(topic, line, opening) is None:
                continue  # nobody could know that it would come
            assert self._is_excused(topic, missing, line, before, gap), (
                f"{topic}: a gap ({gap['cause']}) at {missing}, which line {line} brought: {missing.brought}; {gap}"
            )
        assert self._has_fault(topic, missing, before), (
            f"{topic}: a gap ({gap['cause']}) at {missing}, and no fault befell any line: {gap}"
        )

    def _is_excused(self, topic: str, message: Message, line: int, before: Row, gap: Gap) -> bool:
        """Whether a line couldn't bring the message behind the last row before a gap."""
        brought = [one for one in message.brought if one.line == line]
        if self._befell(message, line) or self._was_absent(message, line):
            return True
        if not brought:
            return False
        first = brought[0]
        if first.sequence < before.sequence:
            # It was ahead: then it has lost something that was awaited of another line.
            return self._was_ahead(topic, line, message.place)
        if gap["cause"] == "undecodable" and self._is_hurt(topic, line, gap):
            return True
        if self._has_old(topic, line, before.sequence + 1):
            return True
        waited_ns = first.receive_ns - gap["start_ns"]
        faults = self._account.sent.faults_of[first.connection]
        return waited_ns > WAIT_NS and any(fault.fault == "late" for fault in faults)

    def _is_hurt(self, topic: str, line: int, gap: Gap) -> bool:
        """Whether a line wasn't there when another one's frame was damaged, or had a damaged one of its own."""
        return any(
            damage.line == line or self._account.carried(topic, line, damage.sequence) is None
            for damage in self._account.damages
            if damage.topic in (None, topic) and self._is_within(gap, damage.sequence, damage.receive_ns)
        )

    def _has_old(self, topic: str, line: int, sequence: int) -> bool:
        """Whether a line was taken for further ahead than it was, by a message held back over the chain's beginning."""
        begun = _begun([row for row in self._account.applied(topic) if row.sequence < sequence])
        return begun is not None and any(
            one.line == line and begun.sequence < one.sequence < sequence and self._befell(message, line)
            for one, message in self._account.frames_of(topic)
            if message.place < begun.message.place
        )

    def _was_ahead(self, topic: str, line: int, place: int) -> bool:
        """Whether a line that brought a message too early did so because it lacks one before it."""
        followed = {row.message.place: row.sequence for row in self._account.applied(topic)}
        for earlier in reversed(self._account.messages[topic][:place]):
            if earlier.entry.rebuilt and earlier.place not in followed:
                continue
            brought = [one for one in earlier.brought if one.line == line]
            if not brought:
                return self._befell(earlier, line) or self._was_absent(earlier, line)
            if self._befell(earlier, line):
                return True  # held back
            if brought[0].sequence >= followed.get(earlier.place, -1):
                return False  # then it wasn't ahead here, nor behind it
        return False

    def _befell(self, message: Message, line: int) -> bool:
        return any(
            faults - HARMLESS
            for connection, faults in message.befallen.items()
            if connection in self._account.connections[line]
        )

    def _has_fault(self, topic: str, message: Message, before: Row) -> bool:
        near = self._account.messages[topic][before.message.place : message.place + 1]
        if any(one.befallen for one in near):
            return True
        connections = set().union(*self._account.connections.values())
        deeds = {"half_open", "cut", "close", "cut_one", "stall", *_RESYNCS}
        return any(
            fault.fault in deeds for number in connections for fault in self._account.sent.faults_of[number]
        )

    def _explain_no_snapshot(self, topic: str, gap: Gap) -> None:
        """The first snapshot was dropped, held back, damaged or swallowed, and no other line had brought one."""
        account = self._account
        known = [
            one
            for one, message in account.frames_of(topic)
            if message.entry.type == "snapshot" and one.receive_ns < gap["start_ns"]
        ]
        assert not known, f"{topic}: a gap (no_snapshot), although a snapshot had come: {known[0]}; {gap}"
        snapshots = [message for message in account.messages[topic] if message.entry.type == "snapshot"]
        assert any(message.befallen for message in snapshots), (
            f"{topic}: a gap (no_snapshot), and nothing befell any snapshot: {gap}"
        )


def _begun(rows: list[Row]) -> Row | None:
    """The row with which the chain of the last one began; None where that is the first."""
    found = None
    for before, after in pairwise(rows):
        if (after.message.entry.u or 0) <= (before.message.entry.u or 0):
            found = after
    return found


class _Alike:
    """How far the lines have shown by their copies that they carry the same, as of each record that arrived."""

    def __init__(self, account: Account, topic: str) -> None:
        self._sequences: list[int] = []
        self._scores: list[int] = []
        messages, score = account.messages[topic], 0
        brought: defaultdict[int, set[int]] = defaultdict(set)
        first: dict[int, int] = {}
        reached: dict[int, int] = {}
        joined: dict[int, int] = {}
        for one, message in account.frames_of(topic):
            line, place = one.line, message.place
            since = account.carried(topic, line, one.sequence + 1)
            assert since is not None
            if joined.get(line) != since.sequence:
                joined[line] = since.sequence
                reached[line] = place
            others = [places for other, places in brought.items() if other != line]
            first.setdefault(place, one.sequence)
            if (
                place not in brought[line]
                and any(place in places for places in others)
                and first[place] > max(joined.values())  # else nobody remembers it
            ):
                missed = [
                    other.place
                    for other in messages[reached[line] + 1 : place]
                    if other.place not in brought[line] and any(other.place in places for places in others)
                ]
                score = max(0, min(MOST_ALIKE, score + 1 - MISS * len(missed)))
            brought[line].add(place)
            reached[line] = max(place, reached[line])
            self._sequences.append(one.sequence)
            self._scores.append(score)

    def shown(self, from_sequence: int, to_sequence: int) -> bool:
        """Whether the lines were known for alike from one record to another."""
        start = max(bisect_right(self._sequences, from_sequence) - 1, 0)
        return min(self._scores[start : bisect_right(self._sequences, to_sequence)], default=0) >= ALIKE
