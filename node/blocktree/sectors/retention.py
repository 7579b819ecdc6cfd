"""How long past versions stay: at most VERSIONS_MAX a file, and SECONDS_MAX after replacement.

Invariants: the past versions of a file are contiguous and end just before its current (or, when it
was deleted, at its last) version, because they are dropped oldest first whatever the clock said;
each has one row in the queue; a tombstone stays while its file has past versions.
"""

from typing import Final

from blocktree.names import FileId
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.table import (
    FILE_BYTES,
    QUEUE_PREFIX,
    U64_BYTES,
    Rows,
    Table,
    header_key,
    past_key,
    past_prefix,
    queue_key,
    tombstone_key,
)
from blocktree.sectors.transaction import EXPIRE_MAX, Dropped

VERSIONS_MAX: Final = 32  # past versions of one file
SECONDS_MAX: Final = 7 * 24 * 3600
_TIME_MAX = (1 << 64) - 1


def retire(table: Table, signed: SignedHeader, time_ns: int) -> tuple[Dropped, ...]:
    """Make the current header a past one; its row is left to the caller. Returns what goes."""
    file, version = signed.header.file, signed.header.version
    time_ns = min(max(time_ns, 0), _TIME_MAX)
    table.put(past_key(file, version), time_ns.to_bytes(U64_BYTES) + signed.encoded)
    table.put(queue_key(time_ns, file, version), b"")
    oldest = version - VERSIONS_MAX
    if oldest < 1:
        return ()
    dropped = drop(table, file, oldest)
    return () if dropped is None else (dropped,)


def expire(table: Table, before_ns: int) -> tuple[tuple[Dropped, ...], bool]:
    """Drop versions replaced before a time, up to a bound; True if there may be more."""
    dropped: list[Dropped] = []
    queue = table.items(QUEUE_PREFIX, b"", EXPIRE_MAX)
    for key, _ in queue:
        if int.from_bytes(key[1 : 1 + U64_BYTES]) >= before_ns:
            return tuple(dropped), False
        file = FileId(key[1 + U64_BYTES : 1 + U64_BYTES + FILE_BYTES])
        version = int.from_bytes(key[-U64_BYTES:])
        oldest = version
        while oldest > 1 and table.get(past_key(file, oldest - 1)) is not None:
            oldest -= 1
        for doomed in range(oldest, version + 1):
            gone = drop(table, file, doomed)
            dropped += [] if gone is None else [gone]
        if len(dropped) >= EXPIRE_MAX:
            return tuple(dropped), True
    return tuple(dropped), len(queue) == EXPIRE_MAX


def drop(table: Table, file: FileId, version: int) -> Dropped | None:
    """Give up one past version, which must be the oldest; None if it is not there."""
    row = table.get(past_key(file, version))
    if row is None:
        return None
    table.delete(past_key(file, version))
    table.delete(queue_key(int.from_bytes(row[:U64_BYTES]), file, version))
    later = table.get(past_key(file, version + 1))
    successor = later[U64_BYTES:] if later is not None else table.get(header_key(file))
    if successor is None:
        table.delete(tombstone_key(file))
    return Dropped(row[U64_BYTES:], successor or b"")


def history(rows: Rows, file: FileId, below: int, count: int) -> list[bytes]:
    """Up to `count` past headers of a file, newest first; versions under `below` (0: all)."""
    found = rows.items(past_prefix(file), b"", VERSIONS_MAX + 1)
    kept = [
        row[U64_BYTES:]
        for key, row in found
        if not below or int.from_bytes(key[-U64_BYTES:]) < below
    ]
    return kept[::-1][:count]
