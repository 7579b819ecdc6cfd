"""Credentials: a private key with the chain that names it, and the issuing of new ones.

Whoever holds a credential of an authority (root, owner, user, ticket) can issue below it. All
certificates start in 2000, so that a machine whose clock is behind can still be reached; root and
owner certificates never end (RFC 5280 section 4.1.2.5), others live ten years.
"""

import datetime
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import (
    KEY_ID_BYTES,
    PATH_LENGTH,
    MemberKind,
    TicketMark,
    read_certificate,
    subject_name,
    subject_uri,
    ticket_extension,
)
from blocktree.keys.chain import SET_CLOCK, Identity, check_chain, read_chain, say_time
from blocktree.keys.principal import Draw, Key, Principal
from blocktree.names import Path, PrincipalId, TreeId, join, parse_name, tree_id
from blocktree.wire import Record, decode, encode, record

BEGINS: Final = 946_684_800  # 2000-01-01, where the clocks of boards start
NEVER: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
LIFE_SECONDS: Final = 10 * 366 * 86_400
CLOCK_MIN: Final = 1_735_689_600  # 2025-01-01: older than this software is no true time
_ENDLESS = (MemberKind.ROOT, MemberKind.OWNER)


@record(0x0101)
@dataclass(frozen=True, slots=True, repr=False)
class SavedCredential(Record):
    """A credential as it is saved: a secret, in the clear."""

    scalar: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """A key and who it is."""

    key: Key
    identity: Identity

    @property
    def path(self) -> Path:
        """Where the holder is in the tree."""
        return self.identity.path

    @property
    def tree(self) -> TreeId:
        """The tree that the chain ends in."""
        return self.identity.tree

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates, DER, leaf first, root last."""
        return self.identity.chain

    @property
    def principal(self) -> PrincipalId:
        """The id of the key."""
        return self.identity.principal

    def save(self) -> bytes:
        """Bytes for `load`; they hold the secret in the clear."""
        return encode(SavedCredential(self.key.scalar(), self.chain))

    @classmethod
    def load(cls, saved: bytes) -> "Credential":
        """Read what `save` gave. Dates are not judged here (`judge_time`).

        Raises:
            Fault: MALFORMED for other bytes; DAMAGED if key and chain do not belong together; as
                `check_chain` for a chain that does not hold.
        """
        parts = decode(saved, SavedCredential)
        return cls.of(Key.load(parts.scalar), parts.chain)

    @classmethod
    def of(cls, key: Key, chain: tuple[bytes, ...]) -> "Credential":
        """Join a key with its chain.

        Raises:
            Fault: DAMAGED if the chain names another key; as `check_chain` if it does not hold.
        """
        identity = read_chain(chain)
        if identity.principal != key.principal.id:
            raise Fault(Kind.DAMAGED, "the key and the certificate do not belong together")
        return cls(key, identity)


def judge_clock(now: int) -> None:
    """Refuse to put a date on anything while this machine's clock is wrong by years.

    Raises:
        Fault: EXPIRED, saying what the clock says.
    """
    if not CLOCK_MIN <= now < NEVER - LIFE_SECONDS:
        raise Fault(
            Kind.EXPIRED,
            f"this machine's clock says {say_time(now)}, which cannot be",
            next_step=SET_CLOCK,
        )


def root_credential(key: Key) -> Credential:
    """The root of the tree that `key` names. The same key always gives the same certificate."""
    path = Path(f"/{tree_id(key.principal.spki)}")
    serial = int.from_bytes(key.principal.id[:15])
    name = subject_name(path, MemberKind.ROOT)
    builder = _builder(MemberKind.ROOT, path, key.principal, name, key.principal)
    der = _sign(_dated(builder, serial, NEVER), key)
    return Credential.of(key, (der,))


def issue(  # one certificate has these parts
    authority: Credential,
    kind: MemberKind,
    path: Path,
    principal: Principal,
    *,
    now: int,
    draw: Draw,
    ticket: TicketMark | None = None,
) -> tuple[bytes, ...]:
    """Certify that `principal` is a `kind` at `path`; the whole chain comes back, leaf first.

    The certificate lives ten years from `now` (seconds since 1970) but not longer than its issuer.

    Raises:
        Fault: DENIED if this authority may not issue that; EXPIRED if the clock is wrong by years.
    """
    judge_clock(now)
    if authority.identity.kind not in PATH_LENGTH:
        raise Fault(Kind.DENIED, "this credential certifies nobody", path=authority.path)
    issuer = subject_name(authority.path, authority.identity.kind)
    ends = NEVER if kind in _ENDLESS else min(now + LIFE_SECONDS, authority.identity.ends)
    builder = _builder(kind, path, principal, issuer, authority.key.principal)
    if ticket is not None:
        builder = builder.add_extension(ticket_extension(ticket), critical=False)
    serial = int.from_bytes(draw(15)) + 1
    chain = (_sign(_dated(builder, serial, ends), authority.key), *authority.chain)
    read_chain(chain)  # what we would refuse, we do not issue
    return chain


def new_credential(
    authority: Credential, kind: MemberKind, path: Path, *, now: int, draw: Draw
) -> Credential:
    """Make a key and certify it.

    Raises:
        Fault: as `issue`.
    """
    key = Key.generate(draw)
    return Credential.of(key, issue(authority, kind, path, key.principal, now=now, draw=draw))


def process_credential(user: Credential, host: str, *, now: int, draw: Draw) -> Credential:
    """A credential for what a user runs on the machine `host`: a mount, a command.

    Raises:
        Fault: USAGE if `host` cannot be a name; otherwise as `issue`.
    """
    path = join(user.path, parse_name(host))
    return new_credential(user, MemberKind.PROCESS, path, now=now, draw=draw)


def check_credential(credential: Credential, now: int) -> None:
    """Check, when a process starts, that it may use this credential now.

    Raises:
        Fault: as `check_chain`.
    """
    check_chain(credential.chain, credential.tree, now)


def _builder(
    kind: MemberKind, path: Path, subject: Principal, issuer_name: x509.Name, issuer: Principal
) -> x509.CertificateBuilder:
    issues = kind in PATH_LENGTH
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    own = x509.SubjectKeyIdentifier(subject.id[:KEY_ID_BYTES])
    above = x509.AuthorityKeyIdentifier(issuer.id[:KEY_ID_BYTES], None, None)
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject_uri(path))])
    constraints = x509.BasicConstraints(ca=issues, path_length=PATH_LENGTH.get(kind))
    return (
        x509.CertificateBuilder()
        .subject_name(subject_name(path, kind))
        .issuer_name(issuer_name)
        .public_key(subject.public)
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(own, critical=False)
        .add_extension(above, critical=False)
        .add_extension(name, critical=False)
    )


def _dated(builder: x509.CertificateBuilder, serial: int, ends: int) -> x509.CertificateBuilder:
    begins = datetime.datetime.fromtimestamp(BEGINS, datetime.UTC)
    last = datetime.datetime.fromtimestamp(ends, datetime.UTC)
    return builder.serial_number(serial).not_valid_before(begins).not_valid_after(last)


def _sign(builder: x509.CertificateBuilder, key: Key) -> bytes:
    signed = builder.sign(key.private, hashes.SHA256(), ecdsa_deterministic=True)
    der = signed.public_bytes(Encoding.DER)
    read_certificate(der)
    return der
