"""Where things are on the board, and running its programs; a test puts another root below it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """The board's file system.

    Args:
        root: "/" on the board.
    """

    root: Path = Path("/")

    @property
    def card(self) -> Path:
        """The boot partition, which a laptop reads too."""
        return self.root / "boot" / "firmware"

    @property
    def data(self) -> Path:
        """The data partition, which outlives updates."""
        return self.root / "data"

    @property
    def settings(self) -> Path:
        """What a card said earlier, without what was secret only until it joined."""
        return self.data / "settings" / "blocktree.toml"

    @property
    def state(self) -> Path:
        """The state directory of `bt`."""
        return self.data / "blocktree"

    @property
    def current(self) -> Path:
        """A link to the directory of the node that this board is."""
        return self.state / "current"

    def etc(self, *names: str) -> Path:
        """A file of the running system's configuration."""
        return self.root.joinpath("etc", *names)


def call(
    *words: str, stdin: bytes = b"", seconds: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a program of the board; what it printed, and its exit code (127 if it is not there)."""
    try:
        done = subprocess.run(  # noqa: S603 - argument lists only, no shell
            words, input=stdin, capture_output=True, check=False, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        return subprocess.CompletedProcess(words, 127, "", str(cause))
    out, told = (part.decode(errors="replace") for part in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(words, done.returncode, out, told)


def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write a file whole and durably, if it is to change; whether it did."""
    try:
        if path.read_text() == content and path.stat().st_mode & 0o777 == mode:
            return False
    except OSError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return True
