"""Where each blob lies: what changed since the last checkpoint in memory, the rest in the index.

Invariants: the places in memory win over those in the index, those that changed last over those
that are frozen for a checkpoint under way; a blob has at most one place; the usage counts that
place. Only the disk's thread changes anything; lookups come from any thread.
"""

import struct
import zlib
from collections import ChainMap
from collections.abc import Mapping

from blocktree.disk.index import Index, Space
from blocktree.disk.segment import Place, length_of, offset_of, segment_of
from blocktree.disk.usage import Usage
from blocktree.names import Digest

_STAMP = struct.Struct(">I")
_CRC = struct.Struct(">I")
_PLACE_SIZE = 12
_UNKNOWN = Place(-1)
_Places = dict[Digest, Place | None]
_SOUND = (_UNKNOWN, True)
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
        # What changed, and what is frozen: one tuple, so that a reader sees both of one moment.
        self._layers: tuple[_Places, _Places] = ({}, {})
        self._staged: dict[Digest, int | None] = {}
        self._frozen_staged: dict[Digest, int | None] = {}
        self._refreshed: set[Digest] = set()  # the index may have an older stamp of them
        # Found unreadable there since the last checkpoint, and whether for good (`lost`).
        self.damaged: dict[Digest, tuple[Place, bool]] = {}

    def find(self, digest: Digest) -> Place | None:
        """Any thread. Where a blob lies, damaged or not.

        The order of the lookups makes it safe beside a checkpoint, which fills the index before it
        drops what was frozen.
        """
        where = self._in_memory().get(digest, _UNKNOWN)
        if where is not None and where == _UNKNOWN:
            raw = self._index.get(Space.BLOBS, digest)
            return _of_row(digest, raw)
        return where

    def find_many(self, digests: list[Digest]) -> list[Place | None]:
        """Any thread. As `find`, asking the index once."""
        places = self._in_memory()
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
            and self.damaged.get(digest, _SOUND)[0] != where
            and segment_of(where) in self._usage.sizes
        )

    def lost(self, digest: Digest, where: Place, cause: Exception) -> None:
        """Any thread. It cannot be read there: for good, unless it was the device that failed.

        By now it may have been written again: that copy lies elsewhere, and is not meant.
        """
        self.damaged[digest] = where, not isinstance(cause.__cause__, OSError)

    def is_lost(self, digest: Digest, where: Place) -> bool:
        """Any thread. Whether it was read there, and was not what it should be."""
        return self.damaged.get(digest) == (where, True)

    def found(self, digest: Digest) -> None:
        """Any thread. It can be read, though the device may have failed before."""
        if not self.damaged.get(digest, _SOUND)[1]:
            self.damaged.pop(digest, None)

    def put(self, digest: Digest, where: Place, before: Place | None) -> None:
        """The blob lies here now; `before` is what `find` said."""
        if before is not None:
            self._usage.free(before)
        self._usage.use(where)
        self._layers[0][digest] = where
        self.damaged.pop(digest, None)

    def stage(self, digest: Digest, stamp: int, *, here_before: bool) -> None:
        """Nothing refers to the blob yet."""
        if here_before and digest not in self._staged:
            if self.stamp_of(digest) is None:
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
        for staged in (self._staged, self._frozen_staged):
            if digest in staged:
                return staged[digest]
        row = self._index.get(Space.STAGED, digest)
        return None if row is None else int(_STAMP.unpack(row)[0])

    def mark_damaged(self, digest: Digest) -> None:
        """The blob cannot be read: it keeps its row, at no place, until it is written again."""
        where = self.find(digest)
        if where is not None:
            self._usage.free(where)
        self._layers[0][digest] = NOWHERE

    def keep_all(self) -> None:
        """Nothing can be known about references: list no blob as staged."""
        self._staged, self._frozen_staged = {}, {}
        self._refreshed = set()

    def drop(self, digest: Digest) -> Place | None:
        """Forget a blob; where it was."""
        where = self.find(digest)
        if where is not None:
            self._usage.free(where)
            self._layers[0][digest] = None
            self._staged[digest] = None
            self._refreshed.add(digest)
            self.damaged.pop(digest, None)
        return where

    def staged(self, before: int, limit: int) -> list[Digest]:
        """Staged blobs with an older stamp."""
        known = {**self._frozen_staged, **self._staged}
        found = [d for d, stamp in known.items() if stamp is not None and stamp < before]
        after = b""
        while len(found) < limit:
            rows = self._index.items(Space.STAGED, b"", after, 1024)
            if not rows:
                break
            after = rows[-1][0]
            found += [
                Digest(key)
                for key, row in rows
                if key not in known and _STAMP.unpack(row)[0] < before
            ]
        return found[:limit]

    def after(self, digest: bytes, limit: int) -> list[tuple[Digest, Place]]:
        """Blobs of the last checkpoint that are still here, in order, with their places now."""
        rows = self._index.items(Space.BLOBS, b"", digest, limit)
        places = self._in_memory()
        now = [(Digest(key), places.get(Digest(key), _UNKNOWN), row) for key, row in rows]
        known = [(key, _of_row(key, row) if at == _UNKNOWN else at) for key, at, row in now]
        return [(key, where) for key, where in known if where is not None]

    @property
    def pending(self) -> int:
        """How many places changed since the last checkpoint."""
        return len(self._layers[0])

    def _in_memory(self) -> Mapping[Digest, Place | None]:
        """What wins over the index, as it is now; not for keeping."""
        changed, frozen = self._layers
        return ChainMap(changed, frozen) if frozen else changed

    def freeze(self) -> dict[Space, dict[bytes, bytes | None]]:
        """What differs from the last checkpoint, for the next; `settle` or `thaw` follows."""
        for digest, (where, for_good) in self.damaged.copy().items():
            if not for_good:
                continue
            if self.find(digest) == where:  # else it was deleted or written again meanwhile
                self.mark_damaged(digest)
            self.damaged.pop(digest, None)
        places, staged = self._layers[0], self._staged
        self._layers = {}, places
        self._frozen_staged, self._staged, self._refreshed = staged, {}, set()
        return {
            Space.BLOBS: {
                d: None if where is None else encode_row(d, where) for d, where in places.items()
            },
            Space.STAGED: {
                d: None if stamp is None else _STAMP.pack(stamp) for d, stamp in staged.items()
            },
        }

    def settle(self) -> None:
        """What was frozen is in the index."""
        self._layers = self._layers[0], {}
        self._frozen_staged = {}

    def thaw(self) -> None:
        """It is not: it belongs to the next checkpoint."""
        changed, frozen = self._layers
        self._layers = {**frozen, **changed}, {}
        self._refreshed |= self._frozen_staged.keys()  # if they were so before is not known now
        self._staged, self._frozen_staged = {**self._frozen_staged, **self._staged}, {}


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
