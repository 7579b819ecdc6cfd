"""The table that the replicated state lives in: an ordered map of bytes, and its row keys.

Row keys are one letter and fixed-size big-endian parts, so that a scan by prefix is in the order
of its parts. `SPEC.md` lists the rows.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from blocktree.names import FileId, Path, PrincipalId

Items = Sequence[tuple[bytes, bytes]]

GENESIS_KEY: Final = b"c"
MEMBERS_CHANGED_KEY: Final = b"i"
MEMBER_PREFIX: Final = b"m"
QUEUE_PREFIX: Final = b"x"
FILE_BYTES = 16
U64_BYTES = 8
_MANY: Final = frozenset(b"bdhsvx")  # first letters of rows that every commit changes
ITEMS_MAX = 1 << 30


class Rows(Protocol):
    """An ordered map of bytes as it is read."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a row, or None."""

    def get_many(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        """The values of several rows, or None."""

    def items(self, prefix: bytes, after: bytes, limit: int, /) -> Items:
        """Up to `limit` rows in key order: keys that begin with `prefix` and are > `after`."""


class Table(Rows, Protocol):
    """An ordered map of bytes with one writer."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set a row."""

    def delete(self, key: bytes, /) -> None:
        """Remove a row; one that is not there is no fault."""


class MemoryTable:
    """A table in memory."""

    def __init__(self, rows: Mapping[bytes, bytes] | None = None) -> None:
        self._rows = dict(rows or {})
        self._keys = sorted(self._rows)

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a row, or None."""
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        """The values of several rows, or None."""
        return [self._rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set a row."""
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = value

    def delete(self, key: bytes, /) -> None:
        """Remove a row; one that is not there is no fault."""
        if self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def items(self, prefix: bytes = b"", after: bytes = b"", limit: int = ITEMS_MAX, /) -> Items:
        """Up to `limit` rows in key order: keys that begin with `prefix` and are > `after`."""
        first = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        found = []
        for key in self._keys[first : first + limit]:
            if not key.startswith(prefix):
                break
            found.append((key, self._rows[key]))
        return found


class Overlay:
    """A table whose changes since the last checkpoint are in memory, above durable rows.

    Invariants: `changes` holds exactly what differs from `below` (None: deleted) or was written
    again since `settle` was told that earlier changes are durable. `_few` holds the keys of changed
    rows that are not of the many: those are asked for every second, among a hundred thousand.
    """

    def __init__(self, below: Rows) -> None:
        self._below = below
        self._saving: dict[bytes, bytes | None] = {}
        self.changes: dict[bytes, bytes | None] = {}
        self._few: set[bytes] = set()

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a row, or None."""
        for layer in (self.changes, self._saving):
            if key in layer:
                return layer[key]
        return self._below.get(key)

    def get_many(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        """The values of several rows, or None; what is not in memory is read together."""
        changes, saving = self.changes, self._saving
        below = [key for key in keys if key not in changes and key not in saving]
        if not below:
            return [self.get(key) for key in keys]
        rows = dict(zip(below, self._below.get_many(below), strict=True))
        return [rows[key] if key in rows else self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set a row."""
        self.changes[key] = value
        if key[0] not in _MANY:
            self._few.add(key)

    def delete(self, key: bytes, /) -> None:
        """Remove a row; one that is not there is no fault."""
        self.changes[key] = None
        if key[0] not in _MANY:
            self._few.add(key)

    def items(self, prefix: bytes, after: bytes, limit: int, /) -> Items:
        """Up to `limit` rows in key order: keys that begin with `prefix` and are > `after`."""
        above = {
            key: value
            for layer in (self._saving, self.changes)
            for key, value in self._among(layer, prefix)
            if key > after and key.startswith(prefix)
        }
        # Even if all rows above hide one below, `limit` are left of those; what lies behind the
        # last row read from below is behind these too.
        below = self._below.items(prefix, after, limit + len(above))
        rows: dict[bytes, bytes | None] = {**dict(below), **above}
        kept = sorted((key, value) for key, value in rows.items() if value is not None)
        return kept[:limit]

    def take(self) -> Mapping[bytes, bytes | None]:
        """The changes to write in the next checkpoint; reads go on seeing them.

        Changes that were taken before and not settled are in it again.
        """
        self._saving = {**self._saving, **self.changes}
        self.changes = {}
        return self._saving

    def settle(self) -> None:
        """What was taken last is durable below."""
        self._saving = {}
        self._few = {key for key in self._few if key in self.changes}

    def _among(
        self, layer: Mapping[bytes, bytes | None], prefix: bytes
    ) -> Iterable[tuple[bytes, bytes | None]]:
        """The changes of one layer among which those with this prefix are."""
        if not prefix or prefix[0] in _MANY:
            return layer.items()
        return [(key, layer[key]) for key in self._few if key in layer]


def header_key(file: FileId) -> bytes:
    """The row of a file's current header."""
    return b"h" + file


def tombstone_key(file: FileId) -> bytes:
    """The row of a deleted file that still has past versions."""
    return b"d" + file


def past_key(file: FileId, version: int) -> bytes:
    """The row of a past header."""
    return b"v" + file + version.to_bytes(U64_BYTES)


def past_prefix(file: FileId) -> bytes:
    """The rows of all past headers of a file, oldest first."""
    return b"v" + file


def queue_key(time_ns: int, file: FileId, version: int) -> bytes:
    """The row that finds a past header by the time when it was replaced."""
    return b"x" + time_ns.to_bytes(U64_BYTES) + file + version.to_bytes(U64_BYTES)


def member_key(principal: PrincipalId) -> bytes:
    """The row of a present or former member."""
    return b"m" + principal


def path_key(path: Path) -> bytes:
    """The row of the member that has a path."""
    return b"p" + path.encode()


def ticket_key(ticket: bytes) -> bytes:
    """The row of a spent ticket."""
    return b"t" + ticket
