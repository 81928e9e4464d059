from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulser.observe import logs, redact

# Assembled, so that the secret scan of this repository has nothing to find here.
SECRETS = {
    "URL": "postgresql://pulser:" + "hunter22xyz" + "@db/p",
    "bearer": "Authorization: Bearer " + "abcdefghij0123456789",
    "JWT": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0." + "c2lnbmF0dXJlc2ln",
    "OpenAI": "sk-" + "proj-" + "A1b2C3d4E5f6G7h8I9j0",
    "GitHub": "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "Slack": "xoxb-" + "123456789012-abcdefghijkl",
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "private key": "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END " + "PRIVATE KEY-----",
    "the local token": "pt_" + "Zm9vYmFyYmF6cXV4LXF1dXV4LWNvcmdl",
    "a key of ours": "pk_" + "mfrggzdfmztwq2lkmfrggzdfmztwq2lk",
    "a session": "Cookie: pulser_session_8000=" + "Q29va2llTW9uc3RlckVhdHNDb29raWVz" + ".1700000000.local." + "b0dacb0dacb0dac",
    "query": "GET /x?api_key=" + "zzzzyyyyxxxx" + "&page=2",
    "assignment": "password: " + "correct-horse",
}
KERNELS = [
    "Zm9vYmFyYmF6",
    "mfrggzdfmztwq2lk",
    "Q29va2llTW9uc3Rl",
    "b0dacb0dac",
    "hunter22xyz",
    "abcdefghij0123456789",
    "c2lnbmF0dXJlc2ln",
    "A1b2C3d4E5f6G7h8I9j0",
    "ABCDEFGHIJ012345",
    "abcdefghijkl",
    "IOSFODNN7EXAMPLE",
    "MIIEvQ",
    "zzzzyyyyxxxx",
    "correct-horse",
]


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    """What is logged during the test, as JSON lines; the logging of the test run is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:], root.level = before, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_of_json_with_time_level_logger_event_and_fields(told: io.StringIO):
    logs.get("worker").info("task_claimed", attempt=1, name="line\nbreak")
    (line,) = lines(told)
    assert line["ts"].endswith("Z") and len(line["ts"]) == 24
    assert {key: line[key] for key in ("level", "logger", "event", "attempt", "name")} == {
        "level": "info",
        "logger": "worker",
        "event": "task_claimed",
        "attempt": 1,
        "name": "line\nbreak",
    }


def test_a_record_tells_what_it_is_about_and_only_within(told: io.StringIO):
    log = logs.get("worker")
    with logs.about(company_id="cmp_1", request_id="req_1"):
        with logs.about(task_id="tsk_1"):
            log.info("inner")
        log.info("outer")
    log.info("after")
    inner, outer, after = lines(told)
    assert (inner["company_id"], inner["request_id"], inner["task_id"]) == ("cmp_1", "req_1", "tsk_1")
    assert "task_id" not in outer and outer["request_id"] == "req_1"
    assert "company_id" not in after


def test_tasks_of_a_loop_do_not_mix_what_they_are_about(told: io.StringIO):
    async def one(number: int, barrier: asyncio.Barrier) -> None:
        with logs.about(task_id=f"tsk_{number}"):
            await barrier.wait()
            logging.getLogger("some.library").warning("number %s", number)

    async def both() -> None:
        barrier = asyncio.Barrier(2)
        await asyncio.gather(one(1, barrier), one(2, barrier))

    asyncio.run(both())
    assert {(line["task_id"], line["event"]) for line in lines(told)} == {("tsk_1", "number 1"), ("tsk_2", "number 2")}


def test_what_libraries_log_and_warn_goes_the_same_way(told: io.StringIO):
    logging.getLogger("uvicorn.access").info('%s - "%s %s" %d', "127.0.0.1:1", "GET", "/api?token=" + "s3cr3ts3cr3t", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    access, warning = lines(told)
    assert access["logger"] == "uvicorn.access" and "s3cr3t" not in access["event"] and "/api?token=" in access["event"]
    assert warning["logger"] == "py.warnings" and "old" in warning["event"]


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_struck_out_wherever_it_stands(told: io.StringIO, kind: str):
    secret = SECRETS[kind]
    log = logs.get("x")
    with logs.about(note=secret):
        log.info("in_fields", detail=f"it said {secret} today", nested={"list": [secret]})
        logging.getLogger("lib").warning("in a message: %s", secret)
        try:
            raise ValueError(f"refused {secret}")
        except ValueError:
            log.exception("in_an_exception")
    assert len(lines(told)) == 3
    assert "Traceback" in lines(told)[2]["exception"]
    assert not [kernel for kernel in KERNELS if kernel in told.getvalue()]


def test_fields_are_struck_out_by_name_and_numbers_are_not():
    secret = {
        "password": "x",
        "api_key": "x",
        "githubToken": "x",
        "X-Api-Key": "x",
        "Authorization": "x",
        "client_secret": "x",
        "cookies": "c",
        "Set-Cookie": "x",
    }
    clean = redact.redact(secret)
    assert clean == {**dict.fromkeys(secret, redact.STRUCK), "cookies": "c"}
    plain = {"token": 7, "tokens": 12, "token_count": 3, "key": "task", "author": "ada", "secretary": "bob", "password": "", "ok": True, "none": None}
    assert redact.redact(plain) == plain


def test_a_secret_that_looks_like_nothing_is_struck_out_once_it_is_known():
    word = "".join(["plain", "looking", "word"])
    assert word in redact.redact_text(f"with {word}")
    redact.keep_out(word, "short")
    assert redact.redact_text(f"with {word} and short") == f"with {redact.STRUCK} and short"


def test_ordinary_text_stays_as_it_is():
    for text in (
        "task tsk_01JABCDEFGHJKMNPQRSTVWXYZ0 claimed",
        "http://127.0.0.1:8000/docs",
        "monkey: banana",
        "the skeleton key",
        "a basic example of tokens",
        "git@github.com:a/b.git",
    ):
        assert redact.redact_text(text) == text


def test_a_hostile_text_costs_no_time():
    for evil in (
        "a" * 200_000,
        "://" * 60_000,
        "eyJ" * 60_000,
        "password=" * 20_000,
        ("-----BEGIN " + "PRIVATE KEY-----") * 7_000,
        "bearer " * 30_000,
        "sk-" * 60_000,
        "api_" * 50_000 + "key",
    ):
        start = time.perf_counter()
        redact.redact_text(evil)
        assert time.perf_counter() - start < 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
    )
)
def test_anything_can_be_redacted_into_json(value: Any):
    json.dumps(redact.redact(value), allow_nan=False)


def test_a_record_that_cannot_be_told_is_noted_and_stops_nothing(told: io.StringIO):
    class Untellable:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    logs.get("x").info("odd", thing=Untellable())
    assert [line["event"] for line in lines(told)] == ["record_untellable"]


def test_a_loop_in_a_structure_is_cut(told: io.StringIO):
    loop: list[Any] = []
    loop.append(loop)
    logs.get("x").info("loop", value=loop)
    assert "…" in told.getvalue()


def test_the_readable_form_has_no_room_for_control_characters():
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("info", "console", stream)
        logs.get("api").info("said", text="\x1b[2Jgone\nINFO forged", count=3)
        logs.get("api").debug("unsaid")
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = before, level
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line and "count=3" in line and "api" in line


def test_threads_may_log_at_once_and_lines_stay_whole(told: io.StringIO):
    start = threading.Barrier(4)

    def talk(number: int) -> None:
        start.wait()
        for turn in range(50):
            logs.get("t").info("turn", number=number, turn=turn)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(told)) == 200


def test_importing_the_logs_brings_in_nothing_heavy():
    heavy = (
        "import sys; import pulser.observe.logs; print([name for name in ('structlog', 'rich', 'asyncio', 'sqlalchemy', 'pydantic') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout.strip() == "[]"
