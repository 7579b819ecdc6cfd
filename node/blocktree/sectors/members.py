"""Who belongs to the tree: member rows, paths that are taken, tickets that are spent.

A member that is removed loses its rights at once. Its row is kept, so that what it signed before
can still be verified.

Invariants: each path has at most one belonging member, and its `p` row names it; each spent ticket
names the principal that spent it.
"""

from dataclasses import dataclass, replace

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Member, MemberKind, check_member
from blocktree.keys.chain import read_chain
from blocktree.names import PrincipalId, TreeId
from blocktree.sectors.table import (
    ITEMS_MAX,
    MEMBER_PREFIX,
    MEMBERS_CHANGED_KEY,
    U64_BYTES,
    Rows,
    Table,
    member_key,
    path_key,
    ticket_key,
)
from blocktree.wire import Record, decode, encode, record


@record(0x0420)
@dataclass(frozen=True, slots=True)
class Membership(Record):
    """A member's row."""

    member: bytes  # encoded `keys.Member`
    joined_ns: int
    removed_ns: int = 0  # 0: it belongs

    @property
    def belongs(self) -> bool:
        """Whether it has not been removed."""
        return not self.removed_ns


def find(rows: Rows, principal: PrincipalId) -> Membership | None:
    """The row of a present or former member."""
    row = rows.get(member_key(principal))
    return None if row is None else decode(row, Membership)


def everyone(rows: Rows) -> list[Membership]:
    """All present and former members, in the order of their principals."""
    return [decode(row, Membership) for _, row in rows.items(MEMBER_PREFIX, b"", ITEMS_MAX)]


def changed_at(rows: Rows) -> int:
    """The index of the last command that changed the members; 0: none yet."""
    return int.from_bytes(rows.get(MEMBERS_CHANGED_KEY) or b"")


def identify(rows: Rows, principal: PrincipalId, *, former: bool = False) -> Identity:
    """Who a member is; its chain was verified before it joined.

    Raises:
        Fault: DENIED if it does not belong (with `former`: and never did).
    """
    row = find(rows, principal)
    if row is None or not (row.belongs or former):
        raise Fault(Kind.DENIED, f"{principal.hex()[:16]} does not belong to this tree")
    return read_chain(decode(row.member, Member).chain)


def join(table: Table, index: int, tree: TreeId, encoded: bytes, time_ns: int) -> bool:
    """Record a member, or what a member says anew; False if nothing changed.

    Its chain is checked, but for dates: those were judged by the leader, which has a clock.

    Raises:
        Fault: EXISTS if another member has the path, SPENT if another principal spent the ticket,
            DENIED for a member that was removed and comes back without a new ticket; and as
            `keys.check_member`.
    """
    member = decode(encoded, Member)
    check_member(member, tree, None)
    row = find(table, member.principal)
    if row is not None and row.belongs and row.member == encoded:
        return False
    holder = table.get(path_key(member.path))
    if holder is not None and holder != member.principal:
        raise Fault(
            Kind.EXISTS,
            "another member has this path",
            path=member.path,
            next_step="remove it first: bt node remove",
        )
    _spend(table, member, row)
    if row is not None and row.belongs:
        table.delete(path_key(decode(row.member, Member).path))
    joined_ns = row.joined_ns if row is not None and row.belongs else time_ns
    _write(table, index, member.principal, Membership(encoded, joined_ns))
    table.put(path_key(member.path), member.principal)
    return True


def remove(table: Table, index: int, principal: PrincipalId, time_ns: int) -> bool:
    """Withdraw a principal's belonging; False if that was done before.

    Raises:
        Fault: NOT_FOUND if it never joined, DENIED for the owner.
    """
    row = find(table, principal)
    if row is None:
        raise Fault(Kind.NOT_FOUND, f"{principal.hex()[:16]} is no member")
    if not row.belongs:
        return False
    member = decode(row.member, Member)
    if member.kind is MemberKind.OWNER:
        raise Fault(Kind.DENIED, "the owner cannot be removed from the tree", path=member.path)
    _write(table, index, principal, replace(row, removed_ns=max(time_ns, 1)))
    table.delete(path_key(member.path))
    return True


def _spend(table: Table, member: Member, row: Membership | None) -> None:
    spender = table.get(ticket_key(member.ticket)) if member.ticket else None
    back = row is not None and not row.belongs
    if back and (not member.ticket or spender is not None):
        raise Fault(
            Kind.DENIED,
            "it was removed from this tree",
            path=member.path,
            next_step="invite it again: bt node invite",
        )
    if spender is not None and spender != member.principal:
        raise Fault(Kind.SPENT, "the ticket was used before", path=member.path)
    if member.ticket:
        table.put(ticket_key(member.ticket), member.principal)


def _write(table: Table, index: int, principal: PrincipalId, row: Membership) -> None:
    table.put(member_key(principal), encode(row))
    table.put(MEMBERS_CHANGED_KEY, index.to_bytes(U64_BYTES))
