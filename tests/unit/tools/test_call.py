"""The one door to tools, end to end: real children, real files."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput, NotFound, OperatorError, Permanent, TimedOut, UnknownName
from pulser.core.tool import Call, Installation, Json, Tool
from pulser.tools import registry
from pulser.tools.call import Context, Result, apply, call, log_path
from pulser.tools.paths import Root
from tests.unit.tools import sample_tools
from tests.unit.tools.fake_call import FakeInstallation
from tests.unit.tools.test_inputs import KeptFiles

SAMPLES = Path(__file__).parent
for attribute in ("ECHO", "INLINE", "EXECUTE", "LOADER"):
    registry.add(getattr(sample_tools, attribute).name, f"sample_tools:{attribute}", SAMPLES)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "root").mkdir()
    files = KeptFiles(tmp_path / "data" / "blobs")
    return Context(
        company_id="co", task_id="tsk_1", attempt=1, scratch_dir=tmp_path / "data" / "scratch", data_dir=tmp_path / "data", files=files,
        installation=FakeInstallation(targets={"warehouse": "sqlite:///x"}), roots=(Root(tmp_path / "root"),), time_limit_s=30,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_left(context: Context):
    yield
    left = [path for path in context.scratch_dir.glob("*") if path.is_dir()] if context.scratch_dir.exists() else []
    assert left == [], "a call's folder stayed behind"


def run(name: str, context: Context, **args: Any) -> Result:
    return asyncio.run(call(name, args, context))


@pytest.mark.parametrize("name", ["test.echo", "test.inline"])
def test_a_call_returns_its_result_keeps_its_artifacts_and_writes_its_log(context: Context, name: str):
    told: list[tuple[str, float | None]] = []
    done = run(name, replace(context, on_progress=lambda message, fraction: told.append((message, fraction))), text="hi", times=3)
    assert done.result == {"said": "hi", "times": 3}
    (artifact,) = done.artifacts
    assert (artifact.name, artifact.media_type, artifact.size_bytes) == ("said.txt", "text/plain", 6)
    assert context.files.path_of(f"file:{artifact.sha256}").read_text() == "hihihi"
    assert done.log_path == log_path(context)
    assert done.log_path.read_text() == "said hi\n"
    assert told == [("saying it", 0.5)]
    assert done.effect == "read"


def test_defaults_of_the_schema_reach_the_tool(context: Context):
    assert run("test.echo", context, text="hi").result == {"said": "hi", "times": 1}


def test_bad_arguments_are_refused_before_anything_starts(context: Context):
    with pytest.raises(BadInput) as caught:
        run("test.echo", context, txt="hi")
    assert {error["pointer"] for error in caught.value.fields["errors"]} == {"/payload/txt", "/payload/text"}
    assert not context.scratch_dir.exists()


def test_an_unknown_tool_is_answered_with_the_nearest(context: Context):
    with pytest.raises(UnknownName) as caught:
        run("code.lnit", context)
    assert "'code.lint'" in caught.value.hint


def test_every_tool_of_the_table_is_named_once_and_none_is_imported_at_start():
    assert {"code.lint", "code.test", "docs.format", "docs.changelog", "docs.api_docs", "docs.check_links", "data.profile", "data.query", "data.etl"} <= set(
        registry.names()
    )
    program = (
        "import sys, pulser.tools.call; print([m for m in sys.modules if m.startswith('pulser.tools.builtin') or m in ('duckdb', 'sqlalchemy', 'fastapi')])"
    )
    import sys

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_two_tools_cannot_share_a_name_and_a_broken_one_is_the_operators_matter():
    with pytest.raises(OperatorError, match="already"):
        registry.add("code.lint", "elsewhere:TOOL")
    registry.add("test.absent", "no_such_module_here:TOOL")
    registry.add("test.no_tool", "json:dumps")
    for name in ("test.absent", "test.no_tool"):
        with pytest.raises(OperatorError, match=r"no_such_module|not a tool"):
            registry.get(name)


def test_a_missing_extra_is_named(context: Context, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry._loaded, "test.echo", replace(sample_tools.ECHO, needs=("json", "not_there_at_all"), extra="data"))
    with pytest.raises(Permanent, match="not_there_at_all") as caught:
        run("test.echo", context, text="x")
    assert caught.value.hint == "pip install 'pulser[data]'"


def test_inputs_arrive_as_paths_whatever_they_were_named_by(context: Context, tmp_path: Path):
    (tmp_path / "root" / "a.csv").write_text("rows")
    sha256, _ = context.files.put(tmp_path / "root" / "a.csv")
    code = "result['read'] = [open(p).read() for p in (call.args['path'], *call.args['paths'])]; result['name'] = call.args['paths'][0].rpartition('/')[2]"
    done = run("test.execute", context, code=code, path="a.csv", paths=[f"file:{sha256}/b.csv"])
    assert done.result == {"read": ["rows", "rows"], "name": "b.csv"}


def test_a_root_that_holds_the_data_folder_shows_all_but_that(context: Context, tmp_path: Path):
    (tmp_path / "a").write_text("rows")
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "pulser.db").write_text("everything")
    code = (
        "import os\n"
        "result['a'] = open(os.path.join(call.args['path'], 'a')).read()\n"
        "try: result['db'] = open(os.path.join(call.args['path'], 'data', 'pulser.db')).read()\n"
        "except OSError: pass\n"
    )
    assert run("test.execute", replace(context, roots=(Root(tmp_path),)), code=code, path=".").result == {"a": "rows"}


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(folder), *words], check=True, capture_output=True)


def repository(folder: Path) -> Path:
    """Two revisions, and a configuration that would run a program wherever git lets it."""
    folder.mkdir()
    git(folder, "init", "-b", "main")
    (folder / "a.py").write_text("first")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / ".gitattributes").write_text("* filter=evil\nhidden export-ignore\n")
    (folder / "hidden").write_text("x")
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "first")
    git(folder, "tag", "v1")
    (folder / "a.py").write_text("second")
    git(folder, "commit", "-am", "second")
    mark = folder.parent / "evil-ran"
    for key, value in {
        "filter.evil.smudge": "tr a-z A-Z", "filter.evil.process": f"touch {mark}", "filter.evil.required": "true",
        "core.fsmonitor": f"touch {mark}", "core.hooksPath": str(folder / "hooks"), "core.pager": f"touch {mark}",
        "extensions.partialClone": "origin", "remote.origin.url": f"ext::sh -c touch% {mark}", "remote.origin.promisor": "true",
    }.items():  # fmt: skip
        git(folder, "config", key, value)
    (folder / "hooks").mkdir()
    (folder / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (folder / "hooks" / "post-checkout").chmod(0o755)
    return folder


@pytest.mark.parametrize("bare", [False, True])
def test_a_git_revision_is_laid_out_and_the_repository_runs_nothing_outside_the_child(context: Context, tmp_path: Path, bare: bool):
    repo = repository(tmp_path / "root" / "repo")
    if bare:
        git(tmp_path / "root", "clone", "--bare", "repo", "bare.git")
        repo = tmp_path / "root" / "bare.git"
    code = "import os; p = call.args['path']; result['a'] = open(p + '/a.py').read(); result['names'] = sorted(os.listdir(p))"
    for revision, content in (("v1", "first"), ("main", "second"), ("HEAD~1", "first")):
        done = run("test.execute", context, code=code, path=f"git:{repo.name}@{revision}").result
        assert done == {"a": content, "names": [".gitattributes", "a.py", "hidden", "link"]}
    assert not (tmp_path / "root" / "evil-ran").exists()
    assert not (repo / "index.lock").exists()


def test_a_revision_or_repository_that_is_not_there_is_told_with_its_pointer(context: Context, tmp_path: Path):
    repository(tmp_path / "root" / "repo")
    (tmp_path / "root" / "empty").mkdir()
    git(tmp_path / "root" / "empty", "init")
    (tmp_path / "root" / "none").mkdir()
    for path in ("git:repo@v9", "git:empty@HEAD", "git:none@main"):
        with pytest.raises(BadInput) as caught:
            run("test.execute", context, code="", path=path)
        assert caught.value.fields["errors"][0]["pointer"] == "/payload/path"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.symlink('/etc/passwd', call.artifact('a', 'text/plain'))", "symbolic link"),
        ("import os; os.mkfifo(call.artifact('a', 'text/plain'))", "regular"),
        ("call.artifact('a', 'text/plain').mkdir()", "regular"),
        ("call.artifact('a', 'text/plain')", "named but"),
        ("call.artifact('a', 'text/plain').write_bytes(bytes(2000))", "limit is 1,000"),
        ("call.artifact('../a', 'text/plain')", "cannot be an artifact"),
        ("call.artifact('a', 'text/plain\\nX: y')", "cannot be an artifact"),
        ("call._send({'kind': 'artifact', 'name': '../../../root/a', 'media_type': 'text/plain'})", "cannot be one"),
    ],
)
def test_only_regular_files_of_bounded_size_become_artifacts(context: Context, code: str, said: str):
    with pytest.raises(Permanent, match=said):
        run("test.execute", replace(context, artifact_limit_bytes=1000), code=code)


def test_the_log_is_there_when_the_call_fails(context: Context):
    with pytest.raises(Permanent, match="ZeroDivisionError"):
        run("test.execute", context, code="print('before'); 1 / 0")
    assert "before" in log_path(context).read_text()
    assert "ZeroDivisionError" in log_path(context).read_text()


def test_a_call_that_says_nothing_leaves_no_log_of_an_earlier_one(context: Context):
    run("test.execute", context, code="print('said')")
    assert run("test.execute", context, code="").log_path is None
    assert not log_path(context).exists()


def test_the_contexts_time_limit_counts(context: Context):
    with pytest.raises(TimedOut):
        run("test.execute", replace(context, time_limit_s=0.5), code="while True: pass")


def test_no_more_children_run_at_once_than_the_semaphore_lets(context: Context, tmp_path: Path):
    async def both() -> list[Result]:
        limited = replace(context, children=asyncio.Semaphore(1))
        code = "import time; a = time.monotonic_ns(); sum(range(10**6)); result['span'] = [a, time.monotonic_ns()]"
        return await asyncio.gather(*(call("test.execute", {"code": code}, replace(limited, attempt=n)) for n in range(3)))

    spans = sorted(done.result["span"] for done in asyncio.run(both()))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_cancelled_call_leaves_no_folder(context: Context):
    async def cancelled() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(
            call("test.execute", {"code": "call.progress('up')\nwhile True: pass"}, replace(context, on_progress=lambda *_: started.set()))
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())


# gather and apply: the trusted halves


def test_gather_brings_arguments_and_files_and_apply_takes_effect(context: Context):
    done = run("test.loader", context, target="warehouse")
    assert done.result == {"rows": 3, "loaded": "three rows into sqlite:///x"}
    assert [artifact.name for artifact in done.artifacts] == ["rows.txt"]


def test_while_a_review_is_due_nothing_takes_effect_until_apply_is_called(context: Context):
    done = run("test.loader", replace(context, apply=False), target="warehouse")
    assert done.result == {"rows": 3}

    async def later() -> tuple[Json, Json]:
        first = await apply("test.loader", {"target": "warehouse"}, done.result, done.artifacts, context)
        return first, await apply("test.loader", {"target": "warehouse"}, done.result, done.artifacts, context)

    first, again = asyncio.run(later())
    assert first == again == {"rows": 3, "loaded": "three rows into sqlite:///x"}


def test_what_was_never_kept_cannot_be_applied(context: Context):
    from pulser.core.task import Artifact

    with pytest.raises(NotFound):
        asyncio.run(apply("test.loader", {"target": "warehouse"}, {}, [Artifact("rows.txt", "0" * 64, 1, "text/plain")], context))


def test_a_tool_without_apply_leaves_a_reviewed_result_as_it_is(context: Context):
    assert asyncio.run(apply("test.echo", {"text": "x"}, {"a": 1}, [], context)) == {"a": 1}


def test_an_error_in_a_trusted_half_is_permanent_with_its_traceback_in_the_log(context: Context, monkeypatch: pytest.MonkeyPatch):
    def broken(args: Json, result: Json, files: Mapping[str, Path], installation: Installation) -> Json:
        raise KeyError("gone")

    monkeypatch.setitem(registry._loaded, "test.loader", replace(sample_tools.LOADER, apply=broken))
    with pytest.raises(Permanent, match="KeyError"):
        run("test.loader", context, target="warehouse")
    assert "in broken" in log_path(context).read_text()


# inline


def inline(context: Context, monkeypatch: pytest.MonkeyPatch, work: Any, **how: Any) -> Result:
    tool = Tool(name="test.inline", summary="", run=work, arguments={"type": "object"}, where="inline")
    monkeypatch.setitem(registry._loaded, "test.inline", tool)
    return run("test.inline", replace(context, **how))


def test_an_inline_tool_may_be_a_coroutine_and_makes_no_folder(context: Context, monkeypatch: pytest.MonkeyPatch):
    async def work(call: Call) -> Json:
        await asyncio.sleep(0)
        return {"done": True}

    assert inline(context, monkeypatch, work).result == {"done": True}
    assert not context.scratch_dir.exists()


@pytest.mark.parametrize(
    ("value", "said"), [({"x": float("nan")}, "not JSON"), ({"x": object()}, "not JSON"), ([1], "where an object"), ({"x": "x" * 2000}, "larger than")]
)
def test_an_inline_result_is_measured_too(context: Context, monkeypatch: pytest.MonkeyPatch, value: Any, said: str):
    with pytest.raises(Permanent, match=said):
        inline(context, monkeypatch, lambda call: value, result_limit_bytes=1000)


def test_inline_errors_are_told_as_those_of_children_are(context: Context, monkeypatch: pytest.MonkeyPatch):
    async def broken(call: Call) -> Json:
        raise KeyError("gone")

    async def slow(call: Call) -> Json:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(Permanent, match="KeyError"):
        inline(context, monkeypatch, broken)
    with pytest.raises(TimedOut):
        inline(context, monkeypatch, slow, time_limit_s=0.05)
