"""Which file each blob belongs to: rows of the state's table beside the headers.

A sector is sealed for its file and a page names only such sectors, so a blob has one owner. The
rows are derived from the log, so every replica has them; they travel with a snapshot and name all
blobs that a node of the domain has to have. A blob is deleted only on behalf of its owner: a header
that names another file's blobs cannot take them along when it is dropped.

=====  ======================  =====================================================
key    parts                   value
=====  ======================  =====================================================
``b``  digest                  file, version (u64) that introduced it last
``s``  index u64, number u16   a version that retention gave up: its blobs are to go
``~``  name                    notes of this node about itself
=====  ======================  =====================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blocktree.names import Digest, FileId
from blocktree.sectors.table import Table
from blocktree.sectors.transaction import Dropped
from blocktree.wire import Record, decode, encode, record

OWNER_PREFIX = b"b"
SWEEP_PREFIX = b"s"
DOOMED_PREFIX = b"~doomed"
BACKFILL_KEY = b"~backfill"
SCRUB_KEY = b"~scrub"


@record(0x0930)
@dataclass(frozen=True, slots=True)
class DroppedRow(Record):
    """A dropped version and the header that followed it (b"": the file was deleted)."""

    old: bytes
    successor: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """Who introduced a blob."""

    file: FileId
    version: int


def owner_key(digest: Digest) -> bytes:
    """The row of a blob."""
    return OWNER_PREFIX + digest


class Owners:
    """The rows, through the table of the state machine."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, digest: Digest) -> Owner | None:
        """Whose blob this is; None if nothing refers to it."""
        row = self._table.get(owner_key(digest))
        return None if row is None else Owner(FileId(row[:16]), int.from_bytes(row[16:]))

    def introduce(self, file: FileId, version: int, digests: Iterable[Digest]) -> None:
        """A version of a file refers to new blobs. Nobody can take over another file's blob."""
        row = file + version.to_bytes(8)
        for digest in digests:
            key = owner_key(digest)
            known = self._table.get(key)
            if known is None or known.startswith(file):
                self._table.put(key, row)

    def drop(self, index: int, dropped: Sequence[Dropped]) -> None:
        """Versions were given up by the entry at `index`: remember to sweep their blobs."""
        for number, version in enumerate(dropped):
            key = SWEEP_PREFIX + index.to_bytes(8) + number.to_bytes(2)
            self._table.put(key, encode(DroppedRow(version.old, version.successor)))

    def release(self, digests: Iterable[Digest]) -> None:
        """These blobs are no more."""
        for digest in digests:
            self._table.delete(owner_key(digest))

    def doom(self, key: bytes, digests: Sequence[Digest]) -> None:
        """These blobs of a dropped version (its row is `key`) are named no more: note them."""
        self.release(digests)
        self._table.put(DOOMED_PREFIX + key + digests[0], b"".join(digests))

    def swept(self, key: bytes) -> None:
        """What a dropped version leaves behind is noted, or what was noted is deleted."""
        self._table.delete(key)


def read_dropped(row: bytes) -> DroppedRow:
    """What `drop` wrote."""
    return decode(row, DroppedRow)
