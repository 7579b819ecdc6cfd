"""File systems in plain files: FAT by mtools, ext4 by mke2fs, no loop device and no mount.

The same inputs give the same bytes: dates, ids and hash seeds are all given.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from blocktree_images.build.layout import BOOT, Partition, identity
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.programs import Watch, silent

BLOCK = 4096
_FREE = re.compile(r"^  Free blocks: (.+)$", re.MULTILINE)


def make_fat(
    toolbox: Toolbox, board: str, *, epoch: int, content: Path, image: Path, watch: Watch = silent
) -> None:
    """A FAT32 file system of `content`, as big as the boot partition."""
    env = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    _empty(image, BOOT.size)
    volume = identity(board, "boot").hex[:8]
    words = ["--invariant", "-F", "32", "-s", "8", "-n", BOOT.label, "-i", volume]
    toolbox.run("mkfs.vfat", *words, image, watch=watch, env=env)
    paths = sorted(content.rglob("*"))
    folders = [f"::/{path.relative_to(content)}" for path in paths if path.is_dir()]
    if folders:
        toolbox.run("mmd", "-i", image, *folders, env=env)
    for path in paths:
        if path.is_file():
            os.utime(path, (epoch, epoch))
            target = f"::/{path.relative_to(content)}"
            toolbox.run("mcopy", "-m", "-i", image, path, target, watch=watch, env=env)


def make_ext4(
    toolbox: Toolbox,
    board: str,
    part: Partition,
    *,
    epoch: int,
    archive: Path,
    image: Path,
    watch: Watch = silent,
) -> None:
    """An ext4 file system of a tar file, as big as the partition, able to grow to 2 TiB."""
    name = str(identity(board, part.label))
    env = {
        "SOURCE_DATE_EPOCH": str(epoch),
        "E2FSPROGS_FAKE_TIME": str(epoch),
        "MKE2FS_CONFIG": str(toolbox.root / "etc" / "mke2fs.conf"),
        "TZ": "UTC",
    }
    _empty(image, part.size)
    extended = f"hash_seed={name},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    words = ["-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-I", "256", "-i", "16384", "-m", "1"]
    words += ["-L", part.label, "-U", name, "-E", extended, "-d", str(archive), str(image)]
    toolbox.run("mke2fs", *words, watch=watch, env=env)


def used_blocks(toolbox: Toolbox, image: Path) -> Iterator[tuple[int, int]]:
    """The runs of blocks that an ext4 file system uses: first and last, both included.

    A card must get all of them, zeros too: an inode table or journal that kept an old card's bytes
    would be believed.
    """
    told = toolbox.run("dumpe2fs", image)
    free = sorted(run for text in _FREE.findall(told) for run in _runs(text))
    at, blocks = 0, image.stat().st_size // BLOCK
    for first, last in free:
        if at < first:
            yield at, first - 1
        at = last + 1
    if at < blocks:
        yield at, blocks - 1


def _runs(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            yield int(first), int(last or first)


def _empty(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
