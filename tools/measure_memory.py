#!/usr/bin/env python3
"""What nodes hold in memory under the worst that clients and peers do, and whether they keep time.

    tools/measure_memory.py [--stream 256] [--writers 64] [--clients 24] [--json]

Three nodes of a throw-away tree; one after the other: nothing · a stream of --stream MiB · the same
while a follower is stopped (it catches up afterwards) · --writers files at once · --clients
processes' worth of clients that ask without pause. For each: the most memory of its own of every
node (RssAnon), the most of files that it had mapped (RssFile: programs and the index, which the
kernel drops when it needs the room), and how often the leader changed: heartbeats that came too
late would cost its leadership.
`--stream 10240` is the long run. Exit status 1 if a node went over the bound of `store/SPEC.md`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_idle import bt

from blocktree.cli.places import Places
from blocktree.client import Client
from blocktree.fault import Fault
from blocktree.files.opening import Limits
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions

BOUND_MIB = 192  # of one node; stated in node/blocktree/store/SPEC.md
PIECE = os.urandom(1 << 20)
MINE = Permissions(0o644, 0, 0)


@dataclass(slots=True)
class Phase:
    """What one load did to the nodes."""

    name: str
    peak_mib: dict[str, float]
    mapped_mib: dict[str, float]
    seconds: float = 0.0
    mib: float = 0.0
    faults: int = 0
    terms: int = 0


class Tree:
    """A throw-away tree and its nodes' processes."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.place = Places(state).tree_place("home")

    def nodes(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(bt(self.state, "sim", "ls", "--json"))["nodes"]
        return listed

    def term(self) -> int:
        found = json.loads(bt(self.state, "node", "ls", "--json"))["nodes"]
        return max(node.get("term", 0) for node in found)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Filesystem]:
        client = Client(self.place.user(), seeds=self.place.seeds())
        try:
            await client.start(find_seconds=60)
            yield await client.open_files(Limits(cache_bytes=16 << 20))
        finally:
            with contextlib.suppress(Fault):
                await client.close()


async def put(files: Filesystem, name: str, mib: int) -> int:
    """Write a file of so many MiB; how many faults it cost."""
    made = await files.create(ROOT_INO, name.encode(), MINE, os.O_RDWR)
    faults = 0
    for at in range(mib):
        for _ in range(50):
            try:
                await files.write(made[1], at << 20, PIECE)
                break
            except Fault:
                faults += 1
                await asyncio.sleep(0.2)
        if at % 32 == 31:
            await files.flush(made[1])
    await files.flush(made[1])
    await files.release(made[1])
    return faults


Load = Callable[[Tree, argparse.Namespace], Awaitable[tuple[float, int]]]


async def idle(_tree: Tree, _asked: argparse.Namespace) -> tuple[float, int]:
    await asyncio.sleep(3)
    return 0, 0


async def stream(tree: Tree, asked: argparse.Namespace) -> tuple[float, int]:
    async with tree.client() as files:
        return asked.stream, await put(files, f"stream-{time.monotonic_ns()}", asked.stream)


async def stream_past_a_stopped_follower(
    tree: Tree, asked: argparse.Namespace
) -> tuple[float, int]:
    follower = next(node for node in tree.nodes() if node["role"] == "follower")
    os.kill(follower["pid"], signal.SIGSTOP)
    try:
        result = await stream(tree, asked)
    finally:
        os.kill(follower["pid"], signal.SIGCONT)
    await asyncio.sleep(10)
    return result


async def writers(tree: Tree, asked: argparse.Namespace) -> tuple[float, int]:
    mark = time.monotonic_ns()
    async with tree.client() as files:
        faults = await asyncio.gather(
            *(put(files, f"w{mark}-{number}", 2) for number in range(asked.writers))
        )
    return 2 * asked.writers, sum(faults)


async def flood(tree: Tree, asked: argparse.Namespace) -> tuple[float, int]:
    faults = 0

    async def ask(number: int) -> None:
        nonlocal faults
        try:
            async with tree.client() as files:
                end = time.monotonic() + 8
                while time.monotonic() < end:
                    await put(files, f"f{number}-{time.monotonic_ns()}", 0)
                    await files.readdir(ROOT_INO, 0, 1000)
        except Fault:
            faults += 1

    await asyncio.gather(*(ask(number) for number in range(asked.clients)))
    return 0, faults


LOADS: dict[str, Load] = {
    "nothing": idle,
    "a stream": stream,
    "a stream, a follower stopped": stream_past_a_stopped_follower,
    "many writers at once": writers,
    "a flood of clients": flood,
}


def memory_mib(pid: int) -> tuple[float, float]:
    """A process's own memory, and what it has in memory of mapped files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(sizes["RssAnon"]) / 1024, int(sizes["RssFile"]) / 1024


async def watch(nodes: list[dict[str, Any]], phase: Phase) -> None:
    while True:
        for node in nodes:
            with contextlib.suppress(OSError, KeyError):  # it has just ended
                own, mapped = memory_mib(node["pid"])
                name = node["name"]
                phase.peak_mib[name] = max(phase.peak_mib.get(name, 0), own)
                phase.mapped_mib[name] = max(phase.mapped_mib.get(name, 0), mapped)
        await asyncio.sleep(0.1)


async def play(tree: Tree, name: str, load: Load, asked: argparse.Namespace) -> Phase:
    phase = Phase(name, {}, {})
    before = tree.term()
    watching = asyncio.create_task(watch(tree.nodes(), phase))
    begun = time.monotonic()
    try:
        phase.mib, phase.faults = await load(tree, asked)
    finally:
        phase.seconds = time.monotonic() - begun
        watching.cancel()
    phase.terms = tree.term() - before
    return phase


@contextlib.contextmanager
def throwaway() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="measure-memory-") as folder:
        state = Path(folder) / "state"
        try:
            bt(state, "up", "--sim", "3", "--bare")
            yield Tree(state)
        finally:
            bt(state, "down", "--purge", "--yes", "home")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stream", type=int, default=256, help="MiB")
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    phases = []
    with throwaway() as tree:
        for name, load in LOADS.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            phases.append(asyncio.run(play(tree, name, load, asked)))
            print(f"  {phases[-1]}", file=sys.stderr, flush=True)
    worst = max(max(phase.peak_mib.values(), default=0) for phase in phases)
    if asked.json:
        found = [{name: getattr(p, name) for name in Phase.__slots__} for p in phases]
        print(json.dumps({"schema": "measure.memory/1", "bound_mib": BOUND_MIB, "phases": found}))
    else:
        heads = f"{'MAPPED':>8}{'MiB/s':>8}{'FAULTS':>8}{'TERMS':>7}{'SECONDS':>9}"
        print(f"{'LOAD':30}{'PEAK MiB':>18}{heads}")
        for p in phases:
            peaks = " / ".join(f"{mib:.0f}" for mib in sorted(p.peak_mib.values(), reverse=True))
            rate = f"{p.mib / p.seconds:.0f}" if p.mib else ""
            mapped = max(p.mapped_mib.values())
            print(
                f"{p.name:30}{peaks:>18}{mapped:8.0f}{rate:>8}{p.faults:8}{p.terms:7}{p.seconds:9.0f}"
            )
        print(f"largest {worst:.0f} MiB, bound {BOUND_MIB} MiB")
    return 1 if worst > BOUND_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
