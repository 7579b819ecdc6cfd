"""The bytes of a segment: records of a 64-byte head and a payload (`SPEC.md`, section "bytes").

A head carries its own place and a checksum keyed with the disk's id, so a record is only valid
where it was written: bytes of an older file, of another disk or inside a blob never pass for one.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import NewType

from blocktree.disk.batch import Keeper
from blocktree.names import Buffer
from blocktree.raft import HardState, SnapshotMark
from blocktree.wire import Record, record

MAGIC = b"BtS\x01"
HEAD_SIZE = 64
VERSION = 2  # 1 named blobs by SHA-256
NAME_SIZE = 32

# Where a record lies: segment << 64 | offset << 32 | payload length. Orders as the stream does.
Place = NewType("Place", int)
# What seeds every checksum on one disk: the CRC of its id.
Key = NewType("Key", int)

_HEAD = struct.Struct(">4sBBHIIIII32s")
_CRC = struct.Struct(">I")
_ENTRY_NAME = struct.Struct(">QQ16x")
_DELETED = struct.Struct(">32sII")
NO_NAME = bytes(NAME_SIZE)


@unique
class RecordKind(IntEnum):
    """What a record says. The order of records in the stream is the order of events."""

    SEGMENT = 1  # the first of every segment: whose it is, and the log's state so far
    BLOB = 2
    ENTRY = 3  # voids every entry with its index or a higher one
    MOVED_ENTRY = 4  # a copy of a live entry, made by reclaiming; voids nothing
    HARD_STATE = 5
    START = 6  # extra 0: entries up to the mark are dropped; extra 1: all entries are
    DELETE = 7  # blobs, each up to the place it had


_KINDS = {int(kind): kind for kind in RecordKind}


@record(0x0601)
@dataclass(frozen=True, slots=True)
class SegmentHead(Record):
    """The payload of a SEGMENT record: enough to start from this segment alone."""

    version: int
    disk: bytes  # 16 random bytes, made when the disk was
    tree: str
    node: bytes
    hard_state: HardState
    start: SnapshotMark  # the log begins after it
    last_index: int  # entries above are void
    previous: int  # size of the segment before, 0 for the first


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed record head.

    Attributes:
        extra: the entry's kind; for blobs 1 if kept; for START 1 if it resets.
        check: CRC-32 of the payload; for blobs the stamp instead.
        synced: everything in this segment below was durable when this was written.
        name: a blob's digest; an entry's index and term.
    """

    kind: RecordKind
    extra: int
    length: int
    check: int
    segment: int
    offset: int
    synced: int
    name: bytes

    @property
    def place(self) -> Place:
        """Where the record lies."""
        return place(self.segment, self.offset, self.length)

    @property
    def end(self) -> int:
        """The offset after the record."""
        return self.offset + HEAD_SIZE + self.length

    @property
    def index(self) -> int:
        """An entry's index."""
        return int.from_bytes(self.name[:8], "big")

    @property
    def term(self) -> int:
        """An entry's term."""
        return int.from_bytes(self.name[8:16], "big")


def place(segment: int, offset: int, length: int) -> Place:
    """Pack where a record lies."""
    return Place(segment << 64 | offset << 32 | length)


def segment_of(where: Place) -> int:
    """The number of the segment."""
    return where >> 64


def offset_of(where: Place) -> int:
    """The offset of the head in its segment."""
    return where >> 32 & 0xFFFFFFFF


def length_of(where: Place) -> int:
    """The bytes of the payload."""
    return where & 0xFFFFFFFF


def key_of(disk: bytes) -> Key:
    """The seed of all checksums on the disk with this id."""
    return Key(zlib.crc32(disk))


def checksum(payload: Buffer, key: Key) -> int:
    """The CRC-32 of a payload."""
    return zlib.crc32(payload, key)


def encode_head(  # noqa: PLR0917 - once a record: by position is measurably cheaper
    key: Key,
    kind: int,
    extra: int,
    length: int,
    check: int,
    segment: int,
    offset: int,
    synced: int,
    name: bytes,
) -> bytes:
    """The 64 bytes before a payload."""
    head = _HEAD.pack(MAGIC, kind, extra, 0, length, check, segment, offset, synced, name)
    return head + _CRC.pack(zlib.crc32(head, key))


def parse_head(raw: bytes, key: Key, segment: int, offset: int) -> Head | None:
    """The head in `raw`, or None if it is not one that belongs at this place."""
    if len(raw) < HEAD_SIZE or not raw.startswith(MAGIC):
        return None
    if _CRC.unpack_from(raw, HEAD_SIZE - 4)[0] != zlib.crc32(raw[: HEAD_SIZE - 4], key):
        return None
    _, kind, extra, _, length, check, in_segment, at, synced, name = _HEAD.unpack_from(raw)
    if in_segment != segment or at != offset or kind not in _KINDS:
        return None
    return Head(_KINDS[kind], extra, length, check, segment, offset, synced, name)


def entry_name(index: int, term: int) -> bytes:
    """The name field of an entry."""
    return _ENTRY_NAME.pack(index, term)


def encode_deleted(deleted: Sequence[tuple[bytes, Place]]) -> bytes:
    """The payload of a DELETE record."""
    return b"".join(_DELETED.pack(d, segment_of(p), offset_of(p)) for d, p in deleted)


def decode_deleted(payload: bytes) -> list[tuple[bytes, Place]]:
    """Digests and the places up to which they are deleted; lengths are zero."""
    whole = len(payload) - len(payload) % _DELETED.size
    return [(d, place(s, o, 0)) for d, s, o in _DELETED.iter_unpack(payload[:whole])]


def segment_name(number: int) -> str:
    """The file of a segment."""
    return f"segment-{number:08x}"


def segment_number(name: str) -> int | None:
    """The number of a segment's file, None for other files."""
    head, _, digits = name.partition("-")
    if head != "segment" or len(digits) != 8 or set(digits) - set("0123456789abcdef"):
        return None
    return int(digits, 16)


def belongs(head: SegmentHead, keeper: Keeper) -> bool:
    """Whether a segment is of this keeper's disk."""
    return head.tree == keeper.tree and head.node == keeper.node
