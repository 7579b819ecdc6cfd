"""Read-ahead: notices sequential reading and says which sectors to fetch before they are asked for.

The kernel reads ahead 128 KiB at most unless root raises it, which is far too little over a network
(measured in `notes/fuse.md`), so the window here doubles with each sequential read, up to 4 MiB.
"""

WINDOW_MIN = 256 << 10
WINDOW_MAX = 4 << 20
_SLACK = 1 << 20  # the kernel may send neighbouring reads in any order


class ReadAhead:
    """The reading habits of one open file.

    Invariant: sectors of the present run below `_fetched` were named already: each is named once.
    """

    __slots__ = ("_end", "_fetched", "_window")

    def __init__(self) -> None:
        self._end = 0  # where the present run of reads ended
        self._fetched = 0  # up to where sectors were asked for
        self._window = 0

    def saw(self, offset: int, size: int, sector_size: int) -> tuple[int, int] | None:
        """A read takes place; the range of sectors to fetch ahead, or None."""
        end = offset + size
        if not self._end - _SLACK <= offset <= self._end + _SLACK or (offset and not self._end):
            self._end, self._fetched, self._window = end, end, 0
            return None
        if end <= self._end:
            return None
        self._end = end
        self._window = min(max(self._window * 2, WINDOW_MIN), WINDOW_MAX)
        start = max(self._fetched, end)
        stop = end + self._window
        if stop - start < self._window // 4:
            return None  # ask for a good piece at a time
        self._fetched = stop
        return start // sector_size, -(-stop // sector_size)
