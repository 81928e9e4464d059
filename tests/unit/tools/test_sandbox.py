"""The confined child, attacked: every escape is tried with real processes, at every level of confinement that this machine offers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pulser.core.errors import BadInput, OperatorError, Permanent, PulserError, TimedOut, Transient
from pulser.tools.sandbox import folder as folders
from pulser.tools.sandbox import seccomp
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.confine import SETTINGS, confinement
from pulser.tools.sandbox.conversation import Conversation
from pulser.tools.sandbox.log import BoundedLog
from pulser.tools.sandbox.request import ChildRequest, ChildResult, Limits, Readable

SAMPLES = Path(__file__).parent
HERE = ("bwrap", "landlock")


def offered(level: str) -> bool:
    try:
        return confinement(level).name == level
    except OperatorError:
        return False


@pytest.fixture(params=HERE)
def level(request: pytest.FixtureRequest) -> str:
    if not offered(request.param):
        pytest.skip(f"{request.param} does not hold on this machine")
    return str(request.param)


class Sandbox:
    """Runs code in a child and keeps what it left."""

    def __init__(self, level: str, place: Path) -> None:
        self.level = level
        self.place = place
        self.log = BoundedLog()
        self.progress: list[tuple[str, float | None]] = []
        self.folder = folders.make(place / "scratch")

    def request(self, code: str, tool: str = "EXECUTE", reads: tuple[Path, ...] = (), hidden: tuple[Path, ...] = (), **limits: Any) -> ChildRequest:
        pinned = tuple(Readable(path, path.stat().st_dev, path.stat().st_ino) for path in reads)
        return ChildRequest(
            target=f"sample_tools:{tool}",
            args={"code": code},
            folder=self.folder,
            reads=pinned,
            hidden=hidden,
            import_from=SAMPLES,
            limits=Limits(**({"time_s": 30, "memory_bytes": 512 << 20, "disk_bytes": 32 << 20} | limits)),
            sandbox=self.level,
            log=self.log,
            on_progress=lambda message, fraction: self.progress.append((message, fraction)),
        )

    def run(self, code: str, **how: Any) -> dict[str, Any]:
        return self.whole(code, **how).value

    def whole(self, code: str, **how: Any) -> ChildResult:
        return asyncio.run(run_child(self.request(code, **how)))


@pytest.fixture
def box(level: str, tmp_path: Path):
    box = Sandbox(level, tmp_path)
    descriptors = len(os.listdir("/proc/self/fd"))
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    yield box
    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor stayed open"
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= children, "a process stayed behind"
    folders.remove(box.folder)
    assert not box.folder.exists()


# what a tool may do


def test_a_tool_returns_its_result_names_artifacts_tells_progress_and_logs(box: Sandbox):
    done = box.whole(
        "call.progress('half', 0.5); call.log('a line'); print('printed'); call.artifact('a.txt', 'text/plain').write_text('made'); result['x'] = [1, 'é']"
    )
    assert done.value == {"x": [1, "é"]}
    assert done.artifacts == (("a.txt", "text/plain"),)
    assert (box.folder / "out" / "a.txt").read_text() == "made"
    assert box.progress == [("half", 0.5)]
    assert sorted(box.log.content().decode().splitlines()) == ["a line", "printed"]


def test_git_and_python_run_inside_and_see_no_configuration(box: Sandbox):
    found = box.run(
        "import subprocess, sys\n"
        "result['git'] = subprocess.run(['git', 'config', '--list'], capture_output=True, text=True, check=True).stdout\n"
        "result['python'] = subprocess.run([sys.executable, '-c', 'import jsonschema_rs; print(7)'], capture_output=True, text=True, check=True).stdout"
    )
    assert "safe.directory=*" in found["git"]
    assert "user.name" not in found["git"]
    assert found["python"] == "7\n"


def test_a_program_can_be_started_in_a_session_of_its_own(box: Sandbox):
    assert box.run("import subprocess; result['code'] = subprocess.run(['true'], start_new_session=True).returncode") == {"code": 0}


def test_what_is_given_to_read_can_be_read_and_not_written(box: Sandbox, tmp_path: Path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_text("content")
    (tmp_path / "given" / "private").write_text("mine")
    (tmp_path / "given" / "private").chmod(0o600)
    code = (
        "from pathlib import Path\n"
        f"place = Path({str(tmp_path / 'given')!r})\n"
        "result['read'] = [(place / 'a').read_text(), (place / 'private').read_text(), sorted(p.name for p in place.iterdir())]\n"
        "for name, attempt in {'write': lambda: (place / 'a').write_text('x'), 'make': lambda: (place / 'new').touch(), 'remove': lambda: (place / 'a').unlink(),\n"
        "        'append': lambda: (place / 'a').open('a'), 'empty': lambda: __import__('os').truncate(place / 'a', 0), 'rename': lambda: (place / 'a').rename(place / 'b')}.items():\n"
        "    try: attempt(); result[name] = 'worked'\n"
        "    except OSError as error: result[name] = 'refused'\n"
    )
    found = box.run(code, reads=(tmp_path / "given",))
    assert found.pop("read") == ["content", "mine", ["a", "private"]]
    assert set(found.values()) == {"refused"}, found
    assert (tmp_path / "given" / "a").read_text() == "content"


# what it may not


def test_the_data_folder_is_out_of_sight_even_inside_a_folder_that_is_given(box: Sandbox, tmp_path: Path):
    data = tmp_path / "given" / "deep" / ".pulser"
    data.mkdir(parents=True)
    (data / "pulser.db").write_text("everything")
    (tmp_path / "given" / "deep" / "a").write_text("content")
    (tmp_path / "given" / "way").symlink_to(data)
    code = (
        "from pathlib import Path\n"
        f"place = Path({str(tmp_path / 'given')!r})\n"
        "result['beside'] = (place / 'deep' / 'a').read_text()\n"
        "for name in ('deep/.pulser/pulser.db', 'way/pulser.db'):\n"
        "    try: result[name] = (place / name).read_text()\n"
        "    except OSError: result[name] = None\n"
    )
    found = box.run(code, reads=(tmp_path / "given",), hidden=(data,))
    assert found == {"beside": "content", "deep/.pulser/pulser.db": None, "way/pulser.db": None}


def test_the_data_folder_is_out_of_sight_when_the_call_itself_lies_in_it(box: Sandbox, tmp_path: Path):
    (tmp_path / "secret").write_text("everything")
    code = (
        f"try: result['read'] = open({str(tmp_path / 'secret')!r}).read()\n"
        "except OSError: result['read'] = None\n"
        "call.artifact('a', 'text/plain').write_text('still works')"
    )
    assert box.run(code, hidden=(tmp_path,), reads=(tmp_path.parent,)) == {"read": None}
    assert (box.folder / "out" / "a").read_text() == "still works"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/etc/passwd",
        "/root/.bashrc",
        "/proc/1/environ",
        f"/proc/{os.getpid()}/environ",
        f"/proc/{os.getpid()}/mem",
        "/dev/mem",
        "/sys/kernel/notes",
    ],
)
def test_files_of_the_machine_cannot_be_read(box: Sandbox, path: str):
    code = f"try: result['read'] = len(open({path!r}, 'rb').read(64))\nexcept OSError: result['read'] = None"
    found = box.run(code)["read"]
    if path == "/proc/1/environ" and box.level == "bwrap":  # the namespace's own first process: it has the child's own environment
        found = None if not found else box.run("result['read'] = b'PULSER' in open('/proc/1/environ', 'rb').read()")["read"] or None
    assert found is None


def test_nothing_can_be_written_outside(box: Sandbox, tmp_path: Path):
    code = (
        "import os, sys\n"
        f"for place in ({str(tmp_path)!r}, '/', '/etc', '/usr', '/usr/bin', '/dev', '/proc/sys/kernel', '/var/tmp', '/opt', sys.prefix, os.path.dirname(call.out), os.path.join(os.path.dirname(call.out), 'in')):\n"
        "    try: open(os.path.join(place, 'escaped'), 'w').write('x'); result[place] = 'written'\n"
        "    except OSError: pass\n"
        "try: open('/proc/sys/kernel/core_pattern', 'w').write('|/evil'); result['core_pattern'] = 'written'\n"
        "except OSError: pass\n"
    )
    assert box.run(code) == {}


def test_no_network_is_in_reach(box: Sandbox):
    with socket.create_server(("127.0.0.1", 0)) as here, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind("\0pulser-test")
        abstract.listen()
        named.bind(str(box.place / "socket"))
        named.listen()
        code = (
            "import socket\n"
            f"for family, kind, address in ((2, 1, ('127.0.0.1', {here.getsockname()[1]})), (2, 1, ('1.1.1.1', 53)), (2, 2, ('1.1.1.1', 53)), (1, 1, '\\0pulser-test'),\n"
            f"        (1, 1, {str(box.place / 'socket')!r}), (10, 1, ('::1', 53)), (17, 3, None), (16, 3, None), (2, 3, None), (38, 5, None), (40, 1, (2, 53))):\n"
            "    try:\n"
            "        with socket.socket(family, kind) as s:\n"
            "            s.settimeout(2)\n"
            "            if address is not None: s.connect(address)\n"
            "            result[f'{family} {address}'] = 'reached'\n"
            "    except OSError: pass\n"
        )
        assert box.run(code) == {}


def test_the_environment_is_empty_but_for_what_python_needs(box: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    monkeypatch.setenv("PYTHONPATH", "/leak")
    found = box.run("import os; result.update(os.environ)")
    assert not [
        name for name in found if not name.startswith("GIT_") and name not in ("PATH", "LANG", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PWD", "LC_CTYPE")
    ]
    assert "leak" not in str(found)
    assert found["HOME"] == found["TMPDIR"] == str(box.folder / "tmp")


def test_no_descriptor_is_inherited(box: Sandbox):
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        code = (
            "import os, subprocess\n"
            "def count(): return [n for n in range(3, 256) if alive(n)]\n"
            "def alive(n):\n"
            "    try: os.fstat(n); return True\n"
            "    except OSError: return False\n"
            "result['mine'] = count()\n"
            "result['of a program'] = subprocess.run(['sh', '-c', 'for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo $n; done'], capture_output=True, text=True, close_fds=False).stdout"
        )
        found = box.run(code)
        assert len(found["mine"]) == 1, "only the channel"
        assert found["of a program"] == ""
    finally:
        os.close(descriptor)


def test_dangerous_system_calls_are_denied(box: Sandbox):
    numbers = seccomp.NUMBERS[os.uname().machine]
    wanted = {
        name: numbers[name]
        for name in ("ptrace", "mount", "unshare", "bpf", "keyctl", "userfaultfd", "process_vm_readv", "setns", "open_by_handle_at", "io_uring_setup", "clone3")
    }
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"for name, number in {wanted!r}.items():\n"
        "    done = libc.syscall(number, 0, 0, 0, 0, 0, 0)\n"
        "    result[name] = ctypes.get_errno() if done == -1 else 'worked'\n"
    )
    found = box.run(code)
    assert {found.pop("io_uring_setup"), found.pop("clone3")} == {38}
    assert set(found.values()) == {1}, found


def test_it_is_not_root_and_cannot_become_it(box: Sandbox):
    found = box.run(
        "import os, re\n"
        "result['uid'] = os.getuid()\n"
        "try: os.setuid(0); result['became'] = True\n"
        "except OSError: pass\n"
        "import ctypes; result['no_new_privileges'] = ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)"
    )
    assert found["uid"] != 0
    assert "became" not in found
    assert found["no_new_privileges"] == 1


def test_what_a_tool_starts_cannot_speak_in_its_name(box: Sandbox):
    code = (
        "import os, subprocess\n"
        "channel = next(n for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}') or n == 3)\n"
        "result['forged'] = subprocess.run(['sh', '-c', f'ls /proc/{os.getpid()}/fd && echo x > /proc/{os.getpid()}/fd/{channel}'], capture_output=True).returncode == 0"
    )
    assert box.run(code) == {"forged": False}


def test_an_input_that_was_swapped_before_the_start_is_noticed(box: Sandbox, tmp_path: Path):
    (tmp_path / "given").mkdir()
    request = box.request("result['started'] = True", reads=(tmp_path / "given",))
    (tmp_path / "given").rename(tmp_path / "was")
    (tmp_path / "given").mkdir()
    with pytest.raises(PulserError, match=r"replaced|not what it was"):
        asyncio.run(run_child(request))


# what it may not use up


def test_a_loop_without_end_is_stopped_at_the_time_limit(box: Sandbox):
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"within 1\.5 s"):
        box.run("while True: pass", time_s=1.5)
    assert time.monotonic() - began < 5


def test_a_tool_that_takes_no_signal_is_stopped_too(box: Sandbox):
    code = "import signal, os\nfor n in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(n, signal.SIG_IGN)\nif os.fork() == 0:\n    while True: pass\nwhile True: pass"
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
    code = "try:\n    with (call.out / 'x').open('wb') as f: f.truncate(1 << 40)\n    result['made'] = True\nexcept OSError as error: result['refused'] = error.errno"
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
    code = "from pulser.core.errors import BadInput\nraise BadInput('no such column', hint='There is a.', errors=[{'pointer': '/payload/x', 'detail': 'no'}], odd=1)"
    with pytest.raises(BadInput) as caught:
        box.run(code)
    assert (caught.value.detail, caught.value.hint) == ("no such column", "There is a.")
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
    import subprocess
    import sys

    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(SAMPLES.parents[2])!r})\n"
        "from pulser.tools.sandbox.process import run_in\n"
        "from pulser.tools.sandbox.request import ChildRequest\n"
        "code = 'import os\\nif os.fork(): call.progress(str(1))\\nwhile True: pass'\n"
        f"request = ChildRequest('sample_tools:EXECUTE', {{'code': code}}, Path({str(box.folder)!r}), import_from=Path({str(SAMPLES)!r}), on_progress=lambda *_: print('up', flush=True))\n"
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
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


_WITHOUT_ROOT = """
import asyncio, json, sys
from pathlib import Path
project, samples, level, scratch = sys.argv[1:]
sys.path.insert(0, project)
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.confine import confinement
from pulser.tools.sandbox.folder import make, remove
from pulser.tools.sandbox.request import ChildRequest, Limits

code = '''
import os, shutil, time
shutil.copytree('/usr/share/python3', call.out / 'copy')
result['uid'] = os.getuid()
result['started'] = 0
try:
    while result['started'] < 5000:
        if os.fork() == 0: time.sleep(1000)
        result['started'] += 1
except OSError: pass
'''
level = confinement(level).name
folder = make(Path(scratch))
request = ChildRequest("sample_tools:EXECUTE", {"code": code}, folder, import_from=Path(samples), sandbox=level, limits=Limits(processes=64))
done = asyncio.run(run_child(request))
remove(folder)
print(json.dumps({"level": level, "left": folder.exists(), **done.value}))
"""


@pytest.mark.root
def test_it_holds_for_a_user_who_is_not_root(level: str, tmp_path: Path):
    """The self-test and a fork bomb, started by an ordinary user (with the system's Python, which that user can read)."""
    import subprocess

    python = "/usr/bin/python3"
    if os.geteuid() != 0 or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode != 0:
        pytest.skip("needs root, to become somebody else, and a Python 3.11 of the system's")
    scratch = tmp_path / "open"
    scratch.mkdir()
    for place in tmp_path.parents[:2]:
        place.chmod(0o755)
    tmp_path.chmod(0o755)
    scratch.chmod(0o777)
    source = tmp_path / "source"  # that Python has none of our libraries: the sandbox needs none
    for room in ("core", "tools"):
        shutil.copytree(SAMPLES.parents[2] / "pulser" / room, source / "pulser" / room, ignore=shutil.ignore_patterns("builtin", "__pycache__"))
    (source / "pulser" / "__init__.py").touch()
    command = [python, "-c", _WITHOUT_ROOT, str(source), str(SAMPLES), level, str(scratch)]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(scratch)}
    done = subprocess.run(command, user=65534, group=65534, extra_groups=[], env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["level"], found["uid"], found["left"]) == (level, 65534, False)
    assert 0 < found["started"] < 64


# which confinement


def test_auto_takes_the_strongest_that_holds():
    assert confinement("auto").name == next((level for level in HERE if offered(level)), None)
    assert confinement("auto").detail


def test_an_unknown_setting_and_an_absent_level_fail_closed(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OperatorError, match="no sandbox"):
        confinement("docker")
    from pulser.tools.sandbox import confine

    monkeypatch.setattr(confine, "_found", {})
    monkeypatch.setattr(confine.bubblewrap, "program", lambda: None)
    monkeypatch.setattr(confine.landlock, "abi", lambda: 0)
    for setting in ("auto", "bwrap", "landlock"):
        with pytest.raises(OperatorError, match="cannot be confined") as caught:
            confinement(setting)
        assert "PULSER_TOOLS_SANDBOX=off" in caught.value.hint


def test_a_level_that_lets_something_through_is_not_offered(level: str, monkeypatch: pytest.MonkeyPatch):
    """No confinement is passed off as the level: the self-test notices."""
    from pulser.tools.sandbox import confine

    real = confine.run_in
    monkeypatch.setattr(confine, "_found", {})
    monkeypatch.setattr(confine, "run_in", lambda _level, request: real("off", request))
    with pytest.raises(OperatorError, match="it lets a tool"):
        confinement(level)


def test_off_must_be_asked_for_and_is_said_aloud(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    from pulser.tools.sandbox import confine

    monkeypatch.setattr(confine, "_found", {})
    assert confinement("off").name == "off"
    assert "unconfined" in caplog.text
    assert "off" in SETTINGS


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
    [b"no json\n", b"[]\n", b'{"no": "kind"}\n', b'{"kind":"artifact","name":"../x","media_type":"text/plain"}\n', b"[" * 100_000 + b"\n", b"x" * 2_000_000],
)
def test_a_child_that_speaks_nonsense_is_stopped(said: bytes):
    with pytest.raises(Permanent):
        Conversation(BoundedLog(), 1 << 20).take(said)


@pytest.mark.parametrize("machine", sorted(seccomp.NUMBERS))
@pytest.mark.parametrize("sockets", [True, False])
def test_the_filter_is_a_program_whose_jumps_stay_inside(machine: str, sockets: bool):
    steps = seccomp.program(seccomp.Rules(sockets=sockets, signals=True, metadata=True), machine)
    assert len(steps) < 4096
    for place, (code, if_true, if_false, _) in enumerate(steps):
        assert place + max(if_true, if_false) + 1 <= len(steps)
        assert code == 0x06 or place + 1 < len(steps)
    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
