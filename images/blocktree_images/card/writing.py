"""Writing an image through its block map, and reading it back.

The first 4 KiB, which hold the partition table, are written last, after everything else was read
back and found right. A write that was interrupted or went wrong leaves a card that starts nothing,
never one that starts something broken; it is written again from the beginning.
"""

import hashlib
from collections.abc import Callable
from typing import IO

from blocktree.fault import Fault, Kind
from blocktree_images.card.blockmap import BLOCK, BlockMap, Run
from blocktree_images.card.source import Source, read_exactly
from blocktree_images.card.target import Target

Moved = Callable[[int], object]
_HELD = BLOCK
_CHUNK = 1 << 20


def write_image(source: Source, blocks: BlockMap, target: Target, moved: Moved) -> None:
    """Write every mapped block, verify all of them, then the first ones.

    Args:
        source: the image.
        blocks: its block map.
        target: a drive or file, at least as large.
        moved: told of bytes written and of bytes read back.

    Raises:
        Fault: DAMAGED if the image does not match its map, or the target gives back something else;
            NO_SPACE if the target is too small.
    """
    if target.size < blocks.image_bytes:
        raise Fault(
            Kind.NO_SPACE,
            f"holds {target.size >> 20} MiB, the image takes {blocks.image_bytes >> 20} MiB",
        )
    target.write(0, bytes(_HELD))  # what was on it starts no more
    target.flush()
    held = _write(source, blocks, target, moved)
    target.flush()
    first = blocks.runs[0]
    for run in blocks.runs:
        verify_run(run, target, moved, held if run is first else b"")
    target.write(0, held)
    target.flush()
    if target.read(0, _HELD) != held:
        raise damaged(0)


def verify_image(blocks: BlockMap, target: Target, moved: Moved) -> None:
    """Compare every mapped block of a target with the map.

    Raises:
        Fault: DAMAGED, saying where.
    """
    for run in blocks.runs:
        verify_run(run, target, moved)


def verify_run(run: Run, target: Target, moved: Moved, held: bytes = b"") -> None:
    """Compare one run; `held` stands for its first bytes, which are not written yet."""
    digest, at, end = hashlib.sha256(held), run.start + len(held), run.start + run.size
    while at < end:
        content = target.read(at, min(_CHUNK, end - at))
        if not content:
            raise damaged(at)
        digest.update(content)
        moved(len(content))
        at += len(content)
    if digest.hexdigest() != run.sha256:
        raise damaged(run.start, run.size)


def damaged(at: int, size: int = _HELD) -> Fault:
    """The target gave back something else than it was given."""
    return Fault(
        Kind.DAMAGED,
        f"what was read back differs from what was written, in bytes {at:,} to {at + size:,}",
        next_step="try another card or reader: this one may be worn out or counterfeit",
    )


def _write(source: Source, blocks: BlockMap, target: Target, moved: Moved) -> bytes:
    """Write all but the first bytes, which come back; each run is checked before it is written."""
    at, held = 0, b""
    with source.open() as stream:
        for run in blocks.runs:
            _skip(stream, run.start - at, source)
            content = read_exactly(stream, run.size, str(source.path))
            if hashlib.sha256(content).hexdigest() != run.sha256:
                raise Fault(
                    Kind.DAMAGED,
                    "the image does not match its block map",
                    path=str(source.path),
                    next_step="get both again, or make them anew: bt image build",
                )
            if run.start == 0:
                held, content = content[:_HELD], content[_HELD:]
            place = run.start + run.size - len(content)
            for start in range(0, len(content), _CHUNK):
                part = content[start : start + _CHUNK]
                target.write(place + start, part)
                moved(len(part))
            at = run.start + run.size
    assert held, "a block map begins with the partition table"
    return held


def _skip(stream: IO[bytes], count: int, source: Source) -> None:
    if count and source.is_raw:
        stream.seek(count, 1)
    elif count:
        while count:
            count -= len(read_exactly(stream, min(count, _CHUNK), str(source.path)))
