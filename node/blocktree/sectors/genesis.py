"""The first command of a tree: its root directory, empty and signed by the owner."""

from collections.abc import Sequence

from blocktree.caps import KeyRing, Right, grant_to, new_access
from blocktree.keys import Credential, Draw, Member, Principal
from blocktree.names import ROOT_FILE
from blocktree.sectors.header import (
    DIRECTORY_SECTOR_BYTES,
    Cipher,
    FileKind,
    Header,
    sign_header,
)
from blocktree.sectors.transaction import Genesis
from blocktree.wire import encode

ROOT_MODE = 0o755
_USER_RIGHTS = Right.READ | Right.WRITE | Right.SEND | Right.GRANT


def found_tree(
    owner: Credential,
    user: Principal,
    members: Sequence[Member],
    *,
    uid: int,
    gid: int,
    time_ns: int,
    draw: Draw,
) -> Genesis:
    """What the first node of a tree starts from.

    Owner and first user can read everything; the user may do everything but replace the owner.

    Args:
        owner: signs the root directory and its access.
        user: the first user's key.
        members: the first members, the owner first.
        uid: who the root directory belongs to on a mount.
        gid: and its group.
        time_ns: now, since 1970.
        draw: unpredictable bytes, for the root directory's key.
    """
    ring = KeyRing.start(draw)
    access = new_access(
        owner,
        owner.tree,
        ROOT_FILE,
        grants=[grant_to(user.id, _USER_RIGHTS)],
        readers=[owner.key.principal, user],
        ring=ring,
    )
    header = Header(
        file=ROOT_FILE,
        kind=FileKind.DIRECTORY,
        version=1,
        size=0,
        sector_size=DIRECTORY_SECTOR_BYTES,
        cipher=Cipher.AES_256_GCM,
        epoch=ring.epoch,
        root=b"",
        inline=b"",
        mode=ROOT_MODE,
        uid=uid,
        gid=gid,
        mtime_ns=time_ns,
        ctime_ns=time_ns,
        links=2,
        parent=ROOT_FILE,
        previous=b"",
        access=encode(access),
        attributes=b"",
        past_keys=b"",
        writer=owner.principal,
    )
    signed = sign_header(header, owner.key)
    return Genesis(owner.tree, signed.encoded, tuple(encode(m) for m in members), time_ns)
