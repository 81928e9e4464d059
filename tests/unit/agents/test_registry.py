"""Who there is, and who takes which type."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pulser.agents.registry import AVATARS, Registry
from pulser.core.errors import OperatorError, UnknownName

OWN = "name: {name}\nrole: Mine\ntask_types:\n  {type}: {{default_action: go}}\nactions:\n  go: {{tool: data.profile}}\n"


@pytest.fixture(scope="module")
def shipped() -> Registry:
    return Registry.load()


def test_each_documented_type_goes_to_its_agent(shipped: Registry) -> None:
    assert shipped.types == {
        "analytics": "dash",
        "documentation": "maya",
        "testing": "echo",
        "data_pipeline": "data_fabcon",
        "infrastructure": "arkie",
        "deployment": "arkie",
        "skills_mining": "learnbot",
        "orchestration": "pulser",
    }


def test_time_limits_are_the_documented_ones(shipped: Registry) -> None:
    assert shipped.for_type("analytics").limit_s("analytics") == 600
    assert shipped.for_type("deployment").limit_s("deployment") == 1800


def test_every_agent_says_who_it_is_and_what_is_expected_of_it(shipped: Registry) -> None:
    assert len(shipped.agents()) == 7
    for spec in shipped.agents():
        assert spec.description and spec.skills and spec.targets.completion_rate and spec.targets.response_p95_s and spec.targets.error_rate
        assert all(action.summary for action in spec.actions.values())
        assert {action.tool for action in spec.actions.values()} == set(spec.tools)


def test_every_tool_that_an_agent_names_is_there(shipped: Registry) -> None:
    from pulser.tools import registry as tools

    missing = {tool for spec in shipped.agents() for tool in spec.tools if not tool.startswith("pulser.")} - set(tools.names())
    assert not missing


def test_avatars_are_small_plain_and_all_different(shipped: Registry) -> None:
    seen = set()
    for spec in shipped.agents():
        path = shipped.avatar_file(spec.name)
        assert path is not None and path.parent == AVATARS
        text = path.read_text("utf-8")
        assert len(text) < 3072 and 'viewBox="0 0 64 64"' in text and "<title" in text
        assert not re.search(r"<script|<style|href|on\w+=|<!|url\(", text)
        seen.add(text)
    assert len(seen) == 7


def test_resolve_gives_the_default_action_of_the_type(shipped: Registry) -> None:
    spec, name, action = shipped.resolve("analytics")
    assert (spec.name, name, action.tool) == ("dash", "profile", "data.profile")
    assert shipped.resolve("deployment", action="capacity")[2].tool == "infra.capacity"


def test_a_named_agent_does_the_work_even_of_another_ones_type(shipped: Registry) -> None:
    assert shipped.resolve("analytics", agent="data_fabcon")[1] == "etl"


def test_unknown_names_are_answered_with_the_nearest_and_the_list(shipped: Registry) -> None:
    with pytest.raises(UnknownName) as caught:
        shipped.resolve("analytcs")
    assert "Did you mean 'analytics'?" in caught.value.hint and "skills_mining" in caught.value.hint
    with pytest.raises(UnknownName) as caught:
        shipped.resolve("analytics", agent="dahs")
    assert "Did you mean 'dash'?" in caught.value.hint
    with pytest.raises(UnknownName) as caught:
        shipped.resolve("analytics", action="profil")
    assert "Did you mean 'profile'?" in caught.value.hint


def test_a_users_spec_joins_and_one_of_a_shipped_name_replaces(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN.format(name="mira", type="weaving"))
    (tmp_path / "dash.yaml").write_text(OWN.format(name="dash", type="analytics"))
    registry = Registry.load(str(tmp_path))
    assert registry.for_type("weaving").name == "mira"
    assert registry.agent("dash").role == "Mine"
    assert len(registry.agents()) == 8


def test_two_agents_that_claim_one_type_are_refused_with_both_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN.format(name="mira", type="analytics"))
    with pytest.raises(OperatorError) as caught:
        Registry.load(str(tmp_path))
    assert "mine.yaml" in caught.value.detail and "dash.yaml" in caught.value.detail and "'analytics'" in caught.value.detail


def test_two_files_that_describe_one_agent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN.format(name="mira", type="x"))
    (tmp_path / "b.yaml").write_text(OWN.format(name="mira", type="y"))
    with pytest.raises(OperatorError, match="both describe the agent 'mira'"):
        Registry.load(str(tmp_path))


def test_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: [")
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\xfe")
    (tmp_path / "c.yaml").write_text(OWN.format(name="cleo", type="x") + "backup: daash\n")
    with pytest.raises(OperatorError) as caught:
        Registry.load(str(tmp_path))
    assert all(name in caught.value.detail for name in ("a.yaml:", "b.yaml", "'daash'"))
    assert "Did you mean 'dash'?" in caught.value.hint


def test_a_folder_that_is_not_there_is_the_operators_fault(tmp_path: Path) -> None:
    with pytest.raises(OperatorError):
        Registry.load(str(tmp_path / "nowhere"))


def test_loading_all_specs_fits_the_start_up_budget(shipped: Registry) -> None:
    taken_s = []
    for _ in range(5):
        began = time.process_time()
        Registry.load()
        taken_s.append(time.process_time() - began)
    assert min(taken_s) < 0.015
