"""One image from its partitions: the table, the boot file system, root and data; its block map."""

from collections.abc import Iterator
from pathlib import Path

from blocktree_images.build.filesystems import used_blocks
from blocktree_images.build.layout import (
    BOOT,
    DATA,
    IMAGE_BYTES,
    ROOT_A,
    ROOT_B,
    table,
)
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.card.blockmap import BLOCK, BlockMap, measure
from blocktree_images.card.sparse import copy_sparse

_WIPED = 1 << 20  # of what has no file system yet: no old one may be found there


def assemble(
    toolbox: Toolbox, board: str, *, boot: Path, root: Path, data: Path, image: Path
) -> BlockMap:
    """Write the image, holes where nothing is, and give its block map."""
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    toolbox.run("sfdisk", "--quiet", "--no-tell-kernel", image, stdin=table(board))
    for part, source in ((BOOT, boot), (ROOT_A, root), (DATA, data)):
        assert source.stat().st_size <= part.size
        copy_sparse(source, image, at=part.start)
    return measure(image, _mapped(toolbox, root, data))


def _mapped(toolbox: Toolbox, root: Path, data: Path) -> Iterator[tuple[int, int]]:
    yield 0, BOOT.end // BLOCK - 1  # table, gap and the whole FAT
    for part, source in ((ROOT_A, root), (DATA, data)):
        at = part.start // BLOCK
        for first, last in used_blocks(toolbox, source):
            yield at + first, at + last
    at = ROOT_B.start // BLOCK
    yield at, at + _WIPED // BLOCK - 1
