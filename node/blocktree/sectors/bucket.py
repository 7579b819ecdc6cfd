"""The content of one bucket of a directory: packed entries, one behind the other.

An entry is `name length u8 | kind u8 | epoch u32 | file 16 | key 32 | name`. A length of zero ends
the bucket; what follows is zeros that hide how long the names are. Adding an entry appends,
removing one cuts it out: the others are neither decoded nor encoded.
"""

import struct
from dataclasses import dataclass
from typing import Final

from blocktree.caps.seal import KEY_BYTES
from blocktree.fault import Fault, Kind
from blocktree.names import COMPONENT_BYTES_MAX, FileId
from blocktree.sectors.header import FileKind

_HEAD: Final = struct.Struct(">BBI16s32s")
ENTRY_HEAD_BYTES = _HEAD.size
_KINDS = {int(kind): kind for kind in FileKind}


@dataclass(frozen=True, slots=True)
class DirEntry:
    """What a directory says of one name. The key lets its reader open the file."""

    name: bytes  # 1 to 255 bytes, anything but "/" and NUL; not "." or ".."
    file: FileId
    kind: FileKind
    key: bytes  # the file's content key, 32 bytes
    epoch: int  # of that key, u32


def check_entry_name(name: bytes) -> None:
    """Check that a directory may hold this name.

    Raises:
        Fault: USAGE if it is empty, `.`, `..`, longer than 255 bytes, or has `/` or NUL.
    """
    if not 0 < len(name) <= COMPONENT_BYTES_MAX or name in {b".", b".."}:
        raise Fault(Kind.USAGE, f"{name[:300]!r} cannot be a name in a directory")
    if b"/" in name or b"\0" in name:
        raise Fault(Kind.USAGE, f"{name!r} cannot be a name in a directory")


def entry_size(name: bytes) -> int:
    """How many bytes of a directory the entry of this name takes."""
    return ENTRY_HEAD_BYTES + len(name)


def pack(entry: DirEntry) -> bytes:
    """The bytes of one entry."""
    assert len(entry.key) == KEY_BYTES
    name = entry.name
    return _HEAD.pack(len(name), entry.kind, entry.epoch, entry.file, entry.key) + name


def unpack(content: bytes) -> list[DirEntry]:
    """All entries of a bucket that `load` accepted, in the order they were added."""
    entries = []
    at, size = 0, len(content)
    while at < size:
        length, kind, epoch, file, key = _HEAD.unpack_from(content, at)
        end = at + ENTRY_HEAD_BYTES + length
        name = content[at + ENTRY_HEAD_BYTES : end]
        entries.append(DirEntry(name, FileId(file), _KINDS[kind], key, epoch))
        at = end
    return entries


def find(content: bytes, name: bytes) -> tuple[int, int] | None:
    """Where the entry of `name` begins and ends; None if the bucket has no such name."""
    if name not in content:
        return None
    at, size = 0, len(content)
    while at < size:
        end = at + ENTRY_HEAD_BYTES + content[at]
        if content[at + ENTRY_HEAD_BYTES : end] == name:
            return at, end
        at = end
    return None


def load(padded: bytes) -> bytes:
    """Check a bucket as it was read from a sector and return its content without the padding.

    Raises:
        Fault: MALFORMED if it is not what `pack` and `pad` write: an entry that is cut off, of an
            unknown kind, with a name that cannot be, a name twice, or padding that is not zero.
    """
    names = set()
    at, size = 0, len(padded)
    while at < size and padded[at]:
        end = at + ENTRY_HEAD_BYTES + padded[at]
        if end > size or padded[at + 1] not in _KINDS:
            raise Fault(Kind.MALFORMED, "a directory with a damaged entry")
        name = padded[at + ENTRY_HEAD_BYTES : end]
        if name in names or b"/" in name or b"\0" in name or name in {b".", b".."}:
            raise Fault(Kind.MALFORMED, f"a directory with the name {name!r}")
        names.add(name)
        at = end
    if padded.count(0, at) != size - at:
        raise Fault(Kind.MALFORMED, "a directory with something behind its entries")
    return padded[:at]


def pad(content: bytes, unit: int, most: int) -> bytes:
    """The content with zeros up to a multiple of `unit` bytes, but not beyond `most`."""
    padded = min(-(-len(content) // unit) * unit, most)
    return content + bytes(max(padded - len(content), 0))
