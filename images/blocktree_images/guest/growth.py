"""The data partition grows to the end of the card, while it is mounted.

The table is rewritten for its last partition alone, the kernel told, then the file system resized.
Interrupted anywhere, the next start goes on: each part is done only if it is still to do.
"""

import logging
import os
import stat
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.guest.place import call

log = logging.getLogger(__name__)

_SECTOR = 512
_WORTH = 8 << 20  # less than this at the end is not worth it


def grow(device: Path = Path("/dev/disk/by-label/data"), sysfs: Path = Path("/sys")) -> bool:
    """Grow the partition and its file system; whether there was anything to do.

    Raises:
        Fault: FAILED with the words of the program that could not.
    """
    number = device.stat().st_rdev
    node = sysfs / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    part, disk = node.resolve(), node.resolve().parent
    start, size, whole = (_sectors(path) for path in (part / "start", part / "size", disk / "size"))
    grown = False
    if (whole - start - size) * _SECTOR > _WORTH:
        index = (part / "partition").read_text().strip()
        block = f"/dev/{disk.name}"
        _do("sfdisk", "--no-reread", "--force", "--quiet", "-N", index, block, stdin=b", +\n")
        _do("partx", "--update", "--nr", index, block)
        grown = True
    done = call("resize2fs", str(device), seconds=900)
    if done.returncode:
        raise Fault(Kind.FAILED, f"resize2fs: {done.stderr.strip()}", path=str(device))
    return grown or "Nothing to do" not in done.stderr


def is_block(device: Path) -> bool:
    """Whether there is such a device."""
    try:
        return stat.S_ISBLK(device.stat().st_mode)
    except OSError:
        return False


def _sectors(path: Path) -> int:
    return int(path.read_text())


def _do(*words: str, stdin: bytes = b"") -> None:
    done = call(*words, stdin=stdin)
    if done.returncode:
        raise Fault(Kind.FAILED, f"{words[0]}: {done.stderr.strip() or done.stdout.strip()}")
