"""Advisory locks (flock and fcntl ranges) held through the leader of the sector service.

The leader's table is volatile: what this client holds is remembered here and asserted again when
the leader changes (`SectorService.keep_alive`). Invariant: `held()` never lists a range that the
owner gave back, and lists every range that the leader granted and that was not given back.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.files.volume import Lock, LockKind
from blocktree.names import FileId
from blocktree.store import messages
from blocktree.store.messages import GetLock, HeldLock, InTheWay, Locked, LockRange, Unlock

END_MAX = (1 << 63) - 1
_WAIT_PATIENCE_S = 365 * 86400.0  # a waiter waits until it is granted, killed or the mount ends


class LockTable:
    """The locks of one client."""

    def __init__(self, service: SectorService) -> None:
        self._service = service
        self._held: dict[FileId, list[LockRange]] = {}

    def held(self) -> Sequence[HeldLock]:
        """Every lock this client holds, for asserting again."""
        return [HeldLock(file, lock) for file, locks in self._held.items() for lock in locks]

    async def get(self, file: FileId, lock: Lock) -> Lock | None:
        """What stands in the way of `lock`."""
        message = GetLock(self._service.session, file, _range(lock))
        found = (await self._service.ask(message, InTheWay)).lock
        if found is None:
            return None
        kind = LockKind.READ if found.kind is messages.LockKind.READ else LockKind.WRITE
        return Lock(kind, found.start, found.end, found.owner, found.pid, found.flock)

    async def set(self, file: FileId, lock: Lock, *, wait: bool) -> None:
        """Take a lock or give a range back.

        Raises:
            Fault: BUSY if it is held by another and `wait` is false.
        """
        wanted = _range(lock)
        if lock.kind is LockKind.UNLOCK:
            await self._unlock(file, wanted)
            return
        message = messages.Lock(self._service.session, file, wanted, wait)
        try:
            patience = _WAIT_PATIENCE_S if wait else None
            await self._service.ask(message, Locked, patience_s=patience)
        except asyncio.CancelledError:
            # The grant may be on its way, so the range is freed even if it was never ours.
            await asyncio.shield(self._unlock(file, wanted))
            raise
        except Fault as fault:
            if fault.kind is Kind.CONFLICT:
                raise Fault(Kind.BUSY, "locked by another") from None
            raise
        self._forget(file, wanted)
        self._held.setdefault(file, []).append(wanted)

    async def drop(self, file: FileId, owner: int, *, flock: bool) -> None:
        """Give back everything that `owner` holds on a file; costs nothing if that is nothing."""
        if any(lock.owner == owner and lock.flock is flock for lock in self._held.get(file, ())):
            whole = LockRange(messages.LockKind.READ, 0, END_MAX, owner, 0, flock)
            await self._unlock(file, whole)

    async def _unlock(self, file: FileId, wanted: LockRange) -> None:
        self._forget(file, wanted)
        await self._service.ask(Unlock(self._service.session, file, wanted), Locked)

    def _forget(self, file: FileId, gone: LockRange) -> None:
        left = [rest for lock in self._held.pop(file, ()) for rest in _without(lock, gone)]
        if left:
            self._held[file] = left


def _range(lock: Lock) -> LockRange:
    kind = messages.LockKind.WRITE if lock.kind is LockKind.WRITE else messages.LockKind.READ
    start, end = (0, END_MAX) if lock.flock else (lock.start, min(lock.end, END_MAX))
    return LockRange(kind, start, end, lock.owner, lock.pid, lock.flock)


def _without(lock: LockRange, gone: LockRange) -> Iterator[LockRange]:
    """What is left of `lock` when its owner gives the range `gone` back."""
    if (lock.owner, lock.flock) != (gone.owner, gone.flock):
        yield lock
        return
    if lock.start < gone.start:
        yield replace(lock, end=min(lock.end, gone.start - 1))
    if lock.end > gone.end:
        yield replace(lock, start=max(lock.start, gone.end + 1))
