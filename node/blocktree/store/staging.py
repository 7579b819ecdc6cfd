"""Blobs that are here before the commit that refers to them: bounded, pinned while needed, expired.

A staged blob is written to the disk at once, without a sync; the sync of the entry that refers to
it covers it. The disk remembers which blobs nothing refers to (`Disk.staged`), also across
restarts; this keeps what only the running process knows.

Invariants
- A blob named by an entry of the log is pinned from before the entry is in the log until it is
  applied (then the disk keeps it) or replaced; a pinned blob is never expired.
- `waiting` bytes (staged, and no commit for them yet) are at most `bytes_max`.
- With `tight` room a blob counts as here only when it is written, so an entry never gets ahead of
  a blob that finds no room.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from blocktree.fault import Fault, Kind
from blocktree.names import Buffer, Digest
from blocktree.store.host import Host
from blocktree.store.messages import STAGED_SECONDS
from blocktree.store.saver import Saver
from blocktree.store.worker import run

RECENT_MAX = 1 << 16  # digests known to be here
TIGHT_BYTES = 256 << 20  # free space beyond the reserve below which nothing is taken for granted
FULL_SECONDS = 300.0  # after a refusal, room is made for whoever asks again
_EXPIRE_MAX = 1024  # blobs dropped in one go


class Staging:
    """What was uploaded and is not committed yet."""

    def __init__(self, host: Host, saver: Saver, is_needed: Callable[[Digest], bool]) -> None:
        self._disk = host.disk
        self._saver = saver
        self._is_needed = is_needed
        self._worker = host.worker
        self.reserve = host.reserve
        self._bytes_max = host.staged_max
        self._now = host.now
        self._recent: OrderedDict[Digest, None] = OrderedDict()  # here, or on the way to the disk
        self._writing: dict[Digest, asyncio.Future[None]] = {}
        self._waiting: dict[Digest, tuple[int, float]] = {}  # size and since when
        self._pins: dict[Digest, int] = {}  # to the entry that needs it longest
        self._pinned: dict[int, set[Digest]] = {}  # by entry
        self._doomed: set[Digest] = set()
        self._applied = 0  # entries up to here need no pins any more
        self._arrivals: dict[Digest, list[asyncio.Future[None]]] = {}
        self._room = self._disk.stats().free
        self._refused = 0.0  # when content was refused last
        self.bytes_waiting = 0

    @property
    def tight(self) -> bool:
        """Whether the disk may be too full for what is already on the way."""
        return self._room - self._saver.bytes_waiting < self.reserve + TIGHT_BYTES

    @property
    def room(self) -> int:
        """Free bytes when last looked, less what was written since."""
        return self._room

    def refused(self) -> None:
        """Content was refused for want of room."""
        self._refused = self._now()

    @property
    def full(self) -> bool:
        """Whether there is no room, or was too little for what somebody wanted a moment ago."""
        return self._room < self.reserve or self._now() - self._refused < FULL_SECONDS

    def measure(self) -> None:
        """Look how much room there is."""
        self._room = self._disk.stats().free

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those that are neither here nor on their way to the disk."""
        unknown = [
            d
            for d in digests
            if d not in self._recent or d in self._doomed or (d in self._writing and self.tight)
        ]
        if not unknown:
            return unknown
        gone = self._disk.missing(unknown)
        if len(gone) < len(unknown):
            absent = set(gone)
            self._remember(d for d in unknown if d not in absent and d not in self._doomed)
        return [d for d in unknown if d not in self._recent]

    def add(self, blobs: Sequence[tuple[Digest, Buffer]]) -> "asyncio.Future[None]":
        """Stage verified blobs; done when they are written.

        Raises:
            Fault: BUSY if too much waits already; from the future: NO_SPACE.
        """
        fresh = [(d, blob) for d, blob in blobs if d not in self._recent or d in self._doomed]
        size = sum(len(blob) for _, blob in fresh)
        if self.bytes_waiting + size > self._bytes_max:
            raise Fault(Kind.BUSY, "too much was uploaded and not committed yet")
        future = self._saver.store(fresh, int(self._now()))
        assert future is not None
        now = self._now()
        for digest, blob in fresh:
            self._doomed.discard(digest)
            self._writing[digest] = future
            if digest not in self._waiting:
                self._waiting[digest] = (len(blob), now)
                self.bytes_waiting += len(blob)
        self._room -= size
        self._remember(digest for digest, _ in fresh)
        future.add_done_callback(lambda done: self._written([d for d, _ in fresh], done))
        for digest, _ in fresh:
            for waiter in self._arrivals.pop(digest, ()):
                if not waiter.done():
                    waiter.set_result(None)
        return future

    async def written(self, digests: Iterable[Digest]) -> None:
        """Wait until these are on the disk, if they are on their way there. Fault: NO_SPACE."""
        for digest in digests:
            future = self._writing.get(digest)
            if future is not None:
                await asyncio.shield(future)

    async def arrive(self, digests: Sequence[Digest], seconds: float) -> list[Digest]:
        """Wait a little for blobs that somebody is likely sending; those still missing."""
        waiting = []
        for digest in digests:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._arrivals.setdefault(digest, []).append(future)
            waiting.append(future)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*waiting)
        for digest, future in zip(digests, waiting, strict=True):
            line = self._arrivals.get(digest)
            if line is not None and future in line:
                line.remove(future)
                if not line:
                    del self._arrivals[digest]
        return self.missing(digests)

    def pin(self, index: int, digests: Sequence[Digest]) -> None:
        """The entry at `index`, or one that was meant to be there, needs these.

        One that was applied already may come again; it would be pinned for ever.
        """
        if digests and index > self._applied:
            self._pinned.setdefault(index, set()).update(digests)
            for digest in digests:
                self._pins[digest] = max(index, self._pins.get(digest, 0))

    def begin(self, applied: int) -> None:
        """The state is at this entry, in one step: those up to it are not applied one by one."""
        self._applied = applied
        for index in [index for index in self._pinned if index <= applied]:
            self._unpin(index)

    def applied(self, index: int, digests: Sequence[Digest], *, committed: bool) -> None:
        """The entry with these blobs was applied; `committed`: it now refers to them for good."""
        self._applied = max(self._applied, index)
        self._unpin(index)
        for digest in digests:
            size, _ = self._waiting.pop(digest, (0, 0.0))
            self.bytes_waiting -= size
        if committed and digests:
            self._saver.keep(digests)

    def gone(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of an entry that is applied now which are gone for good: no version needs them.

        No entry comes into the log before its blobs, unless the leader said that they are gone; so
        what is not here is. A damaged one is not gone: it stays named, and is fetched again.
        """
        unknown = [d for d in digests if d not in self._recent and d not in self._writing]
        return set(self._disk.missing(unknown, damaged=False)) if unknown else set()

    def pinned(self, digest: Digest) -> bool:
        """Whether an entry that is not applied yet needs this blob."""
        return digest in self._pins

    def needs(self, digest: Digest) -> bool:
        """Whether a version refers to this blob, or an entry does that is not applied yet."""
        return self._is_needed(digest) or self.pinned(digest)

    def adopt(self, digests: Sequence[Digest]) -> None:
        """The state refers to these, which were fetched late."""
        for digest in digests:
            size, _ = self._waiting.pop(digest, (0, 0.0))
            self.bytes_waiting -= size
        self._saver.keep(digests)

    def forget(self, digests: Iterable[Digest]) -> None:
        """These are not on the disk any more."""
        for digest in digests:
            self._recent.pop(digest, None)

    async def expire(self) -> int:
        """Drop blobs that no commit came for; how many."""
        before = int(self._now()) - STAGED_SECONDS
        kept = self._saver.take_kept()
        old = await run(self._worker, lambda: self._find_staged(kept, before))
        needed = [digest for digest in old if self._is_needed(digest)]
        self._saver.keep(needed)  # the disk was not told, for whatever reason
        spared = {*needed, *self._pins}
        gone = [digest for digest in old if digest not in spared]
        for digest in gone:
            size, _ = self._waiting.pop(digest, (0, 0.0))
            self.bytes_waiting -= size
        await self.drop(gone)
        return len(gone)

    async def drop(self, digests: Sequence[Digest]) -> None:
        """Delete blobs, but those that are staged again before it comes to that.

        Until then they count as missing: no entry may rely on a blob whose deletion is under way.
        """
        if not digests:
            return
        self._doomed.update(digests)
        self.forget(digests)
        try:
            await run(self._worker, lambda: self._delete(digests))
        finally:
            self._doomed.difference_update(digests)

    # inside

    def _unpin(self, index: int) -> None:
        for digest in self._pinned.pop(index, ()):
            if self._pins.get(digest) == index:
                del self._pins[digest]

    def _find_staged(self, kept: Sequence[Digest], before: int) -> list[Digest]:
        """On the disk's thread."""
        if kept:
            self._disk.keep(kept)
        return self._disk.staged(before, _EXPIRE_MAX)

    def _delete(self, gone: Sequence[Digest]) -> None:
        """On the disk's thread. Who came back meanwhile is no longer doomed, and stays."""
        self._disk.delete_blobs([digest for digest in gone if digest in self._doomed])

    def _written(self, digests: Sequence[Digest], done: "asyncio.Future[None]") -> None:
        failed = done.cancelled() or done.exception() is not None
        for digest in digests:
            if self._writing.get(digest) is done:
                del self._writing[digest]
                if failed:
                    self._recent.pop(digest, None)
                    size, _ = self._waiting.pop(digest, (0, 0.0))
                    self.bytes_waiting -= size

    def _remember(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._recent[digest] = None
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
