"""The index's interface: named spaces of bytes to bytes with one atomic, durable commit."""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, unique
from typing import Protocol, Self

Items = Sequence[tuple[bytes, bytes]]


@unique
class Space(IntEnum):
    """What a key belongs to."""

    STATE = 0  # the checkpoint itself
    BLOBS = 1  # digest -> where it lies
    STAGED = 2  # digest -> stamp, of blobs that nothing refers to yet
    LOG = 3  # entry index -> term, where it lies
    SEGMENTS = 4  # number -> size, live bytes
    TABLE = 5  # the state machine's table …
    OTHER_TABLE = 6  # … and the one a snapshot is received into; the checkpoint says which is which


Changes = Mapping[Space, Mapping[bytes, bytes | None]]


class View(Protocol):
    """The index frozen at one commit. Used by one thread at a time."""

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """As `Index.items`.

        Raises:
            Fault: EXPIRED if the view had to be given up; take a new one.
        """

    def close(self) -> None:
        """Let the index reuse what the view held on to."""


class Index(Protocol):
    """Reads are callable from any thread, also during a commit; `commit` from one thread."""

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of a key."""

    def get_many(self, space: Space, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of several keys, of one commit."""

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """Up to `limit` pairs in key order: keys that start with `prefix` and are > `after`."""

    def view(self) -> View:
        """The index as it is now, frozen."""

    def commit(self, changes: Changes, *, clear: Sequence[Space] = ()) -> None:
        """All or nothing, durable: empty the spaces in `clear`, then put (None: delete).

        Raises:
            Fault: NO_SPACE, nothing has changed; FAILED, nobody knows what is on the disk.
        """

    def size(self) -> int:
        """Bytes that the index takes on the disk."""

    def close(self) -> None:
        """Give back what it holds; further calls are a mistake."""


class _Table:
    """One space in memory; replaced, never changed, so that views can share it."""

    __slots__ = ("keys", "pairs")

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        self.pairs = pairs
        self.keys: list[bytes] | None = None

    def items(self, prefix: bytes, after: bytes, limit: int) -> Items:
        if self.keys is None:
            self.keys = sorted(self.pairs)
        low = bisect.bisect_left(self.keys, prefix)
        if after:
            low = max(low, bisect.bisect_right(self.keys, after))
        chosen = self.keys[low : low + limit]
        return [(key, self.pairs[key]) for key in chosen if key.startswith(prefix)]


class _MemoryView:
    def __init__(self, tables: list[_Table]) -> None:
        self._tables = tables

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """As `Index.items`."""
        return self._tables[space].items(prefix, after, limit)

    def close(self) -> None:
        """Nothing to give back."""


class MemoryIndex:
    """An index in memory, for tests and the simulator: what was committed survives a crash.

    `on_commit`, if set, is called before each commit; what it raises makes that commit fail.
    """

    def __init__(self, tables: Sequence[_Table] = ()) -> None:
        self._tables = list(tables) or [_Table({}) for _ in Space]
        self.on_commit: Callable[[], None] | None = None

    def copy(self) -> Self:
        """The same contents, independent from now on."""
        return type(self)(self._tables)

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of a key."""
        return self._tables[space].pairs.get(key)

    def get_many(self, space: Space, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of several keys."""
        pairs = self._tables[space].pairs
        return [pairs.get(key) for key in keys]

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """Up to `limit` pairs in key order."""
        return self._tables[space].items(prefix, after, limit)

    def view(self) -> View:
        """The index as it is now."""
        return _MemoryView(list(self._tables))

    def commit(self, changes: Changes, *, clear: Sequence[Space] = ()) -> None:
        """Replace all tables at once."""
        if self.on_commit is not None:
            self.on_commit()
        tables = list(self._tables)
        for space in clear:
            tables[space] = _Table({})
        for space, pairs in changes.items():
            merged = tables[space].pairs | {k: v for k, v in pairs.items() if v is not None}
            for key in (k for k, v in pairs.items() if v is None):
                merged.pop(key, None)
            tables[space] = _Table(merged)
        self._tables = tables

    def size(self) -> int:
        """The bytes of all keys and values."""
        return sum(len(k) + len(v) for table in self._tables for k, v in table.pairs.items())

    def close(self) -> None:
        """Nothing to give back: the simulator opens it again."""
