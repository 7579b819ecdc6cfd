"""Play stories from seeds until one breaks a promise, or the time is over.

`tools/run_simulation.py --seeds 2000` plays seeds 0 … 1999, `--first N` starts elsewhere,
`--seconds S` goes on as long as that. A seed that fails is printed with the reason; play it again
with `--seed N --trace` to read its story. Exit status 1 if any seed failed.
"""

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice

from blocktree.sim import FaultyDisk, SegmentDisk, Trial, Violation
from blocktree.sim.disk import Disk

BATCH = 50


DISKS = {"model": Disk, "segments": SegmentDisk, "faulty": FaultyDisk}


def play(seeds: range, disk: str) -> tuple[Counter[str], list[str]]:
    """Totals over some seeds, and the violations."""
    totals: Counter[str] = Counter()
    broken: list[str] = []
    for seed in seeds:
        trial = Trial(seed, disk=DISKS[disk])
        try:
            verdict = trial.run()
        except Violation as violation:
            broken.append(str(violation))
            continue
        totals += trial.judge.seen
        totals["events"] += verdict.events
        totals["operations"] += verdict.operations
        totals["terms"] += verdict.terms
        totals["simulated seconds"] += int(verdict.seconds)
    totals["seeds"] += len(seeds)
    return totals, broken


def tell(seed: int, disk: str, *, trace: bool) -> int:
    """Play one seed and print what happened."""
    trial = Trial(seed, trace=trace, disk=DISKS[disk])
    try:
        print(trial.run())
    except Violation as violation:
        print(violation)
        return 1
    finally:
        print("\n".join(trial.world.story or []))
    return 0


def run(
    first: int, seeds: int | None, seconds: float | None, cores: int, disk: str
) -> tuple[Counter[str], list[str]]:
    """Play batches on several cores; the totals and all violations."""
    totals: Counter[str] = Counter()
    broken: list[str] = []
    starts = count(first, BATCH)
    batches = (range(start, start + BATCH) for start in starts)
    if seeds is not None:
        batches = islice(batches, -(-seeds // BATCH))
    end = None if seconds is None else time.monotonic() + seconds
    with ProcessPoolExecutor(cores) as pool:
        while wave := list(islice(batches, 4 * cores)):
            for part, faults in pool.map(partial(play, disk=disk), wave):
                totals += part
                broken += faults
                for fault in faults:
                    print(fault, file=sys.stderr)
            if end is not None and time.monotonic() > end:
                break
    return totals, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many, rounded up to batches of 50")
    parser.add_argument("--seconds", type=float, help="play until this much time is over")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--disk", choices=DISKS, default="model", help="the real format: segments")
    parser.add_argument("--seed", type=int, help="play only this one")
    parser.add_argument("--trace", action="store_true", help="print its story")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.seed is not None:
        return tell(asked.seed, asked.disk, trace=asked.trace)
    seeds = asked.seeds if asked.seeds or asked.seconds else 2000
    began = time.monotonic()
    totals, broken = run(asked.first, seeds, asked.seconds, asked.cores, asked.disk)
    took = time.monotonic() - began
    if asked.json:
        print(json.dumps({"schema": 1, "seconds": took, "totals": totals, "broken": broken}))
    else:
        for what, number in sorted(totals.items()):
            print(f"{what:20} {number:12,} {number / took:12,.0f} a second")
        print(f"{len(broken)} of {totals['seeds']} seeds broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
