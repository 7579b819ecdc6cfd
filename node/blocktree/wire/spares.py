"""Large buffers that are used again once nobody has a view of them.

A fresh megabyte is zeroed, and each of its pages taken from the system when it is first touched:
more work than what it then receives costs. Nobody says when a buffer is done with; Python knows,
for a bytearray that somebody views does not change its size.
"""

LARGE_BYTES = 256 << 10
_GRAIN = 64 << 10  # sizes are rounded up, so that the next one of about that size fits
_BYTES_MAX = 4 << 20  # of all that one keeps


class Spares:
    """Buffers for one reader, a few MiB. Not thread-safe: one thread takes them."""

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._taken = False  # since the last `rest`

    def take(self, size: int) -> memoryview:
        """A buffer of `size` bytes with anything in it, its user's until the last view is gone."""
        if size < LARGE_BYTES:
            return memoryview(bytearray(size))
        self._taken = True
        for buffer in self._buffers:
            if size <= len(buffer) <= 2 * size and _unviewed(buffer):
                return memoryview(buffer)[:size]
        buffer = bytearray(-(-size // _GRAIN) * _GRAIN + 1)
        buffer.pop()  # leaves room for the byte by which `_unviewed` lengthens it
        self._buffers.append(buffer)
        while sum(map(len, self._buffers)) > _BYTES_MAX:
            del self._buffers[0]  # who views it keeps it
        return memoryview(buffer)[:size]

    def rest(self) -> None:
        """Told now and then: buffers that were not needed since the last time are given back."""
        if not self._taken:
            self._buffers.clear()
        self._taken = False


def _unviewed(buffer: bytearray) -> bool:
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True
