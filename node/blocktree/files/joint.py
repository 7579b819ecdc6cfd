"""Commits that are asked for in one turn of the event loop travel as one transaction.

So many files that are closed at the same time cost one message, one signature, one entry of the log
and one answer. Nobody waits for company: the turn of the loop would have passed anyway.

A transaction happens as a whole or not at all. A joint one that is refused has changed nothing, and
each part of it is committed by itself then: everybody gets what he would have got alone. When the
outcome is open it is open for all parts. A part may wait until another's lease is given back; two
clients whose joint transactions need each other's leases wait until those run out, within a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from blocktree.fault import Fault
from blocktree.files.client import AGAIN
from blocktree.files.commit import RIDE_BYTES_MAX, NewVersion, light_bytes
from blocktree.names import FileId
from blocktree.sectors.header import SignedHeader

CHANGES_MAX = 32  # in one joint transaction: the nodes work on it while the next one is made

Commit = Callable[[Sequence[NewVersion]], Awaitable[list[SignedHeader | None]]]


class _Group:
    """What leaves together; `task` commits it, once it is more than one part."""

    def __init__(self) -> None:
        self.versions: list[NewVersion] = []
        self.task: asyncio.Task[list[SignedHeader | None]] | None = None
        self._files: set[FileId] = set()
        self._room = RIDE_BYTES_MAX

    def takes(self, versions: Sequence[NewVersion], size: int) -> bool:
        """Whether there is room for these; one file is in a transaction once."""
        return (
            len(self.versions) + len(versions) <= CHANGES_MAX
            and size <= self._room
            and self._files.isdisjoint([version.file for version in versions])
        )

    def add(self, versions: Sequence[NewVersion], size: int) -> slice:
        """Take them along; where they are among all."""
        first = len(self.versions)
        self._room -= size
        self.versions += versions
        self._files.update([version.file for version in versions])
        return slice(first, len(self.versions))


class Joint:
    """Commits, several at a time where they come so. `commit` carries a transaction out."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._group: _Group | None = None  # that is still open

    async def commit(self, versions: Sequence[NewVersion]) -> list[SignedHeader | None]:
        """As `Commits.commit`."""
        size = light_bytes(versions)
        if size is None or size > RIDE_BYTES_MAX or len(versions) > CHANGES_MAX:
            return await self._commit(versions)
        group = self._group
        if group is None or not group.takes(versions, size):
            group = self._group = _Group()
            ours = group.add(versions, size)
            try:
                await asyncio.sleep(0)  # others of this turn join meanwhile
            finally:
                self._close(group)
            if group.task is None:  # nobody did: without a task, which would cost turns of the loop
                return await self._commit(versions)
        else:
            ours = group.add(versions, size)
            group.task = group.task or asyncio.create_task(self._leave(group))
        try:
            signed = await asyncio.shield(group.task)
        except Fault as fault:
            if fault.kind in AGAIN:
                raise
        else:
            return signed[ours]
        return await self._commit(versions)

    async def _leave(self, group: _Group) -> list[SignedHeader | None]:
        self._close(group)
        return await self._commit(group.versions)

    def _close(self, group: _Group) -> None:
        """Whoever comes now is too late for it."""
        if self._group is group:
            self._group = None
