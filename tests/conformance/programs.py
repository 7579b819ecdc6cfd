"""Real programs on a mounted directory: git, sqlite, tar, rsync, and fio where it is installed.

As in `posix`, each function takes a fresh directory; `needs` names the program it runs.
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SECONDS = 120
_GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0"]


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program; its output. A failure shows what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=os.environ | {"GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"},
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _sample(root: Path, seed: int = 1) -> None:
    """A few hundred files of mixed sizes, with links, modes and odd names."""
    dice = random.Random(seed)
    for number in range(200):
        directory = root / f"d{number % 7}" / f"e{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"file {number}"
        path.write_bytes(dice.randbytes(dice.choice([0, 10, 3000, 70_000])))
        path.chmod(dice.choice([0o644, 0o600, 0o755]))
        os.utime(path, ns=(10**18, 10**18 + number))
    (root / "big").write_bytes(dice.randbytes(3_000_001))
    (root / "link").symlink_to("big")
    os.link(root / "big", root / "hard")


def git_clones_commits_and_checks(d: Path) -> None:
    with tempfile.TemporaryDirectory() as outside:
        origin = Path(outside) / "origin"
        origin.mkdir()
        _sample(origin)
        _run(*_GIT, "init", "-q", cwd=origin)
        _run(*_GIT, "add", ".", cwd=origin)
        _run(*_GIT, "commit", "-q", "-m", "first", cwd=origin)
        _run(*_GIT, "clone", "-q", f"file://{origin}", d / "clone")
    clone = d / "clone"
    assert _run(*_GIT, "status", "--porcelain", cwd=clone) == ""
    (clone / "new").write_text("new\n")
    (clone / "d1" / "e1" / "file 1").write_text("changed\n")
    _run(*_GIT, "add", "-A", cwd=clone)
    _run(*_GIT, "commit", "-q", "-m", "second", cwd=clone)
    _run(*_GIT, "checkout", "-q", "-b", "branch", "HEAD~1", cwd=clone)
    _run(*_GIT, "gc", "-q", cwd=clone)
    _run(*_GIT, "fsck", "--full", "--strict", cwd=clone)
    assert len(_run(*_GIT, "log", "--all", "--oneline", cwd=clone).splitlines()) == 2


_SQLITE_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for number in range(int(sys.argv[3])):
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE total SET n = n + 1")
    db.execute("INSERT INTO line VALUES (?, ?, ?)", (sys.argv[2], number, "x" * 300))
    db.execute("COMMIT")
"""


def sqlite_holds_under_concurrent_writers(d: Path) -> None:
    sqlite_holds_over_two_mounts(d, d)


def sqlite_holds_over_two_mounts(here: Path, there: Path) -> None:
    """Rollback journal: its locks and fsyncs are all that keeps the writers apart."""
    writers, rows = 4, 25
    path = here / "test.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE total (n INTEGER)")
        db.execute("INSERT INTO total VALUES (0)")
        db.execute("CREATE TABLE line (who TEXT, n INTEGER, filler TEXT)")
        db.execute("CREATE INDEX line_n ON line (n, who)")
    db.close()
    places = [here, there] * (writers // 2)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _SQLITE_WRITER, str(place / "test.db"), str(who), str(rows)]
        )
        for who, place in enumerate(places)
    ]
    for process in running:
        assert process.wait(timeout=SECONDS) == 0
    db = sqlite3.connect(there / "test.db")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT n FROM total").fetchone() == (writers * rows,)
    assert db.execute("SELECT count(*) FROM line").fetchone() == (writers * rows,)
    db.close()


def sqlite_runs_with_a_write_ahead_log(d: Path) -> None:
    db = sqlite3.connect(d / "wal.db", isolation_level=None)
    assert db.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    db.execute("CREATE TABLE line (n INTEGER)")
    for number in range(50):
        db.execute("INSERT INTO line VALUES (?)", (number,))
    reader = sqlite3.connect(d / "wal.db")
    assert reader.execute("SELECT count(*) FROM line").fetchone() == (50,)
    reader.close()
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def tar_unpacks_what_it_packed(d: Path) -> None:
    with tempfile.TemporaryDirectory() as outside:
        source = Path(outside) / "source"
        source.mkdir()
        _sample(source)
        archive = Path(outside) / "a.tar"
        _run("tar", "cf", archive, "-C", source, ".")
        _run("tar", "xpf", archive, "-C", d)
        _run("tar", "df", archive, "-C", d)  # compares bytes, modes, owners, times


def rsync_finds_no_difference(d: Path) -> None:
    with tempfile.TemporaryDirectory() as outside:
        source = Path(outside) / "source"
        source.mkdir()
        _sample(source)
        _run("rsync", "-aH", f"{source}/", d / "copy")
        assert (
            _run("rsync", "-aHc", "--dry-run", "--itemize-changes", f"{source}/", d / "copy") == ""
        )
        (source / "big").write_bytes(os.urandom(2_000_000))
        _run("rsync", "-aHc", "--inplace", f"{source}/", d / "copy")
        assert _run("rsync", "-aHcn", "--itemize-changes", f"{source}/", d / "copy") == ""


def fio_verifies(d: Path) -> None:
    options = ["--name=t", f"--directory={d}", "--size=8m", "--verify=crc32c", "--verify_fatal=1"]
    options += ["--verify_state_save=0"]  # else it leaves a file in the working directory
    for pattern, block in (("randwrite", "4k"), ("write", "128k"), ("randrw", "16k")):
        _run("fio", *options, f"--rw={pattern}", f"--bs={block}", "--ioengine=psync", "--fsync=64")


NEEDS: dict[Callable[[Path], None], str] = {
    git_clones_commits_and_checks: "git",
    sqlite_holds_under_concurrent_writers: "",
    sqlite_runs_with_a_write_ahead_log: "",
    tar_unpacks_what_it_packed: "tar",
    rsync_finds_no_difference: "rsync",
    fio_verifies: "fio",
}


def is_missing(check: Callable[[Path], None]) -> bool:
    """Whether the program that the check runs is not installed."""
    return bool(NEEDS[check]) and shutil.which(NEEDS[check]) is None
