"""The command line against a real server, as a person and as a script use it."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pulser.client import Client
from pulser.store import migrate
from tests.served import FAST, PROMPT_S, Served, pulser

Run = Callable[..., subprocess.CompletedProcess[str]]
BY_COMMAND = "from pulser.cli import main; main(['serve'])"
COMMAND = (sys.executable, "-m", "pulser")


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(data_dir.parent), "PULSER_DATA_DIR": str(data_dir), **FAST, **more}


def call(*arguments: str, data_dir: Path, folder: Path | None = None, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(data_dir, **more),
        cwd=folder or data_dir.parent,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PROMPT_S,
        check=False,
    )


@pytest.fixture
def cli(served: Served, tmp_path: Path) -> Run:
    """``cli("tasks", "list")`` as the local operator of the running server."""

    def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return call(*arguments, data_dir=more.pop("data_dir", served.data_dir), folder=tmp_path, **{"PULSER_URL": served.url, **more})

    return run


def submitted(cli: Run, *arguments: str) -> dict[str, Any]:
    done = cli("submit", "orchestration", "-a", "noop", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    task: dict[str, Any] = json.loads(done.stdout)
    return task


# ---- tasks


def test_a_task_is_submitted_waited_for_and_its_files_fetched(cli: Run, samples: Path, tmp_path: Path):
    done = cli("submit", "testing", "action=lint", f"path={samples / 'project'}", "fix=true", "--wait", "--json")
    task = json.loads(done.stdout)
    assert (done.returncode, done.stderr, task["status"], task["assigned_agent"]) == (0, "", "completed", "echo")
    listed = cli("tasks", "artifacts", task["task_id"])
    assert "report.md" in listed.stdout
    fetched = cli("tasks", "artifacts", task["task_id"], "--all", "--to", "out")
    assert sorted(fetched.stdout.split()) == sorted(f"out/{each['name']}" for each in task["artifacts"])
    assert cli("tasks", "artifacts", task["task_id"], "report.md", "--to", "-").stdout == (tmp_path / "out" / "report.md").read_text()


def test_the_exit_code_of_a_submission_is_the_works(cli: Run):
    failed = cli("submit", "orchestration", "-a", "noop", "fail=permanent", "--wait")
    assert failed.returncode == 1
    assert "told to fail for good" in failed.stderr
    late = cli("submit", "orchestration", "-a", "noop", "sleep_ms=30000", "--timeout", "0.2", "--json")
    assert late.returncode == 6
    cancelled = cli("tasks", "cancel", json.loads(late.stdout)["task_id"])
    assert (cancelled.returncode, cancelled.stdout.split()[1]) == (0, "cancelled")


def test_a_verdict_that_is_negative_is_exit_code_1(cli: Run, samples: Path):
    done = cli("submit", "testing", "action=test", f"path={samples / 'project'}", "min_coverage=100", "--wait", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
    assert done.returncode == 1


def test_a_payload_may_come_from_standard_input(cli: Run):
    done = cli("submit", "orchestration", "-p", "@-", "--wait", "--json", stdin='{"action": "noop", "seq": 7}')
    assert json.loads(done.stdout)["result"] == {"ok": True, "seq": 7}


def test_the_same_key_submits_once(cli: Run):
    first, second = (json.loads(cli("submit", "orchestration", "-a", "noop", "--key", "just-once", "--json").stdout)["task_id"] for _ in range(2))
    assert first == second


def test_following_tells_each_event_and_then_the_task(cli: Run):
    done = cli("submit", "orchestration", "-a", "noop", "sleep_ms=100", "--follow", "--json")
    *events, task = map(json.loads, done.stdout.splitlines())
    kinds = [event["event"] for event in events]
    assert kinds[0] == "task_submitted" and "executor_succeeded" in kinds
    assert task["status"] == "completed" and {event["target"] for event in events} == {task["task_id"]}


def test_lists_filter_and_are_plain_when_piped(cli: Run):
    task = submitted(cli, "--title", "a needle \x9b31m in the hay", "--wait")
    assert [each["task_id"] for each in json.loads(cli("tasks", "list", "--text", "needle", "--json").stdout)] == [task["task_id"]]
    plain = cli("tasks", "list", "-q", "needle", "--status", "completed").stdout
    assert plain.splitlines()[0].split()[:2] == ["TASK", "STATUS"]
    assert "\x9b" not in plain and task["task_id"] in plain
    assert cli("tasks", "list", "--status", "sleeping").returncode == 2


def test_a_task_is_shown_with_its_attempts(cli: Run):
    task = submitted(cli, "fail_times=1", "--wait")
    shown = cli("tasks", "show", task["task_id"]).stdout
    assert "ATTEMPT" in shown and "retried" in shown and "succeeded" in shown
    assert len(json.loads(cli("tasks", "show", task["task_id"], "--json").stdout)["attempts"]) == 2


def test_dead_letters_are_listed_requeued_and_discarded(cli: Run):
    task = submitted(cli, "fail=permanent", "--wait")
    assert task["task_id"] in cli("dead", "list").stdout
    requeued = json.loads(cli("dead", "requeue", task["task_id"], "--json").stdout)
    assert requeued["requeued"] == [task["task_id"]]
    again = cli("tasks", "show", task["task_id"], "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["generation"]) == (1, 2)
    assert cli("dead", "discard", task["task_id"]).returncode == 0
    assert task["task_id"] not in cli("dead", "list").stdout
    assert cli("dead", "requeue").returncode == 2


def test_a_person_approves_and_rejects_what_is_in_review(cli: Run):
    good, bad = (submitted(cli, "--review", "--wait") for _ in range(2))
    assert good["status"] == bad["status"] == "in_review"
    assert cli("tasks", "approve", good["task_id"], "--note", "fine").returncode == 0
    assert json.loads(cli("tasks", "show", good["task_id"], "--wait", "--json").stdout)["stage"] in ("done", "approved", "merging")
    assert cli("tasks", "reject", bad["task_id"]).stdout.split()[1] == "failed"
    refused = cli("tasks", "approve", bad["task_id"])
    assert refused.returncode == 5 and "failed" in refused.stderr


# ---- refusals


def test_what_there_is_not_is_exit_code_3_and_what_is_wrong_2(cli: Run):
    assert cli("tasks", "show", "tsk_01KAJZ00000000000000000000").returncode == 3
    assert cli("agents", "show", "nobody").returncode == 3
    wrong = cli("submit", "testin")
    assert wrong.returncode == 2 and "testing" in wrong.stderr and wrong.stdout == ""
    pointed = cli("submit", "orchestration", "-a", "noop", "sleep_ms=-1")
    assert pointed.returncode == 2 and "/payload/sleep_ms" in pointed.stderr


def test_without_the_token_reading_works_and_changing_is_exit_code_4(cli: Run, tmp_path: Path):
    assert cli("tasks", "list", data_dir=tmp_path / "nothing").returncode == 0
    assert cli("submit", "orchestration", "-a", "noop", data_dir=tmp_path / "nothing").returncode == 4
    assert cli("agents", "list", PULSER_API_KEY="pk_wrong").returncode == 4


def test_a_key_made_here_opens_until_it_is_revoked(cli: Run, tmp_path: Path):
    made = json.loads(cli("key", "create", "--name", "ci", "--role", "viewer", "--json").stdout)
    assert made["key"] not in cli("key", "list", "--json").stdout
    assert cli("agents", "list", data_dir=tmp_path / "nothing", PULSER_API_KEY=made["key"]).returncode == 0
    assert cli("agents", "pause", "echo", data_dir=tmp_path / "nothing", PULSER_API_KEY=made["key"]).returncode == 4
    assert cli("key", "revoke", made["key_id"]).returncode == 0
    assert cli("key", "revoke", made["key_id"]).returncode == 3
    assert cli("company", "create", "acme", "--name", "Acme").returncode == 0
    assert [each["company_id"] for each in json.loads(cli("company", "list", "--json").stdout)] == ["acme", "default"]
    assert cli("key", "create", "--name", "x", "--company", "nowhere").returncode == 3


# ---- agents, events, the rest


def test_agents_are_listed_paused_and_resumed(cli: Run):
    agents = json.loads(cli("agents", "list", "--json").stdout)
    assert {agent["name"] for agent in agents} == {"arkie", "dash", "data_fabcon", "echo", "learnbot", "maya", "pulser"}
    assert cli("agents", "pause", "maya").returncode == 0
    assert json.loads(cli("agents", "show", "maya", "--json").stdout)["paused"] is True
    assert "paused" in cli("agents", "list").stdout
    assert json.loads(cli("agents", "resume", "maya", "--json").stdout)["paused"] is False


def test_events_are_one_json_document_per_line(cli: Run):
    task = submitted(cli, "--wait")
    events = [json.loads(line) for line in cli("events", "--task", task["task_id"], "--since", task["created_at"], "--json").stdout.splitlines()]
    assert events[0]["event"] == "task_submitted" and [event["cursor"] for event in events] == sorted({event["cursor"] for event in events})
    assert len(cli("events", "-n", "3").stdout.splitlines()) == 3
    assert cli("events", "--kind", "nothing").returncode == 2


def test_following_events_hears_what_happens_now_and_ends_with_ctrl_c(cli: Run, served: Served):
    with subprocess.Popen(
        [*COMMAND, "events", "--follow", "--since", "2026-01-01T00:00:00Z", "--json"],
        env=environment(served.data_dir, PULSER_URL=served.url),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        watchdog = threading.Timer(PROMPT_S, process.kill)
        watchdog.start()
        task = submitted(cli)
        assert process.stdout is not None
        heard = next(event for event in map(json.loads, process.stdout) if event["target"] == task["task_id"])
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        watchdog.cancel()
    assert heard["event"] == "task_submitted"
    assert process.returncode == 130


def test_the_consoles_link_is_fresh_each_time_and_signs_in_once(cli: Run, served: Served):
    first, second = (json.loads(cli("open", "--json").stdout)["url"] for _ in range(2))
    assert first != second and first.startswith(f"{served.url}/#start=")
    assert cli("dashboard").stdout.startswith(f"{served.url}/#start=")
    browser, secret = served.client(None), first.partition("#start=")[2]
    assert [browser.post("/session", json={"secret": secret}).status_code for _ in range(2)] == [204, 401]


def test_watching_draws_the_board_and_what_happens_next(cli: Run, served: Served):
    before = submitted(cli, "--title", "before the watch", "--wait")
    master, slave = pty.openpty()
    env = environment(served.data_dir, PULSER_URL=served.url, TERM="xterm", COLUMNS="160", LINES="50")
    process = subprocess.Popen([*COMMAND, "watch"], env=env, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    watchdog = threading.Timer(PROMPT_S, process.kill)
    watchdog.start()
    try:
        screen = read_until(master, before["task_id"])
        after = submitted(cli, "--title", "during the watch")
        screen += read_until(master, after["task_id"])
        assert "echo" in screen and "before the watch" in screen
        process.send_signal(signal.SIGINT)
        read_until(master, None)
        assert process.wait(PROMPT_S) == 130
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        os.close(master)


def read_until(descriptor: int, text: str | None) -> str:
    """What comes until ``text`` does, or until the end."""
    seen = ""
    while text is None or text not in seen:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            assert text is None, seen
            break
        seen += piece.decode(errors="replace")
    return seen


def test_help_has_colours_on_a_terminal_only_and_none_with_no_color(tmp_path: Path):
    told = {}
    for name, more in {"colour": {}, "plain": {"NO_COLOR": "1"}}.items():
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "--help"], env=environment(tmp_path / "d", TERM="xterm-256color", **more), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        told[name] = read_until(master, None)
        assert process.wait(PROMPT_S) == 0
        os.close(master)
    assert "\x1b[36m" in told["colour"] or "\x1b[1;36m" in told["colour"]
    assert "36m" not in told["plain"]
    assert "Usage" in told["plain"]


def test_doctor_finds_nothing_that_fails_and_names_what_it_looked_at(cli: Run, served: Served):
    done = cli("doctor", "--json")
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 0, [each for each in found.values() if each["state"] == "fail"]
    assert {"python", "sqlite", "database", "clock", "disk", "sandbox", "agents", "git", "server"} <= set(found)
    assert served.url in found["server"]["says"] and found["server"]["state"] == "ok"


def test_doctor_ends_with_7_where_something_is_wrong(tmp_path: Path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "bad.yaml").write_text("name: bad\n")
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "token").write_text("x")
    (tmp_path / "d" / "token").chmod(0o644)
    done = call("doctor", "--json", data_dir=tmp_path / "d", PULSER_TOOLS_AGENTS_DIR=str(tmp_path / "agents"), PULSER_PORT="9")
    states = {each["name"]: each["state"] for each in json.loads(done.stdout)}
    assert done.returncode == 7
    assert states["agents"] == states["token"] == "fail"
    assert states["python"] == "ok"


# ---- the database


def test_the_database_goes_up_and_down_with_a_copy_kept(tmp_path: Path):
    data_dir = tmp_path / "d"

    def db(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call("db", *arguments, data_dir=data_dir)

    assert db("current").returncode == 3
    assert json.loads(db("upgrade", "--json").stdout) == {"before": None, "after": migrate.HEAD}
    assert json.loads(db("current", "--json").stdout)["current"] == migrate.HEAD
    checked = db("check")
    assert (checked.returncode, checked.stdout) == (0, "The database is as the code expects it.\n")
    unsure = db("downgrade", "base")
    assert unsure.returncode == 2 and "--yes" in unsure.stderr
    assert json.loads(db("downgrade", "base", "--yes", "--json").stdout)["after"] is None
    assert (data_dir / "backups" / "before-down-to-base.db").is_file()
    assert db("check").returncode == 1
    assert "is " + migrate.HEAD in db("upgrade").stdout


def test_a_running_pulser_is_not_migrated_away(cli: Run):
    refused = cli("db", "downgrade", "base", "--yes")
    assert refused.returncode == 5 and "running" in refused.stderr


def test_a_restored_backup_has_the_same_tasks_events_and_files(tmp_path: Path, samples: Path):
    """The backup is taken while the server runs and works."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pulser(tmp_path / "a", [samples], start=BY_COMMAND) as one, Client(one.url, one.token) as client:
        for payload in ({"action": "noop", "seq": 1}, {"action": "noop", "fail": "permanent"}):
            client.wait(client.submit("orchestration", payload)["task_id"])
        linted = client.wait(client.submit("testing", {"action": "lint", "path": str(samples / "project")})["task_id"])
        client.submit("orchestration", {"action": "noop", "sleep_ms": 60_000}, title="running")
        archive = tmp_path / "backup.tar.gz"
        made = call("backup", str(archive), "--json", data_dir=one.data_dir)
        assert made.returncode == 0, made.stderr
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        running = call("restore", str(archive), "--force", data_dir=one.data_dir)
        assert running.returncode == 5 and "running" in running.stderr
        before = {task["task_id"]: (task["title"], task["created_at"]) for task in client.tasks()}
        events = [event["id"] for event in client.events() if event["event"] == "task_submitted"]
        report = client.download_artifact(linted["task_id"], "report.md")
    restored = call("restore", str(archive), data_dir=tmp_path / "b" / "data")
    assert restored.returncode == 0, restored.stderr
    assert call("restore", str(archive), data_dir=tmp_path / "b" / "data").returncode == 5
    with pulser(tmp_path / "b", [samples], start=BY_COMMAND) as two, Client(two.url, two.token) as client:
        assert {task["task_id"]: (task["title"], task["created_at"]) for task in client.tasks()} == before
        assert [event["id"] for event in client.events() if event["event"] == "task_submitted"] == events
        assert client.download_artifact(linted["task_id"], "report.md") == report


def test_a_postgres_backup_is_restored_into_an_empty_database(postgres_database: str, postgres_server: str, tmp_path: Path):
    from tests import postgres

    place, archive = tmp_path / "data", tmp_path / "backup.tar.gz"
    assert call("db", "upgrade", data_dir=place, PULSER_DATABASE_URL=postgres_database).returncode == 0
    made = call("key", "create", "--name", "ci", "--json", data_dir=place, PULSER_DATABASE_URL=postgres_database)
    assert made.returncode == 0, made.stderr
    done = call("backup", str(archive), data_dir=place, PULSER_DATABASE_URL=postgres_database)
    if "not installed" in done.stderr or "server version mismatch" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    full = call("restore", str(archive), "--force", data_dir=place, PULSER_DATABASE_URL=postgres_database)
    assert full.returncode == 5 and "not empty" in full.stderr
    with postgres.database(postgres_server) as other:
        back = call("restore", str(archive), data_dir=tmp_path / "other", PULSER_DATABASE_URL=other)
        assert back.returncode == 0, back.stderr
        keys = json.loads(call("key", "list", "--json", data_dir=tmp_path / "other", PULSER_DATABASE_URL=other).stdout)
        assert [each["key_id"] for each in keys] == [json.loads(made.stdout)["key_id"]]
        told = json.loads(call("doctor", "--json", data_dir=tmp_path / "other", PULSER_DATABASE_URL=other).stdout)
        assert {each["name"]: each["state"] for each in told}["roles"] == "ok"


# ---- the demo


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """``pulser serve --demo`` in a folder that is no repository: its data folder, its URL and what it printed until the demo's end."""
    folder = tmp_path_factory.mktemp("demo")
    data_dir = folder / "data"
    process = subprocess.Popen(
        [*COMMAND, "serve", "--demo", "--port", str(free_port())],
        env=environment(data_dir),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(PROMPT_S * 2, process.kill)
    watchdog.start()
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if "open it with: pulser open" in line or "did not run" in line:
                break
        watchdog.cancel()
        yield data_dir, printed.partition(" at ")[2].split()[0], printed
        process.send_signal(signal.SIGINT)
        assert process.wait(PROMPT_S) in (0, 130)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_demo_gives_every_agent_real_work_and_goes_on_serving(demonstrated: tuple[Path, str, str]):
    data_dir, url, printed = demonstrated
    assert "tasks completed by 7 agents" in printed and "left out" not in printed, printed
    with Client(url, data_dir=data_dir) as client:
        assert client.health()["ok"] is True
        done = list(client.tasks(status="completed"))
        assert {task["assigned_agent"] for task in done} == {"arkie", "dash", "data_fabcon", "echo", "learnbot", "maya", "pulser"}
        joint = next(task for task in done if task["action"] == "coordinate")
        assert len({task["assigned_agent"] for task in client.tasks(parent_id=joint["task_id"])}) == 3
        assert list(client.tasks(status=["failed", "cancelled"])) == []


def test_a_second_demo_on_the_same_server_works_too(demonstrated: tuple[Path, str, str], tmp_path: Path):
    data_dir, url, _ = demonstrated
    done = call("demo", "--json", data_dir=data_dir, folder=data_dir.parent, PULSER_URL=url)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"] is True, told
    assert {"tasks", "left_out", "url"} <= set(told)
    assert all(task["took_s"] >= 0 and task["url"].startswith(url) for task in told["tasks"])


def test_a_demo_on_a_server_that_reads_nothing_here_uploads_files_and_says_what_it_left_out(tmp_path: Path):
    with pulser(tmp_path, start=BY_COMMAND) as bare:
        done = call("demo", "--json", data_dir=bare.data_dir, folder=tmp_path, PULSER_URL=bare.url)
        told = json.loads(done.stdout)
        names = {task["name"] for task in told["tasks"]}
        assert done.returncode == 0, told
        assert {"profile data", "ask data a question", "judge data", "three agents together", "validate deployments"} <= names
        assert {line.partition(":")[0] for line in told["left_out"]} >= {"lint code", "test a project"}


def test_without_a_server_the_demo_says_how_to_start_one(tmp_path: Path):
    done = call("demo", data_dir=tmp_path / "d", PULSER_URL="http://127.0.0.1:9")
    assert done.returncode == 6 and "pulser serve --demo" in done.stderr


# ---- the other ways in


def test_the_application_can_be_served_by_any_asgi_server(tmp_path: Path):
    code = "import pulser.main as m, sys; assert 'fastapi' not in sys.modules; app = m.app; assert app is m.app; print(callable(app))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(tmp_path / "d"), capture_output=True, text=True, timeout=PROMPT_S, check=False)
    assert done.stdout == "True\n", done.stderr
