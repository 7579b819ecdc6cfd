"""The chain check: from a leaf certificate to the root whose key is the tree's name.

Everything that does not depend on the clock is checked once for each chain and remembered
(bounded), so a service that verifies thousands of headers pays for a chain once. Only dates are
judged again each time. What holds for every `Identity` this module hands out:

- the last certificate is self-signed by the key whose hash is the tree id;
- each certificate is signed by the next one's key, names it as issuer, and is within its path;
- kinds follow `ISSUES`, so a node, device or process has named nobody;
- somebody who joined by a ticket has exactly the path and kind that the ticket was made for.
"""

import datetime
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import (
    KEY_ID_BYTES,
    PATH_LENGTH,
    Certificate,
    MemberKind,
    TicketMark,
    read_certificate,
)
from blocktree.keys.principal import Principal
from blocktree.names import Path, PrincipalId, TreeId, is_within, tree_id

CHAIN_MAX: Final = 5  # process, ticket, user, owner, root
CHAINS_REMEMBERED: Final = 512
SET_CLOCK: Final = "set the clock: sudo timedatectl set-ntp true"
ISSUES: Final = {
    MemberKind.ROOT: {MemberKind.OWNER},
    MemberKind.OWNER: {
        MemberKind.USER,
        MemberKind.NODE,
        MemberKind.DEVICE,
        MemberKind.PROCESS,
        MemberKind.TICKET,
    },
    MemberKind.USER: {MemberKind.DEVICE, MemberKind.PROCESS, MemberKind.TICKET},
    MemberKind.TICKET: {MemberKind.NODE, MemberKind.DEVICE, MemberKind.PROCESS},
}
_SAME_PATH = {(MemberKind.ROOT, MemberKind.OWNER)}  # and a ticket's: exactly that path
_SHA256 = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody proved to be: a path, a kind and a key, by a chain that held."""

    path: Path
    kind: MemberKind
    principal: PrincipalId
    key: Principal  # verifies signatures; the target for sealing
    tree: TreeId
    chain: tuple[bytes, ...]  # DER, leaf first, root last
    begins: int  # seconds since 1970: all certificates of the chain are valid from here …
    ends: int  # … to here, inclusive
    acts_for: PrincipalId  # the user who issued a process; otherwise the principal itself
    ticket: TicketMark | None = None  # the terms it joined under

    @property
    def is_owner(self) -> bool:
        """Whether this is the owner of its tree."""
        return self.kind is MemberKind.OWNER


def check_chain(chain: Sequence[bytes], tree: TreeId, now: int | None) -> Identity:
    """Verify a chain (DER, leaf first, root last) for `tree` at `now` (seconds since 1970).

    `now` None leaves the dates out: for signatures made in the past, which stay good when the
    signer's certificate ends. What was written must not become unreadable by waiting.

    Raises:
        Fault: WRONG_TREE; EXPIRED for dates or for a wrong clock; DAMAGED for a signature or key
            that does not match; DENIED for what the issuer may not issue; TOO_LARGE for too many
            certificates; MALFORMED for anything that is not such a chain.
    """
    identity = _identify(tuple(chain), tree)
    if now is not None:
        judge_time(identity, now)
    return identity


def judge_time(identity: Identity, now: int) -> None:
    """Check the dates of a chain that is otherwise known to be good.

    Raises:
        Fault: EXPIRED, with what this machine's clock says, since that may be what is wrong.
    """
    if now < identity.begins:
        raise Fault(
            Kind.EXPIRED,
            f"its certificate begins on {say_time(identity.begins)}; "
            f"this machine's clock says {say_time(now)}",
            path=identity.path,
            next_step=SET_CLOCK,
        )
    if now > identity.ends:
        raise Fault(
            Kind.EXPIRED,
            f"its certificate ended on {say_time(identity.ends)}; "
            f"this machine's clock says {say_time(now)}",
            path=identity.path,
            next_step="if the clock is right, ask the tree's owner for a new certificate",
        )


def judge_ticket(identity: Identity, now: int) -> None:
    """Check, when somebody joins, that the ticket it was certified under is still good.

    Raises:
        Fault: EXPIRED if the ticket is over.
    """
    if identity.ticket is not None and now > identity.ticket.expires:
        raise Fault(
            Kind.EXPIRED,
            f"the ticket was good until {say_time(identity.ticket.expires)}; "
            f"this machine's clock says {say_time(now)}",
            path=identity.path,
            next_step="make a new one: bt node invite",
        )


def say_time(seconds: int) -> str:
    """A moment for people, in UTC; what lies outside the calendar is said in seconds."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s since 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


@functools.lru_cache(maxsize=CHAINS_REMEMBERED)
def _identify(chain: tuple[bytes, ...], tree: TreeId) -> Identity:
    """All of `check_chain` but the dates.

    Only what holds for `tree` is remembered: strangers, who can make any number of trees and
    chains, cannot fill this memory.
    """
    identity = _read_chain(chain)
    if identity.tree != tree:
        raise Fault(
            Kind.WRONG_TREE,
            f"belongs to the tree {identity.tree[:13]}…, not to {tree[:13]}…",
            path=identity.path,
        )
    if identity.kind in (MemberKind.ROOT, MemberKind.TICKET):
        name = identity.kind.name.lower()
        raise Fault(Kind.DENIED, f"a {name} key certifies others, it does not act")
    return identity


def forget_chains() -> None:
    """Forget which chains were found good: for measuring."""
    _identify.cache_clear()
    read_chain.cache_clear()


@functools.lru_cache(maxsize=CHAINS_REMEMBERED)
def read_chain(chain: tuple[bytes, ...]) -> Identity:
    """Check all of a chain but tree and dates, and remember it; also for roots and tickets.

    For chains that this machine keeps: its credentials, the members in its state. A chain that a
    stranger shows goes to `check_chain`.

    Raises:
        Fault: as `check_chain`.
    """
    return _read_chain(chain)


def _read_chain(chain: tuple[bytes, ...]) -> Identity:
    if len(chain) > CHAIN_MAX:
        raise Fault(Kind.TOO_LARGE, f"a chain of {len(chain)} certificates, {CHAIN_MAX} at most")
    if not chain:
        raise Fault(Kind.MALFORMED, "a chain without certificates")
    links = [read_certificate(der) for der in chain]
    leaf, root = links[0], links[-1]
    _check_root(root)
    for below, (subject, issuer) in enumerate(itertools.pairwise(links)):
        try:
            _check_issued(subject, issuer, authorities_below=below)
        except Fault as fault:
            raise fault.at(subject.path) from None
    user = next((c for c in links[1:] if c.kind is MemberKind.USER), None)
    acts = user if user and leaf.kind is MemberKind.PROCESS else leaf
    return Identity(
        path=leaf.path,
        kind=leaf.kind,
        principal=leaf.principal.id,
        key=leaf.principal,
        tree=root.tree,
        chain=chain,
        begins=max(link.begins for link in links),
        ends=min(link.ends for link in links),
        acts_for=acts.principal.id,
        ticket=next((link.ticket for link in links if link.ticket), None),
    )


def _check_root(root: Certificate) -> None:
    if root.kind is not MemberKind.ROOT:
        raise Fault(Kind.MALFORMED, "the chain does not end in a root certificate", path=root.path)
    if tree_id(root.principal.spki) != root.tree:
        raise Fault(Kind.WRONG_TREE, "the root's key is not the key of the tree it names")
    if root.path != f"/{root.tree}" or root.issuer_name != root.subject_name:
        raise Fault(Kind.MALFORMED, "the root certificate is not its own issuer", path=root.path)
    _check_signature(root, root)


def _check_issued(subject: Certificate, issuer: Certificate, *, authorities_below: int) -> None:
    """Hold one certificate against the one that issued it."""
    if subject.issuer_name != issuer.subject_name:
        raise Fault(Kind.MALFORMED, "the certificate names another issuer than the next in line")
    if subject.tree != issuer.tree:
        raise Fault(Kind.WRONG_TREE, "the certificate and its issuer are of different trees")
    _check_authority(subject, issuer)
    # RFC 5280 section 4.2.1.9 counts the intermediate certificates between issuer and leaf.
    if authorities_below > PATH_LENGTH[issuer.kind] or authorities_below > (
        issuer.path_length or 0
    ):
        raise Fault(Kind.DENIED, "the chain is longer than its issuer allows")
    _check_signature(subject, issuer)


def _check_authority(subject: Certificate, issuer: Certificate) -> None:
    what, who = subject.kind.name.lower(), issuer.kind.name.lower()
    if subject.kind not in ISSUES.get(issuer.kind, set()):
        raise Fault(Kind.DENIED, f"a {who} may not certify a {what}")
    if issuer.ticket is not None:
        if subject.path != issuer.path:
            raise Fault(Kind.DENIED, f"the ticket is for {issuer.path} and nothing else")
        if subject.kind is not issuer.ticket.kind:
            raise Fault(Kind.DENIED, f"the ticket is not for a {what}")
        return
    if subject.ticket is not None and subject.ticket.kind not in ISSUES[issuer.kind]:
        raise Fault(Kind.DENIED, f"a {who} may not invite a {subject.ticket.kind.name.lower()}")
    same = (issuer.kind, subject.kind) in _SAME_PATH
    if not is_within(subject.path, issuer.path) or (subject.path == issuer.path) != same:
        raise Fault(
            Kind.DENIED, f"its path does not lie where its issuer may certify, {issuer.path}"
        )


def _check_signature(subject: Certificate, issuer: Certificate) -> None:
    if subject.issuer_key != issuer.principal.id[:KEY_ID_BYTES]:
        raise Fault(Kind.DAMAGED, "the certificate was issued by another key", path=subject.path)
    try:
        issuer.principal.public.verify(subject.signature, subject.signed, _SHA256)
    except (InvalidSignature, ValueError) as cause:
        raise Fault(
            Kind.DAMAGED, "the certificate's signature does not match", path=subject.path
        ) from cause
