"""The pages over the whole product: its store, its API, its workers. One journey; the rest is tested over the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from pulser.app.build import build
from pulser.app.serve import create_app
from pulser.core.settings import Server, Settings, Store
from tests.browser.conftest import serving


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Any]:
    """The address of a running Pulser, and its local token."""
    parts = build(Settings(server=Server(port=0), store=Store(data_dir=tmp_path / "data")))
    with serving(create_app(parts)) as (url, _loop):
        yield SimpleNamespace(url=url, local=parts.local)


@pytest.fixture
def page(browser: Browser, whole: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=whole.url, viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


def test_from_the_start_link_a_task_is_submitted_reviewed_and_done_and_another_cancelled(page: Page, whole: Any) -> None:
    page.goto(f"/#start={whole.local.start_secret()}")
    expect(page.get_by_test_id("who")).to_contain_text("operator")
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    _submit(page, "Review me", "{}", review=True)
    expect(page.get_by_test_id("column-in_review")).to_contain_text("Review me")
    page.get_by_role("link", name="Review me").click()
    page.get_by_test_id("move-approve").click()
    expect(page.get_by_test_id("status")).to_have_text("Done")
    expect(page.get_by_test_id("timeline")).to_contain_text("operator moved the task to approved")
    page.goto("/board")
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    _submit(page, "Stop me", '{"sleep_ms": 60000}')
    expect(page.get_by_test_id("column-running")).to_contain_text("Stop me")
    card = page.get_by_test_id("card").filter(has_text="Stop me")
    card.get_by_test_id("card-menu").click()
    card.get_by_test_id("move-cancel").click()
    expect(page.get_by_test_id("count-cancelled")).to_have_text("1")
    page.goto("/agents")
    expect(page.locator("[data-testid=agent] img")).to_have_count(7)
    page.goto("/events?kind=task_cancelled")
    expect(page.get_by_test_id("event")).to_have_count(1)
    expect(page.get_by_test_id("event")).to_contain_text("operator cancelled")


def _submit(page: Page, title: str, payload: str, *, review: bool = False) -> None:
    page.get_by_role("button", name="New task").first.click()
    page.get_by_test_id("new-type").select_option("orchestration")
    page.get_by_test_id("new-action").select_option("noop")
    page.get_by_test_id("new-title").fill(title)
    page.get_by_test_id("new-payload").fill(payload)
    page.get_by_label("Hold the result").set_checked(review)
    page.get_by_test_id("new-submit").click()
    expect(page.get_by_test_id("new-task-dialog")).to_be_hidden()
