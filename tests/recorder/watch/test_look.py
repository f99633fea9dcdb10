"""Looks at a data directory: what is not ours is passed by, and nothing is decoded twice."""

from __future__ import annotations

from pathlib import Path

import msgspec

from recorder.watch.look import Looker
from tests.recorder.watch.statuses import live


def test_foreign_things_in_the_journal_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "journal" / ".hidden dir!").mkdir(parents=True)
    (tmp_path / "journal" / ".hidden dir!" / "lock").touch()
    (tmp_path / "journal" / "linear").mkdir()
    (tmp_path / "journal" / "housekeeping.json").write_text("{}")
    looker = Looker(tmp_path)
    assert looker.look(1).collectors == ()
    (tmp_path / "journal" / "linear" / "lock").write_bytes(b"no number")
    (tmp_path / "journal" / "linear" / "status.json").write_bytes(b"{torn")
    (found,) = looker.look(1).collectors
    assert (found.live, found.held, found.holder) == (None, False, None)
    assert Looker(tmp_path / "nowhere").look(1).free_bytes is None


def test_a_status_is_decoded_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "linear" / "status.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(live()))
    looker = Looker(tmp_path)
    (first,), (second,) = looker.look(1).collectors, looker.look(2).collectors
    assert first.live is second.live
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.encode(live(frames=1)))
    temporary.replace(path)
    (third,) = looker.look(3).collectors
    assert third.live is not None
    assert third.live["frames"] == 1
