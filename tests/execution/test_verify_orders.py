"""`verify` over order journals: what is sound passes, and whatever is altered, removed or sent twice is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.orders import OrderKey
from execution.desk.outcomes import Evidence, OrderRequest, Outcome, OutcomeKind, RequestState
from execution.desk.wire import Op
from execution.kill_switch import KillSwitch
from execution.order_journal import OrderJournal, order_files
from execution.verify_orders import verifier
from recorder.findings import Verification
from schemas.names import Category
from tests.processes import json_lines, tapebook


def request(name: str, op: Op = Op.CREATE, link_id: str = "") -> OrderRequest:
    key = OrderKey(Category.LINEAR, "BTCUSDT", "", link_id or f"link-{name}")
    made = OrderRequest(name, op, key, key.fields())
    made.state, made.timestamp_ms, made.window_ms = RequestState.SENT, 1_760_000_000_000, 5_000
    return made


def ended(made: OrderRequest, kind: OutcomeKind = OutcomeKind.ACKED) -> OrderRequest:
    made.outcome = Outcome(kind, Evidence.REPLY)
    return made


def killed(journal: OrderJournal) -> None:
    """What a kill -9 leaves: nothing more is written, and the lock is free."""
    import os

    os.close(journal._descriptor)
    os.close(journal._lock)
    journal._descriptor = journal._lock = -1


def three_runs(directory: Path) -> list[Path]:
    """A run that ended well, one that was killed with a request in doubt, one that resolved it and ended well."""
    with OrderJournal(directory, "gateway") as journal:
        first = request("a1")
        journal.request(first, "socket", 1)
        journal.outcome(ended(first), 2)
        refused = request("a2")
        journal.request(refused, "rest", 3)
        journal.outcome(ended(refused, OutcomeKind.REJECTED), 4)
    journal = OrderJournal(directory)
    journal.request(request("b1"), "socket", 1)
    journal.note("trade socket", "down", 2)
    killed(journal)
    with OrderJournal(directory) as journal:
        (left,) = journal.restored
        journal.outcome(ended(left, OutcomeKind.EXPIRED), 3)
        again = request("c1", link_id="link-a2")
        journal.request(again, "socket", 4)  # of a name whose order was refused
        journal.outcome(ended(again), 5)
        journal.request(request("c2", Op.CANCEL, "link-a1"), "socket", 6)
    return order_files(directory)


def check(directory: Path) -> tuple[list[str], list[str], dict[str, int]]:
    """Failures, notes and counts."""
    result = Verification()
    counts = dict(verifier.verify(directory, result, lambda _: None))
    notes = [f"{Path(found.where).name}: {found.what}" for found in result.findings if not found.fails]
    return [f"{Path(found.where).name}: {found.what}" for found in result.failures], notes, counts


def test_what_is_sound(tmp_path: Path) -> None:
    assert not verifier.recognizes(tmp_path)
    first, second, third = three_runs(tmp_path)
    assert verifier.recognizes(tmp_path)
    failures, notes, counts = check(tmp_path)
    assert failures == []
    assert counts == {
        "runs": 3,
        "lines": 6 + 3 + 7,
        "requests": 5,
        "outcomes": 4,
        "open": 1,
        "not_closed": 1,
        "cut_short": 0,
    }
    assert [note.partition(":")[0] for note in notes] == [second.name, third.name]
    assert "not closed" in notes[0]
    assert "1 requests (c2) without an outcome" in notes[1]
    assert json.loads(third.read_bytes().split(b"\n")[0])["previous"]["name"] == second.name
    assert "previous" not in json.loads(first.read_bytes().split(b"\n")[0])


def test_a_run_that_is_being_written(tmp_path: Path) -> None:
    with OrderJournal(tmp_path) as journal:
        journal.request(request("a"), "socket", 1)
        with journal.path.open("ab") as other:
            other.write(b'{"n":2,')
            other.flush()
        failures, notes, counts = check(tmp_path)
        assert failures == []
        assert "being written" in notes[0]
        assert counts["open"] == 1
    assert check(tmp_path)[0], "the line that closed it came behind the torn one of somebody else"


def test_a_torn_line_is_cut_short_and_no_damage(tmp_path: Path) -> None:
    journal = OrderJournal(tmp_path)
    journal.request(request("a"), "socket", 1)
    journal.outcome(ended(request("a")), 2)
    killed(journal)
    journal.path.write_bytes(journal.path.read_bytes()[:-5])
    failures, notes, counts = check(tmp_path)
    assert failures == []
    assert "cut short" in notes[0]
    assert (counts["cut_short"], counts["open"]) == (1, 1)
    with OrderJournal(tmp_path) as after:
        assert len(after.restored) == 1
    assert check(tmp_path)[0] == [], "the next run vouches for it as it is"


def edit(path: Path, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one line, so that it still reads."""
    lines = path.read_bytes().split(b"\n")
    line = json.loads(lines[number])
    change(line)
    lines[number] = json.dumps(line, separators=(",", ":")).encode()
    path.write_bytes(b"\n".join(lines))


def drop(path: Path, number: int) -> None:
    """Take a line out and number the rest anew."""
    lines = path.read_bytes().split(b"\n")
    del lines[number]
    path.write_bytes(b"\n".join(lines))
    for following in range(number, len(lines) - 1):
        edit(path, following, lambda line, n=following: line.update(n=n))  # type: ignore[misc]


DAMAGE: dict[str, tuple[Callable[[list[Path]], object], int, str]] = {
    "a price altered": (
        lambda runs: edit(runs[0], 1, lambda line: line["request"]["fields"].update(price="1")),
        0,
        "it was altered",
    ),
    "a line gone": (lambda runs: drop(runs[0], 2), 0, "it was altered"),
    "a line gone of the last": (lambda runs: drop(runs[2], 3), 2, "it was altered"),
    "a line gone of a killed one": (lambda runs: drop(runs[1], 2), 1, "it was altered"),
    "the last lines gone": (
        lambda runs: runs[0].write_bytes(b"\n".join(runs[0].read_bytes().split(b"\n")[:3]) + b"\n"),
        0,
        "it was altered",
    ),
    "a number": (
        lambda runs: edit(runs[1], 1, lambda line: line.update(n=7)),
        1,
        "line 1: it says that it is line 7",
    ),
    "no JSON": (lambda runs: runs[1].write_bytes(b"{\n" + runs[1].read_bytes()), 1, "line 0"),
    "the first run gone": (lambda runs: runs[0].unlink(), 1, "is not here: it was removed"),
    "a run from between gone": (lambda runs: runs[1].unlink(), 2, "runs are missing"),
    "another name": (lambda runs: runs[0].rename(runs[0].with_name("1.jsonl")), 0, "its name was changed"),
    "a copy": (
        lambda runs: runs[0].with_name("7.jsonl").write_bytes(runs[0].read_bytes()),
        0,
        "its name was changed",
    ),
    "not taken over": (lambda runs: drop(runs[2], 1), 2, "were not taken over"),
    "taken over, altered": (
        lambda runs: edit(runs[2], 1, lambda line: line["request"].update(symbol="ETHUSDT")),
        2,
        "is not what the run before wrote",
    ),
    "a future format": (lambda runs: edit(runs[1], 0, lambda line: line.update(format=9)), 1, "format 9"),
    "closed, and more": (
        lambda runs: runs[2].write_bytes(runs[2].read_bytes() + b'{"n":7,"at_ns":1,"kind":"note"}\n'),
        2,
        "follows the one that closed it",
    ),
    "closed, and a part": (
        lambda runs: runs[2].write_bytes(runs[2].read_bytes() + b"x"),
        2,
        "1 bytes follow the line that closed it",
    ),
    "opened twice": (
        lambda runs: edit(runs[1], 2, lambda line: line.update(kind="opened")),
        1,
        "expected 'opened'",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_where_it_is(name: str, tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    damage, where, said = DAMAGE[name]
    damage(runs)
    expected = {"another name": "1.jsonl", "a copy": "7.jsonl"}.get(name, runs[where].name)
    failures = check(tmp_path)[0]
    assert [failure for failure in failures if failure.startswith(f"{expected}: ") and said in failure], (
        failures
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a", "a"], "request a went out before: it was sent twice"),
        (["a", "b=link-a"], "orderLinkId link-a: an order of this name was sent before"),
        (["a", "a!", "b=link-a"], "orderLinkId link-a: an order of this name was sent before"),
        (["a", "a!", "a!"], "a second outcome of request a"),
        (["a!"], "an outcome of request a, which no line says was sent"),
    ],
)
def test_nothing_is_sent_twice_and_outcomes_are_unique(lines: list[str], said: str, tmp_path: Path) -> None:
    with OrderJournal(tmp_path) as journal:
        for text in lines:
            name, _, link_id = text.partition("=")
            if name.endswith("!"):
                journal.outcome(ended(request(name[:-1])), 1)
            else:
                journal.request(request(name, link_id=link_id), "socket", 1)
    failures = check(tmp_path)[0]
    assert said in failures[0]


@given(st.data())
def test_no_byte_of_a_closed_run_can_change_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("runs")
    runs = three_runs(directory)
    path = data.draw(st.sampled_from(runs))
    content = bytearray(path.read_bytes())
    # of the last, what its closing line says of the time is vouched for by the next run alone
    most = content.rfind(b'{"n"') if path == runs[-1] else len(content)
    at = data.draw(st.integers(0, most - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert check(directory)[0]


def test_of_the_first_format(tmp_path: Path) -> None:
    """Runs of before there was a chain are read, and taken over."""
    directory = tmp_path / "orders"
    directory.mkdir()
    (directory / "1000.jsonl").write_bytes(b'{"n":0,"at_ns":1000,"kind":"opened","format":1,"words":"x"}\n')
    (directory / "2000.jsonl").write_bytes(b'{"n":0,"at_ns":2000,"kind":"opened","format":1}\n')
    with OrderJournal(tmp_path):
        pass
    failures, notes, counts = check(tmp_path)
    assert failures == []
    assert any("does not name the run before it" in note for note in notes)
    assert counts["runs"] == 3


def test_the_command(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    KillSwitch(tmp_path).trip("enough", 1)
    (tmp_path / "orders" / "5.tmp").touch()
    sound = tapebook("verify", "--data", tmp_path)
    assert sound.code == 0, sound.err + sound.out
    assert "the kill switch is on: enough" in sound.out
    assert "5.tmp: no run's file" in sound.out
    assert "orders: 3 runs, 16 lines, 5 requests, 4 outcomes, 1 open, 1 not closed, 0 cut short" in sound.out
    assert "\nchain of orders: " in sound.out
    assert sound.out.endswith("verified: no unexplained difference\n")
    assert "segments" not in sound.out
    edit(runs[0], 1, lambda line: line["request"]["fields"].update(qty="9"))
    damaged = tapebook("verify", "--data", tmp_path, "--format", "json")
    assert damaged.code == 1
    rows = json_lines(damaged.out)
    assert rows[-1]["failures"] == 2
    assert rows[-1]["others"]["orders"]["runs"] == 3
    assert [row["what"] for row in rows[:-1] if row["fails"]]
