"""A throw-away tree of three nodes with two mounts, each its own process, driven through `bt`."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DEADLINE_S = 600.0  # a check that hangs, not one that is slow


class Tree:
    """State and mounts lie below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.mounts = [folder / "mount-1", folder / "mount-2"]

    def bt(self, *arguments: str) -> str:
        """Run `bt`; a failure fails the test with what it said."""
        done = self._run(*arguments)
        assert done.returncode == 0, f"bt {' '.join(arguments)}\n{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """What `bt` says when it fails."""
        done = self._run(*arguments)
        assert done.returncode, done.stdout
        return done.stderr

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "blocktree.cli", *arguments],
            env={**os.environ, "BLOCKTREE_STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            stdin=subprocess.DEVNULL,
        )

    def nodes(self) -> list[dict[str, Any]]:
        """What `bt sim ls` says."""
        listed: list[dict[str, Any]] = json.loads(self.bt("sim", "ls", "--json"))["nodes"]
        return listed

    def leader(self) -> str:
        """The name of the node that leads."""
        return str(next(node["name"] for node in self.nodes() if node["role"] == "leader"))

    @contextmanager
    def deadline(self, seconds: float = _DEADLINE_S) -> Iterator[None]:
        """End the mounts when a check hangs, so that its system calls return."""
        timer = threading.Timer(seconds, self.end_mounts)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end_mounts(self) -> None:
        """Kill the processes behind the mounts and detach what they leave."""
        for kept in self.state.glob("mounts/*/pid"):
            try:
                os.kill(int(json.loads(kept.read_text())["pid"]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        for mount in self.mounts:
            subprocess.run(["fusermount3", "-uz", str(mount)], capture_output=True, check=False)


@contextmanager
def throwaway_tree(folder: Path) -> Iterator[Tree]:
    """Start a tree, mount it twice, and remove it all in the end."""
    tree = Tree(folder)
    try:
        tree.bt("up", "--sim", "3", "--bare")
        for mount in tree.mounts:
            mount.mkdir()
            tree.bt("mount", "/home", str(mount))
        yield tree
    finally:
        try:
            tree.bt("down", "--purge", "--yes", "home")
        finally:
            tree.end_mounts()
