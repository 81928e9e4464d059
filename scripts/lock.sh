#!/bin/sh
# Resolves the dependencies into requirements.lock: versions and hashes, no host.
# Whatever index, mirror or proxy this machine is set up with must not be written down, so uv's configuration is set aside.
# Usage: sh scripts/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .tools/bin/uv)
if ! "$uv" --version >/dev/null 2>&1; then
    echo "make lock needs uv, and it could not be installed here." >&2
    exit 1
fi
clean="env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_CONFIG_FILE"
$clean "$uv" lock --no-config "$@"
$clean "$uv" export -q --frozen --no-config --no-emit-project --group dev --all-extras -o requirements.lock --no-header --no-annotate
if grep -nE '://|^-' requirements.lock; then
    echo "requirements.lock names a host or an option (above); it must not." >&2
    exit 1
fi
