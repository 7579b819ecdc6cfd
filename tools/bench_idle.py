#!/usr/bin/env python3
"""What a node that has nothing to do costs: start, memory, share of a core, for three nodes.

    tools/bench_idle.py [--seconds 60] [--json]

Memory is the resident set (VmRSS), CPU is user and system time of each process over the interval,
start is from the fork to the moment the node answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")


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


def measure(seconds: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as folder:
        state = Path(folder) / "state"
        try:
            bt(state, "up", "--sim", "3", "--bare")
            bt(state, "sim", "kill", "sim-3")
            begun = time.monotonic()
            bt(state, "sim", "start", "sim-3")
            start = time.monotonic() - begun
            time.sleep(10)
            nodes = json.loads(bt(state, "sim", "ls", "--json"))["nodes"]
            before = {node["pid"]: cpu_seconds(node["pid"]) for node in nodes}
            time.sleep(seconds)
            return [
                {
                    "node": node["name"],
                    "role": node["role"],
                    "start_s": start if node["name"] == "sim-3" else None,
                    "resident_mib": round(resident_mib(node["pid"]), 1),
                    "core_percent": round(
                        100 * (cpu_seconds(node["pid"]) - before[node["pid"]]) / seconds, 2
                    ),
                }
                for node in nodes
            ]
        finally:
            bt(state, "down", "--purge", "--yes", "home")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.seconds)
    if options.json:
        print(json.dumps({"schema": "bench.idle/1", "nodes": rows}, indent=2))
        return
    print(f"{'node':8} {'role':10} {'start':>8} {'memory':>10} {'of a core':>10}")
    for row in rows:
        start = f"{row['start_s']:.2f} s" if row["start_s"] else ""
        memory = f"{row['resident_mib']} MiB"
        print(
            f"{row['node']:8} {row['role']:10} {start:>8} {memory:>10} {row['core_percent']:>8} %"
        )


if __name__ == "__main__":
    main()
