"""Accesses: the signed record that says who may use a directory, and who can open its key.

A directory's header carries it as bytes; most directories have none and only inherit. Invariants
of what `check_accesses` accepts, root first:

- the first is the root directory's and signed by the owner of the tree;
- each further one is signed by somebody who has GRANT *above* that directory: what an access says
  does not count for its own signer, so nobody can justify himself, and no history is needed.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from blocktree.caps.right import Grant, Right, rights_of
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Identity, Principal
from blocktree.names import ROOT_FILE, FileId, PrincipalId, TreeId
from blocktree.wire import Record, decode, encode, record

GRANTS_MAX: Final = 256
READ_CAPS_MAX: Final = 256
ACCESS_BYTES_MAX: Final = 96 << 10
EPOCH_MAX: Final = 256
_CONTEXT: Final = b"blocktree access 1\0"


@record(0x0203)
@dataclass(frozen=True, slots=True)
class ReadCap(Record):
    """A directory's key for one epoch, sealed to one principal."""

    principal: PrincipalId
    sealed: bytes  # HPKE: 65 bytes encapsulated key, 32 ciphertext, 16 tag


@record(0x0201)
@dataclass(frozen=True, slots=True)
class Access(Record):
    """Who may do what in one directory and below.

    Raises:
        Fault: MALFORMED if a field is outside its bounds.
    """

    tree: TreeId
    file: FileId  # the directory
    version: int  # 1, 2, 3, … without gaps
    grants: tuple[Grant, ...]
    read_caps: tuple[ReadCap, ...]  # one for each principal at most
    epoch: int  # of the directory's key that the read caps hold, 1 …
    signer: PrincipalId
    signature: bytes = b""

    def __post_init__(self) -> None:
        if len(self.file) != 16 or len(self.signer) != 32 or self.version < 1:
            raise Fault(Kind.MALFORMED, "an access with an id of the wrong length or no version")
        if not 1 <= self.epoch <= EPOCH_MAX:
            raise Fault(Kind.MALFORMED, f"an access of key epoch {self.epoch}")
        if len(self.grants) > GRANTS_MAX or len(self.read_caps) > READ_CAPS_MAX:
            raise Fault(Kind.TOO_LARGE, "an access with too many grants or read caps")
        if len(self.readers) != len(self.read_caps):
            raise Fault(Kind.MALFORMED, "an access with two read caps for one principal")

    @property
    def readers(self) -> frozenset[PrincipalId]:
        """The principals that can open the directory's key of this epoch."""
        return frozenset(cap.principal for cap in self.read_caps)


def sign_access(access: Access, signer: Credential) -> Access:
    """Sign `access`, whatever its `signer` and `signature` said before."""
    bare = replace(access, signer=signer.principal, signature=b"")
    return replace(bare, signature=signer.key.sign(_CONTEXT + encode(bare)))


def load_access(encoded: bytes) -> Access:
    """Read an access from a header; nothing is verified yet.

    Raises:
        Fault: MALFORMED for anything else, TOO_LARGE over its limits.
    """
    if len(encoded) > ACCESS_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"an access of {len(encoded)} bytes")
    return decode(encoded, Access)


def check_access(access: Access, signer: Identity, above: Sequence[Access]) -> None:
    """Verify one access: its signature, and that its signer may share that directory.

    Args:
        access: of the directory in question.
        signer: who `access.signer` is, from a chain that held; also one who has left since.
        above: the verified accesses of the directories above it, root first; empty for the root's.

    Raises:
        Fault: DAMAGED for a wrong signature, DENIED for a signer without GRANT, WRONG_TREE.
    """
    where = access.file.hex()
    if signer.principal != access.signer:
        raise Fault(Kind.DENIED, "the access was signed by somebody else", path=where)
    if above and access.tree != above[0].tree:
        raise Fault(Kind.WRONG_TREE, "the access is of another tree", path=where)
    if (access.file == ROOT_FILE) == bool(above):
        raise Fault(Kind.DENIED, "the root directory's access comes first and only first")
    if access.file == ROOT_FILE:
        allowed = signer.is_owner and signer.tree == access.tree
    else:
        allowed = Right.GRANT in rights_of(signer, above)
    if not allowed:
        raise Fault(
            Kind.DENIED,
            f"{signer.path} may not share this directory",
            path=where,
            next_step="sign as somebody who has the grant right above it",
        )
    _verify(_CONTEXT + encode(replace(access, signature=b"")), access.signature, signer.key)


def check_accesses(
    accesses: Sequence[Access], identify: Callable[[PrincipalId], Identity], tree: TreeId
) -> None:
    """Verify the accesses from the root directory down to some directory.

    Args:
        accesses: root first; directories that only inherit are left out.
        identify: finds present and former members by id; raises a fault for others.
        tree: the tree they must be of.

    Raises:
        Fault: as `check_access`; DENIED if there is none.
    """
    if not accesses:
        raise Fault(Kind.DENIED, "the root directory has no access")
    if accesses[0].tree != tree:
        raise Fault(Kind.WRONG_TREE, "the access is of another tree")
    for count, access in enumerate(accesses):
        check_access(access, identify(access.signer), accesses[:count])


def check_succession(old: Access | None, new: Access) -> None:
    """Check that `new` may follow `old` in the same directory (None: there was no access).

    Whoever loses his read cap must find a new key in use, or he could read on.

    Raises:
        Fault: CONFLICT if the version is not the next; CONTRACT for an epoch that may not follow.
    """
    where = new.file.hex()
    if new.version != (1 if old is None else old.version + 1):
        raise Fault(Kind.CONFLICT, "the access was changed meanwhile", path=where)
    if old is None:
        return
    if (new.file, new.tree) != (old.file, old.tree):
        raise Fault(Kind.CONTRACT, "the access of another directory", path=where)
    if not old.epoch <= new.epoch <= old.epoch + 1:
        raise Fault(Kind.CONTRACT, "key epochs go up by one", path=where)
    if new.epoch == old.epoch and not old.readers <= new.readers:
        raise Fault(Kind.CONTRACT, "a reader is removed without a new key", path=where)


@functools.lru_cache(maxsize=1024)  # a directory's access is met again with each of its files
def _verify(message: bytes, signature: bytes, signer: Principal) -> None:
    signer.verify(signature, message)
