"""The files of an embedded database, among processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pulser.store import sqlite

WRITES = """
import sys
from pathlib import Path
from pulser.store import sqlite
connection = sqlite.connect(Path(sys.argv[1]), read_only=False)
connection.execute("INSERT INTO t VALUES (1)")
connection.close()
"""


def test_opening_a_further_connection_takes_no_lock_from_the_others(tmp_path: Path) -> None:
    """Were one taken, the process that leaves would remove the log, and this one would never see another write."""
    path = tmp_path / "pulser.db"
    first = sqlite.connect(path, read_only=False)
    first.execute("CREATE TABLE t (n INTEGER)")
    second = sqlite.connect(path, read_only=True)
    for n in range(3):
        assert second.execute("SELECT count(*) FROM t").fetchone() == (n,)
        subprocess.run([sys.executable, "-c", WRITES, str(path)], check=True)
        assert path.with_name("pulser.db-wal").exists()
    assert first.execute("SELECT count(*) FROM t").fetchone() == (3,)


def test_the_files_are_their_owners_alone_also_those_of_long_before(tmp_path: Path) -> None:
    path = tmp_path / "pulser.db"
    path.touch(mode=0o644)
    connection = sqlite.connect(path, read_only=False)
    connection.execute("CREATE TABLE t (n INTEGER)")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
