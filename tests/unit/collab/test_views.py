"""How tasks and agents are shown, without a database."""

from __future__ import annotations

from pulser.agents.registry import Registry
from pulser.collab import steer, views
from pulser.core.task import MOVES, STAGES, STATUS, TERMINAL


def test_every_stage_has_a_status_and_what_ends_it_is_final() -> None:
    assert set(STATUS) == set(STAGES)
    assert {STATUS[stage] for stage in TERMINAL} == {"completed", "failed", "cancelled"}


def test_a_person_may_only_make_moves_of_the_table() -> None:
    reachable = set().union(*(MOVES[stage] for stage in STAGES))
    assert set(steer.BY_HAND) <= reachable
    assert "in_progress" not in steer.BY_HAND and "done" not in steer.BY_HAND, "only work makes work done"


def test_every_agent_and_action_is_shown_with_its_schema() -> None:
    registry = Registry.load("")
    items = views.task_types(registry)["items"]
    assert {item["task_type"] for item in items} == set(registry.task_types())
    for item in items:
        assert item["default_action"] in {action["action"] for action in item["actions"]}
        assert all(action["arguments"]["type"] == "object" and action["summary"] for action in item["actions"])
    for spec in registry.agents():
        card = views.agent_card(spec)
        assert card["name"] == spec.name and card["avatar_url"].endswith(f"/{spec.name}/avatar.svg")
