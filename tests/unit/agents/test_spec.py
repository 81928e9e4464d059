"""What a spec may say, and what is said about one that is wrong."""

from __future__ import annotations

import pytest

from pulser.agents.spec import check, load, template
from pulser.core.errors import BadInput

GOOD = """\
name: bo
role: Tester
task_types:
  probing: {default_action: try}
actions:
  try: {tool: code.test, summary: Try it, defaults: {fast: true}}
"""


def with_line(line: str) -> str:
    return GOOD + line + "\n"


def test_a_short_spec_is_filled_in_with_what_it_leaves_away() -> None:
    spec = load(GOOD, "bo.yaml")
    assert spec.name == "bo"
    assert spec.tools == ("code.test",)
    assert spec.actions["try"].defaults == {"fast": True}
    assert spec.limit_s("probing") == 600
    assert not spec.reviewed("try")
    assert spec.max_retries is None


def test_the_template_is_a_spec_as_it_is() -> None:
    assert check(template("mira")) == []
    assert load(template("mira"), "mira.yaml").name == "mira"


def test_a_type_may_have_a_time_limit_of_its_own() -> None:
    spec = load(GOOD.replace("{default_action: try}", "{default_action: try, time_limit_s: 5}"), "bo.yaml")
    assert spec.limit_s("probing") == 5
    assert spec.limit_s("another") == 600


def test_review_can_be_asked_for_single_actions() -> None:
    spec = load(with_line("review: {actions: [try]}"), "bo.yaml")
    assert spec.reviewed("try")
    assert not spec.reviewed("look")
    assert load(with_line("review: always"), "bo.yaml").reviewed("look")


def test_the_digest_changes_with_the_meaning_and_not_with_the_layout() -> None:
    first = load(GOOD, "bo.yaml").digest
    lines = GOOD.splitlines()
    assert load("# a comment\n" + "\n".join([lines[1], lines[0], *lines[2:]]) + "\n", "other.yaml").digest == first
    assert load(GOOD.replace("Tester", "Taster"), "bo.yaml").digest != first


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    text = "name: Bo\nrole: x\ntask_types:\n  a: {default_acton: go}\nactions:\n  go: {tool: profile}\nreview: maybe\nbakup: dash\n"
    problems = check(text)
    assert [problem.line for problem in problems] == [1, 4, 4, 6, 7, 8]
    with pytest.raises(BadInput) as caught:
        load(text, "bo.yaml")
    assert caught.value.detail.count("bo.yaml:") == 6
    assert {error["pointer"] for error in caught.value.fields["errors"]} >= {"/name", "/task_types/a/default_acton", "/bakup", "/review"}


def test_a_misspelt_field_is_answered_with_the_nearest() -> None:
    (problem,) = check(with_line("bakup: dash"))
    assert problem.line == 7
    assert "Did you mean 'backup'?" in problem.hint


def test_a_default_action_must_be_one_of_the_actions() -> None:
    (problem,) = check(GOOD.replace("default_action: try", "default_action: tyr"))
    assert (problem.line, problem.message) == (4, "there is no action 'tyr'")
    assert "Did you mean 'try'?" in problem.hint


def test_a_tool_of_an_action_must_be_listed_if_tools_are_listed() -> None:
    (problem,) = check(with_line("tools: [code.lint]"))
    assert problem.line == 6
    assert "code.test" in problem.message


def test_an_agent_cannot_be_its_own_backup() -> None:
    (problem,) = check(with_line("backup: bo"))
    assert "own backup" in problem.message


def test_auto_is_no_type_that_an_agent_can_claim() -> None:
    (problem,) = check(GOOD.replace("probing", "auto"))
    assert "auto" in problem.message


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("time_limit_s: 0", "time_limit_s"),
        ("time_limit_s: .inf", "cannot be read as float"),
        ("max_retries: -1", "max_retries"),
        ("targets: {completion_rate: 95}", "completion_rate"),
        ("skills: [a, a]", "skills"),
        ("avatar: ../../etc/passwd.svg", "avatar"),
        ("name: bo", "written twice"),
        ("description: !!python/object:os.system x", "cannot be read as"),
        ("description: &a x", "anchors"),
        ("description: *a", "aliases"),
    ],
)
def test_values_that_make_no_sense_are_refused_at_their_line(line: str, told: str) -> None:
    problems = check(with_line(line))
    assert problems and any(told in problem.message for problem in problems)
    assert problems[0].line == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "- a\n- b\n",
        "just text",
        "name: [",
        "a: 1\n---\nb: 2\n",
        "\x00",
        "x" * 70_000,
        "[" * 10_000,
        "a: " + "{b: " * 50,
        "? [a, b]\n: c\n",
        "\ud800",
    ],
)
def test_what_is_no_spec_at_all_is_told_and_never_crashes(text: str) -> None:
    assert check(text)
    with pytest.raises(BadInput):
        load(text, "x.yaml")
