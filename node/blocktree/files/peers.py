"""Actor `cache`: serves the blobs that this process holds to any member of the tree.

A blob says nothing to whoever has no key, and names itself by its hash, so serving needs no rights
and the asker needs no trust.
"""

from blocktree.actors import Actor, Call, plays, receives
from blocktree.files.cache import SectorCache
from blocktree.names import Buffer
from blocktree.store.contracts import CACHE
from blocktree.store.messages import GET_BLOBS_MAX, Blobs, GetBlobs

ANSWER_BYTES_MAX = 4 << 20


@plays(CACHE.role("peer"))
class PeerCache(Actor):
    """Answers `GetBlobs` from the sector cache alone; what is not there has length 0."""

    def __init__(self, cache: SectorCache) -> None:
        self._cache = cache
        self.asked = 0
        self.served = 0
        self.served_bytes = 0

    @receives
    def get_blobs(self, message: GetBlobs, call: Call) -> Blobs:
        """As many of the blobs as fit one answer; the asker asks again for the rest."""
        del call
        lengths: list[int] = []
        parts: list[Buffer] = []
        size = 0
        for digest in message.digests[:GET_BLOBS_MAX]:
            blob = self._cache.blob(digest) or b""
            if parts and size + len(blob) > ANSWER_BYTES_MAX:
                break
            lengths.append(len(blob))
            if blob:
                parts.append(blob)
                size += len(blob)
        self.asked += len(lengths)
        self.served += len(parts)
        self.served_bytes += size
        return Blobs(tuple(lengths), b"".join(parts))
