"""Rights: who may do what at a path, and how a directory's grants add up on the way down."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.names import Path, PrincipalId, is_within, parse_path
from blocktree.wire import Record, record

if TYPE_CHECKING:
    from blocktree.caps.access import Access


class Right(IntFlag):
    """What a principal may do. GRANT is the whole of sharing: its holder may give any right."""

    NONE = 0
    READ = 1
    WRITE = 2
    SEND = 4
    GRANT = 8
    ALL = 15


@record(0x0202)
@dataclass(frozen=True, slots=True)
class Grant(Record):
    """Rights given to one principal, or to all whose path lies at or below a path.

    Either may be of another tree; a principal's grant also covers what acts for that user.

    Raises:
        Fault: MALFORMED unless it names one of the two, and known rights.
    """

    principal: PrincipalId | None
    path: Path | None
    rights: int  # a `Right`

    def __post_init__(self) -> None:
        if (self.principal is None) == (self.path is None):
            raise Fault(Kind.MALFORMED, "a grant names a principal or a path, and not both")
        if not 0 < self.rights <= Right.ALL:
            raise Fault(Kind.MALFORMED, f"{self.rights} is no set of rights")
        if self.principal is not None and len(self.principal) != 32:
            raise Fault(Kind.MALFORMED, "a grant to a principal id of the wrong length")
        if self.path is not None:
            _check_path(self.path)

    def covers(self, identity: Identity) -> bool:
        """Whether this grant speaks of `identity`."""
        if self.path is not None:
            return is_within(identity.path, self.path)
        return self.principal in (identity.principal, identity.acts_for)


def grant_to(subject: PrincipalId | Path, rights: Right) -> Grant:
    """Give `rights` to a principal (by id) or to a path and all below it."""
    if isinstance(subject, str):
        return Grant(None, subject, int(rights))
    return Grant(subject, None, int(rights))


def rights_of(identity: Identity, accesses: "Sequence[Access]") -> Right:
    """What `identity` may do in a directory, from the accesses on the way to it, root first.

    Rights are inherited downwards and only add up; the tree's owner has all of them. The accesses
    must have been verified (`check_accesses`). Directories without an access are left out; without
    any access nobody has a right.
    """
    if accesses and identity.is_owner and identity.tree == accesses[0].tree:
        return Right.ALL
    rights = Right.NONE
    for access in accesses:
        for grant in access.grants:
            if grant.rights & ~rights and grant.covers(identity):
                rights |= Right(grant.rights)
    return rights


def require(
    identity: Identity, right: Right, accesses: "Sequence[Access]", *, path: str = ""
) -> None:
    """Refuse unless `identity` has `right`.

    Raises:
        Fault: DENIED, naming the right that lacks.
    """
    if right & ~rights_of(identity, accesses):
        lacks = str(right.name or right).lower()
        raise Fault(
            Kind.DENIED,
            f"{identity.path} lacks the right to {lacks}",
            path=path,
            next_step="ask whoever may grant there",
        )


def _check_path(path: Path) -> None:
    try:
        canonical = parse_path(path)
    except Fault as fault:
        raise Fault(Kind.MALFORMED, f"a grant to no path: {fault.what}") from None
    # "/" would speak of every key in every tree that anybody can make.
    if canonical != path or path == "/":
        raise Fault(Kind.MALFORMED, "a grant to a path that is not in canonical form")
