"""Small blobs that travel with the entry that introduces them: one frame instead of two.

Invariant: at most `RIDERS_BYTES` are remembered; one that has to make room before it was sent with
an entry is handed back, to be forwarded by itself.
"""

from collections.abc import Callable, Iterable, Sequence

from blocktree.names import Buffer, Digest

RIDER_BYTES_MAX = 384 << 10  # of the blobs of one commit; larger ones go on the bulk lane
RIDERS_BYTES = 4 << 20  # less than a frame's body


class Riders:
    """What the leader has to send along.

    Args:
        leave: told of a blob that must go by itself.
    """

    def __init__(self, leave: Callable[[Digest, Buffer], None]) -> None:
        self._leave = leave
        self._blobs: dict[Digest, Buffer] = {}
        self._sent: set[Digest] = set()
        self._size = 0

    def board(self, digests: Sequence[Digest], parts: Sequence[Buffer]) -> None:
        """These blobs are to go with their entry."""
        for digest, part in zip(digests, parts, strict=True):
            if digest not in self._blobs:
                self._blobs[digest] = part
                self._size += len(part)
        while self._size > RIDERS_BYTES:
            oldest = next(iter(self._blobs))
            part = self._blobs.pop(oldest)
            self._size -= len(part)
            if oldest in self._sent:
                self._sent.discard(oldest)
            else:
                self._leave(oldest, part)

    def among(self, digests: Iterable[Digest]) -> dict[Digest, Buffer]:
        """Those of these blobs that ride, with their bytes; they count as sent."""
        if not self._blobs:
            return {}
        found = {digest: self._blobs[digest] for digest in digests if digest in self._blobs}
        self._sent.update(found)
        return found
