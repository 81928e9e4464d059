"""What a credential looks like in a payload: a name such as ``password`` over a text, a URL with a password, or a provider's own shape of key.

``MAYBE`` is the net that every payload goes through, on the raw text; ``why_secret`` is the precise second look at what it caught.
"""

from __future__ import annotations

import re

# Escapes can hide a key or a URL from the net, so they alone call for the second look.
MAYBE = re.compile(
    rb"(?i:pass(?:word|wd|phrase)|secret|token|api[_. -]?key|access[_. -]?key|private[_. -]?key|credential|authorization|bearer\s|connection[_. -]?string)"
    rb"|://[^/\s\"]*:[^/\s\"]*@|[?&](?i:key|sig|pwd)=|(?i:\"pwd\")"
    rb"|\bsk-|[srp]k_(?:live|test)_|\bgh[pousr]_|github_pat_|glpat-|A[KS]IA[0-9A-Z]|\bxox[a-z]-|AIza|dop_v1_|npm_|pypi-|\bhf_|\bSG\.|eyJ"
    rb"|PRIVATE KEY|\\u|\\/"
)

_SECRET_KEYS = re.compile(
    r"(?:.*(?:password|passwd|passphrase|apikey|accesskey|secretkey|privatekey|signingkey|encryptionkey|masterkey|clientsecret|connectionstring|credentials?|secret)"
    r"|.*(?:access|auth|bearer|refresh|session|id|api|bot|user|secret|security|github|slack)tokens?|(?:x)?(?:authorization|token|pwd|secrets|secretaccesskey))\Z"
)
_SEPARATORS = re.compile(r"[^a-z0-9]+")
# A value under such a key that is plainly not the secret itself: a placeholder, a reference, or a column's type.
_NOT_ITSELF = re.compile(
    r"(?i)\s*(?:\*+|x{3,}|\.{3}|\$\{\{?[^}]*\}\}?|\$[A-Z_][A-Z0-9_]*|<[^<>]*>|\[redacted\]|null|none|true|false"
    r"|text|string|str|varchar(?:\(\d+\))?|int(?:eger)?|bigint|number|boolean|bool|date|timestamp|not_null|unique|pattern)\s*\Z"
)
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "a URL with a password in it",
        re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@]{0,256}:(?!\*+@|\$\{?[A-Za-z_]+\}?@|<[^>]*>@)[^\s/?#@]{1,512}@[^\s/?#]"),
    ),
    (
        "a URL with a key in its query",
        re.compile(r"(?i)://[^\s]{1,2000}[?&](?:api[_-]?key|access[_-]?token|auth[_-]?token|token|password|secret|sig|pwd|key)=(?!\$|<|\*)[^&\s]{6,}"),
    ),
    ("a private key", re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")),
    ("an authorization header", re.compile(r"(?i)\bbearer\s{1,4}(?=[^\s]{0,200}\d)[A-Za-z0-9._~+/=-]{20,}")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{8,}")),
    ("an API key (sk-…)", re.compile(r"\bsk-(?=[A-Za-z0-9_-]{0,200}\d)(?=[A-Za-z0-9_-]{0,200}[A-Z])[A-Za-z0-9_-]{20,}")),
    ("a Stripe key", re.compile(r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{10,}")),
    ("a GitHub token", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("an AWS access key", re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("a DigitalOcean token", re.compile(r"\bdop_v1_[a-f0-9]{40,}")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a PyPI token", re.compile(r"\bpypi-AgEI[A-Za-z0-9_-]{20,}")),
    ("a Hugging Face token", re.compile(r"\bhf_(?=[A-Za-z]{0,60}[A-Z])[A-Za-z0-9]{30,}\b")),
    ("a SendGrid key", re.compile(r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
)


def why_secret(key: str, text: str) -> str:
    """Why ``text``, found under ``key`` (empty: none), looks like a credential; empty if it does not. Never repeats the text."""
    if key and text and _SECRET_KEYS.match(_SEPARATORS.sub("", key.lower())) and not _NOT_ITSELF.match(text):
        return f"is a text under the name {key[:60]!r}"
    for what, shape in _SHAPES:
        if shape.search(text):
            return f"contains what looks like {what}"
    return ""
