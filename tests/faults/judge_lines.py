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

from tests.faults.account import Account
from tests.faults.judge_line_gaps import GapsJudge
from tests.faults.judge_line_rows import RowsJudge
from tests.faults.sent import explain_end
from tests.recorded import Recorded

__all__ = ["hold_lines"]


def hold_lines(recorded: Recorded, account: Account, lines: int) -> None:
    """Assert the claims about a recording over several lines.

    Raises:
        AssertionError: one that isn't true.
    """
    rows, gaps = RowsJudge(recorded, account, range(lines)), GapsJudge(recorded, account, range(lines))
    for topic in account.messages:
        if topic.startswith("publicTrade."):
            continue
        rows.rows(topic)
    rows.trades()
    for end in account.ends:
        explain_end(account.sent, end.connection, end.reason)
        gaps.blindness(end)
    for gap in recorded.gaps:
        gaps.gap(gap)
