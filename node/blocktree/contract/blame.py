"""Blame: a signed statement that somebody broke a contract, which anyone can verify.

What a verified `Blame` proves: that the reporter, known by its chain to the tree's root, says that
the offender, known by its certificate, sent a message with this hash when the contract with that
hash did not allow it. It is testimony: messages are not signed by who sends them. But it cannot be
made in another's name or changed, and who has the contract sees whether it says so: an accusation
that the contract refutes does not verify.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from blocktree.contract.contract import Role
from blocktree.contract.join import joined
from blocktree.contract.machine import Node
from blocktree.contract.walk import reached
from blocktree.contract.written import contract_hash
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Identity, check_chain
from blocktree.keys.chain import read_chain
from blocktree.names import Address, TreeId
from blocktree.wire import Record, body_of, decode, encode, record

_DOMAIN = b"blocktree blame 1\0"
BLAME_BYTES_MAX = 32 << 10


@record(0x0A01)
@dataclass(frozen=True, slots=True)
class Accusation(Record):
    """Who broke which contract, where and how.

    `offender` and `reporter` are addresses of actors; `certificates` are the offender's chain (DER,
    leaf first). `roles` are those that the reporter plays (`contract.role`), `contracts` the hashes
    of their contracts. `digest` is the SHA-256 of the message: its record, then its body.
    """

    offender: str
    certificates: tuple[bytes, ...]
    reporter: str
    roles: tuple[str, ...]
    contracts: tuple[bytes, ...]
    state: str
    expected: tuple[str, ...]
    message: str
    digest: bytes
    at: int  # seconds since 1970, by the reporter's clock


@record(0x0A02)
@dataclass(frozen=True, slots=True)
class Blame(Record):
    """An encoded `Accusation`, signed by the reporter."""

    accusation: bytes
    chain: tuple[bytes, ...]  # the reporter's, DER, leaf first
    signature: bytes


@record(0x0A03)
@dataclass(frozen=True, slots=True)
class Charge(Record):
    """What was broken and how, without who did it: what only the actor itself knows."""

    roles: tuple[str, ...]
    contracts: tuple[bytes, ...]
    state: str
    expected: tuple[str, ...]
    message: str
    digest: bytes


def charge(roles: Sequence[Role], node: Node, message: Record) -> Charge:
    """`message` came while a conversation of who plays these roles was at `node`."""
    return Charge(
        tuple(str(role) for role in roles),
        tuple(contract_hash(role.contract) for role in roles if role.contract),
        node.name,
        node.expected,
        type(message).__name__,
        message_hash(message),
    )


def accuse(
    reporter: Credential,
    actor: Address,
    offender: tuple[Address, Identity],
    of: Charge,
    *,
    now: int,
) -> Blame:
    """Sign that `offender` did that to `actor`, which is the reporter's."""
    address, identity = offender
    accusation = encode(
        Accusation(
            str(address),
            identity.chain,
            str(actor),
            of.roles,
            of.contracts,
            of.state,
            of.expected,
            of.message,
            of.digest,
            now,
        )
    )
    return Blame(accusation, reporter.chain, reporter.key.sign(_DOMAIN + accusation))


def message_hash(message: Record) -> bytes:
    """SHA-256 of a message: its record, then its body."""
    return hashlib.sha256(encode(message) + bytes(body_of(message))).digest()


def verify(
    blame: bytes, *, tree: TreeId | None = None, roles: Sequence[Role] = ()
) -> tuple[Accusation, Identity]:
    """Check an encoded `Blame` without having seen anything of it; who reports it comes back, too.

    Args:
        blame: the bytes.
        tree: which tree the reporter must be of; None leaves that to whoever looks at the identity.
        roles: those that the accusation names, if they are at hand: then the contract is asked.

    Raises:
        Fault: MALFORMED or TOO_LARGE if it is no blame; DAMAGED if it is forged or altered; as
            `check_chain`; CONTRACT if the contract refutes it.
    """
    if len(blame) > BLAME_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a blame has at most {BLAME_BYTES_MAX} bytes")
    signed = decode(blame, Blame)
    found = decode(signed.accusation, Accusation)
    reporter = read_chain(signed.chain)
    reporter = check_chain(signed.chain, tree or reporter.tree, None)
    reporter.key.verify(signed.signature, _DOMAIN + signed.accusation)
    offender = read_chain(found.certificates)
    offender = check_chain(found.certificates, offender.tree, None)
    for who, address in ((reporter, found.reporter), (offender, found.offender)):
        if address.partition("#")[0] != who.path:
            what = f"names {address}, but its certificate is for {who.path}"
            raise Fault(Kind.DAMAGED, what)
    if roles:
        _ask_contract(found, roles)
    return found, reporter


def _ask_contract(found: Accusation, roles: Sequence[Role]) -> None:
    """Whether the contract says what the accusation says of it.

    Raises:
        Fault: CONTRACT if not.
    """
    hashes = tuple(contract_hash(role.contract) for role in roles if role.contract)
    if tuple(str(role) for role in roles) != found.roles or hashes != found.contracts:
        raise Fault(Kind.CONTRACT, "it is about another contract, or another version of it")
    nodes = [node for node in reached(joined(roles)) if node.name == found.state]
    if not nodes:
        raise Fault(Kind.CONTRACT, f"the contract has no state {found.state}")
    if found.message in found.expected or all(node.expected != found.expected for node in nodes):
        what = f"in state {found.state} the contract expects {' or '.join(nodes[0].expected)}"
        raise Fault(Kind.CONTRACT, f"the contract refutes it: {what}")
