"""The confined child, attacked: every way out is tried with real processes, at every level of confinement that this machine offers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from pulser.core.errors import OperatorError, PulserError
from pulser.tools.sandbox import bubblewrap, seccomp
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.confine import SETTINGS, confinement
from pulser.tools.sandbox.process import run_in
from tests.unit.tools.conftest import HERE, SAMPLES, Sandbox, offered

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
        "a = place / 'a'\n"
        "for name, attempt in {'write': lambda: a.write_text('x'), 'make': lambda: (place / 'new').touch(), 'remove': lambda: a.unlink(),\n"
        "        'append': lambda: a.open('a'), 'empty': lambda: __import__('os').truncate(a, 0), 'rename': lambda: a.rename(place / 'b')}.items():\n"
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
        "/proc/PULSER/environ",
        "/proc/PULSER/mem",
        "/dev/mem",
        "/sys/kernel/notes",
    ],
)
def test_files_of_the_machine_cannot_be_read(box: Sandbox, path: str):
    path = path.replace("PULSER", str(os.getpid()))
    code = f"try: result['read'] = len(open({path!r}, 'rb').read(64))\nexcept OSError: result['read'] = None"
    found = box.run(code)["read"]
    if path == "/proc/1/environ" and box.level == "bwrap":  # the namespace's own first process: it has the child's own environment
        found = None if not found else box.run("result['read'] = b'PULSER' in open('/proc/1/environ', 'rb').read()")["read"] or None
    assert found is None


def test_certificates_are_shown_and_private_keys_are_not(box: Sandbox):
    code = (
        "import os\n"
        "for place in ('/etc/ssl/certs', '/etc/ssl/private', '/etc/pki/tls/private'):\n"
        "    try: result[place] = os.listdir(place) is not None\n"
        "    except OSError: result[place] = False"
    )
    assert box.run(code) == {"/etc/ssl/certs": os.path.isdir("/etc/ssl/certs"), "/etc/ssl/private": False, "/etc/pki/tls/private": False}


def test_a_child_of_root_reads_everything_shown_only_behind_the_filter(tmp_path: Path):
    if bubblewrap.program() is None:
        pytest.skip("bubblewrap is not installed")
    for filtered in (True, False):
        words = bubblewrap.command(tmp_path, (), (), 3, tmp_bytes=1 << 20, root=True, filtered=filtered)
        assert ("CAP_DAC_READ_SEARCH" in words) == filtered


def test_nothing_can_be_written_outside(box: Sandbox, tmp_path: Path):
    code = (
        "import os, sys\n"
        f"own = os.path.dirname(call.out); outer = {str(tmp_path)!r}\n"
        "for place in (outer, '/', '/etc', '/usr', '/usr/bin', '/dev', '/proc/sys/kernel', '/var/tmp', '/opt', sys.prefix, own, own + '/in'):\n"
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
            f"places = [(2, 1, ('127.0.0.1', {here.getsockname()[1]})), (1, 1, '\\0pulser-test'), (1, 1, {str(box.place / 'socket')!r})]\n"
            "places += [(2, 1, ('1.1.1.1', 53)), (2, 2, ('1.1.1.1', 53)), (10, 1, ('::1', 53)), (17, 3, None), (16, 3, None), (2, 3, None), (38, 5, None)]\n"
            "for family, kind, address in places:\n"
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
            "script = 'for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo $n; done'\n"
            "result['of a program'] = subprocess.run(['sh', '-c', script], capture_output=True, text=True, close_fds=False).stdout"
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
        "script = f'for n in 3 4 5 6 7 8 9; do echo forged > /proc/{os.getpid()}/fd/$n && echo $n; done; cat /proc/{os.getpid()}/mem'\n"
        "result['reached'] = subprocess.run(['sh', '-c', script], capture_output=True, text=True).stdout"
    )
    assert box.run(code) == {"reached": ""}


def test_an_input_that_was_swapped_before_the_start_is_noticed(box: Sandbox, tmp_path: Path):
    (tmp_path / "given").mkdir()
    request = box.request("result['started'] = True", reads=(tmp_path / "given",))
    (tmp_path / "given").rename(tmp_path / "was")
    (tmp_path / "given").mkdir()
    with pytest.raises(PulserError, match=r"replaced|not what it was"):
        asyncio.run(run_child(request))


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

    python = "/usr/bin/python3"
    if os.geteuid() != 0 or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode != 0:
        pytest.skip("needs root, to become somebody else, and a Python 3.11 of the system's")
    scratch = tmp_path / "open"
    scratch.mkdir()
    for place in (tmp_path, *tmp_path.parents):
        if place.is_relative_to(tempfile.gettempdir()) and place != Path(tempfile.gettempdir()):
            place.chmod(0o755)
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
    assert 0 < found["started"] < (64 if level == "bwrap" else 128)  # without a namespace the user's other threads count too, and come and go


# which confinement


def test_auto_takes_the_strongest_that_holds():
    assert confinement("auto").name == next((level for level in HERE if offered(level)), None)
    assert confinement("auto").detail


def test_an_unknown_setting_and_an_absent_level_fail_closed(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OperatorError, match="no sandbox"):
        confinement("docker")
    from pulser.tools.sandbox import confine

    monkeypatch.setattr(confine, "_found", {})
    monkeypatch.setattr("pulser.tools.sandbox.bubblewrap.program", lambda: None)
    monkeypatch.setattr("pulser.tools.sandbox.landlock.abi", lambda: 0)
    for setting in ("auto", "bwrap", "landlock"):
        with pytest.raises(OperatorError, match="cannot be confined") as caught:
            confinement(setting)
        assert "PULSER_TOOLS_SANDBOX=off" in caught.value.hint


def test_a_level_that_lets_something_through_is_not_offered(level: str, monkeypatch: pytest.MonkeyPatch):
    """No confinement is passed off as the level: the self-test notices."""
    from pulser.tools.sandbox import confine

    real = run_in
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
