"""Processes on one network find each other by multicast DNS, and only those of their tree."""

import asyncio
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path as File

import pytest
from zeroconf import ServiceStateChange

from blocktree.link import Discovery
from blocktree.link.announcement import SERVICE
from lan import Lan, needs_root
from link.tree import make_node
from link.world import in_loop

TESTS = File(__file__).parent.parent


class Neighbour:
    """A process on one host, and what it tells."""

    def __init__(self, lan: Lan, host: str, seed: int = 1) -> None:
        program = [sys.executable, str(TESTS / "link" / "neighbour.py"), host, str(seed)]
        self.process = subprocess.Popen(
            lan.command(host, program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def expect(self, start: str, seconds: float = 15) -> str:
        end = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no {start!r} came; told: {self.told}")
            self.told.append(line)
            if line.startswith(start):
                return line

    def leave(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("", timeout=10)
        self._reader.join(timeout=10)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def lan() -> Iterator[Lan]:
    made = Lan(["pi-1", "pi-2", "pi-3"])
    try:
        yield made
    finally:
        made.close()


@needs_root
def test_processes_find_and_link_each_other_and_not_those_of_another_tree(lan: Lan) -> None:
    one, stranger = Neighbour(lan, "pi-1"), Neighbour(lan, "pi-3", seed=2)
    two = Neighbour(lan, "pi-2")
    try:
        one.expect("linked pi-2")
        two.expect("linked pi-1")
        stranger.expect("up")
        two.leave()
        one.expect("lost pi-2")
    finally:
        for neighbour in (one, two, stranger):
            neighbour.leave()
    assert not any(line.startswith("found") for line in stranger.told)
    assert not any("pi-3" in line for line in one.told)


@needs_root
def test_a_machine_whose_cable_comes_late_is_found(lan: Lan) -> None:
    lan.run("pi-2", ["ip", "link", "set", "eth0", "down"])
    one, two = Neighbour(lan, "pi-1"), Neighbour(lan, "pi-2")
    try:
        one.expect("up")
        two.expect("up")
        lan.run("pi-2", ["ip", "link", "set", "eth0", "up"])
        one.expect("linked pi-2", 30)
    finally:
        for neighbour in (one, two):
            neighbour.leave()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


@in_loop
async def test_what_is_heard_when_it_has_stopped_is_too_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    discovery = Discovery(make_node("pi-1", 1))
    await discovery.start()
    assert discovery._zeroconf is not None
    zeroconf = discovery._zeroconf.zeroconf
    await discovery.stop()
    discovery._heard(zeroconf, SERVICE, f"late.{SERVICE}", ServiceStateChange.Added)
    discovery._network_may_have_changed()
    await asyncio.sleep(0.1)
    assert not discovery._tasks
    assert not complaints(caplog)


@in_loop
async def test_it_may_be_stopped_while_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    for turns in range(4):
        discovery = Discovery(make_node("pi-1", 1), 7401)
        starting = asyncio.ensure_future(discovery.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        await discovery.stop()
        await starting
        await asyncio.sleep(0.1)
        assert discovery._zeroconf is None
        assert not discovery._tasks
    assert not complaints(caplog)
