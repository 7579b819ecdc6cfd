"""One X.509 certificate in our profile: read strictly, or refused.

A certificate says: this principal is this kind of thing at this path. The profile (`SPEC.md`) is
narrow enough that the subject, the SAN, the key ids and the CA flag each follow from path, kind and
key; `read_certificate` derives them and compares, instead of interpreting what is there (RFC 5280
leaves much to interpret). What needs the issuer is checked in `chain.py`.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from blocktree.fault import Fault, Kind
from blocktree.keys.principal import Principal
from blocktree.names import Path, TreeId, components, parse_path, tree_of

CERTIFICATE_BYTES_MAX: Final = 8192
KEY_ID_BYTES: Final = 20
TICKET_OID: Final = x509.ObjectIdentifier("2.25.145465103075734399133493731289064054305")
_TREE = re.compile(r"bt1[a-z2-7]{52}")
_TICKET = re.compile(rb"\x0c[\x00-\x7f]([0-9a-f]{32}) (0|[1-9][0-9]{0,11}) ([a-z]{1,10})")
_KNOWN_CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    Warning,  # cryptography warns of sloppy encodings, and a caller may have made that an error
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@unique
class MemberKind(IntEnum):
    """What a certificate makes of its holder. Roots and tickets only certify: they never act."""

    OWNER = 1
    USER = 2
    NODE = 3
    DEVICE = 4
    PROCESS = 5
    ROOT = 6
    TICKET = 7


# How many authorities may follow in a chain below one of this kind; absent: it may issue nothing.
PATH_LENGTH: Final = {
    MemberKind.ROOT: 3,
    MemberKind.OWNER: 2,
    MemberKind.USER: 1,
    MemberKind.TICKET: 0,
}
_KINDS = {kind.name.lower(): kind for kind in MemberKind}


@dataclass(frozen=True, slots=True)
class TicketMark:
    """What the owner wrote into a ticket's certificate."""

    id: bytes  # 16 random bytes; a tree accepts each once
    expires: int  # seconds; judged when the ticket is spent, not when a link is made
    kind: MemberKind  # of the one who joins


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that obeys the profile by itself; its issuer has not been looked at."""

    der: bytes
    tree: TreeId
    path: Path
    kind: MemberKind
    principal: Principal
    begins: int  # seconds since 1970, inclusive
    ends: int  # seconds since 1970, inclusive
    path_length: int | None
    issuer_name: bytes
    subject_name: bytes
    issuer_key: bytes  # the first 20 bytes of the issuer's principal id
    ticket: TicketMark | None
    signed: bytes
    signature: bytes


def subject_name(path: Path, kind: MemberKind) -> x509.Name:
    """The distinguished name of `path`: a DC for each component, the tree first, then CN=kind."""
    parts = [
        x509.NameAttribute(NameOID.DOMAIN_COMPONENT, quote(component, safe=""))
        for component in components(path)
    ]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, kind.name.lower())])


def subject_uri(path: Path) -> str:
    """The SAN of `path`: `blocktree://<tree id>/a/b`, percent-encoded (RFC 3986)."""
    tree, *rest = components(path)
    return f"blocktree://{tree}/" + "/".join(quote(part, safe="") for part in rest)


def ticket_extension(mark: TicketMark) -> x509.UnrecognizedExtension:
    """A DER UTF8String that `openssl x509 -text` shows readably: id, expiry, kind."""
    text = f"{mark.id.hex()} {mark.expires} {mark.kind.name.lower()}".encode()
    return x509.UnrecognizedExtension(TICKET_OID, bytes([0x0C, len(text)]) + text)


def read_certificate(der: bytes) -> Certificate:
    """Read one certificate and hold it to the profile.

    Raises:
        Fault: MALFORMED if it is not such a certificate, DENIED if it claims what its kind may not.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a certificate of {len(der)} bytes")
    try:
        return _read(der)
    except x509.ExtensionNotFound as cause:
        lacks = cause.oid._name  # noqa: SLF001 - the only way to its name
        raise Fault(Kind.MALFORMED, f"the certificate lacks its {lacks} extension") from cause
    except _UNREADABLE as cause:
        raise Fault(Kind.MALFORMED, "not an X.509 certificate in DER") from cause


def _read(der: bytes) -> Certificate:
    parsed = x509.load_der_x509_certificate(der)
    if parsed.version is not x509.Version.v3 or parsed.serial_number <= 0:
        raise Fault(Kind.MALFORMED, "not a version 3 certificate with a positive serial number")
    if parsed.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise Fault(Kind.MALFORMED, "the certificate is not signed with ECDSA over SHA-256")
    public = parsed.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise Fault(Kind.MALFORMED, "the certificate holds a key that is not P-256")
    principal = Principal(public)
    extensions = parsed.extensions
    _refuse_unknown(extensions)
    path = _path(extensions)
    kind = _kind(parsed.subject)
    expected = subject_name(path, kind).public_bytes()
    if expected != parsed.subject.public_bytes():
        raise Fault(Kind.MALFORMED, "the subject and the SAN name different paths", path=path)
    return Certificate(
        der=der,
        tree=tree_of(path),
        path=path,
        kind=kind,
        principal=principal,
        begins=int(parsed.not_valid_before_utc.timestamp()),
        ends=int(parsed.not_valid_after_utc.timestamp()),
        path_length=_authority(extensions, kind, path),
        issuer_name=parsed.issuer.public_bytes(),
        subject_name=expected,
        issuer_key=_key_ids(extensions, principal),
        ticket=_ticket(extensions, kind),
        signed=parsed.tbs_certificate_bytes,
        signature=parsed.signature,
    )


def _refuse_unknown(extensions: x509.Extensions) -> None:
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            name = extension.oid.dotted_string
            raise Fault(Kind.MALFORMED, f"an unknown extension is marked critical: {name}")


def _path(extensions: x509.Extensions) -> Path:
    names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise Fault(Kind.MALFORMED, "the SAN must hold one URI and nothing else")
    uri = names[0].value
    tree, slash, rest = uri.removeprefix("blocktree://").partition("/")
    if not _TREE.fullmatch(tree):
        raise Fault(Kind.MALFORMED, "the SAN does not start with blocktree://<tree id>/")
    try:
        path = parse_path(
            "/".join(["", tree, *(unquote(p, errors="strict") for p in rest.split("/"))])
        )
    except Fault as fault:
        raise Fault(Kind.MALFORMED, f"the SAN holds no path: {fault.what}") from fault
    if not slash or subject_uri(path) != uri:
        raise Fault(Kind.MALFORMED, "the path in the SAN is not in canonical form")
    return path


def _kind(subject: x509.Name) -> MemberKind:
    names = [str(part.value) for part in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1 or names[0] not in _KINDS:
        raise Fault(Kind.MALFORMED, "the subject does not end in CN=<kind of member>")
    return _KINDS[names[0]]


def _authority(extensions: x509.Extensions, kind: MemberKind, path: Path) -> int | None:
    """The path length of an authority; None for what may issue nothing."""
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    if not constraints.critical or not usage.critical or not usage.value.digital_signature:
        raise Fault(Kind.MALFORMED, "basic constraints and key usage must be critical", path=path)
    issues = kind in PATH_LENGTH
    if constraints.value.ca != issues or usage.value.key_cert_sign != issues:
        lacks = "lacks the CA flag" if issues else "claims the CA flag"
        raise Fault(Kind.DENIED, f"a certificate of kind {kind.name.lower()} {lacks}", path=path)
    if issues and constraints.value.path_length is None:
        raise Fault(Kind.DENIED, "an authority without a path length", path=path)
    return constraints.value.path_length


def _key_ids(extensions: x509.Extensions, principal: Principal) -> bytes:
    """Check the subject's key id; the issuer's key id comes back."""
    own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if own != principal.id[:KEY_ID_BYTES]:
        raise Fault(Kind.DAMAGED, "the certificate's key is not the one its key id names")
    if issuer is None:
        raise Fault(Kind.MALFORMED, "the certificate does not say which key issued it")
    return issuer


def _ticket(extensions: x509.Extensions, kind: MemberKind) -> TicketMark | None:
    found = [e.value for e in extensions if e.oid == TICKET_OID]
    if (kind is MemberKind.TICKET) != bool(found):
        raise Fault(Kind.MALFORMED, "a ticket's terms must be in its certificate and no other")
    if not found:
        return None
    value = found[0].value if isinstance(found[0], x509.UnrecognizedExtension) else b""
    match = _TICKET.fullmatch(value)
    if match is None or value[1] != len(value) - 2 or match[3].decode() not in _KINDS:
        raise Fault(Kind.MALFORMED, "the ticket's terms cannot be read")
    return TicketMark(bytes.fromhex(match[1].decode()), int(match[2]), _KINDS[match[3].decode()])
