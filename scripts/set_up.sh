#!/bin/sh
# Makes .venv with exactly what requirements.lock says, hashes checked, and Pulser itself in editable form.
# Uses uv (the machine's, else a pinned one from the package index, kept in .tools) and falls back to pip. A second run ends at once.
# Usage: PY=python3.11 sh scripts/set_up.sh
set -eu
cd "$(dirname "$0")/.."

uv_version=0.13.8
venv=.venv
stamp=$venv/.ok

# What a user's shell or pip.conf may say (install into the home folder, into another folder, only inside a virtualenv) is not meant for this environment.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIREMENT PIP_CONSTRAINT UV_CONSTRAINT UV_OVERRIDE UV_SYSTEM_PYTHON UV_PYTHON || true
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 UV_PYTHON_DOWNLOADS=never

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for name in ${PY:-} python3.11 python3 python3.12 python3.13 python3.14 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s' "$name"
            return
        fi
    done
    say "Pulser needs Python 3.11 or later and found none. On Debian: apt-get install python3 python3-venv python3-pip. Or name one: make PY=/path/to/python3.11"
    exit 1
}

# The environment is in step if it was made here, from these files.
wanted() { printf '%s %s\n' "$(pwd)" "$(cat requirements.lock pyproject.toml scripts/set_up.sh | cksum)"; }
in_step() { [ -x $venv/bin/python ] && [ -f $stamp ] && [ "$(cat $stamp)" = "$(wanted)" ]; }

find_uv() {
    if [ "${PULSER_SETUP_PIP:-}" = 1 ]; then return 1; fi
    for name in uv .tools/bin/uv; do
        if command -v "$name" >/dev/null 2>&1 && "$name" --version >/dev/null 2>&1; then
            printf '%s' "$name"
            return
        fi
    done
    "$python" -m venv .tools >&2 && .tools/bin/python -m pip install -q "uv==$uv_version" >&2 && .tools/bin/uv --version >/dev/null 2>&1 && printf '%s' .tools/bin/uv
}

with_uv() {
    uv=$(find_uv) || return 1
    "$uv" venv -q --allow-existing --python "$python" $venv &&
        "$uv" pip sync -q --python $venv/bin/python --require-hashes requirements.lock &&
        "$uv" pip install -q --python $venv/bin/python --no-deps --no-build-isolation -e .
}

with_pip() {
    "$python" -m venv --clear $venv &&
        $venv/bin/python -m pip install -q --require-hashes -r requirements.lock &&
        $venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
}

mkdir -p .tools
exec 9>.tools/lock
if command -v flock >/dev/null 2>&1; then flock 9; fi # two makes at once: the second waits and finds the work done

if in_step; then
    touch $stamp # newer than the files that make compares it with
    exit 0
fi
python=$(find_python)
say "Setting up .venv ($("$python" --version))"
rm -f $stamp
if ! with_uv; then
    say "uv could not do it here; going on with pip"
    with_pip
fi
wanted >$stamp
