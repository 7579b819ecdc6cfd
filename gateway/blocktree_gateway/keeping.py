"""Keeps what one device sends: entries go into its stream in the tree, and only then are `Kept`.

A device that measures once a minute has each reading committed at once; one that measures every
second has fifteen seconds of them committed together, so that a hundred of them stay cheap.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from blocktree.fault import Fault, Kind
from blocktree_gateway.messages import Checkpoint, Entry, Place
from blocktree_gateway.stream.entries import entry_hash
from blocktree_gateway.tree.streamfile import Item, StreamFile

log = logging.getLogger(__name__)

COMMIT_S = 15.0  # between two commits of one stream
PENDING_MAX = 256  # items that wait for the tree
_TOGETHER_S = 0.05  # what arrives in one breath is committed as one
_SOON = 24  # items that wait no longer: a board keeps 32 in memory
_RETRY_S = 2.0


class Keeper:
    """The stream of one device, while this gateway speaks for it.

    Args:
        stream: where it is kept, loaded.
        kept: called with the newest place that is durable.
        damaged: called with a sentence when an entry contradicts one that is kept.
        committed: called with what was committed, after `kept`.
        commit_s: between two commits while the device is busy.
        may: whether this gateway speaks for the device at this moment: nobody else writes then.
    """

    def __init__(
        self,
        stream: StreamFile,
        kept: Callable[[Place], None],
        damaged: Callable[[str], None],
        committed: Callable[[list[Item]], None],
        *,
        commit_s: float = COMMIT_S,
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self.stream = stream
        self._may = may
        self._kept = kept
        self._damaged = damaged
        self._committed = committed
        self._commit_s = commit_s
        self._pending: deque[Item] = deque()
        self._newest: Place | None = stream.last
        self._newest_hash = stream.last_hash
        self._signed: Place | None = None
        self._wake = asyncio.Event()
        self._last_commit = -commit_s
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def full(self) -> bool:
        """Whether no more can be taken until the tree has taken some."""
        return len(self._pending) >= PENDING_MAX

    @property
    def tail(self) -> list[Item]:
        """What the tree does not have yet."""
        return list(self._pending)

    def take(self, item: Item) -> bool:
        """An entry or checkpoint came; whether it is new."""
        if isinstance(item, Checkpoint):
            if item.place == self._signed:
                return False
            self._signed = item.place
        elif not self._is_new(item):
            return False
        self._pending.append(item)
        self._wake.set()
        return True

    async def close(self) -> None:
        """Commit what waits, if that is possible now, and stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._pending:
            try:
                await self._commit()
            except Fault as fault:
                log.warning("%s: not kept, the device has it still: %s", self.stream.path, fault)

    def abandon(self) -> None:
        """Another gateway may speak for the device: what waits is its business, from the device."""
        self._task.cancel()
        self._pending.clear()

    def _is_new(self, entry: Entry) -> bool:
        newest, digest = self._newest, entry_hash(entry)
        if newest is not None and entry.place <= newest:
            if entry.place == newest and digest != self._newest_hash:
                self._damaged(f"two different entries at boot {entry.boot} seq {entry.seq}")
            elif not self._pending and self.stream.last is not None:
                self._kept(self.stream.last)  # it does not know that we have this
            return False
        self._newest, self._newest_hash = entry.place, digest
        return True

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_TOGETHER_S)
            wait = self._last_commit + self._commit_s - loop.time()
            while wait > 0 and len(self._pending) < _SOON:
                await asyncio.sleep(min(wait, 1.0))
                wait = self._last_commit + self._commit_s - loop.time()
            try:
                await self._commit()
            except Fault as fault:
                log.warning("%s: not kept yet: %s", self.stream.path, fault)
                if fault.kind is Kind.CONFLICT:
                    await self._reload()
                await asyncio.sleep(_RETRY_S)
                self._wake.set()
            self._last_commit = loop.time()

    async def _commit(self) -> None:
        items = list(self._pending)
        if not items or not self._may():
            return
        await self.stream.append(items)
        for _ in items[: len(self._pending)]:  # none, if it was abandoned meanwhile
            self._pending.popleft()
        if self.stream.last is not None:
            self._kept(self.stream.last)
        self._committed(items)

    async def _reload(self) -> None:
        """Somebody else wrote to the stream: see what it has by now."""
        fresh = StreamFile(self.stream.files, self.stream.place)
        await fresh.load()
        self.stream, last = fresh, fresh.last
        if last is not None:
            lacking = [i for i in self._pending if isinstance(i, Checkpoint) or i.place > last]
            self._pending = deque(lacking)
            self._kept(last)
