"""Sharing a directory and taking it back: the next access with its read caps, and one's own key."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from blocktree.caps.access import Access, ReadCap, check_succession, sign_access
from blocktree.caps.right import Grant, Right, grant_to
from blocktree.caps.ring import KeyRing
from blocktree.caps.seal import open_key, seal_key
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Draw, Key, Principal
from blocktree.names import FileId, Path, PrincipalId, TreeId


def new_access(
    signer: Credential,
    tree: TreeId,
    file: FileId,
    *,
    grants: Sequence[Grant],
    readers: Iterable[Principal],
    ring: KeyRing,
) -> Access:
    """The first access of a directory; `readers` can open the ring's present key."""
    caps = _seal(readers, file, ring)
    bare = Access(tree, file, 1, tuple(grants), caps, ring.epoch, signer.principal)
    return sign_access(bare, signer)


def share(
    old: Access,
    signer: Credential,
    *,
    grants: Sequence[Grant],
    readers: Iterable[Principal],
    ring: KeyRing,
) -> Access:
    """The next access of a directory, with more grants and readers; nobody loses anything.

    Raises:
        Fault: CONFLICT if the ring is of another epoch: somebody took a right back meanwhile.
    """
    if ring.epoch != old.epoch:
        raise Fault(Kind.CONFLICT, "the directory's key was changed meanwhile", path=old.file.hex())
    fresh = [principal for principal in readers if principal.id not in old.readers]
    bare = replace(
        old,
        version=old.version + 1,
        grants=(*old.grants, *(grant for grant in grants if grant not in old.grants)),
        read_caps=(*old.read_caps, *_seal(fresh, old.file, ring)),
    )
    return sign_access(bare, signer)


def revoke(
    old: Access,
    signer: Credential,
    *,
    subjects: Collection[PrincipalId | Path],
    remaining: Iterable[Principal],
    ring: KeyRing,
    draw: Draw,
    rights: Right = Right.ALL,
) -> tuple[Access, KeyRing]:
    """The next access in which `subjects` lost `rights`, under a new key, and the longer ring.

    What is written with the new ring is closed to everybody but `remaining` and those who can read
    the directory above. What the revoked could read before may be in their hands, and stays so.

    Raises:
        Fault: USAGE if one of `remaining` is revoked too; TOO_LARGE after 256 epochs.
    """
    stay = list(remaining)
    if any(principal.id in subjects for principal in stay):
        raise Fault(Kind.USAGE, "the same principal would lose and keep its read cap")
    longer = ring.advance(draw)
    bare = replace(
        old,
        version=old.version + 1,
        grants=_less(old.grants, subjects, rights),
        read_caps=_seal(stay, old.file, longer),
        epoch=longer.epoch,
    )
    check_succession(old, bare)
    return sign_access(bare, signer), longer


def withdraw(
    old: Access, signer: Credential, subjects: Collection[PrincipalId | Path], rights: Right
) -> Access:
    """The next access in which `subjects` have lost `rights`, under the same key.

    Raises:
        Fault: USAGE to take READ from who can open the key: that is `revoke`.
    """
    if rights & Right.READ and old.readers & set(subjects):
        raise Fault(Kind.USAGE, "who has the key loses it with a new one only")
    grants = _less(old.grants, subjects, rights)
    return sign_access(replace(old, version=old.version + 1, grants=grants), signer)


def open_read_cap(access: Access, key: Key) -> bytes:
    """The directory's key in the access's epoch, from the read cap that is sealed to `key`.

    Raises:
        Fault: DENIED if there is none, or it does not open.
    """
    for cap in access.read_caps:
        if cap.principal == key.principal.id:
            return open_key(cap.sealed, key, access.file, access.epoch)
    raise Fault(
        Kind.DENIED,
        "there is no read cap for this key",
        path=access.file.hex(),
        next_step="ask whoever may grant there",
    )


def _less(
    grants: Iterable[Grant], subjects: Collection[PrincipalId | Path], rights: Right
) -> tuple[Grant, ...]:
    """The grants that are left when some have lost rights."""
    left = []
    for grant in grants:
        subject = grant.principal or grant.path
        if subject is None or subject not in subjects:
            left.append(grant)
        elif rest := Right(grant.rights & ~rights):
            left.append(grant_to(subject, rest))
    return tuple(left)


def _seal(readers: Iterable[Principal], file: FileId, ring: KeyRing) -> tuple[ReadCap, ...]:
    return tuple(
        ReadCap(principal.id, seal_key(ring.current, principal, file, ring.epoch))
        for principal in dict.fromkeys(readers)
    )
