"""Torture real nodes: kill, stop, cut off and fill them while clients write, then judge.

`tools/run_torture.py --kills 100` goes on until so many troubles were tried; `--seconds S` ends
earlier, `--seed S` draws the same troubles again. A long run is played in chapters: new nodes, new
clients, and everything judged at the end of each. `--failover N` kills the leader N times and
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

from torture.run import Outcome, Run

CHAPTER = 50  # troubles with one set of nodes, whose disks bear the history of so many


def play(folder: Path, seed: int, kills: int, seconds: float | None, *, keep: bool) -> Outcome:
    """Chapter after chapter until there were enough troubles, the time is over, or one is lost."""
    whole = Outcome(seed)
    while (left := kills - whole.tried.total()) > 0 and not whole.violations:
        rest = None if seconds is None else seconds - whole.seconds
        if rest is not None and rest <= 0:
            break
        place = folder / f"chapter-{seed}"
        place.mkdir()
        chapter = Run(place, seed).play(min(CHAPTER, left), rest)
        whole.add(chapter)
        seed += 1
        done, kept = whole.tried.total(), whole.survived.total()
        print(f"{done} of {kills} tried, {kept} survived", file=sys.stderr, flush=True)
        if not keep and not chapter.violations:
            shutil.rmtree(place, ignore_errors=True)
    return whole


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
    if asked.failover:
        outcome = Run(folder, asked.seed).failover(asked.failover)
    else:
        outcome = play(folder, asked.seed, asked.kills, asked.seconds, keep=asked.keep)
    print(outcome.text() if asked.json else outcome.table())
    if not asked.keep and not outcome.violations:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
