"""The confined child, bounded: what it may use up, how it ends, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pulser.core.errors import BadInput, Permanent, TimedOut, Transient
from pulser.tools.sandbox import seccomp
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.conversation import Conversation, rebuilt
from pulser.tools.sandbox.log import BoundedLog
from tests.unit.tools.conftest import SAMPLES, Sandbox

# what it may not use up


def test_a_loop_without_end_is_stopped_at_the_time_limit(box: Sandbox):
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"within 1\.5 s"):
        box.run("while True: pass", time_s=1.5)
    assert time.monotonic() - began < 5


def test_a_tool_that_takes_no_signal_is_stopped_too(box: Sandbox):
    code = "import signal, os\nfor n in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(n, signal.SIG_IGN)\nos.fork()\nwhile True: pass"
    with pytest.raises(TimedOut):
        box.run(code, time_s=1.5)


@pytest.mark.parametrize(
    "code",
    [
        "x = bytearray(2 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "import mmap\nx = []\nwhile True:\n    m = mmap.mmap(-1, 16 << 20); m.write(b'x' * (16 << 20)); x.append(m)",
        "import os\nfor _ in range(6): os.fork()\nx = bytearray(60 << 20)\nfor n in range(0, len(x), 4096): x[n] = 1\nwhile True: pass",
    ],
    ids=["at once", "bit by bit", "shared", "many processes"],
)
def test_memory_is_bounded_for_the_whole_tree(box: Sandbox, code: str):
    with pytest.raises(Permanent, match="out of memory"):
        box.run(code, memory_bytes=256 << 20)


def test_a_fork_bomb_is_bounded_and_leaves_nothing(box: Sandbox):
    if os.geteuid() != 0 and box.level == "landlock":
        pytest.skip("without root, Landlock's share of processes is counted together with the user's own")
    code = (
        "import os, time\n"
        "count = 0\n"
        "try:\n"
        "    while count < 5000:\n"
        "        if os.fork() == 0: time.sleep(1000)\n"
        "        count += 1\n"
        "except OSError: pass\n"
        "result['started'] = count"
    )
    assert 0 < box.run(code, processes=64)["started"] < 64


def test_a_gigabyte_of_output_is_counted_and_not_kept(box: Sandbox):
    code = "import os\nchunk = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, chunk)\nos.write(2, b'the end')"
    box.run(code, time_s=60)
    assert box.log.total_bytes == (1 << 30) + 7
    kept = box.log.content()
    assert len(kept) < 300_000
    assert kept.endswith(b"the end") and b"bytes left out" in kept


@pytest.mark.parametrize("where", ["call.out", "os.environ['TMPDIR']"])
def test_what_it_writes_is_bounded(box: Sandbox, where: str):
    code = (
        "import os\n"
        "try:\n"
        "    for n in range(1000):\n"
        f"        with open(os.path.join({where}, str(n)), 'wb') as f: f.write(bytes(8 << 20))\n"
        "except OSError as error: result['refused'] = error.errno"
    )
    try:
        assert box.run(code)["refused"] in (28, 27)  # ENOSPC, EFBIG
    except Permanent as error:
        assert "32 MiB" in error.detail


def test_one_file_cannot_be_larger_than_the_limit(box: Sandbox):
    code = "try:\n    with (call.out / 'x').open('wb') as f: f.truncate(1 << 40)\nexcept OSError as error: result['refused'] = error.errno"
    assert box.run("import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code) == {"refused": 27}


def test_many_small_files_are_stopped(box: Sandbox):
    with pytest.raises(Permanent, match="files"):
        box.run("import os\nn = 0\nwhile True:\n    os.close(os.open(str(call.out / str(n)), os.O_CREAT | os.O_WRONLY)); n += 1", files=2000)


def test_folders_too_deep_or_closed_are_stopped_and_removed_all_the_same(box: Sandbox):
    code = (
        "import os, signal\n"
        "os.chdir(call.out)\n"
        "for _ in range(3000): os.mkdir('d' * 50); os.chdir('d' * 50)\n"
        "open('f', 'w').close(); os.chmod('.', 0)\n"
        "signal.pause()"
    )
    with pytest.raises(Permanent, match="looked into"):
        box.run(code)


def test_links_into_closed_folders_and_files_that_come_and_go_are_no_offence(box: Sandbox):
    code = (
        "import os, time\n"
        "(call.out / 'link').symlink_to('/root'); (call.out / 'pipe').symlink_to('/proc/1')\n"
        "began = time.monotonic()\n"
        "while time.monotonic() < began + 0.7:\n"
        "    for n in range(50): (call.out / str(n) / 'd').mkdir(parents=True); (call.out / str(n) / 'f').touch()\n"
        "    for n in range(50): (call.out / str(n) / 'd').rmdir(); (call.out / str(n) / 'f').unlink(); (call.out / str(n)).rmdir()\n"
    )
    assert box.run(code) == {}


def test_a_result_and_messages_without_measure_are_refused(box: Sandbox):
    with pytest.raises(Permanent, match="larger than"):
        box.run("result['x'] = 'x' * (2 << 20)")
    with pytest.raises(Permanent, match=r"said more|larger"):
        box.run("while True: call.log('x' * 4000)")


@pytest.mark.parametrize("value", ["float('nan')", "object()", "{1: object()}", "{'a': {1, 2}}"])
def test_a_result_that_is_no_json_is_an_error_of_the_tool(box: Sandbox, value: str):
    with pytest.raises(Permanent, match="not JSON"):
        box.run(f"result['x'] = {value}")


# how it ends


def test_a_daemon_is_dead_when_the_call_returns(box: Sandbox, tmp_path: Path):
    code = (
        "import os, time, subprocess\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.write(write, b'x')\n"
        "        while True:\n"
        "            with open(call.out / 'alive', 'a') as f: f.write('x')\n"
        "    os._exit(0)\n"
        "os.read(read, 1)\n"
        "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    )
    box.run(code)
    sizes = [(box.folder / "out" / "alive").stat().st_size for _ in range(200_000)]
    assert len(set(sizes)) == 1, "somebody still writes"
    assert not [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "1000"]]


def test_cancelling_kills_the_whole_group_at_once(box: Sandbox):
    async def cancelled() -> float:
        started = asyncio.Event()
        request = box.request("import os\nfor _ in range(3): os.fork()\ncall.progress('in the loop')\nwhile True: pass")
        object.__setattr__(request, "on_progress", lambda *_: started.set())
        task = asyncio.create_task(run_child(request))
        await started.wait()
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 1


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_child_that_dies_by_a_signal_may_be_tried_again(box: Sandbox, number: str):
    with pytest.raises(Transient, match=number):
        box.run(f"import os, signal, ctypes; signal.signal(signal.SIGSEGV, signal.SIG_DFL)\nos.kill(os.getpid(), signal.{number})")


def test_a_child_that_just_leaves_gave_no_result(box: Sandbox):
    with pytest.raises(Permanent, match="without a result"):
        box.run("import os; os._exit(3)")


def test_errors_come_back_as_what_they_were(box: Sandbox):
    code = "from pulser.core.errors import BadInput\nraise BadInput('no column', hint='There is a.', errors=[{'pointer': '/payload/x', 'detail': 'no'}], odd=1)"
    with pytest.raises(BadInput) as caught:
        box.run(code)
    assert (caught.value.detail, caught.value.hint) == ("no column", "There is a.")
    assert caught.value.fields == {"errors": [{"pointer": "/payload/x", "detail": "no"}], "odd": 1}


def test_other_errors_are_permanent_and_leave_their_traceback_in_the_log(box: Sandbox):
    with pytest.raises(Permanent, match="ZeroDivisionError"):
        box.run("def deep(): return 1 / 0\ndeep()")
    assert "in deep" in box.log.content().decode()


def test_leaving_by_sys_exit_is_an_error_too(box: Sandbox):
    with pytest.raises(Permanent, match="SystemExit"):
        box.run("raise SystemExit(0)")


def test_when_pulser_is_killed_the_child_dies_with_it(box: Sandbox, tmp_path: Path):
    """A process of Pulser's is killed -9 in the middle; a pipe that only the child's descendants hold then closes."""

    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(SAMPLES.parents[2])!r})\n"
        "from pulser.tools.sandbox.process import run_in\n"
        "from pulser.tools.sandbox.request import ChildRequest\n"
        "code = 'import os\\nif os.fork(): call.progress(str(1))\\nwhile True: pass'\n"
        f"folder, samples = Path({str(box.folder)!r}), Path({str(SAMPLES)!r})\n"
        "told = lambda *_: print('up', flush=True)\n"
        "request = ChildRequest('sample_tools:EXECUTE', {'code': code}, folder, import_from=samples, on_progress=told)\n"
        f"asyncio.run(run_in({box.level!r}, request))\n"
    )
    pulser = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert pulser.stdout is not None
    with pulser.stdout:
        assert pulser.stdout.readline() == b"up\n"
        children = psutil.Process(pulser.pid).children(recursive=True)
        assert len(children) >= 2
        pulser.kill()
        pulser.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# small parts


def test_the_log_keeps_both_ends_of_what_is_too_long():
    log = BoundedLog(100)
    for n in range(1000):
        log.line(f"line {n}")
    text = log.content().decode()
    assert text.startswith("line 0\n") and text.endswith("line 999\n")
    assert len(text) < 200
    left_out = int(text.split("… ")[1].split(" bytes")[0].replace(",", ""))
    assert left_out == log.total_bytes - 100


@pytest.mark.parametrize(
    "said",
    [b"no json\n", b"[]\n", b'{"no": "kind"}\n', b'{"kind":"artifact","name":"../x","media_type":"text/plain"}\n', b"[" * 100_000 + b"\n", b"x" * 2_000_000]
    + [b'{"kind":"result","value":{"x":%s}}\n' % value for value in (b"NaN", b"Infinity", b"1e400", b"[" * 300 + b"]" * 300)],
)
def test_a_child_that_speaks_nonsense_is_stopped(said: bytes):
    with pytest.raises(Permanent):
        Conversation(BoundedLog(), 1 << 20).take(said)


def test_what_no_store_can_keep_is_replaced_and_the_rest_stays():
    talk = Conversation(BoundedLog(), 1 << 20)
    talk.take(rb'{"kind":"result","value":{"a\u0000":["\ud800x","\ud83d\ude00",1e300]}}' + b"\n")
    assert talk.value == {"a\ufffd": ["\ufffdx", "😀", 1e300]}


@pytest.mark.parametrize(("fraction", "share"), [("-3", 0.0), ("1" + "0" * 400, 1.0), ("0.25", 0.25), ('"half"', None)])
def test_progress_is_a_share_whatever_was_said(fraction: str, share: float | None):
    talk = Conversation(BoundedLog(), 1 << 20)
    talk.take(f'{{"kind":"progress","message":"m","fraction":{fraction}}}\n'.encode())
    assert talk.progress == ("m", share)


@pytest.mark.parametrize("code", ["lease-lost", "unavailable", "nothing-known"])
def test_a_tool_cannot_speak_for_the_queue(code: str):
    told = rebuilt({"code": code, "detail": "d", "hint": "h", "fields": {"self": 1, "detail": 2, "kept": 3}})
    assert type(told) is Permanent and told.detail == "d" and told.fields == {"kept": 3}


@pytest.mark.parametrize("machine", sorted(seccomp.NUMBERS))
@pytest.mark.parametrize("sockets", [True, False])
def test_the_filter_is_a_program_whose_jumps_stay_inside(machine: str, sockets: bool):
    steps = seccomp.program(seccomp.Rules(sockets=sockets, signals=True, metadata=True), machine)
    assert len(steps) < 4096
    for place, (code, if_true, if_false, _) in enumerate(steps):
        assert place + max(if_true, if_false) + 1 <= len(steps)
        assert code == 0x06 or place + 1 < len(steps)
    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
