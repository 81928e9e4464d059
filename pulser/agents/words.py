"""Words that speak for agents: a small lexicon made from their specs, and how strongly a text speaks for each of them.

A word of an agent's name or task type weighs most, then skills, then actions and their summaries. A word that several agents have is
shared among them. The same text gives the same points, always: no model, no chance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pulser.agents.spec import AgentSpec

_WORD = re.compile(r"[a-z0-9]+")
_STOP_WORDS = """
a all an and any apart are as at be by can do each everything file files find for from give given has have how i in into is it its just make
many me my new nobody not of on one or our out over per please put read run several so some such that the their them then there these they
this those to up use used using want was we what when which who will with work write you your
"""
_STOP = frozenset(_STOP_WORDS.split())
_SUFFIXES = (
    "isations",
    "izations",
    "isation",
    "ization",
    "ations",
    "ation",
    "ments",
    "ment",
    "ings",
    "ing",
    "ers",
    "er",
    "ies",
    "ied",
    "ed",
    "es",
    "ly",
    "s",
    "e",
    "y",
)
_PHRASE_LIMIT = 3  # words in the longest skill that is matched as a phrase
_TEXT_WORDS = 600  # words of a text that are looked at
_TEXT_LIMIT = 10_000  # characters


@dataclass(frozen=True, slots=True)
class Hit:
    """A word or phrase as the spec has it, and what it counted."""

    word: str
    points: float


@dataclass(slots=True)
class Score:
    """How strongly a text speaks for an agent."""

    agent: str
    points: float = 0.0
    hits: list[Hit] = field(default_factory=list)
    stems: set[str] = field(default_factory=set)


def stem(word: str) -> str:
    """``tests``, ``testing``, ``tested`` → ``test``. Crude, and the same on both sides, which is all that counts here."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word


def stems(text: str) -> list[str]:
    """The stems of a text's words, in order, stop words left out."""
    return [stem(word) for word in _WORD.findall(text[:_TEXT_LIMIT].lower())[:_TEXT_WORDS] if word not in _STOP]


class Lexicon:
    """Stems and phrases of all agents, made once."""

    def __init__(self, specs: Sequence[AgentSpec]) -> None:
        self.entries: dict[str, dict[str, tuple[float, str]]] = {}  # phrase of stems -> agent -> (weight, as written)
        self.types: dict[str, dict[str, set[str]]] = {}
        self.actions: dict[str, dict[str, dict[str, float]]] = {}
        for spec in specs:
            self._learn(spec)

    def _learn(self, spec: AgentSpec) -> None:
        self._add(spec.name, spec.name, 4.0)
        for name in spec.task_types:
            self._add(spec.name, name, 3.0)
        for skill in spec.skills:
            self._add(spec.name, skill, 2.0)
        for action in spec.actions.values():
            self._add(spec.name, action.name, 2.0)
            for word in _WORD.findall(action.summary.lower()):
                self._add(spec.name, word, 0.5)
        self.types[spec.name] = {name: set(stems(name)) for name in spec.task_types}
        self.actions[spec.name] = {
            action.name: {**dict.fromkeys(stems(action.summary), 1.0), **dict.fromkeys(stems(action.name), 2.0)} for action in spec.actions.values()
        }

    def _add(self, agent: str, text: str, weight: float) -> None:
        parts = stems(text)
        if parts and len(parts) <= _PHRASE_LIMIT:
            mine = self.entries.setdefault(" ".join(parts), {})
            if mine.get(agent, (0.0, ""))[0] < weight:
                mine[agent] = (weight, text)

    def rank(self, texts: Sequence[tuple[str, float]]) -> list[Score]:
        """Agents that ``texts`` (each with its weight) speak for, strongest first; a tie goes by more words, then by name."""
        scores: dict[str, Score] = {}
        seen: dict[str, float] = {}
        for text, weight in texts:
            words = stems(text)
            for size in range(_PHRASE_LIMIT, 0, -1):
                for i in range(len(words) - size + 1):
                    phrase = " ".join(words[i : i + size])
                    if phrase in self.entries:
                        seen[phrase] = max(seen.get(phrase, 0.0), weight * (1 + 0.5 * (size - 1)))
        for phrase, weight in seen.items():
            owners = self.entries[phrase]
            for agent, (points, word) in owners.items():
                score = scores.setdefault(agent, Score(agent))
                score.points += weight * points / len(owners)
                score.hits.append(Hit(word, weight * points / len(owners)))
                score.stems.update(phrase.split())
        return sorted(scores.values(), key=lambda s: (-round(s.points, 6), -len(s.hits), s.agent))

    def best_type(self, score: Score) -> str | None:
        """The task type whose name the text has words of; None if none, or several equally."""
        return _single_best({name: float(len(words & score.stems)) for name, words in self.types[score.agent].items()})

    def best_action(self, score: Score) -> str | None:
        """The action whose name and summary the text has most words of; None if none, or several equally."""
        return _single_best({name: sum(points for word, points in words.items() if word in score.stems) for name, words in self.actions[score.agent].items()})


def _single_best(points: dict[str, float]) -> str | None:
    ranked = sorted(points.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] <= 0 or (len(ranked) > 1 and ranked[1][1] == ranked[0][1]):
        return None
    return ranked[0][0]
