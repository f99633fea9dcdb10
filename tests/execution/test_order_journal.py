"""The order journal: what is in doubt survives whatever happens to the process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.orders import OrderKey
from execution.desk.outcomes import Evidence, OrderRequest, Outcome, OutcomeKind, RequestState
from execution.desk.wire import Op
from execution.order_journal import OrderJournal, Way, order_files, read_orders, request_line
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.names import Category, Fsync

NOW = 1_760_000_000_000


def request(name: str, op: Op = Op.CREATE) -> OrderRequest:
    key = OrderKey(Category.LINEAR, "BTCUSDT", "", f"link-{name}")
    made = OrderRequest(name, op, key, key.fields() | {"qty": "1"}, {"qty": "1"} if op is Op.AMEND else {})
    made.state, made.timestamp_ms, made.window_ms = RequestState.SENT, NOW, 5_000
    return made


def end(made: OrderRequest) -> OrderRequest:
    made.outcome = Outcome(OutcomeKind.REJECTED, Evidence.REPLY, 110007, 'balance "low"\n')
    return made


def test_requests_without_an_outcome_are_taken_over(tmp_path: Path) -> None:
    with OrderJournal(tmp_path) as journal:
        assert journal.restored == []
        first, second, third = request("a"), request("b", Op.AMEND), request("c", Op.CANCEL)
        for made in (first, second, third):
            journal.request(made, "socket", 1)
        journal.note("private socket", "connected", 2)
        journal.outcome(end(first), 3)
    with OrderJournal(tmp_path) as journal:
        left = {made.request_id: made for made in journal.restored}
        assert set(left) == {"b", "c"}
        assert left["b"].key == second.key
        assert (left["b"].op, left["b"].changed, left["b"].fields) == (Op.AMEND, {"qty": "1"}, second.fields)
        assert left["b"].last_ms == NOW + 5_000
        # the second run ends without learning more: the third still knows
    with OrderJournal(tmp_path) as journal:
        assert {made.request_id for made in journal.restored} == {"b", "c"}
        journal.outcome(end(left["b"]), 4)
    with OrderJournal(tmp_path) as journal:
        assert [made.request_id for made in journal.restored] == ["c"]
    assert len(list((tmp_path / "orders").glob("*.jsonl"))) == 4


@given(
    names=st.tuples(*[st.text(max_size=40)] * 4),
    fields=st.dictionaries(st.text(), st.one_of(st.text(), st.integers(0, 2), st.booleans())),
    changed=st.dictionaries(st.text(), st.text()),
    op=st.sampled_from(Op),
    way=st.sampled_from(("socket", "rest")),
    number=st.integers(0, 1 << 40),
)
def test_a_line_of_parts_is_the_one_written_whole(
    names: tuple[str, ...],
    fields: dict[str, Any],
    changed: dict[str, str],
    op: Op,
    way: Way,
    number: int,
) -> None:
    request_id, symbol, order_id, link_id = names
    made = OrderRequest(request_id, op, OrderKey(Category.SPOT, symbol, order_id, link_id), fields, changed)
    made.timestamp_ms, made.window_ms = number, 5_000
    whole = {
        "n": number,
        "at_ns": NOW,
        "kind": "request",
        "request": {
            "request_id": request_id,
            "op": op.value,
            "category": "spot",
            "symbol": symbol,
            "order_id": order_id,
            "link_id": link_id,
            "fields": fields,
            "changed": changed,
            "timestamp_ms": number,
            "window_ms": 5_000,
            "way": way,
        },
    }
    line = request_line(number, NOW, made, msgspec.json.encode(fields), way)
    assert line.count(b"\n") == 1
    assert line == msgspec.json.encode(whole) + b"\n"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with OrderJournal(tmp_path), pytest.raises(ConfigError, match="another run writes here"):
        OrderJournal(tmp_path)
    with OrderJournal(tmp_path):
        pass


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_was_not_acted_on(tmp_path: Path, cut: int) -> None:
    with OrderJournal(tmp_path) as journal:
        journal.request(request("a"), "socket", 1)
        journal.request(request("b"), "socket", 1)
        path = journal.path
        content = path.read_bytes()
    path.write_bytes(content[:-cut])
    open_requests, lines, torn = read_orders(path)
    assert set(open_requests) == {"a"}
    assert (lines, torn > 0) == (2, True)
    with OrderJournal(tmp_path) as journal:
        assert [made.request_id for made in journal.restored] == ["a"]


def test_damage_is_told_and_not_worked_around(tmp_path: Path) -> None:
    with OrderJournal(tmp_path) as journal:
        for name in "abc":
            journal.request(request(name), "socket", 1)
        path = journal.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(Corrupt, match="line 1: it says that it is line 2"):
        OrderJournal(tmp_path)
    path.write_bytes(lines[0] + b"nonsense\n" + lines[2])
    with pytest.raises(Corrupt, match="line 1"):
        OrderJournal(tmp_path)
    path.write_bytes(lines[0].replace(b'"format":2', b'"format":9'))
    with pytest.raises(Corrupt, match="format 9, expected one of 1, 2"):
        OrderJournal(tmp_path)
    path.write_bytes(b"".join(lines))
    with OrderJournal(tmp_path) as journal:
        assert len(journal.restored) == 3, "nothing was harmed, and the lock was let go"


def test_a_full_disk_refuses_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OrderJournal(tmp_path) as journal:
        journal.request(request("a"), "socket", 1)
        before = journal.path.read_bytes()
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, payload: write(descriptor, payload[:10]))
        with pytest.raises(StoreError, match="nothing more is sent"):
            journal.request(request("b"), "socket", 1)
        assert journal.path.read_bytes() == before

        def full(descriptor: int, payload: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            journal.request(request("b"), "socket", 1)
        monkeypatch.setattr(os, "write", write)
        journal.request(request("c"), "socket", 1)
    assert set(read_orders(journal.path)[0]) == {"a", "c"}


@pytest.mark.parametrize(
    ("fsync", "at_once"), [(Fsync.COMMIT, True), (Fsync.INTERVAL, False), (Fsync.NEVER, False)]
)
def test_when_requests_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync, at_once: bool
) -> None:
    synced: list[int] = []
    with OrderJournal(tmp_path, fsync=fsync) as journal:
        monkeypatch.setattr(os, "fdatasync", synced.append)
        journal.request(request("a"), "socket", 1)
        assert bool(synced) == at_once
        journal.sync()
        assert len(synced) == (0 if fsync is Fsync.NEVER else 1)
        journal.sync()
        assert len(synced) <= 1, "nothing new"


def test_a_killed_run_leaves_what_it_wrote(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from typing import Any
from execution.order_journal import OrderJournal
from tests.execution.test_order_journal import request
journal = OrderJournal(Path(sys.argv[1]))
journal.request(request("a"), "socket", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert ended.returncode == -9
    with OrderJournal(tmp_path) as journal:
        assert [made.request_id for made in journal.restored] == ["a"]


def test_a_clock_that_went_back_does_not_hide_the_newest_run(tmp_path: Path) -> None:
    with OrderJournal(tmp_path) as journal:
        journal.request(request("a"), "socket", 1)
    journal.path.rename(journal.path.with_name(f"{1 << 62}.jsonl"))
    with OrderJournal(tmp_path) as journal:
        assert len(journal.restored) == 1
        assert journal.path.stem == str((1 << 62) + 1)


def test_the_newest_run_is_the_one_of_the_highest_number(tmp_path: Path) -> None:
    """A machine without a clock may begin in 1970, and somebody may lay a file beside ours."""
    with OrderJournal(tmp_path) as journal:
        journal.request(request("of-1970"), "socket", 1)
    (first,) = order_files(tmp_path)
    first.rename(first.with_name("5000000000.jsonl"))
    (tmp_path / "orders" / "notes.jsonl").write_text("not ours")
    with OrderJournal(tmp_path) as journal:
        assert [each.request_id for each in journal.restored] == ["of-1970"]
        journal.request(request("of-today"), "socket", 1)
    with OrderJournal(tmp_path) as journal:
        assert [each.request_id for each in journal.restored] == ["of-1970", "of-today"]
    assert order_files(tmp_path)[0].stem == "5000000000"


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        OrderJournal(tmp_path / "file")


def test_a_directory_belongs_to_one_exchange(tmp_path: Path) -> None:
    """What is in doubt at one exchange, another would say is not there: it would count as never taken."""
    with OrderJournal(tmp_path, "gateway ws://127.0.0.1:9001") as journal:
        journal.request(request("a"), "socket", 1)
    for other in ("gateway ws://127.0.0.1:9002", "mainnet wss://stream.bybit.com"):
        with pytest.raises(ConfigError, match=r"1 requests in doubt at gateway ws://127\.0\.0\.1:9001"):
            OrderJournal(tmp_path, other)
    with OrderJournal(tmp_path, "gateway ws://127.0.0.1:9001") as journal:
        journal.outcome(end(journal.restored[0]), 1)
    with OrderJournal(tmp_path, "gateway ws://127.0.0.1:9002"):
        pass  # a gateway takes another port each time, and nothing is in doubt
    with pytest.raises(ConfigError, match="give each a directory"):
        OrderJournal(tmp_path, "mainnet wss://stream.bybit.com")
