"""Which agent takes a task, and why: rules first, in this order.

1. ``agent``: the request names one.
2. ``type``: the task type is in the table.
3. ``steps``: the type is ``auto`` and the payload has steps for several agents: the agent that coordinates.
4. ``action``: the type is ``auto`` and one agent alone has the action that the payload names.
5. ``words``: the type is ``auto``: words of title, description and payload, weighed against each agent's skills, actions and summaries.

Whatever decides has one shape, :data:`Router`, so that a learned one can take the place of the rules or be asked beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pulser.agents.registry import Registry
from pulser.agents.spec import AUTO, AgentSpec
from pulser.agents.words import Hit, Lexicon, Score
from pulser.core.errors import BadInput, UnknownName, nearest

COORDINATE = "coordinate"
_TEXT_LIMIT = 4_000  # characters of a payload that are read for words
_SHOWN = 3  # alternatives that are told


@dataclass(frozen=True, slots=True)
class Request:
    """What a router may look at."""

    task_type: str
    agent: str | None = None
    title: str | None = None
    description: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alternative:
    """An agent that was weighed and not chosen; ``confidence`` is its share, in [0, 1]."""

    agent: str
    confidence: float
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Who does it, and why. ``rule`` is ``agent``, ``type``, ``steps``, ``action`` or ``words``; ``confidence`` is in [0, 1]."""

    agent: str
    task_type: str
    action: str
    reason: str
    rule: str
    confidence: float
    alternatives: tuple[Alternative, ...] = ()


Router = Callable[[Request], Decision]


def decide(
    registry: Registry,
    task_type: str,
    agent: str | None = None,
    title: str | None = None,
    description: str | None = None,
    payload: dict[str, Any] | None = None,
) -> Decision:
    """The decision of the rules. :class:`UnknownName` for a type, agent or action that is not there; :class:`BadInput` where no word says anything."""
    return _rules(registry).decide(task_type, agent, title, description, payload or {})


def router(registry: Registry) -> Router:
    """The rules as a :data:`Router`."""
    rules = _rules(registry)
    return lambda request: rules.decide(request.task_type, request.agent, request.title, request.description, request.payload)


@lru_cache(maxsize=8)
def _rules(registry: Registry) -> _Rules:
    return _Rules(registry)


class _Rules:
    """The rules over one registry; plain types are answered from a table that fills itself."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.table: dict[tuple[str, str | None, str | None], Decision] = {}
        self.lexicon: Lexicon | None = None

    def decide(self, task_type: str, agent: str | None, title: str | None, description: str | None, payload: dict[str, Any]) -> Decision:
        action = payload.get("action")
        if action is not None and not isinstance(action, str):
            raise BadInput("payload.action must be a text", errors=[{"pointer": "/payload/action", "detail": "must be a text"}])
        if task_type == AUTO and agent is None:
            return self._automatic(title or "", description or "", payload, action)
        key = (task_type, agent, action)
        known = self.table.get(key)
        if known is None:
            known = self.table[key] = self._plain(task_type, agent, action)  # only names that exist get here: the table stays small
        return known

    def _plain(self, task_type: str, agent: str | None, action: str | None) -> Decision:
        if agent is not None and task_type == AUTO:
            task_type = next(iter(self.registry.agent(agent).task_types))
        spec, name, _ = self.registry.resolve(task_type, agent, action)
        how = f"the action {name!r} was asked for" if action else f"{name!r} is the default action"
        if agent is not None:
            return Decision(spec.name, task_type, name, f"the request names the agent {spec.name!r}; {how}", "agent", 1.0)
        return Decision(spec.name, task_type, name, f"the task type {task_type!r} belongs to {spec.name!r}; {how}", "type", 1.0)

    def _automatic(self, title: str, description: str, payload: dict[str, Any], action: str | None) -> Decision:
        if payload.get("steps") and action in (None, COORDINATE):
            for spec in self.registry.agents():
                if COORDINATE in spec.actions:
                    return Decision(
                        spec.name, _type_of(spec, COORDINATE), COORDINATE, "the payload has steps: work of several agents is coordinated", "steps", 1.0
                    )
        able = [spec for spec in self.registry.agents() if action is None or action in spec.actions]
        if not able:
            known = sorted({name for spec in self.registry.agents() for name in spec.actions})
            raise UnknownName(f"no agent has the action {action!r}", hint=nearest(str(action), known), known=known, pointer="/payload/action")
        if len(able) == 1:
            only = able[0]
            return Decision(only.name, _type_of(only, str(action)), str(action), f"only {only.name!r} has the action {action!r}", "action", 1.0)
        return self._by_words(title, description, payload, action, able)

    def _by_words(self, title: str, description: str, payload: dict[str, Any], action: str | None, able: list[AgentSpec]) -> Decision:
        if self.lexicon is None:
            self.lexicon = Lexicon(self.registry.agents())
        texts = [(title, 1.5), (description, 1.0), (_payload_text(payload), 0.5)]
        names = {spec.name for spec in able}
        ranked = [score for score in self.lexicon.rank(texts) if score.agent in names]
        if not ranked:
            raise BadInput(
                "no word of title, description or payload says whose task this is",
                hint=f"Name a task_type: {', '.join(self.registry.task_types())}; or say in the title what is to be done.",
                errors=[{"pointer": "/task_type", "detail": "auto found nothing to go by"}],
                known=self.registry.task_types(),
            )
        best, total = ranked[0], sum(score.points for score in ranked)
        spec = self.registry.agent(best.agent)
        task_type = self.lexicon.best_type(best) or next(iter(spec.task_types))
        chosen = action or self.lexicon.best_action(best) or spec.task_types[task_type].default_action
        certain = best.points / (best.points + 1)  # one weak hit is little to go by, even without a rival
        return Decision(
            spec.name,
            task_type,
            chosen,
            f"{_words(best)} {'speaks' if len(best.hits) == 1 else 'speak'} for {spec.name!r}; {chosen!r} fits best",
            "words",
            round(best.points / total * certain, 3),
            tuple(Alternative(s.agent, round(s.points / total * certain, 3), f"{_words(s)}") for s in ranked[1 : 1 + _SHOWN]),
        )


def _type_of(spec: AgentSpec, action: str) -> str:
    """The type whose default this action is; otherwise the agent's first."""
    return next((name for name, kind in spec.task_types.items() if kind.default_action == action), next(iter(spec.task_types)))


def _words(score: Score) -> str:
    best: list[Hit] = sorted(score.hits, key=lambda hit: (-hit.points, hit.word))[:4]
    return ", ".join(f"'{hit.word}'" for hit in best)


def _payload_text(payload: dict[str, Any]) -> str:
    """Texts at the top of a payload, and one level down; keys count as words."""
    parts: list[str] = []
    for key, value in payload.items():
        parts.append(str(key))
        inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
        parts.extend(item[:500] for item in list(inner)[:20] if isinstance(item, str))
        if sum(map(len, parts)) > _TEXT_LIMIT:
            break
    return " ".join(parts)[:_TEXT_LIMIT]
