"""Ranges of bytes against a plain list of flags."""

import os
import random

import pytest

from blocktree.files.edits import WHOLE, Edits

SIZE = 400


def ranges_of(flags: list[bool]) -> list[tuple[int, int]]:
    edges = [
        at for at in range(SIZE + 1) if (at > 0 and flags[at - 1]) != (at < SIZE and flags[at])
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize("seed", range(50))
def test_ranges_are_those_of_the_bytes_that_were_written(seed: int) -> None:
    dice = random.Random(seed)
    edits, flags = Edits(), [False] * SIZE
    for _ in range(dice.randrange(1, 60)):
        start = dice.randrange(SIZE)
        stop = min(SIZE, start + dice.choice((1, 2, 10, 100)))
        edits.add(start, stop)
        flags[start:stop] = [True] * (stop - start)
        assert edits.ranges == ranges_of(flags)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_written_here_lies_on_what_others_wrote(seed: int) -> None:
    dice = random.Random(seed)
    base, ours = (os.urandom(dice.randrange(SIZE)) for _ in range(2))
    edits, later, expected = Edits(), Edits(), bytearray(base)
    for _ in range(dice.randrange(12)):
        start = dice.randrange(SIZE - 20)
        stop = start + dice.randrange(1, 20)
        dice.choice((edits, later)).add(start, stop)
        expected.extend(bytes(max(0, start - len(expected))))
        expected[start:stop] = ours[start:stop].ljust(stop - start, b"\0")
    edits.join(later)
    merged = bytes(edits.onto(base, ours))
    size = max(len(merged), len(expected))  # content stands for the same content and zeros
    assert merged.ljust(size, b"\0") == bytes(expected).ljust(size, b"\0")


def test_a_whole_sector_hides_what_others_wrote() -> None:
    assert WHOLE.onto(b"theirs", b"ours") == b"ours"
    edits = Edits()
    edits.add(0, 2)
    edits.join(WHOLE)
    assert edits.whole
    WHOLE.join(Edits())
    assert WHOLE.whole


def test_very_many_ranges_count_as_the_whole_sector() -> None:
    edits = Edits()
    for start in range(0, 2 * 256, 2):
        edits.add(start, start + 1)
    assert not edits.whole
    edits.add(1000, 1001)
    assert edits.whole
