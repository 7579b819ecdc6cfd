"""What can be judged of headers and transactions without the state: form and signatures.

Pure and safe to call from any thread, so the leader does it off its loop before it proposes; what
depends on the state (versions, rights, the chain of hashes) is judged in `state` by every replica.
"""

from dataclasses import dataclass
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.keys import Principal
from blocktree.names import ROOT_FILE
from blocktree.sectors.directory import bucket_count
from blocktree.sectors.header import (
    DIRECTORY_SECTOR_BYTES,
    INLINE_MAX,
    LINK_MAX,
    SECTOR_BYTES_MAX,
    SECTOR_BYTES_MIN,
    Cipher,
    FileKind,
    Header,
    SignedHeader,
    load_header,
    verify_header,
)
from blocktree.sectors.inline import SEALED_ATTRIBUTES_MAX, sealed_inline_max
from blocktree.sectors.pages import HOLE, Tree
from blocktree.sectors.sector import PREFIX_BYTES
from blocktree.sectors.signature import Known
from blocktree.sectors.transaction import BLOBS_MAX, CHANGES_MAX, Change, Transaction
from blocktree.wire import decode

SIZE_MAX: Final = (1 << 63) - 1
EPOCH_MAX: Final = 256  # as in `caps`
LINKS_MAX: Final = (1 << 31) - 1
_U32_MAX: Final = (1 << 32) - 1
_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1
_ACCESS_BYTES_MAX = 96 << 10  # as in `caps`
_PAST_KEYS_MAX = EPOCH_MAX * 32


@dataclass(frozen=True, slots=True)
class Checked:
    """A transaction whose form and signatures hold, decoded once for all who need it next."""

    transaction: Transaction
    headers: tuple[SignedHeader | None, ...]  # one for each change; None: it deletes


def tree_of(header: Header) -> Tree:
    """The hash tree of a version: its root and how many sectors it has."""
    if header.inline:
        return Tree()
    if header.kind is FileKind.DIRECTORY:
        return Tree(header.root, bucket_count(header.size))
    return Tree(header.root, -(-header.size // header.sector_size))


def check_header(header: Header) -> None:
    """Check that the fields of a header go together.

    Raises:
        Fault: MALFORMED with the rule that it breaks, TOO_LARGE over a limit.
    """
    broken = _broken_ids(header) or _broken_content(header) or _broken_numbers(header)
    if broken:
        raise Fault(Kind.MALFORMED, f"a header {broken}", path=header.file.hex())
    if (
        len(header.inline) > sealed_inline_max(header.kind)
        or len(header.attributes) > SEALED_ATTRIBUTES_MAX
        or len(header.access) > _ACCESS_BYTES_MAX
        or len(header.past_keys) > _PAST_KEYS_MAX
    ):
        raise Fault(Kind.TOO_LARGE, "a header with a part over its limit", path=header.file.hex())


def read_transaction(encoded: bytes, *, exact: bool = False) -> Checked:
    """Decode a transaction and check its form; signatures are checked by `check_commit`.

    Only headers are signed and hashed, so only theirs is a canonical form, and like signatures it
    is judged by the leader and by every reader: that is what `exact` asks for.

    Raises:
        Fault: MALFORMED or TOO_LARGE, naming the file.
    """
    return check_transaction(decode(encoded, Transaction, exact=False), exact=exact)


def check_transaction(transaction: Transaction, *, exact: bool = False) -> Checked:
    """As `read_transaction`, of one that is decoded already."""
    changes = transaction.changes
    if not 0 < len(changes) <= CHANGES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a transaction of {len(changes)} changes")
    if len(changes) > 1 and len({change.file for change in changes}) != len(changes):
        raise Fault(Kind.MALFORMED, "a transaction that changes a file twice")
    if sum([len(change.blobs) for change in changes]) > BLOBS_MAX:
        raise Fault(Kind.TOO_LARGE, "a transaction with too many blobs")
    return Checked(transaction, tuple([_read_change(change, exact) for change in changes]))


def check_commit(encoded: bytes, writer: Principal) -> Checked:
    """Decode a transaction and check its form and that `writer` signed every header in it.

    Raises:
        Fault: as `read_transaction`; DENIED for another writer's header, DAMAGED for a signature.
    """
    checked = read_transaction(encoded, exact=True)
    known = Known()
    for signed in checked.headers:
        if signed is not None:
            verify_header(signed, writer, known)
    return checked


def _read_change(change: Change, exact: bool) -> SignedHeader | None:  # noqa: FBT001
    if len(change.file) != 16:
        raise Fault(Kind.MALFORMED, "a change of no file")
    where = change.file.hex()
    if not 0 <= change.expected_version < _U32_MAX:
        raise Fault(Kind.MALFORMED, "a change of no version", path=where)
    if not change.header:
        if not change.expected_version or change.blobs:
            raise Fault(Kind.MALFORMED, "a deletion of nothing, or with blobs", path=where)
        return None
    if any(len(blob) != 32 for blob in change.blobs) or HOLE in change.blobs:
        raise Fault(Kind.MALFORMED, "a change with a blob that cannot be", path=where)
    if len(set(change.blobs)) != len(change.blobs):
        raise Fault(Kind.MALFORMED, "a change that introduces a blob twice", path=where)
    try:
        signed = load_header(change.header, exact=exact)
        check_header(signed.header)
    except Fault as fault:
        raise fault.at(where) from None
    if signed.header.file != change.file:
        raise Fault(Kind.MALFORMED, "a change with the header of another file", path=where)
    if change.blobs and not signed.header.root:
        raise Fault(Kind.MALFORMED, "a change with blobs but no tree", path=where)
    return signed


def _broken_ids(header: Header) -> str:
    if len(header.file) != 16 or len(header.parent) != 16 or len(header.writer) != 32:
        return "with an id of the wrong length"
    if len(header.previous) not in {0, 32} or len(header.root) not in {0, 32}:
        return "with a digest of the wrong length"
    if header.root == HOLE:
        return "whose root is a hole"
    if (header.version == 1) != (header.previous == b""):
        return "whose version does not go with its previous header"
    if header.file == ROOT_FILE and header.kind is not FileKind.DIRECTORY:
        return "of a root that is no directory"
    if (header.file == header.parent) != (header.file == ROOT_FILE):
        return "of a file that is its own directory, or of a root that is not"
    return ""


def _broken_content(header: Header) -> str:
    directory = header.kind is FileKind.DIRECTORY
    if header.root and header.inline:
        return "with its content both inline and in sectors"
    if 0 < len(header.inline) < PREFIX_BYTES:
        return "with inline content that is too short"
    small = (
        bool(header.inline) or header.kind is FileKind.SYMLINK or (directory and not header.root)
    )
    most = LINK_MAX if header.kind is FileKind.SYMLINK else INLINE_MAX
    if small and header.size > most:
        return "with more content than fits inline"
    if directory and header.size <= INLINE_MAX and header.root:
        return "of a small directory in sectors"
    if (directory or header.kind is FileKind.SYMLINK) and bool(header.size) != bool(
        header.inline or header.root
    ):
        return "whose size does not go with its content"
    if header.cipher is Cipher.PLAIN and header.kind in {FileKind.DIRECTORY, FileKind.SYMLINK}:
        return "of a directory or link that is not sealed"
    if header.access and not directory:
        return "with an access, of something that is no directory"
    if bool(header.past_keys) != (header.epoch > 1):
        return "whose past keys do not go with its epoch"
    return ""


def _broken_numbers(header: Header) -> str:
    size = header.sector_size
    if not SECTOR_BYTES_MIN <= size <= SECTOR_BYTES_MAX or size & (size - 1):
        return f"with sectors of {size} bytes"
    if header.kind is FileKind.DIRECTORY and size != DIRECTORY_SECTOR_BYTES:
        return f"of a directory with sectors of {size} bytes"
    if not 1 <= header.version <= _U32_MAX or not 1 <= header.epoch <= EPOCH_MAX:
        return "with a version or key epoch that cannot be"
    if not 0 <= header.size <= SIZE_MAX or not 0 <= header.mode <= 0o7777:
        return "with a size or mode that cannot be"
    if not 0 <= header.uid <= _U32_MAX or not 0 <= header.gid <= _U32_MAX:
        return "with an owner that cannot be"
    if not 1 <= header.links <= LINKS_MAX:
        return "with a number of links that cannot be"
    if not (_TIME_MIN <= header.mtime_ns <= _TIME_MAX >= header.ctime_ns >= _TIME_MIN):
        return "with a time that cannot be"
    return ""
