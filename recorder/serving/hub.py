"""What goes to the browsers, and to whom: each message is made once for all who are as far; nobody waits for anybody.

A channel has a version that rises when it changes, and can say what has changed since any earlier one. A browser gets,
of each channel that it listens to, what has changed since what it was sent last; so one that is slow gets more at once
and less often, never a queue. How far it is it says itself: at most ``WINDOW`` messages are on the way to it, so a page
that doesn't draw (a hidden tab, a slow phone) is sent nothing until it has. Pure: sockets are in
``recorder.serving.server``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

__all__ = ["MOST_CHANNELS", "NEVER", "WINDOW", "Channel", "Hub", "Listener"]

WINDOW: Final = 8
NEVER: Final = -1
"""The version of one who has seen nothing."""
MOST_CHANNELS: Final = 8
"""That one browser may listen to."""


class Channel(Protocol):
    """Something that browsers are kept up to date about."""

    @property
    def version(self) -> int:
        """Rises with every change; at least 0."""

    def encode(self, since: int) -> bytes:
        """Return a message: what has changed since a version; everything, since ``NEVER`` or one that is too old."""


class Listener:
    """One browser.

    Attributes:
        sent, seen: messages that were sent to it, and that it said it has shown.
        channels: what it listens to, and the version of each that it was sent last.
    """

    __slots__ = ("channels", "seen", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.seen = 0
        self.channels: dict[str, int] = {}

    @property
    def is_ready(self) -> bool:
        """Whether it may be sent something."""
        return self.sent - self.seen < WINDOW

    def listen(self, names: Iterable[str]) -> None:
        """Listen to these and to nothing else; those that it listened to already go on where they are."""
        self.channels = {name: self.channels.get(name, NEVER) for name in list(names)[:MOST_CHANNELS]}

    def has_seen(self, count: int) -> None:
        """Take its word for how many messages it has shown; never more than were sent, never fewer than before."""
        self.seen = min(max(self.seen, count), self.sent)


class Hub:
    """Keeps channels and messages.

    Attributes:
        channels: by name.
        listeners: all browsers.
        made, given: how many messages were encoded, and given out.
    """

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.listeners: set[Listener] = set()
        self.made = 0
        self.given = 0
        self._messages: dict[str, tuple[Channel, int, dict[int, str]]] = {}

    def wanted(self) -> set[str]:
        """Return the names of the channels that somebody who could be sent something listens to."""
        return {name for listener in self.listeners if listener.is_ready for name in listener.channels}

    def listened(self) -> set[str]:
        """Return the names of the channels that anybody listens to."""
        return {name for listener in self.listeners for name in listener.channels}

    def due(self, listener: Listener) -> Iterator[str]:
        """Yield what is to be sent to a listener now, as long as it is ready; each counts as sent once yielded."""
        for name, seen in list(listener.channels.items()):
            channel = self.channels.get(name)
            if channel is None or channel.version == seen or not listener.is_ready:
                continue
            version = channel.version
            message = self._message(name, channel, version, seen)
            if name in listener.channels:
                listener.channels[name] = version
            listener.sent += 1
            self.given += 1
            yield message

    def _message(self, name: str, channel: Channel, version: int, since: int) -> str:
        made_of, its_version, messages = self._messages.get(name, (None, NEVER, {}))
        if made_of is not channel or its_version != version:
            messages = {}
            self._messages[name] = (channel, version, messages)
        if since not in messages:
            messages[since] = channel.encode(since).decode()
            self.made += 1
        return messages[since]

    def drop(self, name: str) -> None:
        """Forget a channel."""
        self.channels.pop(name, None)
        self._messages.pop(name, None)
