"""Doing one task: its action's tool is called through the one door, and what comes of it is an outcome. Nothing is written here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pulser.agents import coordinate, noop
from pulser.agents.registry import Registry
from pulser.core.task import Artifact, Claimed, Outcome

Tell = Callable[[str, float | None], None]


@dataclass(slots=True)
class Made:
    """What a tool brought: its result, its files, and the log of the attempt (a SHA-256)."""

    result: dict[str, Any]
    artifacts: list[Artifact] = field(default_factory=list)
    log: Artifact | None = None


class Desk(Protocol):
    """What ``perform`` may use; handed in by ``app``."""

    @property
    def registry(self) -> Registry:
        """The agents."""

    @property
    def probes(self) -> bool:
        """Whether noop may kill this process."""

    async def call(self, task: Claimed, tool: str, args: dict[str, Any], tell: Tell, phase: Literal["run", "apply"]) -> Made:
        """The tools' door. ``run`` with the review rule decides whether the outside is touched now; ``apply`` does it after approval."""

    async def children(self, task: Claimed, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Sub-tasks by name, those that exist, with their artifacts."""

    def drafts(self, requests: list[dict[str, Any]], ids: dict[str, str], task: Claimed) -> list[Any]:
        """Sub-task requests checked and routed."""


Perform = Callable[[Claimed, Tell], Awaitable[Outcome]]


async def perform(task: Claimed, desk: Desk, tell: Tell) -> Outcome:
    """Do ``task``; errors of the tree in core/errors.py come out as they are."""
    action = desk.registry.agent(task.agent).actions[task.action]
    args = {key: value for key, value in task.payload.items() if key != "action"}
    if action.tool == "pulser.noop":
        return Outcome(task, "finish", result=await noop.run(args, task.attempt, probes=desk.probes))
    if action.tool == "pulser.coordinate":
        return await _coordinate(task, args, desk)
    made = await desk.call(task, action.tool, args, tell, "apply" if task.stage == "merging" else "run")
    return Outcome(task, "finish", result=made.result, artifacts=made.artifacts, log=made.log)


async def _coordinate(task: Claimed, args: dict[str, Any], desk: Desk) -> Outcome:
    ids = coordinate.child_ids(args, task.task_id)
    children = await desk.children(task, ids)
    if not children:
        return Outcome(task, "park", waiting_for="dependency", spawn=desk.drafts(coordinate.requests(args, ids), ids, task))
    return Outcome(task, "finish", result=coordinate.join(args, children))
