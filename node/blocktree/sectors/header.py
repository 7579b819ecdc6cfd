"""Headers: the signed, versioned record of one file, the only mutable thing in the store.

The signature is the last field, so what is signed is a prefix of what is stored: every byte before
the signature's own, behind a context string. Nothing is encoded twice to verify it, and one
SHA-256 over the stored bytes (signature included) is what the next version names as `previous`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, unique
from hashlib import sha256
from operator import attrgetter

from blocktree.fault import Fault, Kind
from blocktree.keys.principal import SIGNATURE_BYTES, Key, Principal
from blocktree.names import FileId, PrincipalId
from blocktree.sectors.signature import FIELD_BYTES, Known, sign_together, verify_field
from blocktree.wire import Record, decode, encode, maker, record

SECTOR_BYTES = 64 << 10  # the default sector size of a file
SECTOR_BYTES_MIN = 4 << 10
SECTOR_BYTES_MAX = 1 << 20
DIRECTORY_SECTOR_BYTES = 16 << 10  # the most that one bucket of a directory may hold
INLINE_MAX = 2048  # plain bytes of content that fit into the header
LINK_MAX = 4095  # bytes of a symbolic link's target, which is always in the header (PATH_MAX - 1)
HEADER_BYTES_MAX = 128 << 10

_CONTEXT = b"blocktree header 1\0"
UNSIGNED = bytes(SIGNATURE_BYTES)
_BEGINNINGS = {  # of a signature as a CBOR byte string, by its length
    size: b"\x58" + size.to_bytes(1) if size < 256 else b"\x59" + size.to_bytes(2)
    for size in FIELD_BYTES
}
_UNSIGNED_TAIL = len(_BEGINNINGS[SIGNATURE_BYTES]) + SIGNATURE_BYTES


@unique
class FileKind(IntEnum):
    """What a file is; fixed when it is created."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3  # its content is the target
    ACTOR = 4


@unique
class Cipher(IntEnum):
    """How sectors and inline content are sealed."""

    PLAIN = 0  # public: readable without a key, still hashed and signed
    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


@record(0x0401)
@dataclass(frozen=True, slots=True)
class Header(Record):
    """One version of one file. `check.check_header` states which combinations are well formed."""

    file: FileId
    kind: FileKind
    version: int  # 1, 2, 3, … without gaps
    size: int  # bytes of content; of a directory: bytes of its entries (`directory`)
    sector_size: int  # bytes, a power of two
    cipher: Cipher
    epoch: int  # of the key that seals inline content and new sectors
    root: bytes  # digest of the hash tree's root; b"": no sectors, or holes only
    inline: bytes  # sealed content of a small file; b"": none
    mode: int  # permission bits
    uid: int
    gid: int
    mtime_ns: int  # since 1970, may be negative
    ctime_ns: int
    links: int  # names that directories have for the file
    parent: FileId  # the directory whose rights govern it; the root directory's is itself
    previous: bytes  # SHA-256 of the version before; b"" for version 1
    access: bytes  # encoded `caps.Access`, directories only; b"": only what is inherited
    attributes: bytes  # sealed extended attributes; b"": none
    past_keys: bytes  # earlier keys, sealed with the present one; b"": none
    writer: PrincipalId  # whose signature this is
    signature: bytes = UNSIGNED  # r || s, perhaps with an audit path (`signature`)


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with the bytes that it was read from: decoded and hashed once, then handed on."""

    header: Header
    encoded: bytes
    digest: bytes  # SHA-256 of `encoded`, 32 bytes: what the next version names as `previous`


_FIELDS = tuple(field.name for field in fields(Header))
_values = attrgetter(*_FIELDS)  # `replace` takes five times as long, and every commit copies
_make = maker(Header)
_VERSION, _PREVIOUS, _WRITER = map(_FIELDS.index, ("version", "previous", "writer"))


def succeeding(header: Header, version: int, previous: bytes, writer: PrincipalId) -> Header:
    """What `header` says, as this version by this writer; not signed yet."""
    values = list(_values(header))
    values[_VERSION], values[_PREVIOUS], values[_WRITER] = version, previous, writer
    values[-1] = UNSIGNED
    return _make(*values)


def load_header(encoded: bytes, *, exact: bool = True) -> SignedHeader:
    """Read a header; its signature and form are not judged here (`verify_header`, `check`).

    A replica reads what its leader has read before, and need not be `exact` (`wire.decode`).

    Raises:
        Fault: MALFORMED if the bytes are not a signed header, TOO_LARGE over HEADER_BYTES_MAX.
    """
    if len(encoded) > HEADER_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a header of {len(encoded)} bytes")
    header = decode(encoded, Header, exact=exact)
    beginning = _BEGINNINGS.get(len(header.signature))
    if beginning is None or not encoded.endswith(beginning + header.signature):
        raise Fault(Kind.MALFORMED, "a header without a signature")  # also when it is left out
    return SignedHeader(header, encoded, sha256(encoded).digest())


def sign_header(header: Header, key: Key) -> SignedHeader:
    """Sign `header` as `key`'s principal, whatever its `writer` and `signature` said before."""
    return sign_headers([header], key)[0]


def sign_headers(headers: Sequence[Header], key: Key) -> list[SignedHeader]:
    """Sign up to TOGETHER_MAX headers with one signature, as `sign_header` does one alone."""
    writer = key.principal.id
    bare = [
        header
        if header.writer == writer and header.signature == UNSIGNED
        else succeeding(header, header.version, header.previous, writer)
        for header in headers
    ]
    parts = [encode(header)[:-_UNSIGNED_TAIL] for header in bare]
    fields = sign_together([_CONTEXT + part for part in parts], key)
    return [_signed(*each) for each in zip(bare, parts, fields, strict=True)]


def verify_header(signed: SignedHeader, writer: Principal, known: Known | None = None) -> None:
    """Check that `writer` signed exactly these bytes; his rights are another question.

    A signature over several headers that is `known` to be good is not verified again.

    Raises:
        Fault: DENIED if the header names another writer, DAMAGED if the signature is not his.
    """
    header, encoded = signed.header, signed.encoded
    if header.writer != writer.id:
        raise Fault(Kind.DENIED, "a header that names another writer", path=header.file.hex())
    field = header.signature
    part = encoded[: -len(_BEGINNINGS[len(field)]) - len(field)]
    try:
        verify_field(writer, field, _CONTEXT + part, known)
    except Fault as fault:
        raise fault.at(header.file.hex()) from None


def _signed(bare: Header, part: bytes, field: bytes) -> SignedHeader:
    encoded = part + _BEGINNINGS[len(field)] + field
    values = list(_values(bare))
    values[-1] = field
    return SignedHeader(_make(*values), encoded, sha256(encoded).digest())
