"""What may be asked for, and how a refusal says what is wrong and where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pulser.agents.registry import Registry
from pulser.core.errors import BadInput, CallerError, CredentialInPayload, Malformed, TooLarge, UnknownName
from pulser.core.settings import Queue
from pulser.intake.request import BatchRequest, Draft, TaskRequest, draft, parse


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load("")


def ask(registry: Registry, **fields: Any) -> Draft:
    body = {"task_type": "orchestration", "payload": {"action": "noop"}, **fields}
    return draft(parse(TaskRequest, json.dumps(body).encode()), registry, Queue())


def pointers(error: BadInput | Malformed) -> list[str]:
    return [each["pointer"] for each in error.fields["errors"]]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"task_type": ""}, "/task_type"),
        ({"task_type": None}, "/task_type"),
        ({"task_type": "a\x00"}, "/task_type"),
        ({"priority": "urgent"}, "/priority"),
        ({"payload": []}, "/payload"),
        ({"run_at": "2026-01-01T00:00:00"}, "/run_at"),
        ({"run_at": "tomorrow"}, "/run_at"),
        ({"time_limit_s": 0}, "/time_limit_s"),
        ({"time_limit_s": -1}, "/time_limit_s"),
        ({"max_retries": -1}, "/max_retries"),
        ({"max_retries": 1.5}, "/max_retries"),
        ({"max_retries": "3"}, "/max_retries"),
        ({"depends_on": [""]}, "/depends_on/0"),
        ({"depends_on": "tsk_x"}, "/depends_on"),
        ({"checklist": [{"text": ""}]}, "/checklist/0/text"),
        ({"titel": "a slip of the pen"}, "/titel"),
        ({"title": "x" * 201}, "/title"),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(registry: Registry, fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadInput) as refused:
        ask(registry, **fields)
    assert pointer in pointers(refused.value)
    assert refused.value.status == 422


def test_all_wrong_fields_are_told_at_once(registry: Registry) -> None:
    with pytest.raises(BadInput) as refused:
        ask(registry, priority="urgent", time_limit_s=-1)
    assert sorted(pointers(refused.value)) == ["/priority", "/time_limit_s"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 10_000 + b"]" * 10_000, b'{"task_type":'])
def test_what_is_not_json_is_malformed_and_breaks_nothing(body: bytes) -> None:
    with pytest.raises(CallerError) as refused:
        parse(TaskRequest, body)
    assert refused.value.status in (400, 422)


@pytest.mark.parametrize("body", [b'{"task_type":"orchestration","time_limit_s":NaN}', b'{"task_type":"orchestration","time_limit_s":1e400}'])
def test_numbers_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises((BadInput, Malformed)):
        parse(TaskRequest, body)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        parse(BatchRequest, b'{"tasks":[]}')
    assert pointers(refused.value) == ["/tasks"]


def test_an_unknown_type_or_agent_or_action_lists_what_there_is_and_the_nearest(registry: Registry) -> None:
    for fields, nearest in (({"task_type": "orchestraton"}, "orchestration"), ({"agent": "pulsar"}, "pulser"), ({"payload": {"action": "noob"}}, "noop")):
        with pytest.raises(UnknownName) as refused:
            ask(registry, **fields)
        assert f"{nearest!r}" in refused.value.hint and "Known:" in refused.value.hint


def test_arguments_that_the_actions_schema_refuses_are_named_by_their_pointer(registry: Registry) -> None:
    with pytest.raises(BadInput) as refused:
        ask(registry, payload={"action": "noop", "sleep_ms": -1})
    assert pointers(refused.value) == ["/payload/sleep_ms"]
    with pytest.raises(BadInput) as refused:
        ask(registry, payload={"action": "noop", "unheard_of": 1})
    assert pointers(refused.value)[0].startswith("/payload")
    with pytest.raises(BadInput) as refused:
        ask(registry, payload={"action": 7})
    assert pointers(refused.value) == ["/payload/action"]


def test_a_payload_beyond_the_limit_is_too_large_and_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(TooLarge) as refused:
        ask(registry, payload={"action": "noop", "data": "x" * 300_000})
    assert "files" in refused.value.hint


def test_a_credential_in_a_payload_is_refused_without_repeating_it(registry: Registry) -> None:
    secret = "postgresql://" + "admin:hunter2" + "@db/x"
    with pytest.raises(CredentialInPayload) as refused:
        ask(registry, payload={"action": "noop", "data": secret})
    assert "hunter2" not in str(refused.value) + refused.value.hint + str(refused.value.fields)


def test_defaults_come_from_the_agents_spec_and_the_settings(registry: Registry) -> None:
    made = ask(registry)
    assert (made.agent, made.action, made.priority, made.max_retries, made.review) == ("pulser", "noop", "medium", 3, False)
    assert made.time_limit_s == registry.agent("pulser").limit_s("orchestration")
    mine = ask(registry, max_retries=0, review=True, time_limit_s=5)
    assert (mine.max_retries, mine.review, mine.time_limit_s) == (0, True, 5.0)
