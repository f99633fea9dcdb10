"""The hash chain over a collector's segments, as its manifest tells it (docs/journal.md, "Content hash and chain")."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from recorder.journal.content import chain_value
from schemas.errors import Corrupt
from schemas.manifest import Entry, ManifestSegment

if TYPE_CHECKING:
    from recorder.manifest import Manifest

__all__ = ["broken_links", "chained"]

_TAIL_BYTES: Final = 1 << 16
_MARK: Final = b'"chain":"'
_LINK: Final = re.compile(rb"[0-9a-f]{64}")


def chained(entries: Sequence[Entry], path: Path, descriptor: int, end: int) -> list[Entry]:
    """The entries, with each segment's link to the one before it.

    Args:
        entries: what is to be appended.
        path, descriptor: the collector's manifest, open for reading.
        end: where its whole lines end.

    Raises:
        Corrupt: the newest link there is none.
    """
    if not any(isinstance(entry, ManifestSegment) and entry.content_sha256 for entry in entries):
        return list(entries)
    chain = _last_link(path, descriptor, end)
    out: list[Entry] = []
    for entry in entries:
        if isinstance(entry, ManifestSegment) and entry.content_sha256 is not None:
            chain = chain_value(chain, entry.collector, entry.segment, entry.content_sha256)
            out.append(msgspec.structs.replace(entry, chain=chain))
        else:
            out.append(entry)
    return out


def _last_link(path: Path, descriptor: int, end: int) -> str | None:
    """The chain's newest value, looked for from the end of the lines. Text inside of them has its quotes escaped."""
    link = len(_MARK) + 64
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        piece = os.pread(descriptor, end - start + link, start)
        at = piece.rfind(_MARK)
        if at >= 0:
            found = piece[at + len(_MARK) : at + link]
            if _LINK.fullmatch(found) is None:
                raise Corrupt(
                    path,
                    f"the chain's last value is {found!r}, expected 64 hex digits; see `tapebook verify`",
                )
            return found.decode()
        end = start
    return None


def broken_links(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Where chains don't hold, and what is wrong there.

    Shows lines that were removed, added, moved or altered, and segments that were rolled twice with other records.
    """
    for collector, links in manifest.links.items():
        chain: str | None = None
        contents: dict[int, str] = {}
        for number, link in enumerate(links, 1):
            where = f"{collector}/{link.segment}.arrows"
            content = link.content_sha256 or ""
            try:
                expected = chain_value(chain, collector, link.segment, content)
            except ValueError:
                yield (
                    where,
                    f"link {number} of the chain: found content hash {content!r}, expected 64 hex digits",
                )
                chain = link.chain
                continue
            if link.chain != expected:
                yield (
                    where,
                    f"link {number} of the chain is {str(link.chain)[:16]}…, expected {expected[:16]}…: this line of "
                    "the manifest or one before it was altered, or lines between them were removed, added or moved",
                )
            if contents.setdefault(link.segment, content) != content:
                yield (
                    where,
                    f"was rolled with content {content[:16]}…, and before that with {contents[link.segment][:16]}…: "
                    "its records were altered in between",
                )
            chain = link.chain  # so that one break is told once
