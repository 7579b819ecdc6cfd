"""Every operation of some short scripts fails once: nothing acknowledged is lost, however it ends.

`python -m disk.test_errors_everywhere FIRST SECONDS` tries random scripts for as long as is wanted.
"""

import errno
import random
import sys
import time
from collections.abc import Iterator

import pytest

from blocktree.disk import recovery
from disk.life import Life, Script, live
from disk.troubles import Trouble

SCRIPTS: dict[str, Script] = {
    "log": [
        ("entries", 20),
        ("sync", 0),
        ("entries", 1300),
        ("sync", 0),
        ("checkpoint", 0),
        ("vote", 0),
        ("three", 300),
        ("replace", 2),
        ("sync", 0),
        ("compact", 1),
        ("checkpoint", 0),
    ],
    "blobs": [
        ("blobs", 400),
        ("loose", 800),
        ("checkpoint", 0),
        ("delete", 2),
        ("again", 0),
        ("sync", 0),
        ("reclaim", 100_000),
        ("checkpoint", 0),
        ("delete", 9),
        ("entries", 900),
        ("reclaim", 100_000),
        ("checkpoint", 0),
    ],
    "beside a checkpoint": [
        ("blobs", 300),
        ("begin", 0),
        ("three", 300),
        ("delete", 1),
        ("end", 0),
        ("replace", 1),
        ("begin", 1),
        ("reclaim", 100_000),
        ("vote", 0),
        ("sync", 0),
        ("end", 0),
    ],
    "a snapshot": [
        ("three", 300),
        ("checkpoint", 1),
        ("restore", 4),
        ("entries", 900),
        ("sync", 0),
        ("reclaim", 100_000),
        ("checkpoint", 0),
    ],
    "a repair": [
        ("three", 300),
        ("checkpoint", 2),
        ("distrust", 0),
        ("forget", 0),
        ("three", 300),
        ("repaired", 0),
        ("replace", 1),
        ("sync", 0),
    ],
    "the first write": [("loose", 20), ("checkpoint", 0)],
    "a new segment": [("entries", 1300), ("sync", 0), ("entries", 900), ("checkpoint", 1)],
    "nothing left": [
        ("loose", 900),
        ("delete", 1),
        ("loose", 900),
        ("reclaim", 9000),
        ("checkpoint", 0),
    ],
}
LATER: list[Script] = [
    [("entries", 20), ("sync", 0)],
    [("blobs", 300), ("sync", 0), ("checkpoint", 0)],
    [("delete", 9), *[("reclaim", 100_000), ("checkpoint", 0)] * 2],
    [("entries", 900), ("entries", 900), ("sync", 0)],
    [("checkpoint", 0)],
]
STEPS = [
    *sorted({step for script in SCRIPTS.values() for step in script}),
    *[("sync", 0), ("entries", 20), ("reclaim", 100_000)] * 3,
    *[("checkpoint", 0), ("delete", 4), ("replace", 3), ("compact", 0), ("restore", 0)],
]

# Of a script that is played once with each trouble; a short one is played more often.
OPERATIONS = 80


def troubles(at: int, dice: random.Random) -> Iterator[Trouble]:
    """What may befall one operation, and those after it."""
    full, broken = errno.ENOSPC, errno.EIO
    yield Trouble(at, full)
    yield Trouble(at, broken)
    yield Trouble(at, full, dice.choice((2, 3, 5, 99)), part=dice.randrange(3))
    yield Trouble(at, broken, done=True)
    yield Trouble(at, full, part=dice.randrange(4), cut=at + dice.randint(1, 12))
    yield Trouble(at, broken, reads=True)
    yield Trouble(cut=at)


def lives(script: Script, dice: random.Random) -> Iterator[tuple[Trouble, Script, int]]:
    operations = Life(random.Random(0)).play(script, Trouble(reads=True)).count
    for at in range(1, operations + 1):
        for _ in range(OPERATIONS // operations):
            for trouble in troubles(at, dice):
                yield trouble, dice.choice(LATER), dice.randrange(1 << 30)


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_whatever_operation_fails_nothing_acknowledged_is_lost(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_ROWS_MAX", 2)
    verbs = {live(SCRIPTS[name], *each) for each in lives(SCRIPTS[name], random.Random(1))}
    assert verbs >= {"append", "fill", "sync", "create", "commit", "sync_directory"}


def explore(first: int, seconds: float) -> int:
    """Random scripts; how many lives ended badly."""
    recovery._ROWS_MAX = 2
    seed, count, bad, until = first, 0, 0, time.monotonic() + seconds
    while time.monotonic() < until:
        dice = random.Random(seed)
        script = [dice.choice(STEPS) for _ in range(dice.randint(4, 14))]
        for each in lives(script, dice):
            count += 1
            try:
                live(script, *each)
            except Exception as cause:
                bad += 1
                sys.stdout.write(f"seed {seed}: live({script}, *{each}): {cause!r:.200}\n")
        seed += 1
    sys.stdout.write(f"{count} lives of {seed - first} scripts, {bad} ended badly\n")
    return bad


if __name__ == "__main__":
    sys.exit(explore(int(sys.argv[1]), float(sys.argv[2])) > 0)
