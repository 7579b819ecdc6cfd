"""Directories: names to files and their keys, in buckets of a linear hash table (Litwin, 1980).

A directory's `Header.size` is its load, the bytes of its entries; the number of buckets follows
from it, so nothing but the header says how the table looks. Up to INLINE_MAX bytes the entries are
in the header. Above, bucket i is sector i of the file, and there is one bucket for BUCKET_LOAD
bytes of load: adding a name rewrites its bucket, and one time in about 25 splits one other.

A name's position is 63 bits of HMAC-SHA256 under a key derived from the directory's. Buckets are
numbered by its leading bits, reversed, so each bucket is a range of positions whatever the number
of buckets: listing in order of position neither repeats nor skips an entry while others come and
go, and a position is a cookie that stays good (Shalev and Shavit, split-ordered lists, 2006).

Nothing is fetched here. `needed` says which sectors must be given to `load` before an operation.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.sectors.bucket import (
    DirEntry,
    check_entry_name,
    entry_size,
    find,
    load,
    pack,
    pad,
    unpack,
)
from blocktree.sectors.header import DIRECTORY_SECTOR_BYTES, INLINE_MAX

BUCKET_LOAD = 2048  # bytes of entries for each bucket, on average
BUCKET_PADDING = 512  # a bucket's content is padded to a multiple of this
INLINE_PADDING = 64
POSITION_MIN = 16  # smaller cookies are left to the caller, for "." and ".."
POSITION_END = 1 << 63
_POSITION_BITS = 63
_POSITIONS_MAX = 16  # remembered for each directory
_CONTEXT = b"blocktree directory names 1"


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """What a changed directory writes: the content of its header or the plain sectors to seal."""

    load: int  # the new `Header.size`
    count: int  # sectors of the new tree; 0: everything is inline
    inline: bytes  # content for the header; empty if count > 0 or nothing is left
    sectors: dict[int, bytes | None]  # new content by sector; None: a hole now


class Directory:
    """A working copy of one version of a directory, as far as it was loaded.

    Invariants: every entry of a loaded bucket has a position in the bucket's range, unless its
    writer broke that; `size` is the load, and fixes `count`; an inline directory is all loaded.
    """

    __slots__ = ("_buckets", "_changed", "_names_key", "_positions", "count", "size")

    def __init__(self, key: bytes, size: int = 0, inline: bytes = b"") -> None:
        """`key`: the directory's content key. `size` and opened `inline` content of its header.

        Raises:
            Fault: MALFORMED if the inline content is not a directory's.
        """
        self._names_key = hmac.digest(key, _CONTEXT, "sha256")
        self._positions: dict[bytes, int] = {}  # of the names asked for last, also by copies
        self.size = size
        self.count = bucket_count(size)
        self._buckets: dict[int, bytes] = {} if self.count else {0: load(inline)}
        self._changed: set[int] = set()
        if not self.count and len(self._buckets[0]) != size:
            raise Fault(Kind.MALFORMED, "a directory of another size than its header says")

    def fork(self) -> "Directory":
        """An independent copy, in constant time for each bucket loaded."""
        twin = object.__new__(Directory)
        twin._names_key, twin.size, twin.count = self._names_key, self.size, self.count
        twin._buckets, twin._changed = dict(self._buckets), set(self._changed)
        twin._positions = self._positions
        return twin

    # What must be loaded

    def needed(self, name: bytes, growth: int = 0) -> list[int]:
        """Sectors to load before `lookup` (growth 0), `add` (+entry_size) or `remove` (-)."""
        wanted = {self.sector_of(name)}
        count = bucket_count(self.size + growth)
        for bucket in range(self.count, count):
            wanted.add(_split_from(bucket))
        for bucket in range(count, self.count):
            wanted |= {bucket, _split_from(bucket)} if count else {bucket}
        here = self._buckets
        return sorted(b for b in wanted if b not in here and b < max(self.count, 1))

    def load(self, sector: int, content: bytes) -> None:
        """Give the opened content of a sector; b"" for a hole.

        Raises:
            Fault: MALFORMED if it is not a bucket.
        """
        assert 0 <= sector < self.count
        if sector not in self._changed:
            self._buckets[sector] = load(content)

    def sector_of(self, name: bytes) -> int:
        """The sector that holds this name if any does; 0 for an inline directory."""
        return self._range(self._position(name))[0] if self.count else 0

    # Names

    def lookup(self, name: bytes) -> DirEntry | None:
        """What the directory says of a name; its sector must be loaded."""
        content = self._buckets[self.sector_of(name)]
        place = find(content, name)
        return None if place is None else unpack(content[place[0] : place[1]])[0]

    def add(self, entry: DirEntry) -> None:
        """Add a name.

        Raises:
            Fault: USAGE for a name that cannot be, EXISTS if the directory has it, TOO_LARGE if
                its bucket is full (which takes names chosen for it by somebody who has the key).
        """
        check_entry_name(entry.name)
        sector = self.sector_of(entry.name)
        content = self._buckets[sector]
        if find(content, entry.name) is not None:
            raise Fault(Kind.EXISTS, f"the directory already has {entry.name!r}")
        packed = pack(entry)
        if self.count and len(content) + len(packed) > DIRECTORY_SECTOR_BYTES:
            raise Fault(Kind.TOO_LARGE, f"no room for {entry.name!r} in its bucket")
        self._set(sector, content + packed)
        self._resize(self.size + len(packed))

    def remove(self, name: bytes) -> DirEntry:
        """Remove a name and return what it said.

        Raises:
            Fault: NOT_FOUND if the directory has no such name.
        """
        sector = self.sector_of(name)
        content = self._buckets[sector]
        place = find(content, name)
        if place is None:
            raise Fault(Kind.NOT_FOUND, f"the directory has no {name!r}")
        begin, end = place
        self._set(sector, content[:begin] + content[end:])
        self._resize(self.size - (end - begin))
        return unpack(content[begin:end])[0]

    def replace(self, entry: DirEntry) -> DirEntry:
        """Let a name that is there mean another file; returns what it said before.

        Raises:
            Fault: NOT_FOUND if the directory has no such name.
        """
        sector = self.sector_of(entry.name)
        content = self._buckets[sector]
        place = find(content, entry.name)
        if place is None:
            raise Fault(Kind.NOT_FOUND, f"the directory has no {entry.name!r}")
        begin, end = place
        self._set(sector, content[:begin] + pack(entry) + content[end:])
        return unpack(content[begin:end])[0]

    # Listing

    def next_sector(self, cookie: int) -> int | None:
        """The sector to load before `entries(cookie)`, loaded or not; None at the end."""
        if cookie >= POSITION_END - 1:
            return None
        return self._range(cookie + 1)[0] if self.count else 0

    def entries(self, cookie: int) -> tuple[list[tuple[int, DirEntry]], int]:
        """The entries behind `cookie` in the bucket there, and the cookie to go on with.

        Begin with 0; every entry comes with its own cookie. Over when `next_sector` says None.
        """
        if self.count:
            sector, end = self._range(cookie + 1)
        else:
            sector, end = 0, POSITION_END
        placed = [(self._position(e.name), e) for e in unpack(self._buckets[sector])]
        behind = sorted((p, e.name, e) for p, e in placed if cookie < p < end)
        return [(position, entry) for position, _, entry in behind], end - 1

    def beside(self, name: bytes, count: int) -> list[DirEntry]:
        """Up to `count` other entries of the loaded bucket of a name, beginning behind it.

        Within a bucket entries lie in the order in which they were made.
        """
        content = self._buckets[self.sector_of(name)]
        begin, end = find(content, name) or (0, 0)
        behind = unpack(content[end:])[:count]
        return behind + unpack(content[:begin])[: count - len(behind)]

    # Saving

    def change(self) -> DirectoryChange:
        """What has to be written for the edits since this copy was made or last saved."""
        changed, self._changed = self._changed, set()
        if not self.count:
            inline = pad(self._buckets[0], INLINE_PADDING, INLINE_MAX)
            return DirectoryChange(self.size, 0, inline, {})
        sectors = {
            sector: pad(content, BUCKET_PADDING, DIRECTORY_SECTOR_BYTES) or None
            for sector in sorted(changed)
            if sector < self.count
            for content in [self._buckets[sector]]
        }
        return DirectoryChange(self.size, self.count, b"", sectors)

    # The table

    def _position(self, name: bytes) -> int:
        known = self._positions.get(name)  # to make a file asks for its name's ten times
        if known is None:
            digest = hmac.digest(self._names_key, name, "sha256")
            known = max(int.from_bytes(digest[:8]) >> 1, POSITION_MIN)
            if len(self._positions) >= _POSITIONS_MAX:
                self._positions.clear()
            self._positions[name] = known
        return known

    def _range(self, position: int) -> tuple[int, int]:
        """The bucket that a position is in, and the first position behind that bucket."""
        level = self.count.bit_length() - 1
        low = _reversed_top(position, level)
        if low < self.count - (1 << level):  # already split in this round
            level += 1
            low = _reversed_top(position, level)
        shift = _POSITION_BITS - level
        return low, ((position >> shift) + 1) << shift

    def _set(self, sector: int, content: bytes) -> None:
        self._buckets[sector] = content
        self._changed.add(sector)

    def _resize(self, size: int) -> None:
        count = bucket_count(size)
        self.size = size
        if count == self.count:
            return
        if count and self.count:
            while self.count < count:
                self._split()
            while self.count > count:
                self._merge()
        else:  # between the header and sectors: there are two buckets, all of them are at hand
            contents = [self._buckets.pop(bucket) for bucket in range(max(self.count, 1))]
            self.count = count
            self._spread(range(max(count, 1)), contents)

    def _split(self) -> None:
        source, fresh = _split_from(self.count), self.count
        self.count += 1
        self._spread((source, fresh), [self._buckets.pop(source)])

    def _merge(self) -> None:
        self.count -= 1
        content = self._buckets.pop(self.count)
        target = _split_from(self.count)
        self._set(target, self._buckets[target] + content)

    def _spread(self, buckets: Iterable[int], contents: list[bytes]) -> None:
        parts: dict[int, list[bytes]] = {bucket: [] for bucket in buckets}
        for content in contents:
            for entry in unpack(content):
                parts[self.sector_of(entry.name)].append(pack(entry))
        for bucket, packed in parts.items():
            self._set(bucket, b"".join(packed))


def bucket_count(size: int) -> int:
    """How many buckets a directory with this load has; 0: its entries are in the header."""
    return 0 if size <= INLINE_MAX else -(-size // BUCKET_LOAD)


def _split_from(bucket: int) -> int:
    """The bucket that this one was split from: the same number without its leading bit."""
    return bucket ^ (1 << bucket.bit_length() - 1) if bucket else 0


def _reversed_top(position: int, bits: int) -> int:
    """The `bits` leading bits of a position, the first one lowest."""
    if not bits:
        return 0
    return int(f"{position >> (_POSITION_BITS - bits):0{bits}b}"[::-1], 2)


__all__ = ["DirEntry", "Directory", "DirectoryChange", "bucket_count", "entry_size"]
