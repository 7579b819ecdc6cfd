"""One throw-away tree for all tests of the command line, and `bt` called in this process."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocktree.cli.main import main


class Shell:
    """Runs `bt` as a script would: no terminal, a folder of its own, both streams in one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bt(self, *arguments: str, given: bytes = b"") -> tuple[int, str]:
        """Exit code and everything that was printed."""
        heard = io.BytesIO()
        said = self.folder / ".given"
        said.write_bytes(given)
        printed = io.TextIOWrapper(heard, "utf-8", write_through=True)
        with (
            contextlib.chdir(self.folder),
            said.open() as stdin,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            before, sys.stdin = sys.stdin, stdin
            try:
                main(list(arguments))
            except SystemExit as left:
                code = left.code
            finally:
                sys.stdin = before
        printed.flush()
        assert isinstance(code, int)
        return code, heard.getvalue().decode(errors="backslashreplace")

    def ok(self, *arguments: str, given: bytes = b"") -> str:
        """What a command printed that must succeed."""
        code, said = self.bt(*arguments, given=given)
        assert code == 0, f"bt {' '.join(arguments)}: {said}"
        return said


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bt` in a process of its own, which the nodes it starts outlive."""
    command = [sys.executable, "-m", "blocktree.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_tree() -> None:
    """`bt up --sim 3`, again if a program beside us took one of the ports that were free."""
    for _ in range(3):
        done = alone("up", "--sim", "3", "--bare")
        if done.returncode == 0:
            return
        alone("down", "--purge", "--yes", "home")
    pytest.fail(done.stderr)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A tree `/home` kept by three nodes; removed at the end, whatever happened."""
    folder = tmp_path_factory.mktemp("cli")
    kept = {name: os.environ.get(name) for name in ("BLOCKTREE_STATE", "HOME")}
    mask = os.umask(0o022)
    os.environ |= {"BLOCKTREE_STATE": str(folder / "state"), "HOME": str(folder / "me")}
    (folder / "me").mkdir()
    (folder / "work").mkdir()
    shell = Shell(folder / "work")
    try:
        make_tree()
        yield shell
    finally:
        alone("down", "--purge", "--yes", "home")
        os.umask(mask)
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def masked(text: str, folder: Path) -> str:
    """What a command said, without what differs from run to run."""
    for pattern, word in (
        (re.escape(str(folder)), "HERE"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d [+-]\d{4}|:\d\d\.\d{9}Z)?", "WHEN"),
        (r"\b[0-9a-f]{64}\b", "HASH"),
        (r"\b[0-9a-f]{32}\b", "ID"),
        (r"\bbt1[a-z2-7]{52}\b", "TREE"),
        (r"inode \d+", "inode N"),
        (r'"(inode|uid|gid)": \d+', r'"\1": N'),
        (r'"(user|group)": ".*?"', r'"\1": "ME"'),
        (r"in [0-9.]+ m?s \([0-9.]+ [KMG]?i?B/s\)", "in TIME"),
        (r"\b(AES-256-GCM|ChaCha20-Poly1305)\b", "CIPHER"),
    ):
        text = re.sub(pattern, word, text)
    return text
