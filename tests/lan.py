"""A small network of hosts on one machine: network namespaces on one bridge, multicast included.

Needs root. Everything is removed on `close`, also what a failed test left running inside.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root"
)


class Lan:
    """Hosts `names`, each with the address 10.77.0.<n> on one bridge."""

    def __init__(self, names: Sequence[str]) -> None:
        self._mark = secrets.token_hex(2)
        self._bridge = f"br{self._mark}"
        self.hosts = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=1)}
        _ip("netns", "add", self._bridge)
        self._inside(self._bridge, "ip", "link", "add", "br0", "type", "bridge")
        self._inside(self._bridge, "ip", "link", "set", "br0", "up")
        for number, name in enumerate(names, start=1):
            self._add(name, number)

    def namespace(self, name: str) -> str:
        """The kernel's name of a host."""
        return f"bt{self._mark}{name}"

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        """`argv` as it is run on that host; files and mounts are those of the whole machine."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(name)}", "--", *argv]

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
        given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end."""
        return subprocess.run(
            self.command(name, argv),
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            input=given,
            check=False,
        )

    def bt(self, name: str, *arguments: str, state: Path, given: str | None = None) -> str:
        """Run `bt` on a host; fails the test with what it said if it fails."""
        done = self.run(
            name,
            [sys.executable, "-m", "blocktree.cli", *arguments],
            env={"BLOCKTREE_STATE": str(state)},
            timeout=120,
            given=given,
        )
        assert done.returncode == 0, f"{name}: bt {' '.join(arguments)}\n{done.stderr}"
        return done.stdout

    def cut(self, name: str) -> None:
        """Pull the host's cable."""
        self._inside(self._bridge, "ip", "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Put the cable back."""
        self._inside(self._bridge, "ip", "link", "set", f"to-{name}", "up")

    def close(self) -> None:
        """End every process on every host and remove the network."""
        for space in [*(self.namespace(name) for name in self.hosts), self._bridge]:
            listed = subprocess.run(
                ["ip", "netns", "pids", space], capture_output=True, text=True, check=False
            )
            for pid in listed.stdout.split():
                _kill(int(pid))
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def _add(self, name: str, number: int) -> None:
        space = self.namespace(name)
        _ip("netns", "add", space)
        peer = ["peer", "name", f"to-{name}", "netns", self._bridge]
        self._inside(space, "ip", "link", "add", "eth0", "type", "veth", *peer)
        self._inside(self._bridge, "ip", "link", "set", f"to-{name}", "master", "br0", "up")
        self._inside(space, "ip", "link", "set", "lo", "up")
        self._inside(space, "ip", "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        self._inside(space, "ip", "link", "set", "eth0", "up")
        self._inside(space, "ip", "route", "add", "default", "dev", "eth0")

    @staticmethod
    def _inside(space: str, *argv: str) -> None:
        _ip("netns", "exec", space, *argv)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _kill(pid: int) -> None:
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)
