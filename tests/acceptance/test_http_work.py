"""Each of the seven agents does real jobs over HTTP, without a model, on real files; what they say is checked against the files."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work
from tests.served import ROOT


@pytest.fixture
def do(work: Work, api: httpx2.Client) -> Any:
    """Run a job; its result, and its files by name."""

    def run(task_type: str, payload: dict[str, Any], agent: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        task = work.run(task_type, payload)
        assert task["stage"] == "done", task["error"]
        assert task["assigned_agent"] == agent
        return task["result"], {each["name"]: api.get(each["url"]).content for each in task["artifacts"]}

    return run


def penguins(samples: Path) -> list[dict[str, str]]:
    with (samples / "data/penguins.csv").open() as file:
        return list(csv.DictReader(file))


def git(folder: Path, *arguments: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments], cwd=folder, env=env, check=True, capture_output=True)


def test_echo_lints_a_project_and_offers_its_fixes_as_a_patch_that_applies(do: Any, samples: Path):
    before = (samples / "project/orders/stock.py").read_bytes()
    result, files = do("testing", {"action": "lint", "path": "project", "fix": True}, "echo")
    assert "F401" in {each["rule"] for each in result["by_rule"]} and "orders/stock.py" in {each["file"] for each in result["worst_files"]}
    assert (samples / "project/orders/stock.py").read_bytes() == before
    assert len(json.loads(files["findings.json"])) >= 1
    (samples / "fix.patch").write_bytes(files["fix.patch"])
    checked = subprocess.run(
        ["git", "apply", "--check", "-p1", str(samples / "fix.patch")], cwd=samples / "project", capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_echo_runs_a_projects_tests_and_judges_them(do: Any):
    result, files = do("testing", {"action": "test", "path": "project", "min_coverage": 10}, "echo")
    assert result["tests"]["total"] >= 5 and result["verdict"] in ("pass", "fail")
    assert b"<testsuite" in next(content for name, content in files.items() if name.endswith(".xml"))
    strict, _ = do("testing", {"action": "test", "path": "project", "min_coverage": 100}, "echo")
    assert strict["verdict"] == "fail" and strict["reasons"]


def test_maya_formats_markdown_as_a_patch(do: Any, samples: Path):
    (samples / "notes.md").write_text("Notes\n=====\n\n* one\n* two\n")
    result, files = do("documentation", {"action": "format", "path": "notes.md"}, "maya")
    assert b"+# Notes" in files["format.patch"] and result
    assert (samples / "notes.md").read_text().startswith("Notes\n=")


def test_maya_writes_a_changelog_from_a_history(do: Any, samples: Path):
    repository = samples / "history"
    repository.mkdir()
    git(repository, "init", "-q")
    for n, message in enumerate(("feat: count penguins", "fix(csv): keep the last line", "Tidy the shelves")):
        (repository / f"{n}.txt").write_text(message)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", message)
    _, files = do("documentation", {"action": "changelog", "path": "history", "version": "1.0.0"}, "maya")
    text = files["CHANGELOG.md"].decode()
    assert "## [1.0.0]" in text and "### Added" in text and "### Fixed" in text
    assert all(words in text.lower() for words in ("count penguins", "keep the last line", "tidy the shelves"))


def test_maya_documents_this_very_api_and_checks_the_links_of_these_very_docs(do: Any, api: httpx2.Client, samples: Path):
    (samples / "openapi.json").write_text(api.get("/openapi.json").text)
    _, files = do("documentation", {"action": "api_docs", "path": "openapi.json"}, "maya")
    assert any(b"/api/v1/tasks/{task_id}" in content for content in files.values())
    result, _ = do("documentation", {"action": "check_links", "path": str(ROOT / "docs")}, "maya")
    assert result


def test_dash_profiles_a_table_and_its_figures_are_those_of_the_file(do: Any, samples: Path):
    result, files = do("analytics", {"action": "profile", "path": "data/penguins.csv"}, "dash")
    rows = penguins(samples)
    assert result["rows"] == len(rows)
    columns = {each["name"]: each for each in result["columns"]}
    assert list(columns) == list(rows[0])
    masses = [int(row["body_mass_g"]) for row in rows if row["body_mass_g"] != "NA"]
    mass = columns["body_mass_g"]
    assert (mass["missing"], mass["min"], mass["max"], mass["distinct"]) == (len(rows) - len(masses), min(masses), max(masses), len(set(masses)))
    assert str(len(rows)) in files["profile.md"].decode()
    assert any(name.endswith(".html") for name in files)


def test_dash_answers_a_question_in_sql(do: Any, samples: Path):
    sql = "SELECT species, count(*) AS n FROM penguins GROUP BY species ORDER BY species"
    result, _ = do("analytics", {"action": "query", "sql": sql, "files": {"penguins": "data/penguins.csv"}}, "dash")
    rows = penguins(samples)
    counted = sorted({row["species"]: sum(each["species"] == row["species"] for each in rows) for row in rows}.items())
    shown = [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in result["rows"]]
    assert shown == counted


def test_data_fabcon_loads_a_table_and_keeps_what_it_rejected_with_the_reason(do: Any, samples: Path):
    import sqlite3

    payload = {
        "action": "etl",
        "source": "data/penguins_dirty.csv",
        "mode": "append",
        "target": {"kind": "sqlite", "table": "penguins", "path": "warehouse.db"},
    }
    result, _ = do("data_pipeline", payload, "data_fabcon")
    with sqlite3.connect(samples / "warehouse.db") as database:
        loaded = database.execute("SELECT count(*) FROM penguins").fetchone()[0]
    database.close()
    lines = len((samples / "data/penguins_dirty.csv").read_text().splitlines()) - 1
    assert 0 < loaded <= lines and str(loaded) in json.dumps(result)


def test_data_fabcon_scores_a_table_by_rules(do: Any):
    rules = [{"rule": "not_null", "column": "species"}, {"rule": "range", "column": "body_mass_g", "min": 2000, "max": 7000}]
    clean, _ = do("data_pipeline", {"action": "quality", "path": "data/penguins.csv", "rules": rules}, "data_fabcon")
    dirty, _ = do("data_pipeline", {"action": "quality", "path": "data/penguins_dirty.csv", "rules": rules}, "data_fabcon")
    assert dirty["score"] < clean["score"] <= 100


def test_arkie_finds_what_is_wrong_with_a_compose_file(do: Any, samples: Path):
    (samples / "docker-compose.yml").write_text("services:\n  web:\n    image: nginx:latest\n    privileged: true\n    ports: ['80:80']\n    colour: blue\n")
    result, _ = do("infrastructure", {"action": "validate", "path": "docker-compose.yml"}, "arkie")
    told = json.dumps(result)
    assert "colour" in told and "privileged" in told


def test_arkie_counts_the_instances_that_a_load_takes(do: Any):
    def instances(rate: float) -> dict[str, Any]:
        payload = {"action": "capacity", "load": {"requests_per_s": rate, "service_time_s": 0.1}, "targets": {"utilisation": 0.5}, "instance": {"slots": 4}}
        result: dict[str, Any] = do("infrastructure", payload, "arkie")[0]
        return result

    little, much = instances(10), instances(1000)
    assert little["instances"] < much["instances"] and much["instances"] >= 50  # 1,000/s of 0.1 s at half load are 200 slots


def test_learnbot_mines_its_own_failures_and_log_files_into_skills(do: Any, work: Work, samples: Path):
    for _ in range(3):
        work.run("analytics", {"action": "profile", "path": "nowhere.csv"}, run_at="2020-01-01T00:00:00Z")
    _, files = do("skills_mining", {"action": "mine_failures"}, "learnbot")
    skills = [content.decode() for name, content in files.items() if name.endswith("SKILL.md")]
    assert any("nowhere.csv" in text or "no such file" in text for text in skills)
    logs = samples / "logs"
    logs.mkdir()
    (logs / "app.log").write_text("".join(f"2026-01-0{n} 12:00:00 ERROR connection to db-{n} refused after {n}00 ms\n" for n in range(1, 9)))
    _, files = do("skills_mining", {"action": "mine_failures", "logs": ["logs/app.log"], "min_count": 5}, "learnbot")
    assert any("refused" in content.decode() for name, content in files.items() if name.endswith("SKILL.md"))


def test_pulser_coordinates_three_agents_where_a_failed_step_stops_only_what_depends_on_it(work: Work):
    steps = [
        {"name": "lint", "task_type": "testing", "payload": {"action": "lint", "path": "project"}},
        {
            "name": "count",
            "task_type": "analytics",
            "payload": {"action": "query", "sql": "SELECT count(*) AS n FROM f", "files": {"f": "step:lint/findings.json"}},
        },
        {"name": "docs", "task_type": "documentation", "payload": {"action": "check_links", "path": str(ROOT / "docs")}},
        {"name": "broken", "task_type": "analytics", "payload": {"action": "profile", "path": "nowhere.csv"}},
        {"name": "after", "task_type": "orchestration", "payload": {"action": "noop"}, "depends_on": ["broken"]},
    ]
    task = work.run("orchestration", {"action": "coordinate", "steps": steps, "allow_failures": True})
    assert task["stage"] == "done", task["error"]
    children = {each["title"]: each for each in task["children"]}
    assert {name: each["stage"] for name, each in children.items()} == {
        "lint": "done",
        "count": "done",
        "docs": "done",
        "broken": "failed",
        "after": "cancelled",
    }
    assert {each["assigned_agent"] for each in children.values()} == {"echo", "dash", "maya", "pulser"}
    refused = work.run("orchestration", {"action": "coordinate", "steps": steps})
    assert refused["stage"] == "failed" and "broken" in json.dumps(refused["error"])


def test_pulsers_probe_takes_its_time_and_fails_as_told(work: Work):
    assert work.run(payload={"action": "noop", "sleep_ms": 20, "seq": 3})["result"] == {"ok": True, "seq": 3}
    crashed = work.run(payload={"action": "noop", "crash": "child"}, max_retries=1)
    assert (crashed["stage"], len(crashed["attempts"])) == ("failed", 2)
    assert work.run(payload={"action": "noop", "crash": "worker"})["error"]["code"] == "bad-input"
