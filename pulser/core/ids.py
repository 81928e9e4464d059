"""Identifiers: a prefix that says what, and a 26-character ULID (https://github.com/ulid/spec) that sorts by time."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable

from pulser.core.errors import BadInput

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # ten bits at a time: half the work
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}\Z")
_ID = re.compile(r"[a-z]{2,5}_[0-9A-HJKMNP-TV-Z]{26}\Z")

Random = Callable[[int], bytes]
_drawn: deque[bytes] = deque()
os.register_at_fork(after_in_child=_drawn.clear)  # a child must not give out what its parent drew


def random_bytes(n: int) -> bytes:
    """The system's randomness; for ids 512 at a time, since asking the kernel takes longer than the rest of an id."""
    if n != 10:
        return os.urandom(n)
    try:
        return _drawn.pop()
    except IndexError:
        block = os.urandom(5120)
        _drawn.extend([block[i : i + 10] for i in range(0, 5120, 10)])
        return _drawn.pop()


def ulid(at_ms: int, random: Random = random_bytes) -> str:
    """26 characters: 48 bits of ``at_ms`` (milliseconds since 1970), 80 random bits."""
    return encode((at_ms << 80) | int.from_bytes(random(10), "big"))


def encode(n: int) -> str:
    """130 bits in Crockford's base 32."""
    return "".join([_PAIRS[(n >> shift) & 1023] for shift in range(120, -1, -10)])


def new_id(prefix: str, at_ms: int, random: Random = random_bytes) -> str:
    """``tsk_01J…``: unique over the installation."""
    return prefix + "_" + ulid(at_ms, random)


def with_hash(like: str, digest: bytes) -> str:
    """An id of the same kind and time as ``like`` whose random part is ``digest``: the same every time it is asked for."""
    prefix, _, ulid_ = like.partition("_")
    return prefix + "_" + ulid_[:10] + encode(int.from_bytes(digest[:10], "big"))[10:]


def is_id(text: str, prefix: str) -> bool:
    """True if ``text`` could be an id of that kind."""
    return text.startswith(prefix + "_") and _ID.match(text) is not None


def check_name(text: str, what: str) -> str:
    """A name a person chose: lower case, 1 to 63 characters of ``a-z 0-9 _ . -``; :class:`BadInput` otherwise."""
    if not _NAME.match(text):
        raise BadInput(f"{what} {text[:80]!r} is not a name", hint="Use 1 to 63 characters of a-z, 0-9, _ . and -, starting with a letter.")
    return text
