"""Mounts of the in-memory volume for tests, served by a process of their own.

Whatever happens, the mount is taken away and nothing hangs: a watchdog kills the server when a test
takes too long, which makes every waiting call fail.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocktree.mount.protocol import MINOR_MAX

TESTS = Path(__file__).parent.parent
SEARCHED = ":".join([str(TESTS), str(TESTS.parent / "node"), *filter(None, sys.path)])
CHECK_SECONDS = 600.0  # a check that hangs, not one that is slow


class Server:
    """The serving process and its mount points."""

    def __init__(self, process: subprocess.Popen[str], points: list[Path]) -> None:
        self.process = process
        self.points = points

    @contextmanager
    def deadline(self, seconds: float = CHECK_SECONDS) -> Iterator[None]:
        """Kill the server if the body takes longer."""
        watchdog = threading.Timer(seconds, self.process.kill)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


@contextmanager
def serving(
    count: int, *prefix: str, python: str = sys.executable, minor: int = MINOR_MAX
) -> Iterator[Server]:
    """`count` mounts of one tree; `prefix` is put before the server's command (setpriv …)."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        points = [Path(directory) / f"mount {number}" for number in range(count)]
        for point in points:
            point.mkdir(mode=0o777)
            point.chmod(0o777)
        command = [*prefix, python, str(TESTS / "mount" / "serve.py"), *map(str, points)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PYTHONPATH": SEARCHED,
                "MOUNT_MINOR": str(minor),
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            },
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Server(process, points)
        finally:
            _stop(process, points)


def _stop(process: subprocess.Popen[str], points: list[Path]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=15)
    finally:
        assert process.stdout is not None
        process.stdout.close()
        for point in points:
            take_away(point)


def take_away(point: Path) -> None:
    """Unmount if it is still mounted."""
    if str(point).replace(" ", "\\040") in Path("/proc/self/mountinfo").read_text():
        subprocess.run(["umount", "-l", str(point)], check=False, timeout=15)
