"""What entries of the log carry, read once: for their blobs on arrival, and to apply them later."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from blocktree.fault import Fault
from blocktree.keys import Member
from blocktree.names import Digest
from blocktree.raft import Entry, EntryKind
from blocktree.sectors.check import Checked, check_transaction
from blocktree.sectors.transaction import Command, Commit, Join, Transaction, decode_command
from blocktree.wire import decode

_REMEMBERED_MAX = 4096
_NO_BLOBS: tuple[Digest, ...] = ()


@dataclass(slots=True)
class Prepared:
    """An entry's command and the blobs that it introduces."""

    command: Command
    blobs: tuple[Digest, ...] = _NO_BLOBS
    _transaction: Transaction | None = None
    _checked: Checked | None = None

    @property
    def checked(self) -> Checked | None:
        """The transaction of a `Commit` with its headers; None if it will be refused.

        A follower reads the headers only to apply them, while its disk is at work: whoever waits
        for its acknowledgement does not wait for that.
        """
        if self._checked is None and self._transaction is not None:
            try:
                self._checked = check_transaction(self._transaction)
            except Fault:
                self._transaction = None
        return self._checked


def prepare(command: Command, checked: Checked | None = None) -> Prepared:
    """Gather what applying a command takes; a malformed one is refused when it is applied."""
    if not isinstance(command, Commit):
        return Prepared(command)
    try:
        transaction = (
            checked.transaction
            if checked
            else decode(command.transaction, Transaction, exact=False)
        )
    except Fault:
        return Prepared(command)
    blobs = tuple([digest for change in transaction.changes for digest in change.blobs])
    return Prepared(command, blobs, transaction, checked)


class Entries:
    """Remembers what was read of entries that are not applied yet; bounded, oldest first out."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], Prepared | None] = OrderedDict()

    def remember(self, index: int, term: int, prepared: Prepared | None) -> None:
        """The entry at (`index`, `term`) carries this."""
        self._known[index, term] = prepared
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)

    def blobs_of(self, entry: Entry) -> Sequence[Digest]:
        """The blobs that an entry introduces."""
        prepared = self._read(entry)
        return prepared.blobs if prepared is not None else _NO_BLOBS

    def joins(self, entry: Entry) -> Member | None:
        """The member that an entry records, if that is what it does."""
        prepared = self._read(entry)
        if prepared is None or not isinstance(prepared.command, Join):
            return None
        try:
            return decode(prepared.command.member, Member)
        except Fault:
            return None

    def take(self, entry: Entry) -> Prepared | None:
        """What an entry carries, for the last time; None: nothing that changes the state."""
        prepared = self._read(entry)
        self._known.pop((entry.index, entry.term), None)
        return prepared

    def _read(self, entry: Entry) -> Prepared | None:
        if entry.kind is not EntryKind.NORMAL:
            return None
        key = (entry.index, entry.term)
        if key not in self._known:
            try:
                prepared = prepare(decode_command(entry.payload))
            except Fault:  # every replica reads it so: it does nothing anywhere
                prepared = None
            self.remember(*key, prepared)
        return self._known[key]
