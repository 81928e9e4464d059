"""What a browser gets where it asks for a page, also when there is none: words for people, and the same for programs as JSON."""

from __future__ import annotations

import re

import httpx2
import pytest

from pulser.core import errors
from tests.acceptance.conftest import problem

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/bord", "/tasks", "/docs/nothing", "/tasks/tsk_00000000000000000000000000"])
def test_a_mistyped_address_is_a_page_in_a_browser_and_a_problem_elsewhere(anybody: httpx2.Client, path: str):
    page = anybody.get(path, headers=HTML)
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html") and "/board" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    if not path.startswith("/tasks/"):
        problem(anybody.get(path), 404, "not-found")


def test_the_api_answers_programs_whatever_they_say_they_accept(anybody: httpx2.Client):
    problem(anybody.get("/api/v1/nothing", headers=HTML), 404, "not-found")
    problem(anybody.get("/api/v1/tasks/tsk_00000000000000000000000000", headers=HTML), 404, "not-found")


@pytest.mark.parametrize("query", ["q=%00", "agent=a%00", "task_type=%00", "priority=%00"])
def test_a_filter_with_a_nul_is_refused_by_the_pages_and_by_the_api(anybody: httpx2.Client, query: str):
    assert anybody.get(f"/board?{query}", headers=HTML).status_code == 422
    assert anybody.get(f"/board/more/queued?{query}", headers=HTML).status_code == 422
    problem(anybody.get(f"/api/v1/tasks?{query}"), 422, "bad-input")


@pytest.mark.parametrize("path", ["/events?actor=%00", "/events?task_id=%00", "/events?kind=%00", "/api/v1/dead?agent=%00", "/api/v1/dead?task_type=%00"])
def test_so_are_those_of_the_log_and_the_dead_letters(anybody: httpx2.Client, path: str):
    assert anybody.get(path, headers=HTML).status_code == 422


def codes(kind: type[errors.PulserError] = errors.PulserError) -> set[str]:
    return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))


def test_every_problems_type_leads_to_what_it_means(anybody: httpx2.Client):
    answered = anybody.get("/api/v1/tasks/tsk_00000000000000000000000000").json()
    for code in {*codes(), "method-not-allowed"}:
        meaning = anybody.get(f"/problems/{code}").json()
        assert meaning["type"] == f"/problems/{code}" and meaning["title"] and re.fullmatch(r"[A-Z`].+[.]", meaning["meaning"]), meaning
        page = anybody.get(f"/problems/{code}", headers=HTML)
        assert page.status_code == 200 and meaning["title"] in page.text
    assert anybody.get(answered["type"]).json()["title"] == answered["title"]
    problem(anybody.get("/problems/nothing"), 404, "not-found")
