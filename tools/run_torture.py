"""Torture real nodes: kill, stop, cut off and fill them while clients write, then judge.

`tools/run_torture.py --kills 100` goes on until so many troubles were tried; `--seconds S` ends
earlier, `--seed S` draws the same troubles again, `--failover N` kills the leader N times and
measures how soon the next write is acknowledged, `--json` prints the outcome for programs. Needs
root (network namespaces). With `--keep` the logs and disks of the run are left in its folder. Exit
status 1 if a promise was broken.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from torture.run import Run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many troubles")
    parser.add_argument("--seconds", type=float, help="end after so much time")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--failover", type=int, help="only kill the leader, so often, and measure")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave logs and disks for reading")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {asked.seed}, below {folder}", file=sys.stderr)
    run = Run(folder, asked.seed)
    if asked.failover:
        outcome = run.failover(asked.failover)
    else:
        outcome = run.play(asked.kills, asked.seconds)
    print(outcome.text() if asked.json else outcome.table())
    if not asked.keep and not outcome.violations:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
