"""Reading one record back, from any thread, beside appends and removals."""

from blocktree.disk.segment import (
    HEAD_SIZE,
    Head,
    Key,
    Place,
    RecordKind,
    checksum,
    length_of,
    offset_of,
    parse_head,
    segment_name,
    segment_of,
)
from blocktree.disk.shelf import Shelf
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, digest_of
from blocktree.raft import Entry, EntryKind


def read_record(shelf: Shelf, key: Key, where: Place) -> tuple[Head, memoryview]:
    """The record at a place: one read, the payload is a view of it.

    Raises:
        FileNotFoundError: the segment was removed, so the record lies somewhere else now.
        Fault: DAMAGED if there is no such record there.
    """
    number, offset, size = segment_of(where), offset_of(where), HEAD_SIZE + length_of(where)
    try:
        raw = shelf.reader(number).read(offset, size)
    except FileNotFoundError:
        raise
    except OSError as cause:
        raise _damaged(where, f"cannot be read: {cause}") from cause
    head = parse_head(raw[:HEAD_SIZE], key, number, offset)
    if head is None or len(raw) != size or head.length != length_of(where):
        raise _damaged(where, "is not what was written there")
    return head, memoryview(raw)[HEAD_SIZE:]


def read_blob(shelf: Shelf, key: Key, digest: Digest, where: Place, *, verify: bool) -> memoryview:
    """A blob; `verify` hashes it. Raises as `read_record`."""
    head, payload = read_record(shelf, key, where)
    if head.kind is not RecordKind.BLOB or head.name != digest:
        raise _damaged(where, "is another record")
    if verify and digest_of(payload) != digest:
        raise _damaged(where, "does not match its hash")
    return payload


def read_entry(shelf: Shelf, key: Key, where: Place) -> Entry:
    """An entry of the log. Raises as `read_record`."""
    head, payload = read_record(shelf, key, where)
    if head.kind not in (RecordKind.ENTRY, RecordKind.MOVED_ENTRY):
        raise _damaged(where, "is another record")
    if checksum(payload, key) != head.check:
        raise _damaged(where, "does not match its checksum")
    return Entry(head.term, head.index, EntryKind(head.extra), bytes(payload))


def _damaged(where: Place, what: str) -> Fault:
    return Fault(
        Kind.DAMAGED,
        f"the record at offset {offset_of(where)} {what}",
        path=segment_name(segment_of(where)),
        next_step="it is fetched again from another node",
    )
