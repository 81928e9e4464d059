"""What learnbot makes of what went wrong."""

from __future__ import annotations

import json
import random
import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.skills.clusters import clusters
from pulser.tools.builtin.skills.failure import Failure, moment, redacted
from pulser.tools.builtin.skills.log_lines import failures_in
from pulser.tools.builtin.skills.mine_failures import TOOL, gather
from pulser.tools.builtin.skills.templates import mask, templates
from tests.unit.tools.fake_call import FakeInstallation, Made, run

LOG = """\
2026-11-20 10:00:01,123 INFO started without an ERROR
2026-11-20 10:00:02,123 ERROR [db] could not connect to 10.0.0.5:5432: Connection refused
2026-11-20 10:02:02,999 ERROR [db] could not connect to db.example.com:5432: Connection refused
2026-11-20 10:05:00,000 ERROR the worker failed
Traceback (most recent call last):
  File "/srv/app/jobs/load.py", line 33, in load_rows
    rows = json.loads(text)
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
2026-11-20 10:06:00,000 ERROR login failed with password=hunter2 for bob@example.com
{"level": "error", "timestamp": "2026-11-20T11:00:00Z", "event": "timed out after 30.2s calling https://api.example.com/x?id=3", "agent": "dash"}
{"level": "info", "timestamp": "2026-11-20T11:00:00Z", "event": "error rate is 0"}
{"level": "error", "timestamp": "2026-11-20T11:30:00Z", "event": "timed out after 12s calling https://api.example.com/x?id=4", "agent": "dash"}
"""


def dead(n: int, detail: str, **more: Any) -> dict[str, Any]:
    known = {"task_id": f"tsk_{n:026}", "task_type": "analytics", "agent": "dash", "action": "profile", "failed_at": f"2026-11-20T0{n % 10}:00:00Z"}
    return {**known, "error": {"code": "bad-input", "detail": detail, "hint": "Name a CSV file."}, **more}


FAILURES = [dead(n, f"'/data/{n}/sales-{n}.csv' has {n * 7} columns on line {n}, {n * 7 + 1} were expected") for n in range(1, 6)] + [
    dead(7, "connection reset by peer", agent="data_fabcon", error={"code": "transient", "detail": "connection reset by peer"})
]
EVENTS = [
    {
        "kind": "executor_failed",
        "target": f"tsk_{1:026}",
        "at": "2026-11-20T01:00:00Z",
        "details": {"agent": "dash", "error": FAILURES[0]["error"]["detail"], "code": "bad-input"},
    },
    {"kind": "lease_reclaimed", "event": "lease_reclaimed", "target": "tsk_x", "ts": "2026-11-20T02:00:00Z", "details": {"worker_id": "w1"}},
    {"kind": "lease_reclaimed", "target": "tsk_x", "at": "2026-11-20T03:00:00Z", "details": {"worker_id": "w2"}},
]


def mined(tmp_path: Path, installation: FakeInstallation | None = None, **args: Any) -> Made:
    """The tool, with what its trusted half gathered."""
    tool = TOOL
    if installation is None:
        return run(tool, tmp_path, **args)
    folder = tmp_path / "gathered"
    folder.mkdir(exist_ok=True)
    extra = gather(args, installation, folder)
    return run(replace(tool, arguments={**tool.arguments, "additionalProperties": True}), tmp_path, **args, **extra)


@pytest.fixture
def log(tmp_path: Path) -> str:
    (tmp_path / "app.log").write_text(LOG)
    return str(tmp_path / "app.log")


def by_title(made: Made) -> dict[str, dict[str, Any]]:
    return {cluster["title"]: cluster for cluster in made.json("clusters.json")["clusters"]}


def test_dead_letters_that_differ_in_names_and_numbers_are_one_cluster(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation(known_failures=FAILURES))
    first = made.json("clusters.json")["clusters"][0]
    assert first["count"] == 5
    assert first["template"] == "<text> has <n> columns on line <n>, <n> were expected"
    assert (first["first_seen"], first["last_seen"]) == ("2026-11-20T01:00:00Z", "2026-11-20T05:00:00Z")
    assert (first["agents"], first["task_types"], first["code"]) == ({"dash": 5}, {"analytics": 5}, "bad-input")
    assert len(first["examples"]) == 3 and first["examples"][0]["task_id"] == f"tsk_{5:026}"


def test_an_event_that_tells_of_a_known_failure_is_not_counted_twice(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation(known_failures=FAILURES, known_events=EVENTS))
    assert made.result["failures"] == len(FAILURES) + 2
    assert by_title(made)["lost worker"]["count"] == 2


def test_a_skill_is_written_for_each_cluster_with_front_matter_and_evidence(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation(known_failures=FAILURES))
    pages = [name for name in made.files if name.endswith(".SKILL.md")]
    assert len(pages) == made.result["skills"] == 2
    for name in pages:
        page = made.text(name)
        front = re.match(r"---\nname: ([a-z0-9-]{1,64})\ndescription: (\".{10,1000}\")\n---\n", page)
        assert front and name == f"{front[1]}.SKILL.md" and json.loads(front[2])
        assert all(part in page for part in ("## What happens", "## How to recognise it", "## Probable cause", "## What to do", "## Evidence"))
    assert any("Name a CSV file. (said by the error itself)" in made.text(name) for name in pages)


def test_the_archive_holds_the_skills_as_folders(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation(known_failures=FAILURES))
    with zipfile.ZipFile(made.files["skills.zip"]) as archive:
        assert len(archive.namelist()) == 2
        for name in archive.namelist():
            assert re.fullmatch(r"skills/[a-z0-9-]+/SKILL\.md", name)
            assert archive.read(name).decode() == made.text(name.split("/")[1] + ".SKILL.md")


def test_log_files_alone_are_enough(tmp_path: Path, log: str) -> None:
    made = mined(tmp_path, logs=[log])
    found = by_title(made)
    assert found["connection failure"]["template"] == "[db] could not connect to <address>: Connection refused"
    assert found["connection failure"]["count"] == 2
    assert found["timeout"]["agents"] == {"dash": 2}
    assert made.result["failures"] == 6


def test_a_traceback_and_the_line_that_announces_it_are_one_failure_placed_in_ones_own_code(tmp_path: Path, log: str) -> None:
    found = by_title(mined(tmp_path, logs=[log]))["unreadable input"]
    assert found["count"] == 1 and found["code"] == "JSONDecodeError"
    assert found["frames"] == {"load.py, in load_rows": 1}
    assert found["first_seen"] == "2026-11-20T10:05:00Z"


def test_no_password_reaches_an_artifact(tmp_path: Path, log: str) -> None:
    made = mined(tmp_path, logs=[log])
    assert by_title(made)["not signed in"]["count"] == 1
    for name in made.files:
        assert b"hunter2" not in made.files[name].read_bytes()


def test_lines_that_only_mention_errors_are_not_failures(tmp_path: Path) -> None:
    (tmp_path / "calm.log").write_text("2026-01-01 00:00:00 INFO 0 ERROR lines so far\nDEBUG: error handler ready\nall went well\n")
    assert mined(tmp_path, logs=[str(tmp_path / "calm.log")]).result["failures"] == 0


def test_nothing_that_failed_is_said_so_and_writes_no_skill(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation())
    assert made.result["summary"].startswith("No failures found") and made.result["clusters"] == []
    assert set(made.files) == {"clusters.json", "report.md"}
    assert "nothing to learn from" in made.text("report.md")


def test_the_same_failures_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for seed in range(3):
        shuffled = FAILURES + [dead(n, f"job {word} ended with code {n}") for n, word in enumerate(("alpha", "beta", "gamma"), 1)]
        random.Random(seed).shuffle(shuffled)
        (tmp_path / str(seed)).mkdir()
        made = mined(tmp_path / str(seed), FakeInstallation(known_failures=shuffled))
        texts.append({name: path.read_bytes() for name, path in made.files.items()})
    assert texts[0] == texts[1] == texts[2]


def test_since_leaves_out_the_old_and_counts_what_has_no_time(tmp_path: Path, log: str) -> None:
    undated = [dead(1, "no time is known", failed_at=None)]
    made = mined(tmp_path, FakeInstallation(known_failures=undated), logs=[log], since="2026-11-20T11:00:00Z")
    assert made.result["failures"] == 2 and made.result["looked_at"]["left_out_without_time"] == 1
    with pytest.raises(BadInput, match="not a time"):
        mined(tmp_path, logs=[log], since="last tuesday")


def test_rare_failures_are_counted_and_get_no_skill_below_the_minimum(tmp_path: Path) -> None:
    made = mined(tmp_path, FakeInstallation(known_failures=FAILURES), min_count=2)
    assert (made.result["clusters_total"], made.result["skills"]) == (2, 1)


def test_limit_bounds_what_is_asked_of_the_installation(tmp_path: Path) -> None:
    assert mined(tmp_path, FakeInstallation(known_failures=FAILURES), limit=2).result["failures"] == 2


def test_a_folder_of_logs_is_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("a.log", "b.jsonl", "notes.md"):
        (tmp_path / "logs" / name).write_text('{"level": "error", "message": "boom"}\n')
    assert mined(tmp_path, logs=[str(tmp_path / "logs")]).result["looked_at"]["log_files"] == 2


def test_bad_logs_are_refused_or_read_as_far_as_they_make_sense(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        mined(tmp_path, logs=[str(tmp_path / "nowhere.log")])
    (tmp_path / "x.log").write_bytes(b"\x1f\x8b\x00\x00binary")
    with pytest.raises(BadInput, match="not a text file"):
        mined(tmp_path, logs=[str(tmp_path / "x.log")])
    odd = b'ERROR caf\xe9 broke\n{"level": "error", "message": {"deep": 1}}\n{"level": "error"\n' + b"[" * 20_000 + b"\nTraceback (most recent call last):\n"
    (tmp_path / "y.log").write_bytes(odd)
    assert mined(tmp_path, logs=[str(tmp_path / "y.log")]).result["failures"] == 2


def test_failures_of_any_shape_are_read(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"error": "text only"},
        {"error": None},
        {},
        {"error": {"code": 5}, "failed_at": 10**30},
        {"error": {"detail": ["a"]}, "agent": None},
    ]
    events: list[dict[str, Any]] = [{"kind": "executor_failed"}, {"kind": "task_failed", "details": "x", "at": "never"}]
    assert mined(tmp_path, FakeInstallation(known_failures=odd, known_events=events)).result["failures"] >= 5


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("took 3.5s, 12% of 1,024 bytes", "took <n>s, <n>% of <n> bytes"),
        ("task tsk_01J0000000000000000000000A failed", "task <id> failed"),
        ("id 123e4567-e89b-12d3-a456-426614174000 at 2026-01-01T10:00:00.5Z", "id <id> at <time>"),
        ("GET https://a.b/c?d=1 from 10.0.0.1:80", "GET <url> from <address>"),
        ("cannot read /srv/data/x.csv:33 nor 'b c'", "cannot read <path> nor <text>"),
        ("commit 9f8e7d6c5b4a at 0xdeadbeef", "commit <hex> at <hex>"),
        ("can't open bob's file", "can't open bob's file"),
        ("v2 of utf8", "v2 of utf8"),
        ("", ""),
    ],
)
def test_what_changes_is_masked_and_words_are_kept(message: str, masked: str) -> None:
    assert mask(message) == masked


def test_messages_that_agree_in_most_words_are_merged_and_others_are_not() -> None:
    texts = ["user alice may not open the file", "user bob may not open the file", "disk is full on the first node"]
    found = templates([("", text) for text in texts])
    assert str(found["", texts[0]]) == str(found["", texts[1]]) == "user <*> may not open the file"
    assert str(found["", texts[2]]) == texts[2]
    assert templates([("a", "x y"), ("b", "x y")])["a", "x y"] is not templates([("a", "x y"), ("b", "x y")])["b", "x y"]


def test_slugs_are_unique_and_short() -> None:
    found = clusters([Failure(f"it failed {word} <<" + "very " * n) for n, word in enumerate(("so", "thus", "badly"), 1)] + [Failure("x" * 5000), Failure("")])
    assert len({cluster.slug for cluster in found}) == len(found)
    assert all(re.fullmatch(r"[a-z0-9-]{1,64}", cluster.slug) for cluster in found)


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "a-" * 50_000, "'" * 50_000, "/a" * 50_000, "a." * 50_000, "1," * 50_000, "password" * 10_000, "x@" * 50_000, "eyJ" * 30_000]
)
def test_no_message_holds_the_masks_up(text: str) -> None:
    began = time.process_time()
    clusters([Failure(text)])
    assert time.process_time() - began < 1


def test_times_of_many_forms_become_one() -> None:
    assert moment("2026-01-01 10:00:00,5") == moment("2026-01-01T11:00:00.5+01:00") == moment(1767261600) == "2026-01-01T10:00:00Z"
    assert moment("soon") is None and moment(None) is None and moment(1e300) is None


def test_what_looks_secret_is_taken_out() -> None:
    shown = redacted("url postgresql://bob:hunter2@db/x, api_key=abcdef, Authorization: Bearer abc.def, token sk-abcdefghijklmnop")
    assert not re.search(r"hunter2|abcdef|abc\.def", shown)
    assert "bob" in shown and "db/x" in shown


def test_a_long_log_is_read_in_reasonable_time(tmp_path: Path) -> None:
    lines = [f"2026-01-01 00:00:00 ERROR request {n} to 10.0.0.{n % 250}:80 failed after {n % 7} tries" for n in range(20_000)]
    (tmp_path / "big.log").write_text("\n".join(lines))
    began = time.process_time()
    found = clusters(list(failures_in(tmp_path / "big.log")))
    assert len(found) == 1 and found[0].count == 20_000
    assert time.process_time() - began < 5


def test_half_a_surrogate_pair_in_a_log_of_json_does_not_stop_the_mining(tmp_path):
    (tmp_path / "a.log").write_text('{"level":"error","message":"bad \\ud800 name"}\n{"level":"error","message":"fine \\ud83d\\ude00 name"}\n')
    found = run(TOOL, tmp_path, logs=[str(tmp_path / "a.log")]).json("clusters.json")["clusters"]
    texts = [example["message"] for cluster in found for example in cluster["examples"]]
    assert texts == ["bad ? name", "fine 😀 name"]
