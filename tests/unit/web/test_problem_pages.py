"""Errors that nobody foresaw, as a browser and as a program get them."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from pulser.console.pages import failed
from pulser.core import errors
from pulser.web import problems

HTML = {"Accept": "text/html"}


def broken() -> FastAPI:
    app = FastAPI()

    @app.get("/board")
    @app.get("/api/v1/tasks")
    async def _fails() -> None:
        raise ZeroDivisionError("a secret")

    return app


@pytest.fixture
def browser() -> TestClient:
    app = broken()
    problems.install(app, failed)
    return TestClient(app, raise_server_exceptions=False)


def test_an_unexpected_error_of_a_page_is_a_page_that_tells_no_more_than_where_it_was_logged(browser: TestClient):
    page = browser.get("/board", headers=HTML)
    assert page.status_code == 500 and page.headers["content-type"].startswith("text/html")
    assert "unexpected error" in page.text and "secret" not in page.text


def test_a_program_gets_the_problem(browser: TestClient):
    for path, headers in (("/board", {}), ("/api/v1/tasks", HTML)):
        answer = browser.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (500, problems.MEDIA_TYPE)
        assert answer.json()["type"] == "/problems/error" and "secret" not in answer.text


def test_pages_that_are_broken_themselves_still_leave_the_problem():
    def worse(request: Request, error: errors.PulserError) -> Response:
        raise KeyError("template")

    app = broken()
    problems.install(app, worse)
    answer = TestClient(app, raise_server_exceptions=False).get("/board", headers=HTML)
    assert answer.json()["type"] == "/problems/error"
