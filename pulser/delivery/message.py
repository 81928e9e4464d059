"""What one process tells the others: the hints of its commits, merged, as a short JSON text."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import msgspec

from pulser.store.tx import Hints

MOST_BYTES = 7_000  # Postgres takes 8,000
Heard = Callable[[Hints], None]


class Message(msgspec.Struct, omit_defaults=True):
    """Hints on the wire."""

    sender: str
    agents: list[str] = []
    cancelled: list[tuple[str, int]] = []
    due: datetime | None = None
    events: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def encode(sender: str, hints: Hints) -> bytes:
    """A message that fits; where there is too much to name, ``*`` stands for every agent."""
    message = Message(sender, sorted(hints.agents), hints.cancelled, hints.due, hints.events)
    body = _encode(message)
    if len(body) > MOST_BYTES:
        body = _encode(Message(sender, ["*"], hints.cancelled[:150], hints.due, hints.events))
    return body


def decode(body: bytes | str, sender: str) -> Hints | None:
    """The hints of somebody else's message; None for our own, and for what is not a message."""
    try:
        message = _decode(body)
    except msgspec.DecodeError:
        return None
    if message.sender == sender:
        return None
    return Hints(set(message.agents), message.cancelled, message.due, message.events)


class Outbox:
    """Hints that wait to be told, merged: many commits cost one message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Hints | None = None

    def add(self, hints: Hints) -> bool:
        """Add ``hints``; True if nothing waited before, so that the sender must be woken."""
        with self._lock:
            first = self._waiting is None
            waiting = self._waiting or Hints()
            waiting.agents |= hints.agents
            waiting.cancelled += hints.cancelled
            waiting.events |= hints.events
            if hints.due is not None:
                waiting.due_at(hints.due)
            self._waiting = waiting
            return first

    def take(self) -> Hints | None:
        """All that waits."""
        with self._lock:
            taken, self._waiting = self._waiting, None
            return taken
