"""The local operator: on loopback, who can read the token in the data folder. An agent's child process cannot."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from pulser.core.clock import monotonic

START_S = 900.0  # a start link works for that long


class LocalToken:
    """The token file (mode 0600), and the one-time secrets of start links."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "token"
        self.value = read_or_make(self.path)
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

    def starts(self, secret: str) -> bool:
        """True for a start secret, once, and for the token itself: what a session may begin with."""
        until = self._starts.pop(secret, None)
        return (until is not None and until >= monotonic()) or self.opens(secret)


def read_or_make(path: Path) -> str:
    """The secret in a file that only its owner may read; made if there is none."""
    try:
        found = path.read_text().strip()
        if len(found) >= 32:
            path.chmod(0o600)
            return found
    except FileNotFoundError:
        pass
    made = "pt_" + secrets.token_urlsafe(32)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made + "\n")
    os.replace(partial, path)
    return made
