"""What a header holds sealed beside its fields: small content, symbolic links, attributes.

Content of up to INLINE_MAX bytes needs no blobs. Extended attributes are always sealed, also those
of a public file, whose key its directory holds like any other.
"""

from dataclasses import dataclass

from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.sectors.header import INLINE_MAX, LINK_MAX, Cipher, FileKind, Header
from blocktree.sectors.sector import ATTRIBUTES_INDEX, INLINE_INDEX, OVERHEAD_MAX, SectorCipher
from blocktree.wire import Record, decode, encode, record

ATTRIBUTES_MAX = 16 << 10  # bytes of all extended attributes of a file, encoded
SEALED_ATTRIBUTES_MAX = ATTRIBUTES_MAX + OVERHEAD_MAX


@record(0x0404)
@dataclass(frozen=True, slots=True)
class Attributes(Record):
    """Extended attributes, sorted by name."""

    pairs: tuple[tuple[bytes, bytes], ...]


def inline_max(kind: FileKind) -> int:
    """How many plain bytes of content a header of this kind holds."""
    return LINK_MAX if kind is FileKind.SYMLINK else INLINE_MAX


def sealed_inline_max(kind: FileKind) -> int:
    """The same, sealed."""
    return inline_max(kind) + OVERHEAD_MAX


def seal_inline(
    cipher: SectorCipher, content: bytes, nonce: bytes, kind: FileKind = FileKind.FILE
) -> bytes:
    """Seal small content for `Header.inline`; b"" stays b"".

    Raises:
        Fault: TOO_LARGE over `inline_max`.
    """
    if len(content) > inline_max(kind):
        raise Fault(Kind.TOO_LARGE, f"{len(content)} bytes do not fit into a header")
    return bytes(cipher.seal(INLINE_INDEX, content, nonce)) if content else b""


def open_inline(cipher: SectorCipher, header: Header) -> bytes:
    """The content in a header. Raises as `SectorCipher.open`."""
    return cipher.open(INLINE_INDEX, header.inline) if header.inline else b""


def seal_attributes(
    file: FileId, cipher: Cipher, ring: KeyRing, attributes: dict[bytes, bytes], nonce: bytes
) -> bytes:
    """Seal extended attributes for `Header.attributes`; b"" for none.

    Raises:
        Fault: TOO_LARGE over ATTRIBUTES_MAX.
    """
    if not attributes:
        return b""
    encoded = encode(Attributes(tuple(sorted(attributes.items()))))
    if len(encoded) > ATTRIBUTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"{len(encoded)} bytes of attributes", path=file.hex())
    return bytes(_cipher(file, cipher, ring).seal(ATTRIBUTES_INDEX, encoded, nonce))


def open_attributes(header: Header, ring: KeyRing) -> dict[bytes, bytes]:
    """The extended attributes of a file. Raises as `SectorCipher.open`, and MALFORMED."""
    if not header.attributes:
        return {}
    cipher = _cipher(header.file, header.cipher, ring)
    encoded = cipher.open(ATTRIBUTES_INDEX, header.attributes)
    return dict(decode(encoded, Attributes).pairs)


def _cipher(file: FileId, cipher: Cipher, ring: KeyRing) -> SectorCipher:
    return SectorCipher(file, Cipher.AES_256_GCM if cipher is Cipher.PLAIN else cipher, ring)
