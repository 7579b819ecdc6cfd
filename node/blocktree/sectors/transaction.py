"""What Raft carries for the sectors: transactions over files, and commands about the tree itself.

Headers, transactions and members travel as their own encoded bytes inside the command that carries
them: they are decoded once, and a hash or signature never covers a re-encoding.
"""

from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, PrincipalId, TreeId
from blocktree.sectors.claims import Claim, Keep, Release
from blocktree.sectors.places import Publish
from blocktree.wire import Record, decode, record

CHANGES_MAX = 256  # files in one transaction
BLOBS_MAX = 16384  # blobs that one transaction introduces: 1 GiB in sectors of 64 KiB
EXPIRE_MAX = 256  # past versions that one `Expire` drops


@record(0x0402)
@dataclass(frozen=True, slots=True)
class Change(Record):
    """One file of a transaction: create (expected 0), replace, or delete (no header)."""

    file: FileId
    expected_version: int  # the version it must have now; 0: it must not exist
    header: bytes = b""  # encoded signed `Header` of the next version; b"": delete the file
    blobs: tuple[Digest, ...] = ()  # sectors and hash pages that the header adds to its tree


@record(0x0403)
@dataclass(frozen=True, slots=True)
class Transaction(Record):
    """Changes that happen all or not at all; each file at most once."""

    changes: tuple[Change, ...]


@record(0x0410)
@dataclass(frozen=True, slots=True)
class Genesis(Record):
    """The first command of a tree: its root directory and its first members."""

    tree: TreeId
    header: bytes  # encoded signed `Header` of the root directory, version 1
    members: tuple[bytes, ...]  # encoded `keys.Member`: the owner first
    time_ns: int


@record(0x0411)
@dataclass(frozen=True, slots=True)
class Commit(Record):
    """Apply a transaction with the rights of `principal`, who signed every header in it."""

    transaction: bytes  # encoded `Transaction`
    time_ns: int  # the leader's clock, since 1970
    principal: PrincipalId


@record(0x0412)
@dataclass(frozen=True, slots=True)
class Join(Record):
    """Record a member; a ticket that its chain was issued under is spent by it."""

    member: bytes  # encoded `keys.Member`
    time_ns: int


@record(0x0413)
@dataclass(frozen=True, slots=True)
class Remove(Record):
    """Withdraw a principal's belonging. Its record is kept, so its old headers stay verifiable."""

    principal: PrincipalId
    time_ns: int


@record(0x0414)
@dataclass(frozen=True, slots=True)
class Expire(Record):
    """Drop up to EXPIRE_MAX past versions that were replaced before this time, oldest first."""

    before_ns: int


Command = Genesis | Commit | Join | Remove | Expire | Publish | Claim | Release | Keep


def decode_command(payload: bytes) -> Command:
    """Read the payload of a Raft entry.

    Raises:
        Fault: MALFORMED if it is not a command.
    """
    command = decode(payload, Record, exact=False)
    if not isinstance(command, Command):
        raise Fault(Kind.MALFORMED, f"{type(command).__name__} is not a command")
    return command


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that was not at the version which a transaction expected."""

    file: FileId
    expected: int
    actual: int  # 0: it does not exist


@dataclass(frozen=True, slots=True)
class Dropped:
    """A version that retention gave up. Its blobs go, except those that its successor still has.

    Versions of a file are dropped oldest first and a blob never returns once it left a file's tree
    (`pages`), so no other version can need the difference.
    """

    old: bytes  # encoded header
    successor: bytes  # encoded header of the version after it; b"": the file was deleted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did; equal on every replica that applied the same log.

    With a fault nothing was changed. `changed` and `dropped` are the driver's work: call back
    leases on the one, delete the blobs of the other.
    """

    index: int
    kind: Kind | None = None  # of the fault that refused the command
    what: str = ""  # its sentence
    file: str = ""  # hex id of the file it is about
    conflicts: tuple[Conflict, ...] = ()
    changed: tuple[FileId, ...] = ()  # created, replaced and deleted files
    dropped: tuple[Dropped, ...] = ()
    members_changed: bool = False
    placed: str = ""  # the path at which who answers, or what is kept, changed
    more: bool = field(default=False)  # `Expire` stopped at its bound: propose it again

    def fault(self) -> Fault | None:
        """The refusal as a fault for the proposer; None if the command was applied."""
        return None if self.kind is None else Fault(self.kind, self.what, path=self.file)
