"""Sessions of browsers: a signed cookie says whose it is and since when, so that nothing is kept but which ones were ended.

A cookie is ``nonce.issued_at.whose.signature``; ``whose`` is ``local`` or the SHA-256 of an API key, so that a session ends with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from pulser.access.local import LocalToken, read_or_make
from pulser.core.clock import now

MAX_AGE_S = 7 * 86_400
LOCAL = "local"


class Sessions:
    """Begins, believes and ends sessions. ``local`` is None off loopback: there no session is the local operator's.

    The signing secret lies beside the token (mode 0600), so that sessions outlive a restart; so does the list of those that were ended, until
    they would have ended anyway. Another process of the folder learns of an end when it starts.
    """

    def __init__(self, data_dir: Path, local: LocalToken | None) -> None:
        self._secret = read_or_make(data_dir / "session-secret")
        self._local = local
        self._list = data_dir / "sessions-ended"
        self._ended = _read(self._list)

    def begin(self, whose: str) -> str:
        """The cookie of a new session of :data:`LOCAL`, or of the key with that digest, in hexadecimal."""
        said = f"{secrets.token_urlsafe(16)}.{int(now().timestamp())}.{whose}"
        return f"{said}.{self._sign(said, whose)}"

    def whose(self, cookie: str) -> str | None:
        """What :meth:`begin` was told; None if the cookie is made up, older than :data:`MAX_AGE_S`, or of a session that was ended."""
        said, _, signature = cookie.rpartition(".")
        parts = said.split(".")
        if len(parts) != 3 or (parts[2] == LOCAL and self._local is None):
            return None
        nonce, issued_at, whose = parts
        if not hmac.compare_digest(signature.encode(), self._sign(said, whose).encode()) or nonce in self._ended:
            return None
        return whose if int(issued_at) + MAX_AGE_S > now().timestamp() else None

    def end(self, cookie: str) -> None:
        """Believe it no more."""
        if self.whose(cookie) is None:
            return
        at = now().timestamp()
        self._ended = {nonce: until for nonce, until in self._ended.items() if until > at}
        self._ended[cookie.partition(".")[0]] = at + MAX_AGE_S
        self._list.write_text("".join(f"{nonce} {until:.0f}\n" for nonce, until in self._ended.items()))

    def _sign(self, said: str, whose: str) -> str:
        """Of a local session with the token too: it ends when the token is replaced."""
        secret = self._secret + (self._local.value if self._local is not None and whose == LOCAL else "")
        return hmac.new(secret.encode(), b"session/" + said.encode(), hashlib.sha256).hexdigest()


def _read(path: Path) -> dict[str, float]:
    """``nonce until`` on each line; a line that was cut is left out."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return {}
    return {line[0]: float(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}
