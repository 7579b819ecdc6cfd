"""Where each blob lies: what changed since the last checkpoint in memory, the rest in the index.

Invariants: the places in memory win over those in the index; a blob has at most one place; the
usage counts that place. Only the disk's thread changes anything; lookups come from any thread.
"""

import struct
import zlib

from blocktree.disk.index import Index, Space
from blocktree.disk.segment import Place, length_of, offset_of, segment_of
from blocktree.disk.usage import Usage
from blocktree.names import Digest

_STAMP = struct.Struct(">I")
_CRC = struct.Struct(">I")
_PLACE_SIZE = 12
_UNKNOWN = Place(-1)
NOWHERE = Place(0)  # of a damaged blob; segments are numbered from 1


def encode_place(where: Place) -> bytes:
    """Segment, offset, length: 12 bytes that order as the stream does."""
    return where.to_bytes(_PLACE_SIZE, "big")


def decode_place(raw: bytes) -> Place:
    """The reverse of `encode_place`."""
    return Place(int.from_bytes(raw, "big"))


class Catalogue:
    """The blobs of a disk."""

    def __init__(self, index: Index, usage: Usage) -> None:
        self._index = index
        self._usage = usage
        self._places: dict[Digest, Place | None] = {}
        self._staged: dict[Digest, int | None] = {}
        self._refreshed: set[Digest] = set()  # staged again; the index has an older stamp
        self.damaged: set[Digest] = set()  # found unreadable since the last checkpoint

    def find(self, digest: Digest) -> Place | None:
        """Any thread. Where a blob lies, damaged or not.

        The order of the two lookups makes it safe beside a checkpoint, which fills the index
        before it takes a new dictionary.
        """
        where = self._places.get(digest, _UNKNOWN)
        if where is not None and where == _UNKNOWN:
            raw = self._index.get(Space.BLOBS, digest)
            return _of_row(digest, raw)
        return where

    def find_many(self, digests: list[Digest]) -> list[Place | None]:
        """Any thread. As `find`, asking the index once."""
        places = self._places
        found = [places.get(digest, _UNKNOWN) for digest in digests]
        unknown = [d for d, where in zip(digests, found, strict=True) if where == _UNKNOWN]
        if not unknown:
            return found
        rows = iter(self._index.get_many(Space.BLOBS, unknown))
        return [
            _of_row(digest, next(rows)) if where == _UNKNOWN else where
            for digest, where in zip(digests, found, strict=True)
        ]

    def sound(self, digest: Digest, where: Place | None) -> bool:
        """Any thread. Whether a blob found at this place can be read, as far as we know."""
        return (
            where is not None
            and digest not in self.damaged
            and segment_of(where) in self._usage.sizes
        )

    def put(self, digest: Digest, where: Place, before: Place | None) -> None:
        """The blob lies here now; `before` is what `find` said."""
        if before is not None:
            self._usage.free(before)
        self._usage.use(where)
        self._places[digest] = where
        self.damaged.discard(digest)

    def stage(self, digest: Digest, stamp: int, *, here_before: bool) -> None:
        """Nothing refers to the blob yet."""
        if here_before and digest not in self._staged:
            if self._index.get(Space.STAGED, digest) is None:
                return  # it is kept
            self._refreshed.add(digest)
        self._staged[digest] = stamp

    def keep(self, digest: Digest) -> None:
        """Something refers to the blob."""
        if digest in self._staged and digest not in self._refreshed:
            del self._staged[digest]  # staged and kept between two checkpoints: no row at all
        else:
            self._staged[digest] = None

    def stamp_of(self, digest: Digest) -> int | None:
        """When a blob was staged; None if it is kept."""
        if digest in self._staged:
            return self._staged[digest]
        row = self._index.get(Space.STAGED, digest)
        return None if row is None else int(_STAMP.unpack(row)[0])

    def mark_damaged(self, digest: Digest) -> None:
        """The blob cannot be read: it keeps its row, at no place, until it is written again."""
        where = self.find(digest)
        if where is not None:
            self._usage.free(where)
        self._places[digest] = NOWHERE

    def keep_all(self) -> None:
        """Nothing can be known about references: list no blob as staged."""
        self._staged = {}
        self._refreshed = set()

    def drop(self, digest: Digest) -> Place | None:
        """Forget a blob; where it was."""
        where = self.find(digest)
        if where is not None:
            self._usage.free(where)
            self._places[digest] = None
            self._staged[digest] = None
            self._refreshed.discard(digest)
            self.damaged.discard(digest)
        return where

    def staged(self, before: int, limit: int) -> list[Digest]:
        """Staged blobs with an older stamp."""
        found = [d for d, stamp in self._staged.items() if stamp is not None and stamp < before]
        after = b""
        while len(found) < limit:
            rows = self._index.items(Space.STAGED, b"", after, 1024)
            if not rows:
                break
            after = rows[-1][0]
            found += [
                Digest(key)
                for key, row in rows
                if key not in self._staged and _STAMP.unpack(row)[0] < before
            ]
        return found[:limit]

    def after(self, digest: bytes, limit: int) -> list[tuple[Digest, Place]]:
        """Blobs of the last checkpoint that are still here, in order, with their places now."""
        rows = self._index.items(Space.BLOBS, b"", digest, limit)
        places = self._places
        now = [(Digest(key), places.get(Digest(key), _UNKNOWN), row) for key, row in rows]
        known = [(key, _of_row(key, row) if at == _UNKNOWN else at) for key, at, row in now]
        return [(key, where) for key, where in known if where is not None]

    @property
    def pending(self) -> int:
        """How many places changed since the last checkpoint."""
        return len(self._places)

    def changes(self) -> dict[Space, dict[bytes, bytes | None]]:
        """What differs from the last checkpoint."""
        for digest in list(self.damaged):
            if self.find(digest) is not None:  # else it was deleted meanwhile
                self.mark_damaged(digest)
        return {
            Space.BLOBS: {
                d: None if where is None else encode_row(d, where)
                for d, where in self._places.items()
            },
            Space.STAGED: {
                d: None if stamp is None else _STAMP.pack(stamp)
                for d, stamp in self._staged.items()
            },
        }

    def checkpointed(self) -> None:
        """The changes are in the index; new dictionaries, since readers may hold the old ones."""
        self._places, self._staged, self._refreshed = {}, {}, set()
        self.damaged.clear()


def encode_row(digest: Digest, where: Place) -> bytes:
    """A blob's value in the index; ends in a checksum of key and value, for LMDB has none."""
    raw = encode_place(where)
    return raw + _CRC.pack(zlib.crc32(raw, zlib.crc32(digest)))


def _of_row(digest: Digest, row: bytes | None) -> Place | None:
    """Where the index says that a blob lies: nowhere, if that cannot be read."""
    if row is None:
        return None
    raw = row[:_PLACE_SIZE]
    if row[_PLACE_SIZE:] != _CRC.pack(zlib.crc32(raw, zlib.crc32(digest))):
        return NOWHERE
    return decode_place(raw)


def describe(where: Place) -> str:
    """A place for people."""
    return f"segment {segment_of(where)} at {offset_of(where)} ({length_of(where)} bytes)"
