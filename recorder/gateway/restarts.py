"""A push service that starts anew while a recording is replayed: its books are numbered from 1 again. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Renumbering"]

_UPDATE_ID: Final = re.compile(rb'(?<=[{,])"u":(\d{1,18})(?=[,}])')


class Renumbering:
    """How the update ids that go out differ from the recording's, per order-book topic."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def reset(self) -> None:
        """Forget everything, as when the replay starts over."""
        self._offsets.clear()

    def restart(self, topic: str, update_id: int) -> None:
        """Let the state that has this update id, as it went out, be number 1."""
        self._offsets[topic] = self._offsets.get(topic, 0) + update_id - 1

    def renumber(self, topic: str, payload: bytes) -> bytes:
        """Return a frame of the recording as it goes out; a chain that the recording itself begins ends ours."""
        offset = self._offsets.get(topic)
        if offset is None:
            return payload
        found = _UPDATE_ID.search(payload)
        if found is None:
            return payload
        update_id = int(found[1]) - offset
        if update_id < 1:
            del self._offsets[topic]
            return payload
        return b"%b%d%b" % (payload[: found.start(1)], update_id, payload[found.end(1) :])
