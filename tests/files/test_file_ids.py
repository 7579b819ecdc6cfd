"""What files are named by in the table of the nodes."""

import os
import random

import pytest

from blocktree.names import new_file

NOW_NS = 1_800_000_000_123_456_789


def test_what_is_made_later_lies_behind() -> None:
    dice = random.Random(1)
    made = [new_file(NOW_NS + step * 1_000_000, dice.randbytes) for step in range(100)]
    assert made == sorted(made)


def test_what_is_made_at_the_same_moment_differs() -> None:
    made = {new_file(NOW_NS, os.urandom) for _ in range(1000)}
    assert len(made) == 1000
    assert len({file[:6] for file in made}) == 1


@pytest.mark.parametrize("now_ns", [0, -1, -(1 << 70), NOW_NS, 1 << 80])
def test_any_clock_will_do(now_ns: int) -> None:
    assert len(new_file(now_ns, os.urandom)) == 16
