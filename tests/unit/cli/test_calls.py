"""A call of the command line: usage, exit codes, what goes where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pulser.cli import commands, connect, exits, show, submit
from pulser.core import errors


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory without data, and nothing given before the command."""
    monkeypatch.chdir(tmp_path)
    connect.GIVEN.clear()
    return tmp_path


def pulser(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pulser", *arguments], capture_output=True, text=True, cwd=folder, env={"PATH": os.environ["PATH"], **environment}, check=False
    )


# ---- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadInput("no"), 2), (errors.UnknownName("no"), 2), (errors.Malformed("no"), 2), (errors.TooLarge("no"), 2), (errors.NotFound("no"), 3),
        (errors.Gone("no"), 3), (errors.NotSignedIn("no"), 4), (errors.Forbidden("no"), 4), (errors.Conflict("no"), 5), (errors.IllegalMove("no"), 5),
        (errors.Precondition("no"), 5), (errors.Unavailable("no"), 6), (errors.OperatorError("no"), 7), (errors.Permanent("no"), 1),
    ],
)  # fmt: skip
def test_an_error_ends_with_the_code_of_whose_fault_it_is(error, code):
    assert exits.code_of(error) == code


def test_every_error_there_is_has_a_documented_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PulserError)]
    assert len(kinds) > 20
    assert {exits.code_of(kind("no")) for kind in kinds} <= set(exits.MEANING)


def test_the_help_lists_every_exit_code(capsys):
    assert commands.run(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for code, meaning in exits.MEANING.items():
        assert f"{code} {meaning}" in told


@pytest.mark.parametrize("arguments", [["frob"], ["tasks", "frob"], ["submit"], ["serve", "--port", "many"], ["tasks", "list", "--colour"]])
def test_wrong_usage_is_two_lines_on_standard_error_and_exit_code_2(arguments, capsys):
    assert commands.run(arguments) == exits.USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("pulser: ") and "--help" in told.err and len(told.err.splitlines()) <= 3


def test_a_refusal_tells_what_where_and_how_to_mend_it():
    error = errors.BadInput("a value is wrong", hint="Mend it.\nOr not.", errors=[{"pointer": "/payload/path", "detail": "outside the roots"}])
    assert list(exits.message(error)) == ["pulser: a value is wrong", "  /payload/path: outside the roots", "  Mend it.", "  Or not."]


def test_a_setting_that_there_is_not_ends_with_exit_code_7(elsewhere):
    done = pulser("config", folder=elsewhere, PULSER_PROT="1")
    assert done.returncode == exits.OPERATOR
    assert "PULSER_PORT" in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_a_mistake_of_ours_is_a_line_and_with_debug_a_traceback(elsewhere, monkeypatch, capsys):
    def broken() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(connect, "client", broken)
    monkeypatch.setattr("pulser.cli.tasks.client", broken)
    assert commands.run(["tasks", "list"]) == exits.FAILED
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told and "Traceback" not in told
    monkeypatch.setenv("PULSER_LOG_LEVEL", "debug")
    with pytest.raises(ZeroDivisionError):
        commands.run(["tasks", "list"])


def test_an_interruption_is_exit_code_130(monkeypatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pulser.cli.tasks.client", interrupted)
    assert commands.run(["tasks", "list"]) == exits.INTERRUPTED


def test_without_a_server_it_says_how_to_start_one(elsewhere):
    done = pulser("--url", "http://127.0.0.1:9", "agents", "list", folder=elsewhere)
    assert done.returncode == exits.UNAVAILABLE
    assert "http://127.0.0.1:9" in done.stderr and "pulser serve" in done.stderr


# ---- light on its feet


def test_help_and_client_commands_import_neither_web_nor_database(elsewhere):
    code = (
        "import sys\nfrom pulser.cli.commands import run\n"
        "for call in (['--help'], ['submit', '--help'], ['--url', 'http://127.0.0.1:9', 'tasks', 'list']): run(call)\n"
        "print([name for name in ('sqlalchemy', 'fastapi', 'starlette', 'uvicorn', 'rich') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere, env={"PATH": os.environ["PATH"]}, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


# ---- what is printed


def test_version_is_one_json_document(elsewhere):
    done = pulser("version", "--json", folder=elsewhere)
    assert json.loads(done.stdout)["pulser"]


def test_config_names_where_a_value_came_from_and_masks_secrets(elsewhere):
    done = pulser("config", "--json", "--changed", folder=elsewhere, PULSER_PORT="9001", PULSER_DATABASE_URL="postgresql://me:hunter2@db/x")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["PULSER_PORT"]["value"] == "9001" and rows["PULSER_PORT"]["source"] == "environment PULSER_PORT"
    assert set(rows) == {"PULSER_PORT", "PULSER_DATABASE_URL"}
    assert "hunter2" not in done.stdout


def test_a_table_is_plain_columns_when_piped(capsys):
    show.table(("task", "status"), [["tsk_1", "completed"], ["tsk_22", None]])
    assert capsys.readouterr().out == "TASK    STATUS\ntsk_1   completed\ntsk_22\n"


def test_text_of_others_cannot_steer_the_terminal(capsys):
    show.table(("title",), [["\x1b[2Jgone\nnext\x07"]])
    show.say("a\x9b31mb")
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\x07" not in told and "\x9b" not in told
    assert "gone next" in told


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0.0123, "12 ms"), (1.26, "1.3 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")])
def test_durations_are_for_people(seconds, text):
    assert show.span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2048, "2.0 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes_are_for_people(count, text):
    assert show.size(count) == text


# ---- payloads


def test_a_payload_is_put_together_from_pairs_json_and_files(elsewhere):
    (elsewhere / "more.json").write_text('{"select": ["F"], "path": "src"}')
    made = submit.merged(["path=old", "@more.json", "fix=true", "limit=3", '{"deep": {"a": 1}}', "text=a=b", "version=1.2.3"])
    assert made == {"path": "src", "select": ["F"], "fix": True, "limit": 3, "deep": {"a": 1}, "text": "a=b", "version": "1.2.3"}


@pytest.mark.parametrize("part", ["path", "=x", "{broken", "[1]", "@nowhere.json"])
def test_a_payload_that_cannot_be_read_is_told(part):
    with pytest.raises(errors.BadInput):
        submit.merged([part])


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({"status": "completed", "result": {}}, 0), ({"status": "completed", "result": {"verdict": "pass"}}, 0), ({"status": "in_review", "result": None}, 0),
        ({"status": "completed", "result": {"verdict": "FAIL"}}, 1), ({"status": "completed", "result": {"verdict": "failed"}}, 1),
        ({"status": "failed"}, 1), ({"status": "cancelled"}, 1), ({"status": "running", "task_id": "tsk_1"}, 6),
    ],
)  # fmt: skip
def test_the_exit_code_tells_how_the_work_ended(task, code):
    assert submit.verdict(task) == code


# ---- agents of one's own


def test_a_new_spec_is_valid_and_is_not_written_over(elsewhere, capsys):
    assert commands.run(["agents", "new", "scribe"]) == 0
    assert commands.run(["agents", "validate", "scribe.yaml"]) == 0
    capsys.readouterr()
    assert commands.run(["agents", "new", "scribe"]) == exits.CONFLICT
    assert commands.run(["agents", "new", "No Name"]) == exits.USAGE


def test_a_spec_with_mistakes_is_told_with_lines(elsewhere, capsys):
    Path("bad.yaml").write_text("name: bad\nrole: x\ntask_types: {}\nactoins: {}\n")
    assert commands.run(["agents", "validate", "bad.yaml"]) == exits.USAGE
    assert "bad.yaml:4:" in capsys.readouterr().err
    assert commands.run(["agents", "validate", "bad.yaml", "--json"]) == exits.USAGE
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False and any("actoins" in each["problem"] for each in told["problems"])


# ---- the reference page


def test_the_reference_names_every_command_and_option():
    from pulser.cli.reference import page

    text = page()
    root = commands.build()
    for name, command in root.commands.items():
        for path, each in {name: command, **{f"{name} {sub}": below for sub, below in getattr(command, "commands", {}).items()}}.items():
            if not each.hidden:
                assert f" pulser {path}\n" in text
                assert each.help, f"{path} has no help"
                assert all(parameter.help for parameter in each.params if parameter.param_type_name == "option"), path
