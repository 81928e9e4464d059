"""What a secret looks like, and how it is struck out before anything is told: in logs here, at other doors by whoever calls this.

Three nets: names of fields (``api_key``), shapes of values (``Bearer …``, a password in a URL, a provider's key), and the very values
that :func:`keep_out` was told of. The patterns cannot backtrack far (each run of characters is bounded), so a hostile text costs no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

STRUCK = "[redacted]"
DEPTH = 8  # deeper structures are cut: a log line is no place for them
TEXT_LIMIT = 32_768  # characters of one text

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.\-])(?:password|passwd|passphrase|pwd|secret|secrets|token|apikey|api[_\-]?key|access[_\-]?key|private[_\-]?key|signing[_\-]?key|encryption[_\-]?key"
    r"|master[_\-]?key|authorization|proxy-authorization|cookie|set-cookie|credential|credentials|session[_\-]?id|x-api-key)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]{0,30}://[^\s/:@\"']{0,256}):[^\s@/\"']{1,512}@"), rf"\1:{STRUCK}@"),  # pragma: allowlist secret
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,16384}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"), STRUCK),
    (re.compile(r"\b(?i:(bearer|basic))\s{1,4}[A-Za-z0-9._~+/=\-]{8,4096}"), rf"\1 {STRUCK}"),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{2,8192}\.[A-Za-z0-9_\-]{0,4096}"), STRUCK),  # a JWT
    (re.compile(r"\b(?:sk|pk|rk)[_-](?:[a-z]{2,12}[_-]){0,3}[A-Za-z0-9_\-]{16,256}"), STRUCK),  # OpenAI, Anthropic, Stripe
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_\-]{16,255})"), STRUCK),
    (re.compile(r"\bxox[abeoprs]-[A-Za-z0-9\-]{8,255}"), STRUCK),  # Slack
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), STRUCK),  # AWS
    (re.compile(r"\bAIza[A-Za-z0-9_\-]{30,60}"), STRUCK),  # Google
    (re.compile(r"\bdop_v1_[a-f0-9]{32,128}"), STRUCK),  # DigitalOcean
    (re.compile(r"\b(?:pt_|pulser_session(?:_\d{1,5})?=)[A-Za-z0-9_.\-]{16,256}"), STRUCK),  # Pulser's own; its keys begin with pk_
    (
        re.compile(
            r"(?i)\b((?:[a-z0-9]{1,20}[_\-]){0,3}(?:password|passwd|pwd|secret|token|api[_\-]?key|access[_\-]?key)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?!\[redacted\])[^\s\"'&,;}]{4,512}"
        ),
        rf"\1{STRUCK}",
    ),
)
_HINTS = (
    "://",
    "-----BEGIN",
    "earer",
    "EARER",
    "asic",
    "BASIC",
    "eyJ",
    "sk-",
    "sk_",
    "pk_",
    "pk-",
    "rk_",
    "gh",
    "glpat",
    "xox",
    "AKIA",
    "ASIA",
    "AIza",
    "dop_",
    "pt_",
    "pulser_",
)
_WORDS = re.compile(r"(?i)passw|pwd|secret|token|key")

_kept_out: set[str] = set()


def keep_out(*secrets: str) -> None:
    """Strike out these very values from now on, wherever they appear; shorter ones than eight characters would strike out too much."""
    _kept_out.update(secret for secret in secrets if len(secret) >= 8)


def is_secret_name(name: str) -> bool:
    """True for names of fields that hold secrets: ``password``, ``githubToken``, ``X-Api-Key``; not for ``tokens`` or ``token_count``."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name)) is not None


def redact_text(text: str) -> str:
    """``text`` without what looks like a secret, cut at :data:`TEXT_LIMIT`."""
    if len(text) > TEXT_LIMIT:
        text = text[:TEXT_LIMIT] + f"… ({len(text)} characters)"
    for secret in _kept_out:
        if secret in text:
            text = text.replace(secret, STRUCK)
    if any(hint in text for hint in _HINTS) or _WORDS.search(text):
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
    return text


def redact(value: Any, depth: int = DEPTH) -> Any:
    """A copy of ``value`` that JSON can write, without secrets. Numbers stay (a fencing token is no secret); what is unknown becomes text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)  # JSON has no NaN
    if isinstance(value, str):
        return redact_text(value)
    if depth <= 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(name): _field(str(name), item, depth) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item, depth - 1) for item in value]
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return redact_text(str(value))


def _field(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, (str, bytes, list, tuple, dict)) and value and is_secret_name(name):
        return STRUCK
    return redact(value, depth - 1)
