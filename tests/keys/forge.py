"""A tree from a seed, and certificates that obey the profile or break it in one chosen place.

Written apart from `blocktree.keys.credential`, so that the two agree only if both follow SPEC.md.
"""

import datetime
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blocktree.keys import (
    Credential,
    Draw,
    Key,
    MemberKind,
    NewTree,
    new_credential,
    new_tree,
)
from blocktree.keys.principal import Principal
from blocktree.names import Path, join

NOW = 1_800_000_000  # 2027-01-15
TEN_YEARS = 10 * 366 * 86_400
PATH_LENGTHS = {"root": 3, "owner": 2, "user": 1, "ticket": 0}
TICKET_OID = "2.25.145465103075734399133493731289064054305"


def drawn(seed: int) -> Draw:
    return random.Random(seed).randbytes


def a_tree(seed: int = 1, user: str = "anna") -> NewTree:
    return new_tree("home", user, now=NOW, passphrase="secret", draw=drawn(seed), cost=4)


@dataclass(frozen=True)
class Forged:
    """A certificate and the key in it."""

    der: bytes
    key: Key
    name: x509.Name


def name(parts: Sequence[str], kind: str) -> x509.Name:
    dc = [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, part) for part in parts]
    return x509.Name([*dc, x509.NameAttribute(NameOID.COMMON_NAME, kind)])


def issuer_of(credential: Credential) -> Forged:
    parsed = x509.load_der_x509_certificate(credential.chain[0])
    return Forged(credential.chain[0], credential.key, parsed.subject)


def forge(  # one knob for each thing that may be wrong
    parts: Sequence[str], kind: str, key: Key, issuer: Forged | None, **wrong: Any
) -> Forged:
    """Certify `key` as a `kind` at the path of `parts` (tree first); `issuer` None: by itself.

    `wrong` replaces or (None) leaves out a piece: subject, issuer_name, public, ca, path_length,
    usage, own_id, issuer_id, san, ticket, critical, begins, ends, digest, signer.
    """
    own = wrong.get("subject", name(parts, kind))
    signer: Key = wrong.get("signer", issuer.key if issuer else key)
    above = Principal(signer.private.public_key()).id[:20]
    public = wrong.get("public", key.principal.public)
    authority = wrong.get("ca", kind in PATH_LENGTHS)
    length = wrong.get("path_length", PATH_LENGTHS.get(kind) if authority else None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(wrong.get("issuer_name", issuer.name if issuer else own))
        .public_key(public)
        .serial_number(int.from_bytes(key.principal.id[:15]))
        .not_valid_before(_moment(wrong.get("begins", 946_684_800)))
        .not_valid_after(_moment(wrong.get("ends", NOW + TEN_YEARS)))
    )
    if wrong.get("constraints", True):
        constraints = x509.BasicConstraints(authority, length)
        builder = builder.add_extension(constraints, critical=wrong.get("critical", True))
    if wrong.get("usage", True):
        builder = builder.add_extension(_usage(wrong.get("signs", authority)), critical=True)
    own_id = wrong.get("own_id", key.principal.id[:20])
    if own_id is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(own_id), critical=False)
    issuer_id = wrong.get("issuer_id", above)
    if issuer_id is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier(issuer_id, None, None), critical=False
        )
    san = wrong.get("san", ["blocktree://" + parts[0] + "/" + "/".join(parts[1:])])
    if san is not None:
        uris = [x509.UniformResourceIdentifier(uri) if isinstance(uri, str) else uri for uri in san]
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
    ticket = wrong.get("ticket")
    if ticket is not None:
        value = bytes([0x0C, len(ticket)]) + ticket.encode()
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(TICKET_OID), value)
        builder = builder.add_extension(unknown, critical=False)
    for oid, critical in wrong.get("unknown", ()):
        extra = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00")
        builder = builder.add_extension(extra, critical=critical)
    digest = wrong.get("digest", hashes.SHA256())
    signed = builder.sign(signer.private, digest, ecdsa_deterministic=True)
    return Forged(signed.public_bytes(Encoding.DER), key, own)


def other_curve() -> ec.EllipticCurvePublicKey:
    return ec.derive_private_key(7, ec.SECP384R1()).public_key()


def credential(tree: NewTree, kind: MemberKind, path: str, seed: int = 9) -> Credential:

    place = join(Path(f"/{tree.tree}"), *path.split("/"))
    return new_credential(tree.owner, kind, place, now=NOW, draw=drawn(seed))


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
