"""The sector cache: opened sectors and hash pages by the digest of their blob, bounded in bytes.

Blobs are immutable and named by their hash, so an entry never goes stale; it only ages out (least
recently used first). What is kept is the plaintext, because a read of four bytes should not cost
the opening of 64 KiB, together with what it takes to seal it again to the very same bytes (the
nonce and the key): peers are served sealed blobs, and sealing again costs less than keeping both.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from blocktree.names import Buffer, Digest
from blocktree.sectors.sector import SectorCipher, epoch_of, nonce_of

CACHE_BYTES = 192 << 20
_ENTRY_BYTES = 600  # of Python objects around each entry


@dataclass(frozen=True, slots=True)
class Held:
    """One cached blob: its content for readers, and how to get its bytes back for peers."""

    content: Buffer
    seal: Callable[[Buffer], Buffer]


class SectorCache:
    """Least recently used first out.

    Invariants: `bytes_held` is the sum over the entries, and is at most `bytes_max` after every
    call.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES) -> None:
        self.bytes_max = bytes_max
        self._held: OrderedDict[Digest, Held] = OrderedDict()
        self.bytes_held = 0
        self.hits = 0
        self.misses = 0

    def get(self, digest: Digest) -> Held | None:
        """The entry, which becomes the youngest."""
        held = self._held.get(digest)
        if held is None:
            self.misses += 1
            return None
        self.hits += 1
        self._held.move_to_end(digest)
        return held

    def blob(self, digest: Digest) -> Buffer | None:
        """The sealed bytes for a peer; it does not keep an entry young that we no longer read."""
        held = self._held.get(digest)
        return None if held is None else held.seal(held.content)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._held

    def put(self, digest: Digest, held: Held) -> None:
        """Keep an entry, dropping the oldest ones to make room."""
        self.drop(digest)
        self._held[digest] = held
        self.bytes_held += len(held.content) + _ENTRY_BYTES
        while self.bytes_held > self.bytes_max:
            _, oldest = self._held.popitem(last=False)
            self.bytes_held -= len(oldest.content) + _ENTRY_BYTES

    def drop(self, digest: Digest) -> None:
        """Forget an entry, if it is there."""
        held = self._held.pop(digest, None)
        if held is not None:
            self.bytes_held -= len(held.content) + _ENTRY_BYTES


def as_it_is(content: Buffer) -> Buffer:
    """How a hash page is sealed: not at all."""
    return content


def open_sector(cipher: SectorCipher, index: int, blob: Buffer) -> Held:
    """Open a sector for the cache.

    Raises:
        Fault: as `SectorCipher.open`.
    """
    content = cipher.open(index, blob)
    if epoch_of(blob) != cipher.epoch:  # only the present epoch's key seals
        kept = bytes(blob)
        return Held(content, lambda _: kept)
    return held_sector(cipher, index, content, nonce_of(blob))


def held_sector(cipher: SectorCipher, index: int, content: Buffer, nonce: bytes) -> Held:
    """A sector that was sealed with this nonce, for the cache."""
    return Held(content, partial(cipher.seal, index, nonce=nonce))
