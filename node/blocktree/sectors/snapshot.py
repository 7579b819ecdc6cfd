"""Snapshots: the table in key order, in pieces, so that a transfer resumes where it broke off."""

from blocktree.fault import Fault, Kind
from blocktree.sectors.table import Items, Rows, Table

PIECE_BYTES = 512 << 10
_ROWS_AT_A_TIME = 256


def piece(rows: Rows, after: bytes, bytes_max: int = PIECE_BYTES) -> tuple[Items, bool]:
    """The rows behind the key `after` (b"": from the start), and whether they are the last.

    `rows` must not change between the pieces of one snapshot. A piece is as large as `bytes_max`
    allows, but has one row at least.
    """
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    while some := rows.items(b"", after, _ROWS_AT_A_TIME):
        for key, value in some:
            size += len(key) + len(value)
            if taken and size > bytes_max:
                return taken, False
            taken.append((key, value))
        after = taken[-1][0]
    return taken, True


def restore(table: Table, items: Items, after: bytes) -> bytes:
    """Put a piece into a table that received the earlier ones; returns the next `after`.

    The caches of a `SectorState` over the table must be dropped when it is complete (`reload`).

    Raises:
        Fault: MALFORMED if the rows are not in order behind `after`; nothing is put then.
    """
    last = after
    for key, _ in items:
        if key <= last:
            raise Fault(Kind.MALFORMED, "a piece of a snapshot that is out of order")
        last = key
    for key, value in items:
        table.put(key, value)
    return last
