"""Members: the record in the tree that says who belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import MemberKind
from blocktree.keys.chain import Identity, check_chain
from blocktree.names import Path, PrincipalId, TreeId
from blocktree.wire import Record, record

ADDRESSES_MAX: Final = 16
ADDRESS_BYTES_MAX: Final = 255


def too_much(addresses: Sequence[str]) -> bool:
    """Whether these are more addresses, or longer ones, than anybody is known by."""
    long = any(len(address) > ADDRESS_BYTES_MAX for address in addresses)
    return long or len(addresses) > ADDRESSES_MAX


@record(0x0102)
@dataclass(frozen=True, slots=True)
class Member(Record):
    """One that belongs: its certificate names it, this record admits it.

    Raises:
        Fault: MALFORMED if a field is outside its bounds.
    """

    path: Path
    principal: PrincipalId
    kind: MemberKind
    chain: tuple[bytes, ...]  # DER, leaf first, root last
    ticket: bytes = b""  # the id (16 bytes) of the ticket that was spent to join, or b""
    addresses: tuple[str, ...] = ()  # "host:port" where its links are accepted; hints only

    def __post_init__(self) -> None:
        if len(self.principal) != 32 or len(self.ticket) not in (0, 16):
            raise Fault(Kind.MALFORMED, "a member with an id of the wrong length")
        if self.kind in (MemberKind.ROOT, MemberKind.TICKET):
            raise Fault(Kind.MALFORMED, f"a {self.kind.name.lower()} cannot be a member")
        if too_much(self.addresses):
            raise Fault(Kind.MALFORMED, "a member with too many or too long addresses")


def member_of(identity: Identity, addresses: tuple[str, ...] = ()) -> Member:
    """The record that admits `identity`."""
    ticket = identity.ticket.id if identity.ticket else b""
    return Member(
        identity.path, identity.principal, identity.kind, identity.chain, ticket, addresses
    )


def check_member(member: Member, tree: TreeId, now: int | None) -> Identity:
    """Verify a member's chain and that the record says what the chain says.

    `now` None leaves the dates out, to verify what a member signed earlier (`check_chain`).
    Whether a ticket was still good is judged once, when it is spent (`judge_ticket`).

    Raises:
        Fault: as `check_chain`; DAMAGED if record and chain differ.
    """
    identity = check_chain(member.chain, tree, now)
    if member_of(identity, member.addresses) != member:
        raise Fault(
            Kind.DAMAGED, "the member's record is not what its chain says", path=member.path
        )
    return identity
