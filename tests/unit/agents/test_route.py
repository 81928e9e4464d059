"""Who takes a task, and why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pulser.agents.registry import Registry
from pulser.agents.route import Request, decide, router
from pulser.agents.words import stem
from pulser.core.errors import BadInput, UnknownName

SENTENCES = Path(__file__).parent / "sentences.tsv"


@pytest.fixture(scope="module")
def agents() -> Registry:
    return Registry.load()


def test_a_named_agent_goes_before_the_type(agents: Registry) -> None:
    decision = decide(agents, "analytics", agent="data_fabcon")
    assert (decision.agent, decision.action, decision.rule) == ("data_fabcon", "etl", "agent")


def test_a_type_goes_by_the_table_with_its_default_action(agents: Registry) -> None:
    decision = decide(agents, "testing")
    assert (decision.agent, decision.task_type, decision.action, decision.rule, decision.confidence) == ("echo", "testing", "lint", "type", 1.0)
    assert "'testing' belongs to 'echo'" in decision.reason


def test_a_type_keeps_its_agent_whatever_the_text_says(agents: Registry) -> None:
    assert decide(agents, "analytics", title="lint the code", payload={"steps": [1]}).agent == "dash"


def test_an_action_in_the_payload_is_taken_and_checked(agents: Registry) -> None:
    assert decide(agents, "documentation", payload={"action": "changelog"}).action == "changelog"
    with pytest.raises(UnknownName) as caught:
        decide(agents, "documentation", payload={"action": "chnagelog"})
    assert "Did you mean 'changelog'?" in caught.value.hint
    with pytest.raises(BadInput):
        decide(agents, "documentation", payload={"action": 7})


def test_an_unknown_type_is_told_with_the_list(agents: Registry) -> None:
    with pytest.raises(UnknownName) as caught:
        decide(agents, "analitics")
    assert "Did you mean 'analytics'?" in caught.value.hint


def test_automatic_work_with_steps_is_coordinated(agents: Registry) -> None:
    decision = decide(agents, "auto", title="lint", payload={"steps": [{"task_type": "testing"}]})
    assert (decision.agent, decision.task_type, decision.action, decision.rule) == ("pulser", "orchestration", "coordinate", "steps")


def test_an_action_that_one_agent_alone_has_decides(agents: Registry) -> None:
    decision = decide(agents, "auto", payload={"action": "capacity"})
    assert (decision.agent, decision.rule) == ("arkie", "action")
    with pytest.raises(UnknownName, match="no agent has the action"):
        decide(agents, "auto", payload={"action": "dance"})


def test_words_decide_with_reason_confidence_and_alternatives(agents: Registry) -> None:
    decision = decide(agents, "auto", title="Profile sales.csv and load the table into Postgres")
    assert decision.rule == "words" and 0 < decision.confidence < 1
    assert {decision.agent, *(other.agent for other in decision.alternatives)} >= {"dash", "data_fabcon"}
    assert all(other.confidence <= decision.confidence and other.reason for other in decision.alternatives)


def test_words_choose_the_action_and_the_type_too(agents: Registry) -> None:
    assert decide(agents, "auto", title="How many instances for this load?").action == "capacity"
    assert decide(agents, "auto", title="Write the changelog from the commits").action == "changelog"
    assert decide(agents, "auto", title="Check the deployment manifests").task_type == "deployment"


def test_the_payload_speaks_where_the_title_says_nothing(agents: Registry) -> None:
    assert decide(agents, "auto", payload={"what": "broken links in the markdown"}).agent == "maya"


def test_an_agent_called_by_name_is_heard(agents: Registry) -> None:
    assert decide(agents, "auto", title="Maya, please").agent == "maya"


@pytest.mark.parametrize("text", ["", "zzz qqq", "   ", "the of and", "🦊", "\x00\x01"])
def test_nothing_to_go_by_is_an_error_that_lists_the_types(agents: Registry, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        decide(agents, "auto", title=text, payload={"n": 3})
    assert "analytics" in caught.value.hint


def test_the_same_request_is_always_answered_alike(agents: Registry) -> None:
    answers = {decide(Registry.load(), "auto", title="load data and test it and chart it").agent for _ in range(3)}
    assert len(answers) == 1


def test_a_router_is_a_function_of_a_request(agents: Registry) -> None:
    assert router(agents)(Request("auto", title="run the unit tests")).agent == "echo"


def test_inflected_words_meet() -> None:
    assert stem("tests") == stem("testing") == stem("tested") == "test"
    assert stem("formatting") == stem("formats") == stem("formatted")
    assert stem("profiling") == stem("profile") == stem("profiles")


def test_sentences_that_were_held_apart_go_to_the_right_agent(agents: Registry) -> None:
    lines = [line.split("\t") for line in SENTENCES.read_text("utf-8").splitlines()]
    assert len(lines) >= 60
    wrong = []
    for agent, sentence in lines:
        try:
            found = decide(agents, "auto", title=sentence).agent
        except BadInput:
            found = "nobody"
        if found != agent:
            wrong.append((sentence, agent, found))
    assert len(wrong) / len(lines) <= 0.1, wrong


def test_a_long_text_does_not_hold_the_router_up(agents: Registry) -> None:
    decide(agents, "auto", title="chart")
    began = time.process_time()
    decide(agents, "auto", title="chart " * 100_000, payload={"text": ["load " * 100_000] * 50})
    assert time.process_time() - began < 0.1
