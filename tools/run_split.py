"""Play stories of a sole holder in a splitting network: `run_split.py [--trials N] [--first SEED]`.

Each is a seeded world with the real consensus core, claims and registry (`blocktree.sim.split`). It
ends with the first story that breaks a promise, whose seed is then a test.
"""

import argparse
import sys
import time

from blocktree.sim.judge import Violation
from blocktree.sim.split import Story


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    options = parser.parse_args()
    began, moves, acts, answered = time.process_time(), 0, 0, 0
    for seed in range(options.first, options.first + options.trials):
        try:
            story = Story(seed).play()
        except Violation as violation:
            print(violation)
            return 1
        moves += story.epochs() - 1
        acts += len(story.acts)
        answered += len(story.answered)
    print(
        f"{options.trials} trials: the counter moved {moves} times, its holders acted {acts:,} "
        f"times, never two at a time; {answered:,} additions answered, each counted once "
        f"({time.process_time() - began:.0f} s of CPU)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
