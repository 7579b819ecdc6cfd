"""The replicated state machine: which header every file has, decided by the log alone.

Invariants, on every replica that applied the same commands:

- the tables are equal, byte by byte, whatever was cached and whether a snapshot came between;
- a refused command changes no row; a transaction changes all of its files or none;
- versions of a file go up by one, and each header names the digest of the one before it;
- a file's directory exists when the file is put there, and no directory is below itself;
- every header was written by a principal that belonged and had WRITE then.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from blocktree.caps import check_access, load_access
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Member, check_member
from blocktree.names import ROOT_FILE, FileId, Path, PrincipalId
from blocktree.sectors import claims, members, places, retention, running
from blocktree.sectors.check import Checked, check_header, read_transaction
from blocktree.sectors.header import FileKind, SignedHeader, load_header, verify_header
from blocktree.sectors.judge import Judge
from blocktree.sectors.rights import Rights
from blocktree.sectors.table import (
    GENESIS_KEY,
    U64_BYTES,
    Table,
    header_key,
    past_key,
    tombstone_key,
)
from blocktree.sectors.transaction import (
    Change,
    Command,
    Commit,
    Conflict,
    Dropped,
    Expire,
    Genesis,
    Join,
    Outcome,
    Remove,
)
from blocktree.wire import decode, encode

REMEMBERED_BYTES_MAX: Final = 8 << 20  # of decoded headers, so that a node stays small
_HEADER_OBJECTS_BYTES = 1200  # of Python objects around a remembered header


class SectorState:
    """The state of a tree in a table. One writer; whoever reads must be on the writer's thread."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: OrderedDict[FileId, SignedHeader] = OrderedDict()
        self._known_bytes = 0
        self.rights: Final = Rights(self.header, self.identify)

    def reload(self) -> None:
        """Drop all that is remembered of the table: its rows were replaced by a snapshot's."""
        self._known.clear()
        self._known_bytes = 0
        self.rights.forget()

    # Reading

    def header(self, file: FileId) -> SignedHeader | None:
        """The current header of a file, or None."""
        known = self._known.get(file)
        return self.headers([file])[0] if known is None else known

    def headers(self, files: Sequence[FileId]) -> list[SignedHeader | None]:
        """The current headers of files, or None; those that are not at hand are read together."""
        found = [self._known.get(file) for file in files]
        if None not in found:
            return found
        strange = [file for file, known in zip(files, found, strict=True) if known is None]
        rows = iter(self._table.get_many([header_key(file) for file in strange]))
        return [self._read(next(rows)) if known is None else known for known in found]

    def _read(self, row: bytes | None) -> SignedHeader | None:
        if row is None:
            return None
        read = load_header(row, exact=False)
        self._remember(read)
        return read

    def history(self, file: FileId, below: int = 0, count: int = 64) -> list[bytes]:
        """Past headers of a file, newest first; only versions under `below` (0: all)."""
        return retention.history(self._table, file, below, count)

    def genesis(self) -> Genesis | None:
        """The command that began this tree; None before it."""
        row = self._table.get(GENESIS_KEY)
        return None if row is None else decode(row, Genesis)

    def members(self) -> list[members.Membership]:
        """All present and former members."""
        return members.everyone(self._table)

    def members_changed_at(self) -> int:
        """The index of the last command that changed the members; 0: none yet."""
        return members.changed_at(self._table)

    def identify(self, principal: PrincipalId) -> Identity:
        """Who a member is.

        Raises:
            Fault: DENIED if the principal does not belong.
        """
        return members.identify(self._table, principal)

    # What answers at paths

    def place_of(self, path: Path) -> FileId:
        """The directory whose rights govern a path, as far as it is published."""
        return places.place_of(self._table, self.rights, path)

    def holding(self, path: Path) -> claims.Holding | None:
        """Who holds a path."""
        return claims.holding(self._table, path)

    def holdings(self) -> dict[Path, claims.Holding]:
        """All held paths."""
        return claims.holdings(self._table)

    def kept(self, path: Path) -> claims.Kept:
        """The state kept at a path."""
        return claims.kept(self._table, path)

    def actors(self) -> list[FileId]:
        """The files that say which actors are to run."""
        return running.files(self._table)

    # Applying

    def apply(self, index: int, command: Command, checked: Checked | None = None) -> Outcome:
        """Carry out the command at `index` of the log.

        `checked` is what `check.check_commit` made of this very `Commit`, to save decoding it
        again; a replica that has not checked it gives None.
        """
        try:
            match command:
                case Commit():
                    return self._commit(index, command, checked)
                case Expire(before_ns):
                    dropped, more = retention.expire(self._table, before_ns)
                    return Outcome(index, dropped=dropped, more=more)
                case Join(member, time_ns):
                    tree = self._begun().tree
                    changed = members.join(self._table, index, tree, member, time_ns)
                    return self._members(index, changed=changed)
                case Remove(principal, time_ns):
                    changed = members.remove(self._table, index, principal, time_ns)
                    return self._members(index, changed=changed)
                case Genesis():
                    return self._begin(index, command)
                case _:
                    return self._place(index, command)
        except Fault as fault:
            return Outcome(index, fault.kind, fault.what, fault.path)

    def _place(
        self, index: int, command: places.Publish | claims.Claim | claims.Release | claims.Keep
    ) -> Outcome:
        table, rights = self._table, self.rights
        match command:
            case places.Publish():
                places.publish(table, rights, command, self._begun().tree)
            case claims.Claim():
                claims.claim(table, index, rights, command, self._begun().tree)
            case claims.Release():
                claims.release(table, command)
            case claims.Keep():
                claims.keep(table, command)
        return Outcome(index, placed=command.path)

    def _commit(self, index: int, command: Commit, checked: Checked | None) -> Outcome:
        if checked is None:
            checked = read_transaction(command.transaction)
        changes = checked.transaction.changes
        current = self.headers([change.file for change in changes])
        conflicts = [
            Conflict(change.file, change.expected_version, actual)
            for change, signed in zip(changes, current, strict=True)
            if (actual := 0 if signed is None else signed.header.version) != change.expected_version
        ]
        if conflicts:
            if all(map(self._happened, changes)):
                return Outcome(index)
            return _conflict(index, conflicts)
        buried = self._buried(
            [change.file for change, at in zip(changes, current, strict=True) if at is None]
        )
        self._judge(command.principal, checked, current, buried)
        dropped: list[Dropped] = []
        for change, signed, before in zip(changes, checked.headers, current, strict=True):
            if change.file in buried:
                self._table.delete(tombstone_key(change.file))
            dropped += self._write(change.file, signed, before, command.time_ns)
        return Outcome(
            index, changed=tuple([change.file for change in changes]), dropped=tuple(dropped)
        )

    def _judge(
        self,
        principal: PrincipalId,
        checked: Checked,
        current: list[SignedHeader | None],
        buried: Mapping[FileId, SignedHeader],
    ) -> None:
        judge = Judge(self.rights, principal, checked)
        for signed, before in zip(checked.headers, current, strict=True):
            if signed is None:
                assert before is not None, "a deletion of nothing is not well formed"
                judge.delete(before)
            elif before is None:
                judge.create(signed, buried.get(signed.header.file))
            else:
                judge.replace(signed, before)

    def _happened(self, change: Change) -> bool:
        """Whether the effect of a change is there already: it was sent again."""
        if change.header:
            signed = self.header(change.file)
            if signed is not None and signed.encoded == change.header:
                return True
            row = self._table.get(past_key(change.file, change.expected_version + 1))
            return row is not None and row[U64_BYTES:] == change.header
        row = self._table.get(tombstone_key(change.file))
        return row is not None and int.from_bytes(row[:U64_BYTES]) == change.expected_version

    def _buried(self, files: Sequence[FileId]) -> dict[FileId, SignedHeader]:
        """The last versions of those that are deleted, while they are kept."""
        stones = self._table.get_many([tombstone_key(file) for file in files])
        found = {}
        for file, stone in zip(files, stones, strict=True):
            if stone is not None:
                past = self._table.get(past_key(file, int.from_bytes(stone)))
                assert past is not None, "a tombstone stays while its file has past versions"
                found[file] = load_header(past[U64_BYTES:], exact=False)
        return found

    def _write(
        self, file: FileId, signed: SignedHeader | None, before: SignedHeader | None, time_ns: int
    ) -> tuple[Dropped, ...]:
        if before is not None and _governs(signed, before):
            self.rights.forget()
        elif before is None and signed is not None and signed.header.kind is FileKind.DIRECTORY:
            self.rights.appeared()
        running.note(self._table, file, before, signed)
        if signed is not None:
            self._table.put(header_key(file), signed.encoded)
            self._remember(signed)
        if before is None:
            return ()
        if signed is None:
            self._table.delete(header_key(file))
            self._table.put(tombstone_key(file), before.header.version.to_bytes(U64_BYTES))
            self._forget(file)
        return retention.retire(self._table, before, time_ns)

    def _remember(self, signed: SignedHeader) -> None:
        """Keep a decoded header at hand; the one kept longest makes room."""
        self._forget(signed.header.file)
        self._known[signed.header.file] = signed
        self._known_bytes += _weight(signed)
        while self._known_bytes > REMEMBERED_BYTES_MAX:
            _, oldest = self._known.popitem(last=False)
            self._known_bytes -= _weight(oldest)

    def _forget(self, file: FileId) -> None:
        signed = self._known.pop(file, None)
        if signed is not None:
            self._known_bytes -= _weight(signed)

    def _begun(self) -> Genesis:
        genesis = self.genesis()
        if genesis is None:
            raise Fault(Kind.NOT_FOUND, "the tree has not begun")
        return genesis

    def _members(self, index: int, *, changed: bool) -> Outcome:
        self.rights.forget()
        return Outcome(index, members_changed=changed)

    def _begin(self, index: int, genesis: Genesis) -> Outcome:
        encoded = encode(genesis)
        row = self._table.get(GENESIS_KEY)
        if row == encoded:
            return Outcome(index)
        if row is not None:
            raise Fault(Kind.EXISTS, "the tree has begun already")
        signed = check_genesis(genesis)
        for member in genesis.members:
            members.join(self._table, index, genesis.tree, member, genesis.time_ns)
        self._table.put(GENESIS_KEY, encoded)
        self._write(ROOT_FILE, signed, None, genesis.time_ns)
        return Outcome(index, changed=(ROOT_FILE,), members_changed=True)


def check_genesis(genesis: Genesis) -> SignedHeader:
    """Check the beginning of a tree: members of it, and a root directory by and for its owner.

    Raises:
        Fault: MALFORMED, DENIED, DAMAGED, WRONG_TREE.
    """
    signed = load_header(genesis.header)
    check_header(signed.header)
    if signed.header.file != ROOT_FILE or signed.header.version != 1:
        raise Fault(Kind.MALFORMED, "a tree begins with version 1 of its root directory")
    first = [decode(member, Member) for member in genesis.members]
    identities = [check_member(member, genesis.tree, None) for member in first]
    paths = {identity.path for identity in identities}
    if len(paths) != len(identities):
        raise Fault(Kind.MALFORMED, "two first members with one path")
    if not identities or not identities[0].is_owner:
        raise Fault(Kind.DENIED, "the first member is the owner")
    owner = identities[0]
    access = load_access(signed.header.access)
    if access.file != ROOT_FILE or access.tree != genesis.tree:
        raise Fault(Kind.DENIED, "the root directory's access is of another place")
    check_access(access, owner, [])
    verify_header(signed, owner.key)
    return signed


def _weight(signed: SignedHeader) -> int:
    return 2 * len(signed.encoded) + _HEADER_OBJECTS_BYTES  # its bytes and its fields


def _governs(signed: SignedHeader | None, before: SignedHeader) -> bool:
    """Whether rights may differ after this change of a header, or its end."""
    old = before.header
    if old.kind is not FileKind.DIRECTORY:
        return False
    if signed is None:
        return True
    return signed.header.access != old.access or signed.header.parent != old.parent


def _conflict(index: int, conflicts: list[Conflict]) -> Outcome:
    first = conflicts[0]
    what = (
        f"it is at version {first.actual}, not {first.expected}"
        if first.actual
        else f"it does not exist, version {first.expected} was expected"
    )
    return Outcome(index, Kind.CONFLICT, what, first.file.hex(), tuple(conflicts))
