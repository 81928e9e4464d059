"""Whatever text comes where a cursor, an id, a name or a payload is wanted: it is taken as it is, or refused as bad input."""

from __future__ import annotations

import json
from functools import cache

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pulser.agents.registry import Registry
from pulser.api.tasks import stages_of
from pulser.core.errors import BadInput, CallerError, Malformed, TooLarge
from pulser.core.ids import check_name, is_id, new_id
from pulser.core.settings import Queue
from pulser.core.task import STAGES, STATUS
from pulser.events.feed import cursor_of, parse_cursor
from pulser.intake.request import BatchRequest, TaskRequest, draft, parse

NUMBERS = st.integers(0, (1 << 63) - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@cache
def registry() -> Registry:
    return Registry.load("")


@given(NUMBERS, NUMBERS)
def test_a_cursor_leads_back_to_its_place(xid: int, seq: int):
    assert parse_cursor(cursor_of(xid, seq)) == (xid, seq)


@given(st.text() | st.from_regex(r"c[0-9a-f]{0,20}-[0-9a-f]{0,20}", fullmatch=True))
@example("cffffffffffffffff-0")
@example("c0-0\n")
def test_any_other_text_is_no_cursor_and_a_database_can_hold_what_is_one(text: str):
    try:
        xid, seq = parse_cursor(text)
    except BadInput as error:
        assert error.hint
    else:
        assert 0 <= xid < 1 << 63 and 0 <= seq < 1 << 63


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_an_id_and_sorts_by_time(at_ms: int, random: bytes):
    made = new_id("tsk", at_ms, lambda _: random)
    assert is_id(made, "tsk") and not is_id(made, "evt") and len(made) == 30
    assert at_ms == 0 or new_id("tsk", at_ms - 1, lambda _: b"\xff" * 10) < made


@given(st.text())
@example("tsk_" + "0" * 26 + "\n")
@example("tsk_" + "٠" * 26)
def test_any_other_text_is_no_id(text: str):
    assert not is_id(text, "tsk") or (text.isascii() and len(text) == 30)


@given(st.text())
@example("a\n")
def test_a_name_is_short_lower_case_and_harmless_in_a_path(text: str):
    try:
        name = check_name(text, "the name")
    except BadInput:
        assume(text)
    else:
        assert name == text and name.isascii() and 1 <= len(name) <= 63 and not set(name) & set("/\\\n\r\0 ") and not name.startswith(".")


@given(st.lists(st.sampled_from(sorted(set(STATUS.values()))), max_size=3), st.lists(st.sampled_from(STAGES), max_size=3))
def test_filters_by_status_and_stage_mean_both(statuses: list[str], stages: list[str]):
    found = stages_of(statuses, stages)
    wanted = {s for s in STAGES if (not statuses or STATUS[s] in statuses) and (not stages or s in stages)}
    assert set(found) == (wanted if statuses or stages else set())


@given(st.binary(max_size=300) | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_task_or_refused_with_a_place_or_as_unreadable(body: bytes):
    for kind in (TaskRequest, BatchRequest):
        try:
            parse(kind, body)
        except BadInput as error:
            assert error.fields["errors"] and all(each["pointer"].startswith("/") and each["detail"] for each in error.fields["errors"])
        except Malformed as error:
            assert error.hint


@given(
    st.dictionaries(st.text() | st.sampled_from(["action", "path", "data", "seq", "steps"]), JSON, max_size=4),
    st.sampled_from(["auto", "orchestration", "testing"]),
)
def test_any_payload_is_drafted_whole_or_refused_as_the_callers_mistake(payload: dict, task_type: str):
    try:
        made = draft(TaskRequest(task_type=task_type, payload=payload), registry(), Queue())
    except CallerError as error:
        assert error.detail
    else:
        kept = msgspec.json.decode(made.payload)
        assert {key: value for key, value in payload.items() if key != "action"}.items() <= kept.items()


@given(JSON)
def test_what_a_probe_carries_is_kept_to_the_letter(data: object):
    try:
        made = draft(TaskRequest(task_type="orchestration", payload={"action": "noop", "data": data}), registry(), Queue())
    except (BadInput, TooLarge):
        assert "\\u0000" in json.dumps(data) or "\\ud" in json.dumps(data) or any(mark in json.dumps(data) for mark in ("e+", "E")) or True is bool(data)
    else:
        assert msgspec.json.decode(made.payload)["data"] == data


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_not_turned_into_null(number: float):
    with pytest.raises(BadInput, match="not a finite number"):
        draft(TaskRequest(task_type="orchestration", payload={"action": "noop", "data": [number]}), registry(), Queue())
