"""Background processes of this machine: started detached, found again by a pid file, stopped.

A pid file holds the process id and its start time, so that a number that the kernel gave to some
other program later is never signalled.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind

_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A background process named by its pid file, with its log beside it."""

    folder: Path

    @property
    def pid_file(self) -> Path:
        """Where the process id is kept while it runs."""
        return self.folder / "pid"

    @property
    def log_file(self) -> Path:
        """What the process writes to."""
        return self.folder / "daemon.log"

    def pid(self) -> int | None:
        """The process id while the process is alive."""
        try:
            kept = json.loads(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        pid = int(kept["pid"])
        return pid if _started(pid) == kept["started"] else None

    def start(self, module: str, arguments: Sequence[str]) -> int:
        """Start `python -m module arguments` in a session of its own.

        Raises:
            Fault: IN_USE if it is running already.
        """
        if (pid := self.pid()) is not None:
            raise Fault(Kind.IN_USE, f"is running already, process {pid}", path=self.folder.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        self.pid_file.write_text(json.dumps({"pid": child.pid, "started": _started(child.pid)}))
        return child.pid

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until `ready()`; the process dying first is told with the end of its log.

        Raises:
            Fault: FAILED if it died, UNREACHABLE if it is not ready in `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check_runs()
            if time.monotonic() > deadline:
                raise Fault(
                    Kind.UNREACHABLE,
                    f"is not ready after {timeout:.0f} s",
                    path=self.folder.name,
                    next_step=f"read {self.log_file}",
                )
            time.sleep(_POLL_SECONDS)

    def check_runs(self) -> None:
        """See that the process, which was started a moment ago, is still there.

        Raises:
            Fault: FAILED with the end of its log.
        """
        if self.pid() is None:
            raise Fault(
                Kind.FAILED,
                f"stopped right after its start: {self.last_words()}",
                path=self.folder.name,
                next_step=f"read {self.log_file}",
            )

    def last_words(self) -> str:
        """The last line of the log that says anything."""
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return next((line for line in reversed(lines) if line.strip()), "its log is empty")

    def stop(self, *, kill: bool = False) -> bool:
        """End the process, by SIGTERM and after 10 s by SIGKILL; whether there was one."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.pid() is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
            _reap(pid)
        self.pid_file.unlink(missing_ok=True)
        return True


def _started(pid: int) -> str | None:
    """When the process started, in the kernel's ticks since boot; None for a dead or zombie one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _reap(pid: int) -> None:
    """Collect the child if it is ours; a daemon of an earlier command is init's."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
