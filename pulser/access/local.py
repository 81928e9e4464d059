"""The local operator: on loopback, who can read the token in the data folder. An agent's child process cannot."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pulser.core.clock import monotonic

START_S = 900.0  # a start link works for that long
SESSION = "pulser_session"


class LocalToken:
    """The token file (mode 0600), the sessions made with it, and the one-time secrets of start links."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "token"
        self.value = _read_or_make(self.path)
        self._starts: dict[str, float] = {}

    def opens(self, token: str) -> bool:
        """True if ``token`` is the local operator's."""
        return hmac.compare_digest(token.encode(), self.value.encode())

    def start_secret(self) -> str:
        """A secret for a start link; good once, within 15 minutes."""
        now = monotonic()
        self._starts = {secret: until for secret, until in self._starts.items() if until > now}
        secret = secrets.token_urlsafe(24)
        self._starts[secret] = now + START_S
        return secret

    def begin_session(self, secret: str) -> str | None:
        """The session's cookie for a start secret or for the token itself; None for anything else."""
        until = self._starts.pop(secret, None)
        if (until is None or until < monotonic()) and not self.opens(secret):
            return None
        nonce = secrets.token_urlsafe(16)
        return nonce + "." + self._sign(nonce)

    def has_session(self, cookie: str) -> bool:
        """True if ``cookie`` is of a session begun with this token; so it outlives a restart, and ends when the token is replaced."""
        nonce, _, signature = cookie.partition(".")
        return bool(signature) and hmac.compare_digest(signature.encode(), self._sign(nonce).encode())

    def _sign(self, nonce: str) -> str:
        return hmac.new(self.value.encode(), b"session/" + nonce.encode(), hashlib.sha256).hexdigest()


def _read_or_make(path: Path) -> str:
    try:
        found = path.read_text().strip()
        if len(found) >= 32:
            path.chmod(0o600)
            return found
    except FileNotFoundError:
        pass
    token = "pt_" + secrets.token_urlsafe(32)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    os.replace(partial, path)
    return token
