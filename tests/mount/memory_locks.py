"""Advisory locks in memory: ranges split and merge as fcntl(2) says, flocks are whole files."""

import asyncio
from dataclasses import replace

from blocktree.fault import Fault, Kind
from blocktree.files.volume import Lock, LockKind


class MemoryLocks:
    """The locks of every inode, with those who wait for a change."""

    def __init__(self) -> None:
        self._held: dict[int, list[Lock]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def conflict(self, ino: int, lock: Lock) -> Lock | None:
        for held in self._held.get(ino, []):
            if held.flock != lock.flock or held.owner == lock.owner:
                continue
            if held.end < lock.start or held.start > lock.end:
                continue
            if LockKind.WRITE in (held.kind, lock.kind):
                return held
        return None

    async def set(self, ino: int, lock: Lock, *, wait: bool) -> None:
        while lock.kind is not LockKind.UNLOCK and self.conflict(ino, lock):
            if not wait:
                raise Fault(Kind.BUSY, "the lock is held")
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change
        self._cut(ino, lock)
        if lock.kind is not LockKind.UNLOCK:
            self._held[ino].append(lock)
        self._wake()

    def drop(self, ino: int, owner: int, *, flock: bool) -> None:
        self._cut(ino, Lock(LockKind.UNLOCK, 0, (1 << 63) - 1, owner, 0, flock))
        self._wake()

    def _cut(self, ino: int, lock: Lock) -> None:
        """Take the range away from what the same owner holds, splitting what sticks out."""
        kept: list[Lock] = []
        for held in self._held.get(ino, []):
            if held.owner != lock.owner or held.flock != lock.flock:
                kept.append(held)
                continue
            if held.start < lock.start:
                kept.append(replace(held, end=min(held.end, lock.start - 1)))
            if held.end > lock.end:
                kept.append(replace(held, start=max(held.start, lock.end + 1)))
        self._held[ino] = kept

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)
