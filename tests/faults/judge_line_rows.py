"""Claims 1 and 2 of tests/faults/judge_lines.py: rows are what arrived, and nothing is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from schemas.names import Table
from tests.faults.account import Message, Row
from tests.faults.alike import Alike
from tests.faults.line_facts import WAIT_NS, LineFacts
from tests.ledger import PLAIN, is_chain
from tests.recorded import items_of, plain_levels, row_sides

__all__ = ["RowsJudge"]


class RowsJudge(LineFacts):
    """Holds rows against the messages that arrived."""

    def rows(self, topic: str) -> None:
        """Rows of a topic that has a state."""
        account = self.account
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
        alike = Alike(account, topic)
        for before, after in pairwise(applied):
            if not self.is_in_gap(topic, before.receive_ns, after.receive_ns):
                self._hold_pair(topic, before, after, alike)
        if applied:
            self._hold_tail(topic, applied[-1], alike)

    def _hold_plain(self, topic: str) -> None:
        """Messages that stand for themselves: each is its rows; nothing comes too late."""
        account = self.account
        counts = Counter(row.sequence for row in account.rows[topic])
        for sequence, count in counts.items():
            said = items_of(account.payloads[sequence])
            assert count == said, f"{topic}: record {sequence} says {said} things and makes {count} rows"
        made: defaultdict[int, set[int]] = defaultdict(set)
        for row in account.rows[topic]:
            made[row.message.place].add(row.sequence)
        alike = Alike(account, topic)
        for message in account.messages[topic]:
            if not message.brought or message.entry.rebuilt:
                continue
            first = message.brought[0]
            repeated = any("repeat" in faults for faults in message.befallen.values())
            assert len(made[message.place]) <= 1 or repeated, f"{topic}: {message} is recorded twice"
            if made[message.place] or not self._is_shown(topic, message, alike):
                continue
            is_everywhere = {one.line for one in message.brought} == set(self.lines)
            waits = not is_everywhere and account.last_ns - first.receive_ns <= WAIT_NS
            assert waits or self.is_in_gap(topic, first.receive_ns, first.receive_ns), (
                f"{topic}: {message} arrived as record {first.sequence} and is no row, and no gap says so"
            )

    def _hold_content(self, topic: str, row: Row) -> None:
        said, values = self.account.decoded(row.sequence), row.values
        assert values["kind"] == said["type"], f"{topic}: the row of {row.message} is a {values['kind']}"
        if topic.startswith("orderbook."):
            payload = self.account.payloads[row.sequence]
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
        for row in self.account.rows[topic]:
            if row.applied:
                reached = row.message.entry.u
                continue
            is_old = is_chain(topic) and reached is not None and (row.message.entry.u or 0) <= reached
            assert is_old or self.is_in_gap(topic, row.receive_ns, row.receive_ns), (
                f"{topic}: the row of {row.message} is not applied, and no gap says why"
            )

    def _hold_pair(self, topic: str, before: Row, after: Row, alike: Alike) -> None:
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
            hidden = {row.message.place for row in self.account.rows[topic] if not row.applied}
        if not is_chain(topic):  # a row elsewhere: whether it may be there, that pair of rows tells
            hidden |= {row.message.place for row in self.account.applied(topic)}
        else:  # told again, as by a service that was started anew twice: it is no news
            hidden = {
                message.place
                for message in self.account.messages[topic][first.place + 1 : second.place]
                if (message.entry.type, message.entry.u, message.entry.seq)
                == (first.entry.type, first.entry.u, first.entry.seq)
            }
        skipped = [
            message
            for message in self.account.messages[topic][first.place + 1 : second.place]
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

    def _is_shown(self, topic: str, message: Message, alike: Alike) -> bool:
        """Whether the loss of a message of a topic without ids is promised to be seen."""
        if not message.brought:
            return False
        sequence = message.brought[0].sequence
        begun, ended = self.account.company(topic, sequence)
        near = {
            one.place: {brought.line for brought in one.brought if begun < brought.sequence < ended}
            for one in self.account.messages[topic]
            if not one.entry.rebuilt
        }
        common = [place for place, lines in near.items() if len(lines) == len(self.lines)]
        first = max((place for place in common if place < message.place), default=None)
        if any(self.account.carried(topic, line, sequence) is None for line in self.lines):
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
        between = self.account.messages[topic][first : last + 1]
        swaps = any("reorder" in faults for one in between for faults in one.befallen.values())
        lacking = {
            line
            for one in between
            for line in self.lines
            if near.get(one.place) and line not in near[one.place]
        }
        return not swaps and len(lacking) == 1

    def _hold_tail(self, topic: str, last: Row, alike: Alike) -> None:
        """Behind the last row nothing has arrived but what still waits for another line."""
        account = self.account
        for message in account.messages[topic][last.message.place + 1 :]:
            if message.entry.rebuilt or not message.brought:
                continue
            first = message.brought[0]
            if not is_chain(topic) and not alike.shown(last.sequence, first.sequence):
                return
            waits = account.last_ns - first.receive_ns <= WAIT_NS
            assert waits or self.is_in_gap(topic, max(last.receive_ns, first.receive_ns), first.receive_ns), (
                f"{topic}: {message} arrived as record {first.sequence} and is no row behind {last.message}"
            )

    def trades(self) -> None:
        """Every trade that arrived is a row, once, where it arrived first."""
        wanted: list[tuple[int, str, str]] = []
        known: set[tuple[str, str]] = set()
        topics = [topic for topic in self.account.messages if topic.startswith("publicTrade.")]
        arrived = [pair for topic in topics for pair in self.account.frames_of(topic)]
        for brought, _ in sorted(arrived, key=lambda pair: pair[0].sequence):
            for trade in self.account.decoded(brought.sequence)["data"]:
                if (trade["s"], trade["i"]) not in known:
                    known.add((trade["s"], trade["i"]))
                    wanted.append((brought.sequence, trade["s"], trade["i"]))
        made = [(row["sequence"], row["symbol"], row["trade_id"]) for row in self.recorded.rows(Table.TRADES)]
        made.sort(key=lambda row: row[0])
        counts = Counter(row[1:] for row in made)
        twice = [trade for trade, count in counts.items() if count > 1]
        assert not twice, f"trades recorded twice: {twice[:3]}"
        missing = [trade for trade in wanted if trade[1:] not in counts]
        assert not missing, f"{len(missing)} trades arrived and are no rows: {missing[:3]}"
        invented = [trade for trade in made if trade[1:] not in known]
        assert not invented, f"trades that never arrived: {invented[:3]}"
        assert made == wanted, "trades are not in the order in which they arrived first"
