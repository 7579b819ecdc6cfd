"""A tree with an owner, two users and a node, and a state that they change."""

from dataclasses import replace
from typing import Any

from blocktree.caps import Grant, KeyRing, Right, grant_to, new_access
from blocktree.fault import Kind
from blocktree.keys import Credential, MemberKind, member_of, new_credential, user_path
from blocktree.names import ROOT_FILE, Digest, FileId
from blocktree.sectors.check import check_commit
from blocktree.sectors.genesis import found_tree
from blocktree.sectors.header import (
    DIRECTORY_SECTOR_BYTES,
    SECTOR_BYTES,
    Cipher,
    FileKind,
    Header,
    sign_header,
)
from blocktree.sectors.state import SectorState
from blocktree.sectors.table import MemoryTable, Table
from blocktree.sectors.transaction import Change, Command, Commit, Join, Outcome, Transaction
from blocktree.wire import encode
from keys.forge import NOW, a_tree, drawn

TREE = a_tree()
OWNER = TREE.owner
ANNA = TREE.user
BOB = new_credential(OWNER, MemberKind.USER, user_path(TREE.tree, "bob"), now=NOW, draw=drawn(21))
RING = KeyRing.start(drawn(31))
GENESIS = found_tree(
    OWNER, ANNA.key.principal, TREE.members, uid=1000, gid=1000, time_ns=NOW, draw=drawn(32)
)


def file_id(number: int) -> FileId:
    return FileId(number.to_bytes(16))


A, B, C, D, E = map(file_id, range(1, 6))
DIR = {"kind": FileKind.DIRECTORY, "sector_size": DIRECTORY_SECTOR_BYTES, "links": 2}


def fresh(file: FileId, **fields: Any) -> Header:
    """A well-formed first header of an empty file in the root directory."""
    header = Header(
        file=file,
        kind=FileKind.FILE,
        version=1,
        size=0,
        sector_size=SECTOR_BYTES,
        cipher=Cipher.AES_256_GCM,
        epoch=1,
        root=b"",
        inline=b"",
        mode=0o644,
        uid=1000,
        gid=1000,
        mtime_ns=NOW,
        ctime_ns=NOW,
        links=1,
        parent=ROOT_FILE,
        previous=b"",
        access=b"",
        attributes=b"",
        past_keys=b"",
        writer=ANNA.principal,
    )
    return replace(header, **fields)


def access_for(
    file: FileId, *grants: Grant, signer: Credential = OWNER, ring: KeyRing = RING
) -> bytes:
    return encode(new_access(signer, TREE.tree, file, grants=grants, readers=[], ring=ring))


class House:
    """A state machine and the changes that its members make to it."""

    def __init__(self, table: Table | None = None, *, begun: bool = True) -> None:
        self.table = MemoryTable() if table is None else table
        self.state = SectorState(self.table)
        self.index = 0
        if begun:
            assert self.apply(GENESIS).kind is None
            assert self.apply(Join(encode(member_of(BOB.identity)), NOW)).kind is None

    def apply(self, command: Command) -> Outcome:
        self.index += 1
        return self.state.apply(self.index, command)

    def version(self, file: FileId) -> int:
        signed = self.state.header(file)
        return 0 if signed is None else signed.header.version

    def header(self, file: FileId) -> Header:
        signed = self.state.header(file)
        assert signed is not None
        return signed.header

    def create(self, file: FileId, *, by: Credential = ANNA, **fields: Any) -> Change:
        return Change(file, 0, sign_header(fresh(file, **fields), by.key).encoded)

    def mkdir(self, file: FileId, *, by: Credential = ANNA, **fields: Any) -> Change:
        return self.create(file, by=by, **{**DIR, **fields})

    def edit(
        self, file: FileId, *, by: Credential = ANNA, blobs: tuple[Digest, ...] = (), **fields: Any
    ) -> Change:
        signed = self.state.header(file)
        assert signed is not None
        version = signed.header.version
        following = {"version": version + 1, "previous": signed.digest, **fields}
        header = replace(signed.header, **following)
        return Change(file, version, sign_header(header, by.key).encoded, blobs)

    def delete(self, file: FileId) -> Change:
        return Change(file, self.version(file))

    def commit(self, *changes: Change, by: Credential = ANNA, time_ns: int = NOW) -> Outcome:
        encoded = encode(Transaction(changes))
        checked = check_commit(encoded, by.key.principal)
        self.index += 1
        command = Commit(encoded, time_ns, by.principal)
        # half of the time as the leader, half as a follower
        return self.state.apply(self.index, command, checked if self.index % 2 else None)

    def ok(self, *changes: Change, by: Credential = ANNA, time_ns: int = NOW) -> Outcome:
        outcome = self.commit(*changes, by=by, time_ns=time_ns)
        assert outcome.kind is None, outcome
        return outcome

    def refused(self, *changes: Change, by: Credential = ANNA) -> Kind:
        """Why the transaction is refused; that it changes nothing is checked."""
        before = self.table.items(b"", b"", 1 << 20)
        outcome = self.commit(*changes, by=by)
        assert outcome.kind is not None
        assert outcome.what
        assert self.table.items(b"", b"", 1 << 20) == before
        return outcome.kind


def bob_may(*rights: Right) -> list[Grant]:
    return [grant_to(BOB.principal, right) for right in rights]
