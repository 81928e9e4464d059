"""The agents' page in a browser."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site


def agent(page: Page, name: str) -> Locator:
    return page.locator(f"[data-agent={name}][data-testid=agent]")


def test_the_seven_agents_show_role_load_and_how_they_do_against_their_targets(page: Page, site: Site) -> None:
    page.goto("/agents")
    expect(page.get_by_test_id("agent")).to_have_count(7)
    expect(agent(page, "dash")).to_contain_text("Data analyst")
    expect(agent(page, "dash")).to_contain_text("1 running of 4")
    expect(agent(page, "dash").locator("dd.bad")).to_contain_text("41 s")
    expect(agent(page, "learnbot")).to_contain_text("No worker")


def test_a_missing_avatar_leaves_initials(page: Page, site: Site) -> None:
    page.goto("/agents")
    expect(agent(page, "learnbot").locator("img")).to_be_hidden()
    expect(agent(page, "learnbot").locator(".avatar")).to_contain_text("LE")
    expect(agent(page, "echo").locator("img")).to_be_visible()


def test_an_agent_is_paused_and_resumed(page: Page, site: Site) -> None:
    page.goto("/agents")
    agent(page, "maya").get_by_test_id("pause").click()
    expect(agent(page, "maya").get_by_test_id("resume")).to_be_visible()
    expect(agent(page, "maya")).to_contain_text("Paused")
    assert site.world.paused == {"maya"}
    agent(page, "maya").get_by_test_id("resume").click()
    expect(agent(page, "maya").get_by_test_id("pause")).to_be_visible()


def test_an_instance_is_taken_out_of_work_and_its_fold_stays_open(page: Page, site: Site) -> None:
    page.goto("/agents")
    agent(page, "echo").locator("summary").click()
    toggle = agent(page, "echo").get_by_test_id("available")
    toggle.uncheck()
    expect(page.get_by_test_id("toast")).to_contain_text("Takes no new work")
    expect(toggle).not_to_be_checked()
    assert site.world.unavailable == {"echo"}
    expect(toggle).to_be_visible()


def test_load_follows_the_work(page: Page, site: Site) -> None:
    page.goto("/agents")
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    site.do(site.world.add, "More", "documentation", "changelog", "low", "in_progress")
    expect(agent(page, "maya")).to_contain_text("1 running of 4")
