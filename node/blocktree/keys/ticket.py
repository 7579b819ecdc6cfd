"""Tickets: one-use strings that let a machine make its own key and join.

A ticket carries a short-lived key which an authority has certified for exactly one path. The
machine that holds it certifies its own new key under the ticket key; the tree records the machine
and remembers the ticket's id, so that it cannot be spent twice. `SPEC.md` states the string.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import MemberKind, TicketMark
from blocktree.keys.chain import judge_ticket
from blocktree.keys.credential import Credential, issue, judge_clock, new_credential
from blocktree.keys.member import ADDRESSES_MAX, too_much
from blocktree.keys.principal import Draw, Key
from blocktree.keys.word import unwrap, wrap
from blocktree.names import Path, TreeId
from blocktree.wire import Record, decode, encode, record

PREFIX: Final = "btt1"
TICKET_SECONDS: Final = 7 * 86_400
TICKET_SECONDS_MAX: Final = 90 * 86_400
_PLAIN_MAX: Final = 32 << 10
_RETRY = "copy it again, whole, or make a new one: bt node invite"


@record(0x0103)
@dataclass(frozen=True, slots=True, repr=False)
class PackedTicket(Record):
    """What is inside a ticket's string. A secret."""

    scalar: bytes
    chain: tuple[bytes, ...]
    addresses: tuple[str, ...]
    genesis: bytes = b""


@dataclass(frozen=True, slots=True)
class Ticket:
    """An invitation: the key to one place in one tree, until it expires or is spent."""

    credential: Credential  # of kind TICKET
    addresses: tuple[str, ...] = ()  # "host:port" of members to try when discovery finds none
    genesis: bytes = b""  # for a tree's first node alone: the command it starts the tree from

    @property
    def mark(self) -> TicketMark:
        """The terms: id, expiry and kind."""
        mark = self.credential.identity.ticket
        assert mark is not None, "a ticket's chain holds its terms"
        return mark

    @property
    def path(self) -> Path:
        """The place that the ticket is for."""
        return self.credential.path

    @property
    def tree(self) -> TreeId:
        """The tree that the ticket is for."""
        return self.credential.tree

    def __str__(self) -> str:
        return f"ticket for {self.path}"


def new_ticket(
    authority: Credential,
    kind: MemberKind,
    path: Path,
    *,
    now: int,
    draw: Draw,
    seconds: int = TICKET_SECONDS,
    addresses: tuple[str, ...] = (),
    genesis: bytes = b"",
) -> Ticket:
    """Invite a `kind` (NODE, DEVICE, PROCESS) to `path`; good for `seconds` from `now`.

    Raises:
        Fault: DENIED if the authority may not; USAGE for a life over 90 days or too many addresses;
            EXPIRED if the clock is wrong by years.
    """
    if not 0 < seconds <= TICKET_SECONDS_MAX:
        raise Fault(Kind.USAGE, "a ticket lives at most 90 days", path=path)
    if too_much(addresses):
        raise Fault(Kind.USAGE, f"a ticket holds at most {ADDRESSES_MAX} addresses", path=path)
    mark = TicketMark(draw(16), now + seconds, kind)
    key = Key.generate(draw)
    chain = issue(
        authority, MemberKind.TICKET, path, key.principal, now=now, draw=draw, ticket=mark
    )
    return Ticket(Credential.of(key, chain), addresses, genesis)


def join_from_ticket(ticket: Ticket, *, now: int, draw: Draw) -> Credential:
    """Make a key on the joining machine and certify it under the ticket.

    The credential is worth nothing until a member has recorded it and so spent the ticket.

    Raises:
        Fault: EXPIRED if the ticket is over, or the clock is wrong by years.
    """
    judge_clock(now)
    judge_ticket(ticket.credential.identity, now)
    return new_credential(ticket.credential, ticket.mark.kind, ticket.path, now=now, draw=draw)


def encode_ticket(ticket: Ticket) -> str:
    """The ticket as one word that survives copying, mail and QR codes."""
    credential = ticket.credential
    packed = PackedTicket(
        credential.key.scalar(), credential.chain, ticket.addresses, ticket.genesis
    )
    return wrap(PREFIX, zlib.compress(encode(packed), 9))


def decode_ticket(text: str) -> Ticket:
    """Read a ticket's string; white space and line breaks inside it do not matter.

    Raises:
        Fault: MALFORMED for something else or a typing error, each with its sentence; otherwise as
            `check_chain`. Whether it has expired is judged by `join_from_ticket`.
    """
    squeezed = unwrap(PREFIX, text, "ticket", _RETRY)
    packed = decode(_inflate(squeezed), PackedTicket)
    credential = Credential.of(Key.load(packed.scalar), packed.chain)
    if credential.identity.kind is not MemberKind.TICKET:
        raise Fault(Kind.MALFORMED, "not a ticket: its certificate is for something else")
    return Ticket(credential, packed.addresses, packed.genesis)


def _inflate(squeezed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(squeezed, _PLAIN_MAX)
    except zlib.error as cause:
        raise Fault(Kind.MALFORMED, "the ticket cannot be unpacked") from cause
    if not stream.eof or stream.unused_data:
        raise Fault(Kind.MALFORMED, "the ticket cannot be unpacked")
    return plain
