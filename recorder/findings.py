"""What ``verify`` counts and finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

__all__ = ["Finding", "Subject", "Verification"]


class Subject(StrEnum):
    """What a finding is about, which is also what a repair has to make again."""

    FILE = "file"
    """A file of the archive: its bytes or its rows."""
    MANIFEST = "manifest"
    """A line of a manifest, or a missing one."""
    JOURNAL = "journal"
    """A segment of the journal."""
    OTHER = "other"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found.

    Attributes:
        fails: whether it makes the check fail; others are worth knowing.
        where: file or segment.
        feed: topic, where one is concerned.
        row: index in the file, from 0.
        what: found, expected.
        subject: what it is about.
        collector: whose it is, where that is known.
    """

    fails: bool
    where: str
    what: str
    subject: Subject = Subject.OTHER
    collector: str | None = None
    feed: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        place = [self.where]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.feed is not None:
            place.append(self.feed)
        return f"{'FAIL' if self.fails else 'note'}  {', '.join(place)}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was checked, and what was found.

    ``chains``: each collector's newest chain value. ``others``: what plug-ins counted, by the plug-in's name.
    """

    segments: int = 0
    files: int = 0
    rows: int = 0
    frames: int = 0
    live_digests: int = 0
    books: int = 0
    archive_digests: int = 0
    keyframes: int = 0
    gaps: int = 0
    undecodable: int = 0
    rebuilt: int = 0
    rebuilt_records: int = 0
    verbatim: int = 0
    chains: dict[str, str] = field(default_factory=dict)
    others: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """The findings that make the check fail."""
        return [finding for finding in self.findings if finding.fails]

    def fail(
        self,
        where: object,
        what: str,
        *,
        feed: str | None = None,
        row: int | None = None,
        subject: Subject = Subject.OTHER,
        collector: str | None = None,
    ) -> None:
        """Note a failure."""
        self.findings.append(
            Finding(
                fails=True,
                where=str(where),
                what=what,
                feed=feed,
                row=row,
                subject=subject,
                collector=collector,
            )
        )

    def note(self, where: object, what: str) -> None:
        """Note something worth knowing."""
        self.findings.append(Finding(fails=False, where=str(where), what=what))
