"""How much of each segment is still wanted."""

import struct
import zlib
from collections.abc import Iterable

from blocktree.disk.segment import HEAD_SIZE, Place, length_of, segment_of
from blocktree.fault import Fault, Kind

_ROW = struct.Struct(">QQ")
_CRC = struct.Struct(">I")
_NUMBER = struct.Struct(">I")


class Usage:
    """Sizes and live bytes by segment.

    Invariant: a segment's live bytes are the sizes of exactly those records in it that are the
    current place of a blob or of an entry of the log.
    """

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.live: dict[int, int] = {}
        self.size = 0  # of all segments
        self.wanted = 0  # live bytes of all segments
        self._changed: set[int] = set()
        self._frozen: set[int] = set()  # changed before, and on their way into the index

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin with what the index says. Fault DAMAGED."""
        for key, value in rows:
            if value[_ROW.size :] != _CRC.pack(zlib.crc32(key + value[: _ROW.size])):
                raise Fault(Kind.DAMAGED, "the index has unreadable segments")
            number = _NUMBER.unpack(key)[0]
            self.sizes[number], self.live[number] = size, live = _ROW.unpack_from(value)
            self.size += size
            self.wanted += live

    def grow(self, number: int, size: int) -> None:
        """The segment has this size now."""
        self.size += size - self.sizes.get(number, 0)
        self.sizes[number] = size
        self.live.setdefault(number, 0)
        self._changed.add(number)

    def use(self, where: Place) -> None:
        """The record at this place is wanted."""
        number, size = segment_of(where), HEAD_SIZE + length_of(where)
        self.live[number] = self.live.get(number, 0) + size
        self.wanted += size
        self._changed.add(number)

    def free(self, where: Place) -> None:
        """The record at this place is not wanted any more."""
        number, size = segment_of(where), HEAD_SIZE + length_of(where)
        if number in self.live:
            self.live[number] -= size
            self.wanted -= size
            assert self.live[number] >= 0, "freed more than was used"
            self._changed.add(number)

    def forget(self, number: int) -> None:
        """The segment is gone."""
        self.size -= self.sizes.pop(number, 0)
        self.wanted -= self.live.pop(number, 0)
        self._changed.add(number)

    def freeze(self) -> dict[bytes, bytes | None]:
        """Rows that differ from the last checkpoint, for the next; `settle` or `thaw` follows."""
        self._frozen, self._changed = self._changed, set()
        return {_NUMBER.pack(number): self._row(number) for number in self._frozen}

    def _row(self, number: int) -> bytes | None:
        if number not in self.sizes:
            return None
        row = _ROW.pack(self.sizes[number], self.live[number])
        return row + _CRC.pack(zlib.crc32(_NUMBER.pack(number) + row))

    def settle(self) -> None:
        """What was frozen is in the index."""
        self._frozen = set()

    def thaw(self) -> None:
        """It is not: it belongs to the next checkpoint."""
        self._changed |= self._frozen
        self._frozen = set()
