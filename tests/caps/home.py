"""A tree with an owner, two users, a laptop, a node and a stranger, from seeds."""

from collections.abc import Sequence

from blocktree.caps import Access, Grant, KeyRing, Right, grant_to, new_access, sign_access
from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Credential,
    Identity,
    MemberKind,
    Principal,
    new_credential,
    process_credential,
    user_path,
)
from blocktree.names import ROOT_FILE, FileId, Path, PrincipalId
from keys.forge import NOW, a_tree, credential, drawn

TREE = a_tree()
OWNER = TREE.owner
ANNA = TREE.user
BOB = new_credential(OWNER, MemberKind.USER, user_path(TREE.tree, "bob"), now=NOW, draw=drawn(21))
LAPTOP = process_credential(ANNA, "laptop", now=NOW, draw=drawn(22))
NODE = credential(TREE, MemberKind.NODE, "pi-1")
CAROL = a_tree(seed=2, user="carol").user  # of another tree
EVERYBODY = (OWNER, ANNA, BOB, LAPTOP, NODE, CAROL)
PHOTOS = FileId(bytes([7] * 16))
HOLIDAYS = FileId(bytes([8] * 16))
RING = KeyRing.start(drawn(31))
HERE = Path(f"/{TREE.tree}")
_NO_SIGNATURE_YET = PrincipalId(bytes(32))


def identify(principal: PrincipalId) -> Identity:
    for one in EVERYBODY:
        if one.principal == principal:
            return one.identity
    raise Fault(Kind.DENIED, "no member has this key")


def give(subject: Credential | Path, rights: Right) -> Grant:
    return grant_to(subject if isinstance(subject, str) else subject.principal, rights)


def access(signer: Credential, file: FileId, *grants: Grant, version: int = 1) -> Access:
    """An access without read caps: the same bytes each time."""
    bare = Access(TREE.tree, file, version, grants, (), 1, _NO_SIGNATURE_YET)
    return sign_access(bare, signer)


def sealed_access(
    signer: Credential, file: FileId, grants: Sequence[Grant], readers: Sequence[Credential]
) -> Access:
    principals: list[Principal] = [reader.key.principal for reader in readers]
    return new_access(signer, TREE.tree, file, grants=grants, readers=principals, ring=RING)


ROOT_ACCESS = access(OWNER, ROOT_FILE, give(ANNA, Right.ALL), give(BOB, Right.READ))
