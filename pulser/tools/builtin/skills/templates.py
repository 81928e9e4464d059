"""Messages into templates: what changes from one to the next is masked, what is alike is merged.

After Drain (He et al., 2017): messages of one code and length that begin alike are one template if enough of their words agree. The
order of the input does not matter: templates are formed from the distinct masked texts, most frequent first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

ANY = "<*>"
SIMILAR = 0.7  # share of words that must agree
TOKENS_LIMIT = 60
MESSAGE_LIMIT = 4_000

_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b[a-z]{2,5}_[0-9A-HJKMNP-TV-Z]{26}\b"), "<id>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>)\]]+"), "<url>"),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63})+\b"), "<email>"),
    (re.compile(r"'[^'\n]{0,300}'(?!\w)|\"[^\"\n]{0,300}\"|`[^`\n]{0,300}`"), "<text>"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b"), "<address>"),
    (re.compile(r"(?<![\w<])(~|\.{1,2})?(/[\w.@+-]+){2,}/?(:\d+)?|(?<!\w)[A-Za-z]:\\[\w\\.-]+"), "<path>"),
    (re.compile(r"\b[\w-]{1,80}\.(py|js|ts|csv|json|jsonl|ya?ml|md|log|txt|sql|parquet|toml|html)\b(:\d+)?"), "<path>"),
    (re.compile(r"\b[\w-]{1,63}(\.[\w-]{1,63}){0,8}:\d{2,5}\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[a-f]{0,40}\d)[0-9a-f]{8,64}\b"), "<hex>"),
    (re.compile(r"(?<![\w<])[-+]?\d[\d,_]*(\.\d+)?([eE][-+]?\d+)?(?=(ms|s|m|h|kB|KB|KiB|MB|MiB|GB|GiB|bytes|%)?\b)"), "<n>"),
)


def mask(message: str) -> str:
    """The first line of ``message`` with times, ids, addresses, paths, quoted texts and numbers replaced by what they are."""
    text = next((line for line in message[:MESSAGE_LIMIT].splitlines() if line.strip()), "").strip()
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return " ".join(text.split()[:TOKENS_LIMIT])


@dataclass(slots=True)
class Template:
    """Words, some of them ``<*>``, and the masked texts that have this form."""

    code: str
    words: list[str]
    texts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(self.words)


def templates(masked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Template]:
    """For each distinct ``(code, masked text)``, the template it belongs to."""
    counts = Counter(masked)
    groups: dict[tuple[str, int, str], list[Template]] = {}
    found: dict[tuple[str, str], Template] = {}
    for (code, text), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        words = text.split()
        group = groups.setdefault((code, len(words), words[0] if words else ""), [])
        best = max(group, key=lambda template: _alike(template.words, words), default=None)
        if best is None or _alike(best.words, words) < SIMILAR:
            best = Template(code, words)
            group.append(best)
        best.words = [old if old == new else ANY for old, new in zip(best.words, words, strict=True)]
        best.texts.append(text)
        found[code, text] = best
    return found


def _alike(template: list[str], words: list[str]) -> float:
    """The share of words that agree; a wildcard agrees with nothing, so that templates do not swallow everything."""
    return sum(a == b for a, b in zip(template, words, strict=True)) / len(words) if words else 1.0
