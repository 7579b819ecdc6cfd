"""The state of the tree as this replica has applied it, over the disk's table.

Invariant: the table is a function of the log up to `applied`, except for the rows of `owners` that
sweeping removes and the node's notes about itself.
"""

from collections.abc import Collection

from blocktree.disk import Disk
from blocktree.keys import Member
from blocktree.names import Digest, FileId
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.state import SectorState
from blocktree.sectors.table import MEMBER_PREFIX, MEMBERS_CHANGED_KEY, Items, Overlay
from blocktree.sectors.transaction import Outcome
from blocktree.store.entries import Prepared
from blocktree.store.owners import Owners
from blocktree.store.roster import Belonging, Roster
from blocktree.wire import decode

HISTORY_MAX = 256


class _DiskRows:
    """The disk's table as `sectors` reads it."""

    def __init__(self, disk: Disk) -> None:
        self.get = disk.table_get
        self.get_many = disk.table_get_many
        self._items = disk.table_items

    def items(self, prefix: bytes, after: bytes, limit: int, /) -> Items:
        return self._items(prefix, after, limit)


class TreeState:
    """Headers, members and blob owners."""

    def __init__(self, disk: Disk) -> None:
        self._rows = _DiskRows(disk)
        self.roster = Roster()
        self.reload()

    def reload(self) -> None:
        """The table below was replaced, or has just been opened."""
        self.overlay = Overlay(self._rows)
        self.sectors = SectorState(self.overlay)
        self.owners = Owners(self.overlay)
        self._read_members()

    def header(self, file: FileId) -> SignedHeader | None:
        """The current header of a file."""
        return self.sectors.header(file)

    def history(self, file: FileId, below: int, count: int) -> tuple[bytes, ...]:
        """Past headers, newest first."""
        return tuple(self.sectors.history(file, below, min(count, HISTORY_MAX)))

    def is_needed(self, digest: Digest) -> bool:
        """Whether a version that retention keeps introduced this blob."""
        return self.owners.of(digest) is not None

    def mend(self, key: bytes, value: bytes | None) -> None:
        """A row below was damaged: this is what it has to be (None: it should not be there)."""
        if value is None:
            self.overlay.delete(key)
        else:
            self.overlay.put(key, value)
        self.sectors.reload()
        if key[:1] in {MEMBER_PREFIX, MEMBERS_CHANGED_KEY}:
            self._read_members()

    def apply(
        self, index: int, prepared: Prepared, gone: Collection[Digest] = frozenset()
    ) -> Outcome:
        """Carry out the command of the entry at `index`; of its blobs, `gone` are gone for good."""
        outcome = self.sectors.apply(index, prepared.command, prepared.checked)
        if outcome.changed and prepared.checked is not None and prepared.blobs:
            for change in prepared.checked.transaction.changes:
                if change.blobs:
                    here = [d for d in change.blobs if d not in gone] if gone else change.blobs
                    self.owners.introduce(change.file, change.expected_version + 1, here)
        if outcome.dropped:
            self.owners.drop(index, outcome.dropped)
        if outcome.members_changed:
            self._read_members()
        return outcome

    def _read_members(self) -> None:
        self.roster.replace(
            (
                Belonging(decode(row.member, Member), not row.belongs)
                for row in self.sectors.members()
            ),
            self.sectors.members_changed_at(),
        )
