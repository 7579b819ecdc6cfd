"""What the kernel is told, as bytes: entries, attributes, directory lines, file system sizes."""

import stat
from dataclasses import replace

from blocktree.files.volume import Attributes, Entry, NodeKind, Space
from blocktree.mount.protocol import (
    ATTRIBUTES,
    DIRENT,
    ENTRY,
    STATFS_OUT,
)

SECOND = 1_000_000_000
UNKNOWN_INO = 0xFFFFFFFF  # what libfuse shows for .. too; nobody relies on it
TYPES = {
    NodeKind.FILE: stat.S_IFREG,
    NodeKind.DIRECTORY: stat.S_IFDIR,
    NodeKind.SYMLINK: stat.S_IFLNK,
    NodeKind.ACTOR: stat.S_IFDIR,
}
NO_ENTRY = bytes(ENTRY.size)
_PADDING = tuple(bytes(-count % 8) for count in range(8))


def split_seconds(seconds: float) -> tuple[int, int]:
    """A time-out as whole seconds and nanoseconds."""
    whole = int(seconds)
    return whole, int((seconds - whole) * SECOND)


def pack_entry(
    attributes: Attributes, entry_valid: tuple[int, int], valid: tuple[int, int]
) -> bytes:
    """fuse_entry_out: what a name leads to, and how long name and attributes hold."""
    return ENTRY.pack(
        attributes.ino,
        0,  # inode numbers are never reused, so one generation does
        entry_valid[0],
        valid[0],
        entry_valid[1],
        valid[1],
        *_attr(attributes),
    )


def pack_absence(valid: tuple[int, int]) -> bytes:
    """fuse_entry_out of a name that is known not to exist."""
    return ENTRY.pack(0, 0, valid[0], 0, valid[1], 0, *(0,) * 16)


def pack_attributes(attributes: Attributes, valid: tuple[int, int]) -> bytes:
    """fuse_attr_out."""
    return ATTRIBUTES.pack(valid[0], valid[1], 0, *_attr(attributes))


def _attr(a: Attributes) -> tuple[int, ...]:
    """The fields of fuse_attr in order."""
    return (
        a.ino,
        a.size,
        a.blocks,
        a.atime_ns // SECOND & 0xFFFFFFFFFFFFFFFF,  # before 1970: two's complement
        a.mtime_ns // SECOND & 0xFFFFFFFFFFFFFFFF,
        a.ctime_ns // SECOND & 0xFFFFFFFFFFFFFFFF,
        a.atime_ns % SECOND,
        a.mtime_ns % SECOND,
        a.ctime_ns % SECOND,
        TYPES[a.kind] | a.mode,
        a.links,
        a.uid,
        a.gid,
        0,
        a.block_size,
        0,
    )


def owned(attributes: Attributes, uid: int | None, gid: int | None) -> Attributes:
    """The same attributes, shown as belonging to `uid` and `gid` where given."""
    if uid is None and gid is None:
        return attributes
    return replace(
        attributes,
        uid=attributes.uid if uid is None else uid,
        gid=attributes.gid if gid is None else gid,
    )


class Listing:
    """Directory lines packed into at most `size` bytes; offsets are the volume's cookies + 2."""

    def __init__(self, size: int) -> None:
        self._parts: list[bytes] = []
        self._left = size

    def add(self, offset: int, entry: Entry, head: bytes = b"") -> bool:
        """Append one line, behind its fuse_entry_out for readdirplus; False if it does not fit."""
        padding = _PADDING[len(entry.name) % 8]
        need = len(head) + DIRENT.size + len(entry.name) + len(padding)
        if need > self._left:
            return False
        self._left -= need
        kind = TYPES[entry.kind] >> 12
        line = DIRENT.pack(entry.ino, offset, len(entry.name), kind)
        self._parts += (head, line, entry.name, padding)
        return True

    def to_bytes(self) -> bytes:
        """The reply."""
        return b"".join(self._parts)


def pack_space(space: Space) -> bytes:
    """fuse_statfs_out; sizes rounded down to blocks."""
    return STATFS_OUT.pack(
        space.bytes_total // space.block_size,
        space.bytes_free // space.block_size,
        space.bytes_free // space.block_size,
        space.files_total,
        space.files_free,
        space.block_size,
        space.name_bytes_max,
        space.block_size,
    )
