"""The log of one attempt: bounded, whatever is written."""

from __future__ import annotations

from pathlib import Path


class BoundedLog:
    """Keeps the first and the last half of ``limit_bytes`` and counts what lay between."""

    def __init__(self, limit_bytes: int = 262_144) -> None:
        self._half = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total_bytes = 0

    def write(self, data: bytes) -> None:
        """Take ``data`` as it comes."""
        self.total_bytes += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data[-self._half :]
            if len(self._tail) > 2 * self._half:
                del self._tail[: -self._half]

    def line(self, text: str) -> None:
        """Take one line; line breaks inside become spaces, so that a line cannot pass as two."""
        self.write((" ".join(text.splitlines()) + "\n").encode("utf-8", "replace"))

    def content(self) -> bytes:
        """What was kept, with a line that tells how much was left out."""
        tail = bytes(self._tail[-self._half :])
        left_out = self.total_bytes - len(self._head) - len(tail)
        between = f"\n… {left_out:,} bytes left out …\n".encode() if left_out else b""
        return bytes(self._head) + between + tail

    def last_text(self, limit: int = 400) -> str:
        """The end of it, for an error's text."""
        return self.content()[-limit:].decode("utf-8", "replace").strip()

    def write_to(self, path: Path) -> None:
        """Write what was kept to ``path``."""
        path.write_bytes(self.content())
