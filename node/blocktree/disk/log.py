"""The Raft log as the disk keeps it; fits `raft.Log` and may be called from any thread.

Invariants: entries first_index … last_index are here without a gap; each has exactly one place;
first_index is the start mark's index + 1. Only the disk's thread changes anything.
"""

import struct
import threading
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from blocktree.disk.catalogue import decode_place, encode_place
from blocktree.disk.segment import Place
from blocktree.disk.usage import Usage
from blocktree.fault import Fault, Kind
from blocktree.raft import Entry, SnapshotMark

_INDEX = struct.Struct(">Q")
_CRC = struct.Struct(">I")
_ROW_SIZE = 8 + 12 + 4
_LOW = (1 << 64) - 1
Fetch = Callable[[Place], Entry]
Row = tuple[int, Place]  # term, where it lies


def encode_row(index: int, term: int, where: Place) -> bytes:
    """An entry's value in the index; ends in a checksum of key and value, for LMDB has none."""
    row = _INDEX.pack(term) + encode_place(where)
    return row + _CRC.pack(zlib.crc32(_INDEX.pack(index) + row))


def decode_row(index: int, raw: bytes) -> Row:
    """The reverse of `encode_row`.

    Raises:
        Fault: DAMAGED if it is not the row of this entry.
    """
    row = raw[: -_CRC.size]
    if len(raw) != _ROW_SIZE or raw[-_CRC.size :] != _CRC.pack(
        zlib.crc32(_INDEX.pack(index) + row)
    ):
        raise Fault(Kind.DAMAGED, f"the index has an unreadable row for entry {index}")
    return _INDEX.unpack_from(row)[0], decode_place(row[_INDEX.size :])


class DiskLog:
    """Where each entry lies, and the newest ones in memory."""

    def __init__(
        self, start: SnapshotMark, rows: Sequence[Row], fetch: Fetch, usage: Usage, cache: int
    ) -> None:
        self._lock = threading.Lock()
        self._fetch = fetch
        self._usage = usage
        self._start = start
        self._terms = array("Q", [term for term, _ in rows])
        self._spots = array("Q", [where >> 32 for _, where in rows])  # segment and offset
        self._sizes = array("I", [where & 0xFFFFFFFF for _, where in rows])
        self._cache: OrderedDict[int, Entry] = OrderedDict()
        self._cache_room = cache
        self._changed: set[int] = set()
        self._indexed = range(0)  # what the index has
        self._frozen: set[int] = set()  # changed before, and on their way into the index
        self._freezing = range(0)  # what it has then

    @property
    def start(self) -> SnapshotMark:
        """The log begins after this mark."""
        return self._start

    @property
    def first_index(self) -> int:
        """The oldest entry that is here."""
        return self._start.index + 1

    @property
    def last_index(self) -> int:
        """The newest entry; first_index - 1 when there is none."""
        with self._lock:
            return self._start.index + len(self._terms)

    def term(self, index: int) -> int:
        """The term of the entry at `index`, for first_index - 1 … last_index."""
        with self._lock:
            at = index - self._start.index - 1
            if at == -1:
                return self._start.term
            self._check(at, index)
            return self._terms[at]

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry]:
        """Entries low ≤ index < high in order, cut after `bytes_max` of payload, at least one.

        Raises:
            Fault: NOT_FOUND outside of the log; DAMAGED if one cannot be read.
        """
        found: list[Entry] = []
        size = 0
        for index in range(low, high):
            entry = self._cache.get(index) or self.read(index)
            size += len(entry.payload)
            if found and size > bytes_max:
                break
            found.append(entry)
        return found

    def read(self, index: int) -> Entry:
        """An entry from the disk, whatever is in memory. Faults as `entries`."""
        for attempt in (1, 2, 3):
            with self._lock:
                term, where = self._row(index)
            try:
                entry = self._fetch(where)
            except FileNotFoundError:  # moved between the two lines, and its segment removed
                if attempt == 3:
                    raise
                continue
            if (entry.index, entry.term) == (index, term):
                return entry
        raise Fault(Kind.DAMAGED, f"entry {index} of the log is not where it should be")

    def place(self, index: int) -> Place | None:
        """Where an entry lies, None if it is not in the log."""
        with self._lock:
            at = index - self._start.index - 1
            return self._row(index)[1] if 0 <= at < len(self._terms) else None

    def _row(self, index: int) -> Row:
        at = index - self._start.index - 1
        self._check(at, index)
        return self._terms[at], Place(self._spots[at] << 32 | self._sizes[at])

    def _check(self, at: int, index: int) -> None:
        if not 0 <= at < len(self._terms):
            raise Fault(Kind.NOT_FOUND, f"entry {index} is not in the log")

    def put(self, entries: Sequence[Entry], places: Iterable[Place]) -> None:
        """Replace everything from entries[0].index on."""
        first = entries[0].index
        with self._lock:
            self._cut(first)
            for entry, where in zip(entries, places, strict=True):
                self._terms.append(entry.term)
                self._spots.append(where >> 32 & _LOW)
                self._sizes.append(where & 0xFFFFFFFF)
                self._usage.use(where)
            self._changed.update(range(first, first + len(entries)))
        for entry in entries:
            self._remember(entry)

    def _cut(self, index: int) -> None:
        """Forget entries ≥ index."""
        at = index - self._start.index - 1
        assert 0 <= at <= len(self._terms), f"entry {index} leaves a gap"
        for gone in range(at, len(self._terms)):
            self._usage.free(Place(self._spots[gone] << 32 | self._sizes[gone]))
            old = self._cache.pop(gone + self._start.index + 1, None)
            self._cache_room += len(old.payload) if old else 0
        del self._terms[at:], self._spots[at:], self._sizes[at:]

    def _remember(self, entry: Entry) -> None:
        self._cache[entry.index] = entry
        self._cache_room -= len(entry.payload)
        while self._cache_room < 0:
            _, oldest = self._cache.popitem(last=False)
            self._cache_room += len(oldest.payload)

    def moved(self, index: int, where: Place) -> None:
        """A live entry was copied."""
        at = index - self._start.index - 1
        with self._lock:
            self._usage.free(self._row(index)[1])
            self._spots[at] = where >> 32
            self._sizes[at] = where & 0xFFFFFFFF
        self._usage.use(where)
        self._changed.add(index)

    def compact(self, mark: SnapshotMark) -> None:
        """Forget entries up to the mark."""
        count = mark.index - self._start.index
        with self._lock:
            assert 0 <= count <= len(self._terms)
            for gone in range(count):
                self._usage.free(Place(self._spots[gone] << 32 | self._sizes[gone]))
                old = self._cache.pop(gone + self._start.index + 1, None)
                self._cache_room += len(old.payload) if old else 0
            del self._terms[:count], self._spots[:count], self._sizes[:count]
            self._start = mark

    def reset(self, mark: SnapshotMark) -> None:
        """Forget everything; the log goes on after the mark."""
        with self._lock:
            self._cut(self._start.index + 1)
            self._start = mark

    def freeze(self) -> dict[bytes, bytes | None]:
        """Rows that differ from the index's, for the next; `settle` or `thaw` follows."""
        now = range(self._start.index + 1, self._start.index + 1 + len(self._terms))
        gone = [*range(self._indexed.start, min(now.start, self._indexed.stop))]
        gone += range(max(now.stop, self._indexed.start), self._indexed.stop)
        rows: dict[bytes, bytes | None] = {_INDEX.pack(index): None for index in gone}
        for index in self._changed:
            if index in now:
                rows[_INDEX.pack(index)] = encode_row(index, *self._row(index))
        self._freezing, self._frozen, self._changed = now, self._changed, set()
        return rows

    def settle(self) -> None:
        """What was frozen is in the index."""
        self._indexed, self._frozen = self._freezing, set()

    def thaw(self) -> None:
        """It is not: it belongs to the next checkpoint."""
        self._changed |= self._frozen
        self._frozen = set()

    def loaded(self, indexed: range, changed: Iterable[int]) -> None:
        """What of it the index has, and which of those rows are older than this."""
        self._indexed = indexed
        self._changed.update(changed)
