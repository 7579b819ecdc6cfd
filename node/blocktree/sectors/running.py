"""Desired state: which actors are to run, as files of kind ACTOR say, in the plain.

Such a file is public, since the nodes that run it have no keys, and small, so that its header holds
it. Its writer signed it like any other; whoever runs it has his right to answer at its path. A row
for each lets a node find them without looking through all files.
"""

from dataclasses import dataclass

from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, Path
from blocktree.sectors.header import Cipher, FileKind, SignedHeader
from blocktree.sectors.inline import open_inline
from blocktree.sectors.sector import SectorCipher
from blocktree.sectors.table import Rows, Table
from blocktree.wire import Record, decode, record

RUNNING_PREFIX = b"r"
RUNNING_MAX = 1024
CODE_BYTES_MAX = 64 << 10
_NO_KEY = KeyRing((bytes(32),))  # what is plain is sealed with none


@record(0x0B05)
@dataclass(frozen=True, slots=True)
class Running(Record):
    """An actor that is to run."""

    path: Path  # at which it answers; its writer has WRITE there
    code: FileId  # a public file of at most CODE_BYTES_MAX
    digest: Digest  # SHA-256 of that file's content: this very code
    actor: str  # the class in it
    on: str = ""  # path of the node that it is to run on while that lives; "": any
    only: bool = False  # and nowhere else, also when that is away


def running_key(file: FileId) -> bytes:
    """The row of a file of kind ACTOR."""
    return RUNNING_PREFIX + file


def note(table: Table, file: FileId, before: SignedHeader | None, now: SignedHeader | None) -> None:
    """Keep the rows in step when a header changes."""
    header = now or before
    if header is None or header.header.kind is not FileKind.ACTOR:
        return
    if now is None:
        table.delete(running_key(file))
    else:
        table.put(running_key(file), b"")


def files(rows: Rows) -> list[FileId]:
    """The files of kind ACTOR, up to RUNNING_MAX of them."""
    cut = len(RUNNING_PREFIX)
    return [FileId(key[cut:]) for key, _ in rows.items(RUNNING_PREFIX, b"", RUNNING_MAX)]


def read_running(signed: SignedHeader) -> Running:
    """What a file of kind ACTOR says.

    Raises:
        Fault: UNSUPPORTED if it is sealed, MALFORMED.
    """
    header = signed.header
    if header.cipher is not Cipher.PLAIN:
        raise Fault(Kind.UNSUPPORTED, "an actor that is sealed", path=header.file.hex())
    cipher = SectorCipher(header.file, Cipher.PLAIN, _NO_KEY)
    return decode(open_inline(cipher, header), Running)


def read_code(signed: SignedHeader, blob: bytes) -> bytes:
    """The content of a public file of one sector; `blob` is that sector, b"" if it is inline.

    Raises:
        Fault: UNSUPPORTED if it is sealed or larger; DAMAGED.
    """
    header = signed.header
    if header.cipher is not Cipher.PLAIN or header.size > min(CODE_BYTES_MAX, header.sector_size):
        raise Fault(
            Kind.UNSUPPORTED,
            f"code is a public file of up to {CODE_BYTES_MAX >> 10} KiB",
            path=header.file.hex(),
        )
    cipher = SectorCipher(header.file, Cipher.PLAIN, _NO_KEY)
    content = cipher.open(0, blob) if header.root else open_inline(cipher, header)
    return content[: header.size]
