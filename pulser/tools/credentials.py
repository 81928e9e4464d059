"""What a credential looks like in a payload: a name such as ``password`` over a text, a URL with a password, or a provider's own shape of key.

Every payload passes here, so a pattern is only tried on a text that has the rare characters it needs: looking for one character
costs a hundredth of a pattern. No pattern can look far back, so a hostile text costs no more than a long one.
"""

from __future__ import annotations

import re
from functools import lru_cache

SHORTEST = 9  # characters: the length of a URL with one letter each for scheme, user, password and host

_NAMES = re.compile(
    r"(?:.*(?:password|passwd|passphrase|apikey|accesskey|secretkey|privatekey|signingkey|encryptionkey|masterkey|clientsecret|connectionstring|credentials?|secret)"
    r"|.*(?:access|auth|bearer|refresh|session|id|api|bot|user|secret|security|github|slack)tokens?|(?:x)?(?:authorization|token|pwd|secrets|secretaccesskey))\Z"
)
_SEPARATORS = re.compile(r"[^a-z0-9]+")
# A value under such a name that is plainly not the secret itself: a placeholder, a reference, or a column's type.
_NOT_ITSELF = re.compile(
    r"(?i)\s*(?:\*+|x{3,}|\.{3}|\$\{\{?[^}]*\}\}?|\$[A-Z_][A-Z0-9_]*|<[^<>]*>|\[redacted\]|null|none|true|false"
    r"|text|string|str|varchar(?:\(\d+\))?|int(?:eger)?|bigint|number|boolean|bool|date|timestamp|not_null|unique|pattern)\s*\Z"
)
# What it is, what a text must contain for the pattern to be tried (the rarest first), the pattern.
_SHAPES: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("a URL with a password in it", ("@", "://"), re.compile(r"://[^\s/?#:@]{0,256}:(?!\*+@|\$\{?[A-Za-z_]+\}?@|<[^>]{0,99}>@)[^\s/?#@]{1,512}@[^\s/?#]")),
    (
        "a URL with a key in its query",
        ("=", "://"),
        re.compile(r"[?&](?i:api[_-]?key|access[_-]?token|auth[_-]?token|token|password|secret|sig|pwd|key)=(?![$<*])[^&\s]{6}"),
    ),
    ("a private key", ("-----BEGIN ",), re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")),
    ("an authorization header", (" ", "earer"), re.compile(r"\b[Bb]earer\s{1,4}[A-Za-z0-9._~+/=-]{20,200}")),
    ("a JSON web token", ("J", "eyJ"), re.compile(r"\beyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{4,8192}\.[A-Za-z0-9_-]{8}")),
    ("an API key (sk-…)", ("-", "sk-"), re.compile(r"\bsk-[A-Za-z0-9_-]{20,200}")),
    ("a Stripe key", ("_", "k_"), re.compile(r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{10}")),
    ("a GitHub token", ("_", "gh"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30}")),
    ("a GitHub token", ("_", "github_pat_"), re.compile(r"\bgithub_pat_[A-Za-z0-9_]{30}")),
    ("a GitLab token", ("-", "glpat-"), re.compile(r"\bglpat-[A-Za-z0-9_-]{20}")),
    ("an AWS access key", ("A", "IA"), re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b")),
    ("a Slack token", ("-", "xox"), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10}")),
    ("a Google API key", ("A", "AIza"), re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("a DigitalOcean token", ("_", "dop_v1_"), re.compile(r"\bdop_v1_[a-f0-9]{40}")),
    ("an npm token", ("_", "npm_"), re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a PyPI token", ("-", "pypi-AgEI"), re.compile(r"\bpypi-AgEI[A-Za-z0-9_-]{20}")),
    ("a Hugging Face token", ("_", "hf_"), re.compile(r"\bhf_[A-Za-z0-9]{30,60}")),
    ("a SendGrid key", ("G", "SG."), re.compile(r"\bSG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16}")),
)
_WORDY = ("sk-", "hf_", "bearer", "Bearer")


def is_secret_name(name: str) -> bool:
    """True for ``password``, ``apiKey``, ``DB-PASSWORD``, …: a text under that name is taken for a secret."""
    return len(name) <= 100 and _is_secret_name(name)


def is_itself(text: str) -> bool:
    """False if ``text`` only stands for a secret: empty, ``${PASSWORD}``, ``***``, a column's type."""
    return text != "" and not _NOT_ITSELF.match(text)


def shape_of(text: str) -> str:
    """What credential ``text`` contains by its shape; empty if none."""
    if len(text) < SHORTEST:
        return ""
    for what, needed, pattern in _SHAPES:
        for part in needed:
            if part not in text:
                break
        else:
            if any(_random(match[0]) for match in pattern.finditer(text)):
                return what
    return ""


def _random(match: str) -> bool:
    """False for plain words in the place of a key, such as ``sk-learn-is-a-library`` and ``Bearer authentication-header``."""
    if not match.startswith(_WORDY):
        return True
    return any(letter.isdigit() for letter in match)


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return _NAMES.match(_SEPARATORS.sub("", name.lower())) is not None
