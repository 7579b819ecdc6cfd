"""The checkpoint: what the index says about the stream, written with every commit."""

import struct
import zlib
from dataclasses import dataclass

from blocktree.disk.batch import Damage
from blocktree.disk.index import Index, Space
from blocktree.disk.log import Row, decode_row
from blocktree.fault import Fault, Kind
from blocktree.raft import HardState, SnapshotMark
from blocktree.wire import Record, decode, encode, record

CHECKPOINT_KEY = b"checkpoint"
RESTORE_KEY = b"restore"
_INDEX = struct.Struct(">Q")
_CRC = struct.Struct(">I")
_CHUNK = 4096


@record(0x0604)
@dataclass(frozen=True, slots=True)
class Checkpoint(Record):
    """Everything before (`segment`, `offset`) of the stream is in the index, and durable."""

    disk: bytes
    segment: int
    offset: int
    table: int  # which space holds the state machine's table
    mark: SnapshotMark  # the point of the log that the table stands for
    hard_state: HardState
    start: SnapshotMark  # the log begins after it
    damage: Damage | None = None


@record(0x0605)
@dataclass(frozen=True, slots=True)
class Restore(Record):
    """A snapshot that is being received into the other table."""

    mark: SnapshotMark
    after: bytes  # the last key that is here


def load_checkpoint(index: Index) -> Checkpoint | None:
    """The last checkpoint, None if there was none yet.

    Raises:
        Fault: DAMAGED if it, or the index, cannot be read.
    """
    raw = index.get(Space.STATE, CHECKPOINT_KEY)
    return None if raw is None else decode(_checked(raw), Checkpoint)


def load_restore(index: Index) -> Restore | None:
    """The snapshot that is being received, if any. Fault DAMAGED."""
    raw = index.get(Space.STATE, RESTORE_KEY)
    return None if raw is None else decode(_checked(raw), Restore)


def state_rows(record: Checkpoint | Restore) -> dict[bytes, bytes | None]:
    """The row that holds it."""
    key = CHECKPOINT_KEY if isinstance(record, Checkpoint) else RESTORE_KEY
    encoded = encode(record)
    return {key: _CRC.pack(zlib.crc32(encoded)) + encoded}


def _checked(row: bytes) -> bytes:
    """A row without its checksum: LMDB has none, and a vote that rots must not be believed."""
    if len(row) < _CRC.size or zlib.crc32(row[_CRC.size :]) != _CRC.unpack_from(row)[0]:
        raise Fault(Kind.DAMAGED, "the index has no readable checkpoint")
    return row[_CRC.size :]


def load_log(index: Index) -> dict[int, Row]:
    """The log's rows. Fault DAMAGED."""
    rows: dict[int, Row] = {}
    after = b""
    while items := index.items(Space.LOG, b"", after, _CHUNK):
        for key, value in items:
            (entry,) = _INDEX.unpack(key)
            rows[entry] = decode_row(entry, value)
        after = items[-1][0]
    return rows
