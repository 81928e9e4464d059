"""The page of one task in a browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.world import HOSTILE


def open_task(page: Page, site: Site, title: str) -> dict[str, Any]:
    task = next(t for t in site.world.tasks.values() if t["title"] == title)
    page.goto(f"/tasks/{task['task_id']}")
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    return task


def test_a_task_tells_what_happened_who_did_it_and_why_they(page: Page, site: Site) -> None:
    open_task(page, site, "Quality rules of customers.csv")
    expect(page.get_by_test_id("status")).to_have_text("Failed")
    expect(page.get_by_test_id("error")).to_contain_text("Name its encoding")
    expect(page.get_by_test_id("timeline").locator("li").first).to_contain_text("data_fabcon failed at the task: line 18")
    expect(page.get_by_test_id("routing")).to_contain_text("data_engineering is data_fabcon's task type")
    expect(page.get_by_test_id("routing")).to_contain_text("backup of data_fabcon")
    expect(page.get_by_test_id("attempts")).to_contain_text("3.2 s")


def test_approving_a_result_changes_the_page_in_place(page: Page, site: Site) -> None:
    open_task(page, site, "Changelog for 0.2")
    page.get_by_test_id("move-approve").click()
    expect(page.get_by_test_id("move-approve")).to_have_count(0)
    expect(page.get_by_test_id("timeline")).to_contain_text("local moved the task to approved")


def test_a_running_task_shows_its_progress_as_it_happens(page: Page, site: Site) -> None:
    task = open_task(page, site, "Profile the penguins data set")
    expect(page.get_by_test_id("progress")).to_contain_text("42 %")
    site.do(site.world.tell, "executor_progress", task, "dash", message="drawing charts", fraction=0.81)
    expect(page.get_by_test_id("progress")).to_contain_text("drawing charts")
    expect(page.get_by_test_id("progress")).to_contain_text("81 %")


def test_open_folds_and_previews_survive_a_redraw(page: Page, site: Site) -> None:
    task = open_task(page, site, "Changelog for 0.2")
    preview = page.get_by_test_id("preview").first
    preview.locator("summary").click()
    expect(preview.get_by_role("heading", name="Profile of penguins.csv")).to_be_visible()
    site.do(site.world.move, task["task_id"], "queued", "local")
    expect(page.get_by_test_id("status")).to_have_text("Queued")
    expect(preview.get_by_role("heading", name="Profile of penguins.csv")).to_be_visible()


def test_artifacts_are_shown_as_what_they_are_and_run_nothing(page: Page, site: Site, complaints: list[str]) -> None:
    open_task(page, site, "Profile of the orders table")
    for preview in page.get_by_test_id("preview").all():
        preview.locator("summary").click()
    markdown, svg, html, json = page.get_by_test_id("preview").all()
    expect(markdown.get_by_role("cell", name="species")).to_be_visible()
    expect(markdown.get_by_role("cell", name="body_mass_g")).to_be_visible()
    expect(markdown).to_contain_text("<script>window.hacked=1</script>")
    expect(markdown.get_by_role("link")).to_have_count(0)  # javascript: is no place to go
    expect(svg.get_by_role("img", name="chart.svg")).to_be_visible()
    expect(html.locator("iframe")).to_have_attribute("sandbox", "")
    expect(html.frame_locator("iframe").locator("#p")).to_have_text("344 rows")
    expect(json.locator("pre")).to_contain_text('"rows": 344')
    assert page.evaluate("window.hacked") is None
    complaints.clear()


def test_a_log_is_read_when_its_fold_is_opened(page: Page, site: Site) -> None:
    open_task(page, site, "Lint the repository")
    page.get_by_test_id("log").locator("summary").click()
    expect(page.get_by_test_id("log")).to_contain_text("<b>read</b> 344 rows")


def test_hostile_payloads_and_titles_are_text(page: Page, site: Site) -> None:
    open_task(page, site, HOSTILE)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.get_by_test_id("payload")).to_contain_text("onerror=")
    page.goto("/events")
    page.get_by_test_id("event").filter(has_text="submitted").first.locator("summary").click()
    assert page.evaluate("window.hacked") is None


def test_an_unknown_task_is_told_in_words(page: Page, site: Site) -> None:
    answer = page.goto("/tasks/tsk_nothing")
    assert answer is not None and answer.status == 404
    expect(page.get_by_test_id("error")).to_contain_text("there is no task tsk_nothing")
