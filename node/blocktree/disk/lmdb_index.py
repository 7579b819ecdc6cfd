"""The index in LMDB: durable at every commit, readable from many threads, growing as needed.

LMDB may only change the size of its map while no transaction is open in the process, so reads pass
a gate that a growing commit closes, and frozen views are given up then (`Kind.EXPIRED`).
"""

import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import lmdb

from blocktree.disk.files import make_directory, sync_names
from blocktree.disk.index import Changes, Items, Space
from blocktree.fault import Fault, Kind

# A map is address space, not memory. 32-bit boards have 3 GiB of it for everything.
_WIDE = sys.maxsize > 2**32
_MAP_FIRST = 1 << 30 if _WIDE else 64 << 20
_MAP_MAX = 1 << 40 if _WIDE else 1 << 30
_READERS_MAX = 126
_POLL = 0.0002  # seconds
_ROTTEN = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError)
_UNREADABLE = (*_ROTTEN, lmdb.VersionMismatchError, lmdb.PanicError)
_ROOM_MIN = 1 << 20  # bytes; less is left when a write of LMDB was cut short


class _Gate:
    """Many readers, or one who grows the map. What LMDB says to a reader leaves as a Fault.

    A lock would make every reader wait for every other. Here a reader first counts itself in and
    then looks whether the gate is shut; who shuts it first shuts and then counts. So at least one
    of the two sees the other: no reader is inside while the gate's owner works.

    A reader who meets a page that cannot be right leaves a mark beside the file, which forbids the
    next start to trust it.
    """

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        self._inside: list[None] = []  # append and pop are atomic, += is not
        self._shut = False
        self._open = threading.Event()
        self.stopped = False  # the environment is closed for good

    def __enter__(self) -> None:
        self._inside.append(None)
        while self._shut:
            self._inside.pop()
            self._open.wait()
            self._inside.append(None)

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        self._inside.pop()
        if isinstance(error, lmdb.Error):
            if self.stopped:
                raise Fault(Kind.STOPPED, "the disk is closed") from error
            self.note(error)
            raise _unreadable(error) from error

    def note(self, error: lmdb.Error) -> None:
        """Leave the mark if LMDB says that its file is wrong."""
        if isinstance(error, _ROTTEN):
            with contextlib.suppress(OSError):
                self._mark.touch()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is inside meanwhile; readers are, for microseconds each."""
        self._open.clear()
        self._shut = True
        try:
            while self._inside:
                time.sleep(_POLL)
            yield
        finally:
            self._shut = False
            self._open.set()


class LmdbView:
    """A read transaction that stays open. Used by one thread at a time."""

    def __init__(self, index: "LmdbIndex", transaction: "lmdb.Transaction[bytes]") -> None:
        self._index = index
        self._transaction: lmdb.Transaction[bytes] | None = transaction

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """As `Index.items`; Fault EXPIRED if the map had to grow meanwhile."""
        with self._index.gate:
            if self._transaction is None:
                raise Fault(Kind.EXPIRED, "the snapshot was given up", next_step="take a new one")
            return _items(self._transaction, self._index.spaces[space], prefix, after, limit)

    def close(self) -> None:
        """End the transaction, so that its pages can be used again."""
        with self._index.gate:
            self.give_up()

    def give_up(self) -> None:
        """As `close`, for who is past the gate."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()


class LmdbIndex:
    """An LMDB environment in its own directory; `anew` removes what is there first.

    Raises:
        Fault: DAMAGED if LMDB cannot read its file: open it `anew` and use `Disk.rebuild`.
    """

    def __init__(
        self, directory: str | Path, *, anew: bool = False, map_size: int = _MAP_FIRST
    ) -> None:
        self._path = Path(directory)
        make_directory(self._path)
        mark = self._path / "damaged"
        self.gate = _Gate(mark)
        self._views: weakref.WeakSet[LmdbView] = weakref.WeakSet()
        if anew:
            for name in ("data.mdb", "lock.mdb", mark.name):
                (self._path / name).unlink(missing_ok=True)
        if mark.exists():
            raise _unreadable("it was found damaged")
        self._map_size = max(map_size, 2 * self.size())
        try:
            self._env = self._open()
            self.spaces = [self._env.open_db(space.name.lower().encode()) for space in Space]
        except _UNREADABLE as cause:
            raise _unreadable(cause) from cause
        sync_names(self._path)  # LMDB syncs what it writes, not that its file is there
        self._env.reader_check()  # slots of readers that were killed would hold on to old pages

    def _open(self) -> lmdb.Environment:
        return lmdb.open(
            str(self._path),
            map_size=self._map_size,
            max_dbs=len(Space),
            max_readers=_READERS_MAX,
            mode=0o600,
            readahead=False,  # keys are hashes: what lies beside one is not wanted next
            meminit=False,
        )

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of a key."""
        with self.gate, self._env.begin(self.spaces[space]) as transaction:
            return transaction.get(key)

    def get_many(self, space: Space, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of several keys, of one commit."""
        with self.gate, self._env.begin(self.spaces[space]) as transaction:
            return [transaction.get(key) for key in keys]

    def items(self, space: Space, prefix: bytes, after: bytes, limit: int) -> Items:
        """Up to `limit` pairs in key order."""
        with self.gate, self._env.begin() as transaction:
            return _items(transaction, self.spaces[space], prefix, after, limit)

    def view(self) -> LmdbView:
        """The index as it is now; the file grows while a view is open and commits go on."""
        with self.gate:
            view = LmdbView(self, self._env.begin())
            self._views.add(view)
        return view

    def commit(self, changes: Changes, *, clear: Sequence[Space] = ()) -> None:
        """One transaction, with LMDB's own two syncs; grows the map and repeats if it is full."""
        while True:
            try:
                return self._commit(changes, clear)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as cause:
                self.gate.note(cause)
                kind = Kind.NO_SPACE if self._is_full(cause) else Kind.FAILED
                raise Fault(kind, f"the index: {cause}", path=str(self._path)) from cause

    def _is_full(self, cause: lmdb.Error) -> bool:
        """Whether a commit failed for want of room.

        LMDB takes a short write for EIO, so the room tells. Being wrong would be harmless: the
        transaction was given up before its meta page was written, and the next one writes all of
        its own pages; when the meta page itself fails, LMDB refuses every later transaction.
        """
        if isinstance(cause, lmdb.DiskError):
            return True
        if isinstance(cause, lmdb.PanicError):
            return False
        state = os.statvfs(self._path)
        return state.f_bavail * state.f_frsize < _ROOM_MIN

    def _commit(self, changes: Changes, clear: Sequence[Space]) -> None:
        with self._env.begin(write=True) as transaction:
            for space in clear:
                transaction.drop(self.spaces[space], delete=False)
            for space, pairs in changes.items():
                table = self.spaces[space]
                for key in sorted(pairs):  # in order: each page is touched once
                    value = pairs[key]
                    if value is None:
                        transaction.delete(key, db=table)
                    else:
                        transaction.put(key, value, db=table)

    def _grow(self) -> None:
        if self._map_size >= _MAP_MAX:
            raise Fault(Kind.NO_SPACE, f"the index is at {_MAP_MAX} bytes", path=str(self._path))
        with self.gate.alone():
            for view in list(self._views):
                view.give_up()
            self._map_size *= 2
            self._env.set_mapsize(self._map_size)

    def size(self) -> int:
        """Bytes of LMDB's file."""
        try:
            return (self._path / "data.mdb").stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Close the environment; views end."""
        with self.gate.alone():
            for view in list(self._views):
                view.give_up()
            self._env.close()
            self.gate.stopped = True


def _unreadable(cause: lmdb.Error | str) -> Fault:
    return Fault(
        Kind.DAMAGED,
        f"the index cannot be read: {cause}",
        next_step="remove the directory index/ and start again: it is made anew",
    )


def _items(
    transaction: "lmdb.Transaction[bytes]",
    table: "lmdb._Database",
    prefix: bytes,
    after: bytes,
    limit: int,
) -> Items:
    found: list[tuple[bytes, bytes]] = []
    with transaction.cursor(table) as cursor:
        if not cursor.set_range(max(prefix, after)):
            return found
        if after and cursor.key() == after and not cursor.next():
            return found
        for key, value in cursor:
            if len(found) >= limit or not key.startswith(prefix):
                break
            found.append((key, value))
    return found
