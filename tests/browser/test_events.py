"""The event log in a browser."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Site


def open_events(page: Page, path: str = "/events") -> None:
    page.goto(path)
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")


def test_new_events_come_in_on_top_as_sentences(page: Page, site: Site) -> None:
    open_events(page)
    task = site.do(site.world.add, "Fresh", "testing", "lint", "low")
    first = page.get_by_test_id("event").first
    expect(first).to_contain_text("goes to echo")
    expect(first.locator("a")).to_have_attribute("href", f"/tasks/{task['task_id']}")
    first.locator("summary").click(position={"x": 500, "y": 10})
    expect(first.locator("pre")).to_contain_text('"event": "task_routed"')


def test_a_paused_tail_holds_what_comes_and_lets_it_in_later(page: Page, site: Site) -> None:
    open_events(page)
    page.get_by_test_id("tail").click()
    before = page.get_by_test_id("event").count()
    site.do(site.world.add, "Held", "testing", "lint", "low")
    expect(page.get_by_test_id("held")).to_have_text("2 new events")
    expect(page.get_by_test_id("event")).to_have_count(before)
    page.get_by_test_id("held").click()
    expect(page.get_by_test_id("event")).to_have_count(before + 2)
    expect(page.get_by_test_id("held")).to_be_hidden()


def test_filters_narrow_the_log_and_what_comes(page: Page, site: Site) -> None:
    open_events(page)
    page.get_by_test_id("filter-kind").select_option("executor_failed")
    expect(page.get_by_test_id("event")).to_have_count(1)
    assert "kind=executor_failed" in page.url
    task = site.do(site.world.add, "Filtered", "testing", "lint", "low")
    site.do(site.world.tell, "executor_failed", task, "echo", agent="echo", error="no such folder", code="permanent")
    expect(page.get_by_test_id("event")).to_have_count(2)
    expect(page.get_by_test_id("event").first).to_contain_text("no such folder")


def test_older_events_are_read_by_cursor_without_doubles(page: Page, site: Site) -> None:
    open_events(page)
    expect(page.get_by_test_id("event")).to_have_count(50)
    page.get_by_test_id("older").click()
    expect(page.get_by_test_id("event")).to_have_count(100)
    ids = page.get_by_test_id("event").evaluate_all("rows => rows.map(row => row.id)")
    assert len(set(ids)) == 100
    while page.get_by_test_id("older").count():
        shown = page.get_by_test_id("event").count()
        page.get_by_test_id("older").click()
        expect(page.get_by_test_id("event")).not_to_have_count(shown)
    expect(page.get_by_test_id("event").last).to_contain_text("submitted")
    expect(page.get_by_test_id("event")).to_have_count(len(site.world.events))


def test_two_pages_of_one_browser_share_one_stream(page: Page, context: BrowserContext, site: Site) -> None:
    open_events(page)
    other = context.new_page()
    open_events(other, "/agents")
    assert site.do(lambda: len(site.world.listeners)) == 1
    other.goto("/events")
    site.do(site.world.add, "For both", "testing", "lint", "low")
    expect(page.get_by_test_id("event").first).to_contain_text("goes to echo")
    expect(other.get_by_test_id("event").first).to_contain_text("goes to echo")


def test_without_shared_workers_a_page_has_a_stream_of_its_own(page: Page, site: Site) -> None:
    page.add_init_script("delete window.SharedWorker")
    open_events(page)
    site.do(site.world.add, "Alone", "testing", "lint", "low")
    expect(page.get_by_test_id("event").first).to_contain_text("goes to echo")
