"""Blobs that are here before the commit that refers to them: bounded, pinned while needed, expired.

A staged blob is written to the disk at once, without a sync; the sync of the entry that refers to
it covers it. The disk remembers which blobs nothing refers to (`Disk.staged`), also across
restarts; this keeps what only the running process knows.

Invariants
- A blob named by an entry of the log is pinned from before the entry is in the log until it is
  applied (then the disk keeps it) or replaced; a pinned blob is never expired.
- `waiting` bytes (staged, and no commit for them yet) are at most `bytes_max`.
- A blob that finds no room, and that no entry names yet, is missing from then on; one that an entry
  names by then holds up the entries (`saver`). So no entry gets ahead of a blob.
- What an entry names and is not here is `gone` only if somebody said so who had applied that entry;
  everything else that is missing is `lost`, and is to be fetched.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from blocktree.fault import Fault, Kind
from blocktree.names import Buffer, Digest
from blocktree.store.host import Host
from blocktree.store.messages import STAGED_SECONDS
from blocktree.store.saver import Saver
from blocktree.store.worker import run

RECENT_MAX = 1 << 16  # digests known to be here, or to be gone
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
        self._doomed: dict[Digest, int] = {}  # by which deletion
        self._deletions = 0
        self._gone: OrderedDict[Digest, None] = OrderedDict()  # said so, and not applied yet
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
        unknown = [d for d in digests if d not in self._recent]
        if not unknown:
            return unknown
        absent = set(self._disk.missing(unknown))
        if len(absent) < len(unknown):
            absent.update(d for d in unknown if d in self._doomed)
            self._remember(d for d in unknown if d not in absent)
        return [d for d in unknown if d in absent]

    def add(self, blobs: Sequence[tuple[Digest, Buffer]]) -> "asyncio.Future[None]":
        """Stage verified blobs; done when they are written.

        Raises:
            Fault: BUSY if too much waits already; from the future: NO_SPACE.
        """
        fresh = [(d, blob) for d, blob in blobs if d not in self._recent]
        size = sum(len(blob) for _, blob in fresh)
        if self.bytes_waiting + size > self._bytes_max:
            raise Fault(Kind.BUSY, "too much was uploaded and not committed yet")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now = self._now()
        self._saver.store(fresh, int(now), partial(self._written, [d for d, _ in fresh], future))
        for digest, blob in fresh:
            self._doomed.pop(digest, None)
            self._gone.pop(digest, None)
            self._writing[digest] = future
            if digest not in self._waiting:
                self._waiting[digest] = (len(blob), now)
                self.bytes_waiting += len(blob)
        self._room -= size
        self._remember(digest for digest, _ in fresh)
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

    def told_gone(self, digests: Iterable[Digest]) -> None:
        """Who had applied the entry that names these says that no version needs them any more."""
        for digest in digests:
            self._gone[digest] = None
        while len(self._gone) > RECENT_MAX:  # the rest is asked for once more
            self._gone.popitem(last=False)

    def absent(self, digests: Iterable[Digest]) -> tuple[set[Digest], list[Digest]]:
        """Those of an entry that is applied now which are not here: gone for good, and lost.

        No entry comes into the log before its blobs, unless somebody said that they are gone. But
        what was said is forgotten when the process ends; and a disk may lose what it had.
        """
        unknown = [d for d in digests if d not in self._recent and d not in self._writing]
        absent = self._disk.missing(unknown) if unknown else unknown
        gone = {digest for digest in absent if digest in self._gone}
        return gone, [digest for digest in absent if digest not in gone]

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
        self._deletions += 1
        deletion = self._deletions
        self._doomed.update(dict.fromkeys(digests, deletion))
        self.forget(digests)
        try:
            await run(self._worker, lambda: self._delete(digests, deletion))
        finally:
            for digest in self._doomed_by(deletion, digests):
                del self._doomed[digest]

    # inside

    def _unpin(self, index: int) -> None:
        for digest in self._pinned.pop(index, ()):
            if self._pins.get(digest) == index:
                del self._pins[digest]
                self._gone.pop(digest, None)

    def _find_staged(self, kept: Sequence[Digest], before: int) -> list[Digest]:
        """On the disk's thread."""
        if kept:
            self._disk.keep(kept)
        return self._disk.staged(before, _EXPIRE_MAX)

    def _doomed_by(self, deletion: int, digests: Sequence[Digest]) -> list[Digest]:
        return [digest for digest in digests if self._doomed.get(digest) == deletion]

    def _delete(self, digests: Sequence[Digest], deletion: int) -> None:
        """On the disk's thread. Who came back meanwhile is no longer doomed, and stays."""
        self._disk.delete_blobs(self._doomed_by(deletion, digests))

    def _written(
        self, digests: Sequence[Digest], future: "asyncio.Future[None]", fault: Fault | None
    ) -> None:
        for digest in digests:
            if self._writing.get(digest) is future:
                del self._writing[digest]
                if fault is not None:
                    self._recent.pop(digest, None)
                    size, _ = self._waiting.pop(digest, (0, 0.0))
                    self.bytes_waiting -= size
        if future.done():  # whoever waited was cancelled
            return
        if fault is None:
            future.set_result(None)
        else:
            future.set_exception(fault)
            future.exception()  # not everybody waits for it

    def _remember(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._recent[digest] = None
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
