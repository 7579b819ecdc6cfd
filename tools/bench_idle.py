#!/usr/bin/env python3
"""What a node that has nothing to do costs: start, memory, share of a core, for three nodes.

    tools/bench_idle.py [--seconds 60] [--json]

Memory is the resident set (VmRSS), CPU is user and system time of each process over the interval,
start is from the fork to the moment the node answers, wakings are those of all its threads.
What a waking costs is the machine's matter, so two peers idle in the same interval: three members
of etcd, if it is there, and an empty asyncio loop that wakes 20 times a second.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from commit_peers import Etcd, stop_all

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
EMPTY_LOOP = """
import asyncio
async def main():
    while True:
        await asyncio.sleep(0.05)
asyncio.run(main())
"""


def bt(state: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "blocktree.cli", *arguments],
        env={**os.environ, "BLOCKTREE_STATE": str(state), "PYTHONPATH": str(ROOT / "node")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"bt {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def wakings(pid: int) -> int:
    """How often threads of a process have waited for something, and were woken."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    lines = [line for task in tasks for line in task.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_"))


def watch(pids: list[int], seconds: float) -> list[dict[str, Any]]:
    """What each process costs while nothing happens."""
    before = [(cpu_seconds(pid), wakings(pid)) for pid in pids]
    time.sleep(seconds)
    after = [(cpu_seconds(pid), wakings(pid)) for pid in pids]
    return [
        {
            "resident_mib": round(resident_mib(pid), 1),
            "core_percent": round(100 * (cpu - cpu_before) / seconds, 2),
            "wakings_per_s": round((woken - woken_before) / seconds, 1),
        }
        for pid, (cpu_before, woken_before), (cpu, woken) in zip(pids, before, after, strict=True)
    ]


def measure(seconds: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as folder:
        state = Path(folder) / "state"
        etcd = Etcd(Path(folder))
        loop = subprocess.Popen([sys.executable, "-c", EMPTY_LOOP])
        try:
            bt(state, "up", "--sim", "3", "--bare")
            bt(state, "sim", "kill", "sim-3")
            begun = time.monotonic()
            bt(state, "sim", "start", "sim-3")
            start = time.monotonic() - begun
            if shutil.which("etcd"):
                asyncio.run(etcd.start())
            time.sleep(10)
            nodes = json.loads(bt(state, "sim", "ls", "--json"))["nodes"]
            starts = {"sim-3": start}
            rows = [
                (node["pid"], node["name"], node["role"], starts.get(node["name"]))
                for node in nodes
            ]
            rows += [
                (server.pid, f"etcd-{number}", "peer", None)
                for number, server in enumerate(etcd.servers)
            ]
            rows.append((loop.pid, "loop", "empty", None))
            costs = watch([row[0] for row in rows], seconds)
            return [
                {"node": name, "role": role, "start_s": started, **cost}
                for (_, name, role, started), cost in zip(rows, costs, strict=True)
            ]
        finally:
            stop_all([*etcd.servers, loop])
            bt(state, "down", "--purge", "--yes", "home")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.seconds)
    if options.json:
        print(json.dumps({"schema": "bench.idle/2", "nodes": rows}, indent=2))
        return
    print(f"{'node':8} {'role':10} {'start':>8} {'memory':>10} {'of a core':>10} {'wakings':>10}")
    for row in rows:
        start = f"{row['start_s']:.2f} s" if row["start_s"] else ""
        print(
            f"{row['node']:8} {row['role']:10} {start:>8} {row['resident_mib']:>6} MiB"
            f" {row['core_percent']:>8} % {row['wakings_per_s']:>8}/s"
        )


if __name__ == "__main__":
    main()
