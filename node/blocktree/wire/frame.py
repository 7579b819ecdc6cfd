"""Frames: how records and their raw bodies follow each other on a byte stream.

A frame is two big-endian 32-bit lengths, a CBOR head and a raw body. `FrameReader` has the shape
of `asyncio.BufferedProtocol` without importing it: the transport writes straight into its buffer,
and a large body is read into a buffer of its own, so it is copied by nobody.
"""

import struct
from collections.abc import Iterator

from blocktree.fault import Fault, Kind
from blocktree.wire.cbor import Body
from blocktree.wire.spares import Spares

HEAD_MAX = 2 << 20
BODY_MAX = 8 << 20
_PREFIX = struct.Struct("!II")
_PREFIX_BYTES = _PREFIX.size
BUFFER_BYTES = 256 << 10


def encode_frame(head: bytes, body: Body = b"") -> list[Body]:
    """The pieces of one frame, in order, for one vectored write.

    Raises:
        Fault: TOO_LARGE if head or body is over its limit.
    """
    if len(head) > HEAD_MAX or len(body) > BODY_MAX:
        raise Fault(Kind.TOO_LARGE, f"a frame of {len(head)} + {len(body)} bytes")
    first = _PREFIX.pack(len(head), len(body)) + head
    return [first, body] if len(body) else [first]


class FrameReader:
    """Cuts a byte stream into `(head, body)` pairs.

    Memory is bounded by `buffer_bytes` plus one frame that is larger than that; no more than
    the limits, and only as long as it is being read. Of the memory of large bodies that nobody
    views any more, 4 MiB at most are kept for the next ones, until `rest`.
    """

    def __init__(
        self,
        head_max: int = HEAD_MAX,
        body_max: int = BODY_MAX,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._head_max = head_max
        self._body_max = body_max
        self._wanted = buffer_bytes
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._start = 0  # of the unread bytes in the buffer
        self._end = 0
        self._large = memoryview(b"")  # the head and body being read when they outgrow the buffer
        self._spares = Spares()  # to be used for that
        self._large_head = 0
        self._filled = 0

    def widen(
        self,
        head_max: int = HEAD_MAX,
        body_max: int = BODY_MAX,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        """Take larger frames from here on; also between two frames of one `buffer_updated`."""
        self._head_max, self._body_max, self._wanted = head_max, body_max, buffer_bytes

    def rest(self) -> None:
        """Told now and then: memory for frames that do not come any more is given back."""
        self._spares.rest()

    def get_buffer(self) -> memoryview:
        """Where the next bytes of the stream are to be written; never empty."""
        if len(self._large):
            return self._large[self._filled :]
        size = len(self._buffer)
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start and size - self._end < size // 4:
            self._move(self._buffer)  # now, before reads become small
        if self._wanted > size:
            self._move(memoryview(bytearray(self._wanted)))
        return self._buffer[self._end :]

    def buffer_updated(self, count: int) -> Iterator[tuple[bytes, Body]]:
        """Tell that `count` bytes were written; iterates over the frames that are now whole.

        Exhaust it before the next `get_buffer`.

        Raises:
            Fault: MALFORMED if a length is over its limit; the stream is then of no more use.
        """
        if not len(self._large):
            self._end += count
            return self._cut()
        self._filled += count
        if self._filled < len(self._large):
            return iter(())
        whole, head_size = self._large, self._large_head
        self._large = memoryview(b"")
        return iter(((bytes(whole[:head_size]), whole[head_size:]),))

    def _cut(self) -> Iterator[tuple[bytes, Body]]:
        buffer, end, read_prefix = self._buffer, self._end, _PREFIX.unpack_from
        begin = self._start + _PREFIX_BYTES
        while begin <= end:
            head_size, body_size = read_prefix(buffer, begin - _PREFIX_BYTES)
            if head_size > self._head_max or body_size > self._body_max:
                raise Fault(Kind.MALFORMED, f"a frame claims {head_size} + {body_size} bytes")
            middle = begin + head_size
            finish = middle + body_size
            if finish > end:
                if finish - begin > len(buffer) - _PREFIX_BYTES:
                    self._outgrow(begin, head_size, body_size)
                return
            self._start = finish
            body = bytes(buffer[middle:finish]) if body_size else b""
            yield bytes(buffer[begin:middle]), body
            begin = finish + _PREFIX_BYTES

    def _move(self, target: memoryview) -> None:
        """Put the unread bytes at the start of `target` (memoryviews copy as memmove does)."""
        kept = self._end - self._start
        target[:kept] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = target, 0, kept

    def _outgrow(self, begin: int, head_size: int, body_size: int) -> None:
        large = self._spares.take(head_size + body_size)
        had = self._end - begin
        large[:had] = self._buffer[begin : self._end]
        self._large, self._large_head, self._filled = large, head_size, had
        self._start = self._end = 0
