"""What the way to the disk does again, and what not, when there is no room."""

from typing import cast

import pytest

from blocktree.disk import Batch, Disk
from blocktree.fault import Fault, Kind
from blocktree.raft import Entry, EntryKind, Membership, NodeId, Ready, SnapshotMark
from blocktree.store.saver import _batches

MARK = SnapshotMark(7, 2, Membership((NodeId("a"),)))


class FullDisk:
    """Has no room for entries."""

    def __init__(self) -> None:
        self.full = True
        self.did: list[object] = []

    def append(self, batch: Batch) -> None:
        if batch.entries and self.full:
            raise Fault(Kind.NO_SPACE, "the disk is full")
        self.did += [entry.index for entry in batch.entries]

    def finish_restore(self, mark: SnapshotMark) -> None:
        self.did.append(mark)


def write(disk: FullDisk, readies: list[Ready]) -> None:
    for batch in _batches(cast("Disk", disk), readies):
        disk.append(batch)


def test_a_snapshot_is_installed_once_though_the_entries_behind_it_find_no_room() -> None:
    entry = Entry(2, 8, EntryKind.NORMAL, b"")
    readies = [
        Ready(1, MARK, None, (), (), (), (), (), ()),
        Ready(2, None, None, (entry,), (), (), (), (), ()),
    ]
    disk = FullDisk()
    with pytest.raises(Fault, match="full"):
        write(disk, readies)
    disk.full = False
    write(disk, readies)
    assert disk.did == [MARK, 8]
