"""Failures of one kind, together: how often, when, to whom, and in whose words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pulser.tools.builtin.skills.causes import UNKNOWN, Cause, probable
from pulser.tools.builtin.skills.failure import Failure, redacted
from pulser.tools.builtin.skills.templates import MESSAGE_LIMIT, Template, mask, templates

_EXAMPLES = 3
_EXAMPLE_LENGTH = 400
_SLUG_WORDS = 6


@dataclass(slots=True)
class Cluster:
    """One template with its evidence; ``slug`` names its skill and is unique among its siblings."""

    template: str
    code: str
    failures: list[Failure]
    slug: str = ""
    cause: Cause = UNKNOWN
    hints: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.failures)

    @property
    def first_seen(self) -> str | None:
        return min((f.at for f in self.failures if f.at), default=None)

    @property
    def last_seen(self) -> str | None:
        return max((f.at for f in self.failures if f.at), default=None)

    def counted(self, what: str) -> dict[str, int]:
        """How often each agent, task_type, action, source or frame; the most frequent first."""
        counts = Counter(value for f in self.failures if (value := getattr(f, what)))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def examples(self) -> list[Failure]:
        """A few that differ, newest first."""
        distinct: dict[str, Failure] = {}
        for failure in sorted(self.failures, key=lambda f: (f.at or "", f.task_id, f.message), reverse=True):
            distinct.setdefault(failure.message, failure)
        return list(distinct.values())[:_EXAMPLES]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": hashlib.sha256(f"{self.code}\n{self.template}".encode()).hexdigest()[:12],
            "slug": self.slug,
            "title": self.cause.title,
            "template": self.template,
            "code": self.code or None,
            "count": self.count,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "passing": self.cause.passing,
            "agents": self.counted("agent"),
            "task_types": self.counted("task_type"),
            "actions": self.counted("action"),
            "sources": self.counted("source"),
            "frames": self.counted("frame"),
            "examples": [{"message": example_text(f), "at": f.at, "task_id": f.task_id or None, "source": f.source} for f in self.examples()],
        }


def example_text(failure: Failure) -> str:
    """The message, short and without secrets."""
    text = redacted(" ".join(failure.message[:MESSAGE_LIMIT].split()))
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"


def clusters(failures: Sequence[Failure]) -> list[Cluster]:
    """Clusters of ``failures``, most frequent first, then by template: the same input in any order gives the same answer."""
    keys = [(failure.code, mask(redacted(failure.message[:MESSAGE_LIMIT]))) for failure in failures]
    known = templates(keys)
    grouped: dict[int, tuple[Template, list[Failure]]] = {}
    for key, failure in zip(keys, failures, strict=True):
        template = known[key]
        grouped.setdefault(id(template), (template, []))[1].append(failure)
    found = [Cluster(str(template), template.code, members) for template, members in grouped.values()]
    found.sort(key=lambda cluster: (-cluster.count, cluster.template, cluster.code))
    taken: set[str] = set()
    for cluster in found:
        cluster.cause = probable(cluster.template, cluster.code, cluster.failures[0].message[:400])
        cluster.hints = list(dict.fromkeys(sorted(redacted(f.hint) for f in cluster.failures if f.hint)))[:3]
        cluster.slug = _slug(cluster, taken)
        taken.add(cluster.slug)
    return found


def _slug(cluster: Cluster, taken: set[str]) -> str:
    """``connection-failure-could-not-reach-the-server``: lower case words, at most 64 characters (a skill's name may have no more)."""
    title = cluster.cause.title.lower().split()
    plain = re.sub(r"<[^>]*>|\[redacted\]", " ", cluster.template.lower())
    words = [word for word in dict.fromkeys(re.findall(r"[a-z]{2,}", plain)) if word not in title][:_SLUG_WORDS]
    base = "-".join([*title, *words])
    while len(base) > 56:
        base = base.rpartition("-")[0] if "-" in base else base[:56]
    if base not in taken:
        return base
    return f"{base}-{hashlib.sha256(f'{cluster.code} {cluster.template}'.encode()).hexdigest()[:6]}"
