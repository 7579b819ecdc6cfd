"""Large buffers are used again, but never while somebody views them."""

import random

from blocktree.wire import Body, FrameReader, encode_frame
from blocktree.wire.spares import LARGE_BYTES, Spares

MIB = 1 << 20


def test_a_buffer_that_nobody_views_is_used_again() -> None:
    spares = Spares()
    view = spares.take(MIB)
    assert len(view) == MIB
    view[:] = b"x" * MIB
    del view
    assert spares.take(MIB - 5)[-1] == ord("x")


def test_a_buffer_is_not_used_again_while_a_part_of_it_is_viewed() -> None:
    spares = Spares()
    view = spares.take(MIB)
    view[:] = b"x" * MIB
    part = view[-1:]
    del view
    for _ in range(20):
        spares.take(MIB)[:] = b"y" * MIB
    assert bytes(part) == b"x"


def test_looking_for_a_free_buffer_changes_none() -> None:
    spares = Spares()
    dice = random.Random(7)
    taken: list[tuple[memoryview, bytes]] = []
    for _ in range(60):
        size = dice.randrange(LARGE_BYTES // 2, 2 * MIB)
        view = spares.take(size)
        content = dice.randbytes(size)
        view[:] = content
        taken.append((view, content))
        if len(taken) > 6:
            del taken[dice.randrange(len(taken))]
        del view
        assert all(bytes(seen) == wanted for seen, wanted in taken)


def test_few_mebibytes_are_kept() -> None:
    spares = Spares()
    for _ in range(3):
        taken = [spares.take(size) for size in (8 * MIB, MIB, MIB, 3 * MIB, MIB)]
        for view in taken:
            view[:1] = b"x"
        del taken, view
    assert sum(map(len, spares._buffers)) <= 4 * MIB


def test_what_was_not_needed_for_a_while_is_given_back() -> None:
    spares = Spares()
    spares.take(MIB)[:] = b"x" * MIB
    spares.rest()
    assert spares.take(MIB)[0] == ord("x")
    spares.rest()
    spares.rest()
    assert spares.take(MIB)[0] == 0


def test_bodies_that_are_kept_stay_as_they_were_read() -> None:
    """Frames of one link, some kept for long: no later one is read over them."""
    reader, dice = FrameReader(), random.Random(8)
    kept: list[tuple[memoryview, bytes]] = []
    for number in range(40):
        body = dice.randbytes(dice.randrange(LARGE_BYTES, 2 * MIB))
        for head, got in _read(reader, b"".join(encode_frame(b"head", body))):
            assert (head, bytes(got)) == (b"head", body)
            if number % 3 == 0:
                kept.append((memoryview(got)[10:20], body[10:20]))
    assert len(kept) == 14
    assert all(bytes(seen) == wanted for seen, wanted in kept)


def _read(reader: FrameReader, stream: bytes) -> list[tuple[bytes, Body]]:
    frames: list[tuple[bytes, Body]] = []
    while stream:
        buffer = reader.get_buffer()
        size = min(len(buffer), len(stream), 100_000)
        buffer[:size] = stream[:size]
        stream = stream[size:]
        frames += reader.buffer_updated(size)
    return frames
