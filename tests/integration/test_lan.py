"""The main job on a network: every node and the laptop a host, multicast DNS, tickets, mounts."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blocktree.cli.daemons import Daemon
from blocktree.cli.mainjob import MainJob, find_source
from lan import Lan, needs_root

pytestmark = needs_root
NODES = ("pi-1", "pi-2", "pi-3")
_PATIENCE_S = 60.0


class Home:
    """A tree that starts from nothing: each host has a state directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lan = Lan([*NODES, "laptop"])
        self.secret = folder / "passphrase"
        self.secret.write_text("correct horse battery\n")

    def bt(self, host: str, *arguments: str, given: str | None = None) -> str:
        """Run `bt` on a host."""
        return self.lan.bt(host, *arguments, state=self.folder / host, given=given)

    def sign(self, *arguments: str) -> str:
        """Run on the laptop what the owner's key must sign."""
        return self.bt("laptop", *arguments, "--no-input", "--passphrase-file", str(self.secret))

    def begin(self) -> None:
        """Nothing but the tickets travels by hand."""
        self.sign("init", "home", "--user", "ada")
        for node in NODES:
            ticket = self.sign("node", "invite", f"/home/{node}")
            self.bt(node, "node", "join", "-", given=ticket)
        self.wait_for("three voters", lambda: self.roles() == ["follower", "follower", "leader"])

    def mount(self, point: Path) -> None:
        self.bt("laptop", "mount", "/home", str(point))

    def nodes(self) -> list[dict[str, Any]]:
        """Each node as the laptop sees it."""
        listed: list[dict[str, Any]] = json.loads(self.bt("laptop", "node", "ls", "--json"))[
            "nodes"
        ]
        return [{**node, "name": node["path"].rsplit("/", 1)[1]} for node in listed]

    def roles(self) -> list[str]:
        return sorted(node["role"] for node in self.nodes())

    def kill(self, name: str) -> None:
        assert Daemon(self.folder / name / "nodes" / name).stop(kill=True)

    def start(self, name: str) -> None:
        self.bt(name, "up")

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
            time.sleep(0.3)

    def close(self) -> None:
        for host in self.lan.hosts:
            self.lan.run(
                host,
                [sys.executable, "-m", "blocktree.cli", "down"],
                env={"BLOCKTREE_STATE": str(self.folder / host)},
            )
        self.lan.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_the_main_job_holds_between_hosts_that_find_each_other(home: Home) -> None:
    job = MainJob(home, home.folder, find_source(), 256 << 20)
    job.run()
    assert len(job.steps) == 7

    # A cable that is pulled is not a death: the old leader comes back and follows.
    here = job.mounts[0]
    leader = next(node["name"] for node in home.nodes() if node["role"] == "leader")
    home.lan.cut(leader)
    (here / "copied" / "alone").write_bytes(b"written while a cable was out")
    home.lan.mend(leader)
    home.wait_for("all are back", lambda: home.roles() == ["follower", "follower", "leader"])
    assert (job.mounts[1] / "copied" / "alone").read_bytes() == b"written while a cable was out"
