"""Claims 3 and 4 of tests/faults/judge_lines.py: being blind is a gap, and every gap is due to faults."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tests.faults.account import Damage, End, Message, Row
from tests.faults.line_facts import WAIT_NS, Gap, LineFacts
from tests.ledger import PLAIN, QUIET, is_chain

__all__ = ["GapsJudge"]

OVERLAP_NS: Final = 500_000_000
HURT_NS: Final = 2_000_000_000
NEVER: Final = 2**63
HARMLESS: Final = {"repeat", "late"}
"""Faults that take nothing away and change no order."""
SILENCING: Final = ("half_open", "late")

_RESYNCS: Final = ("late", "lost_ack", "slow_ack", "double_ack")


class GapsJudge(LineFacts):
    """Holds gaps against what befell the lines."""

    # ---- claim 3 ----

    def blindness(self, end: End) -> None:
        """Where a lost connection was the last one of a topic, that is a gap."""
        account = self.account
        for topic in account.messages:
            if account.carried(topic, end.line, end.sequence) is None:
                continue
            others = [
                line
                for line in self.lines
                if line != end.line and account.carried(topic, line, end.sequence) is not None
            ]
            has_state = topic.startswith(QUIET) or any(
                row.sequence < end.sequence for row in account.applied(topic)
            )
            if has_state and not others:
                assert self.is_in_gap(topic, end.receive_ns, end.receive_ns), (
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
        rows = [row for row in self.account.applied(topic) if end is None or row.sequence < end]
        return rows[-1] if rows else None

    def _others(self, line: int) -> list[int]:
        return [other for other in self.lines if other != line]

    @staticmethod
    def _is_within(gap: Gap, sequence: int, receive_ns: int) -> bool:
        ended = gap["end_ns"] is not None and sequence > gap["sequence"]
        return receive_ns >= gap["start_ns"] and not ended

    def _explain_disconnect(self, topic: str, gap: Gap) -> None:
        ends = [end for end in self.account.ends if self._is_within(gap, end.sequence, end.receive_ns)]
        carrying = [end for end in ends if self.account.carried(topic, end.line, end.sequence) is not None]
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
        since = self.account.carried(topic, line, sequence)
        if since is None:
            return False
        brought = [
            (one, message)
            for one, message in self.account.frames_of(topic)
            if one.line == line and since.sequence <= one.sequence < sequence
        ]
        rows = [row for row in self.account.applied(topic) if row.sequence < sequence]
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
            for note in self.account.silences
            if note.topic == topic and self._is_within(gap, note.sequence, note.receive_ns)
        ]
        assert notes, f"{topic}: a gap (silence), but the recorder noticed none: {gap}"
        for line in self.lines:
            since = self.account.carried(topic, line, notes[0].sequence)
            if since is not None:
                faults = self.account.sent.faults_of[since.connection]
                assert any(
                    fault.fault in SILENCING or (fault.fault == "stall" and fault.topic == topic)
                    for fault in faults
                ), f"{topic}: a gap (silence), although nothing befell connection {since.connection}: {gap}"

    def _explain_damage(self, topic: str, gap: Gap) -> None:
        damages = [
            damage
            for damage in self.account.damages
            if damage.topic in (None, topic or None)
            and self._is_within(gap, damage.sequence, damage.receive_ns)
        ]
        assert damages, f"{topic}: a gap (undecodable), and nothing that was damaged arrived: {gap}"
        if topic and self._before(topic, gap) is None:
            return  # where nothing is followed yet, nobody covers anything
        if is_chain(topic):
            self._explain_loss(topic, gap)
            return
        topics = [topic] if topic else [name for name in self.account.messages if name]
        assert any(not self._is_covered(name, damage) for name in topics for damage in damages), (
            f"{topic or 'a line'}: a gap (undecodable), although another line was whole: {gap}"
        )

    def _is_covered(self, topic: str, damage: Damage) -> bool:
        """Whether another line can be trusted to bring what was damaged."""
        for line in self._others(damage.line):
            since = self.account.carried(topic, line, damage.sequence)
            if not self._is_trusted(topic, line, damage.sequence, damage.receive_ns) or since is None:
                continue
            if is_chain(topic):
                return True
            hurt = any(
                other.line == line
                and other.topic in (None, topic)
                and since.sequence < other.sequence < damage.sequence
                and damage.receive_ns - other.receive_ns <= HURT_NS
                for other in self.account.damages
            )
            if not hurt:
                return True
        return False

    def _explain_loss(self, topic: str, gap: Gap) -> None:
        before = self._before(topic, gap)
        if is_chain(topic) and before is not None:
            self._explain_missing_ids(topic, gap, before)
            return
        applied = self.account.applied(topic)
        rows = {row.message.place for row in applied}
        if gap["healed_by"] == "gap":  # found in another one; it ends with that one's last good row
            ending = [row for row in applied if row.receive_ns <= gap["end_ns"]][-1:]
        else:
            ending = [row for row in applied if row.sequence == gap["sequence"]]
        healed = next((row.message.place for row in ending), -1)
        between = range(before.message.place if before is not None else 0, healed)
        lost = [
            message
            for brought, message in self.account.frames_of(topic)
            if message.place not in rows
            and (message.place in between or self._is_within(gap, brought.sequence, brought.receive_ns))
        ]
        swapped = topic.startswith(PLAIN) and any(  # they have no time that would show which one is older
            "reorder" in faults
            for message in self.account.messages[topic]
            if message.place in between
            for faults in message.befallen.values()
        )
        late = [like for message in lost for like in self._likes(topic, message)]
        assert swapped or any(self._is_lacking(message) for message in [*lost, *late]), (
            f"{topic}: a gap ({gap['cause']}), and no line lost anything that another one brought: {gap}"
        )

    def _likes(self, topic: str, message: Message) -> list[Message]:
        """Messages of the same push time: behind one that its line lacks nobody can tell which of the two is older."""
        account = self.account
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
        return any(self._befell(message, line) or self._was_absent(message, line) for line in self.lines)

    def _was_absent(self, message: Message, line: int) -> bool:
        """Whether a line didn't bring a message because it wasn't there, or was lost before it could."""
        connections = self.account.connections[line]
        if any(one.line == line for one in message.brought):
            return False
        if sent := message.sent & connections:
            return any(end.connection in sent for end in self.account.ends)
        return not message.listening & connections

    def _explain_missing_ids(self, topic: str, gap: Gap, before: Row) -> None:
        messages = self.account.messages[topic]
        behind = messages[before.message.place + 1 :]
        missing = next((message for message in behind if not message.entry.rebuilt), None)
        end = NEVER if gap["end_ns"] is None else gap["sequence"]
        unapplied = [
            row
            for row in self.account.rows[topic]
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
        for line in self.lines:
            if self.account.carried(topic, line, opening) is None:
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
        faults = self.account.sent.faults_of[first.connection]
        return waited_ns > WAIT_NS and any(fault.fault == "late" for fault in faults)

    def _is_hurt(self, topic: str, line: int, gap: Gap) -> bool:
        """Whether a line wasn't there when another one's frame was damaged, or had a damaged one of its own."""
        return any(
            damage.line == line or self.account.carried(topic, line, damage.sequence) is None
            for damage in self.account.damages
            if damage.topic in (None, topic) and self._is_within(gap, damage.sequence, damage.receive_ns)
        )

    def _has_old(self, topic: str, line: int, sequence: int) -> bool:
        """Whether a line was taken for further ahead than it was, by a message held back over the chain's beginning."""
        begun = _begun([row for row in self.account.applied(topic) if row.sequence < sequence])
        return begun is not None and any(
            one.line == line and begun.sequence < one.sequence < sequence and self._befell(message, line)
            for one, message in self.account.frames_of(topic)
            if message.place < begun.message.place
        )

    def _was_ahead(self, topic: str, line: int, place: int) -> bool:
        """Whether a line that brought a message too early did so because it lacks one before it."""
        followed = {row.message.place: row.sequence for row in self.account.applied(topic)}
        for earlier in reversed(self.account.messages[topic][:place]):
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
            if connection in self.account.connections[line]
        )

    def _has_fault(self, topic: str, message: Message, before: Row) -> bool:
        near = self.account.messages[topic][before.message.place : message.place + 1]
        if any(one.befallen for one in near):
            return True
        connections = set().union(*self.account.connections.values())
        deeds = {"half_open", "cut", "close", "cut_one", "stall", *_RESYNCS}
        return any(
            fault.fault in deeds for number in connections for fault in self.account.sent.faults_of[number]
        )

    def _explain_no_snapshot(self, topic: str, gap: Gap) -> None:
        """The first snapshot was dropped, held back, damaged or swallowed, and no other line had brought one."""
        account = self.account
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
