"""Which bytes of a sector were written here: they go on top of what others write beside them."""

from bisect import bisect_left, bisect_right
from operator import itemgetter

from blocktree.names import Buffer

_RANGES_MAX = 256  # more than that count as the whole sector
_first, _last = itemgetter(0), itemgetter(1)


class Edits:
    """Ranges of one sector, in order, that neither overlap nor touch; None: all of it."""

    __slots__ = ("ranges",)

    def __init__(self, *, whole: bool = False) -> None:
        self.ranges: list[tuple[int, int]] | None = None if whole else []

    @property
    def whole(self) -> bool:
        """Whether nothing of what others wrote is to show."""
        return self.ranges is None

    def add(self, start: int, stop: int) -> None:
        """Bytes `start` to `stop` were written."""
        ranges = self.ranges
        if ranges is None:
            return
        if ranges and ranges[-1][0] <= start <= ranges[-1][1]:  # a writer goes on: the usual case
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], stop))
            return
        low = bisect_left(ranges, start, key=_last)
        high = bisect_right(ranges, stop, key=_first)
        if low < high:
            start, stop = min(start, ranges[low][0]), max(stop, ranges[high - 1][1])
        ranges[low:high] = [(start, stop)]
        if len(ranges) > _RANGES_MAX:
            self.ranges = None

    def join(self, other: "Edits") -> None:
        """What was written there was written here, too."""
        if other.ranges is None:
            self.ranges = None
            return
        for start, stop in other.ranges:
            self.add(start, stop)

    def onto(self, base: Buffer, content: Buffer) -> Buffer:
        """The sector's `content` as it was written here, on a newer version of the rest."""
        if self.ranges is None:
            return content
        merged, ours = bytearray(base), memoryview(content)
        for start, stop in self.ranges:
            merged.extend(bytes(max(0, start - len(merged))))
            merged[start:stop] = bytes(ours[start:stop]).ljust(stop - start, b"\0")
        return merged


WHOLE = Edits(whole=True)  # of a write of the whole sector, or a cut through it
