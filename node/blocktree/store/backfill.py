"""Fetches what the state names and this node has not: after a snapshot, and after bit rot.

The rows of `owners` name every blob of the domain. A note in the table keeps the work from being
forgotten over a restart. Bounded: a few hundred blobs at a time, and it pauses between rounds.

Who applies old entries again after a restart names blobs that all have swept since. So a row goes
when no node has its blob, and one that had applied as much as this node says that nothing needs it.
"""

import logging
from collections.abc import Sequence
from functools import partial

from blocktree.names import Digest
from blocktree.store.owners import BACKFILL_KEY, OWNER_PREFIX
from blocktree.store.replica import Replica
from blocktree.store.worker import run

log = logging.getLogger(__name__)

_ROWS = 512


class Backfill:
    """What is still to come.

    `missing` is how many blobs are known not to be here; -1 while that is not known. The `damaged`
    are named, and were not read or not found here.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        replica.reader.unreadable = self.met
        replica.lacks = self.lacks
        self.damaged: set[Digest] = set()
        self._asked: set[Digest] = set()  # for the last time

    def met(self, digests: Sequence[Digest]) -> None:
        """Somebody needs blobs that were not read here: fetch them soon, if they have to be here.

        Those that were never here are being fetched anyway, and some came a moment after somebody
        asked for them, with the entry that names them.
        """
        if self.missing < 0:
            return
        for digest in self._replica.host.disk.missing(digests):
            if digest not in self.damaged and self._replica.tree.is_needed(digest):
                log.error("the blob %s is damaged on the disk, or gone", digest.hex())
                self.damaged.add(digest)

    def lacks(self, digests: Sequence[Digest]) -> None:
        """An applied entry names blobs that are not here, and nobody says that they are gone."""
        if self.missing >= 0:
            self.damaged.update(digests)

    @property
    def missing(self) -> int:
        """Blobs that are still to be fetched."""
        if self._replica.tree.overlay.get(BACKFILL_KEY) is not None:
            return -1
        return len(self.damaged)

    async def run(self) -> None:
        """Go over everything once, if there is a note that says so, then over what is damaged."""
        tree = self._replica.tree
        if tree.overlay.get(BACKFILL_KEY) is not None and await self._everything():
            tree.overlay.delete(BACKFILL_KEY)
        if self.damaged:
            tried = set(self.damaged)
            if tried - self._asked:
                log.warning("%d blobs are damaged, or not here: asking the others", len(tried))
            self._asked = tried
            self.damaged -= tried.difference(await self._fetch(sorted(tried)))

    async def mend(self, digests: Sequence[Digest]) -> list[Digest]:
        """Replace damaged blobs; those that nobody has just now, which are tried again.

        What no version refers to and no entry will is deleted instead.
        """
        replica = self._replica
        left = await self._fetch(list(digests))
        self.damaged.difference_update(digests)
        self.damaged.update(left)
        lost = await run(replica.host.crew, partial(replica.host.disk.missing, digests))
        waste = [d for d in lost if not replica.staging.needs(d)]
        await replica.staging.drop(waste)
        return left

    async def _everything(self) -> bool:
        tree, complete, after = self._replica.tree, True, b""
        while rows := tree.overlay.items(OWNER_PREFIX, after, _ROWS):
            after = rows[-1][0]
            digests = [Digest(key[len(OWNER_PREFIX) :]) for key, _ in rows]
            left = await self._fetch(digests)
            complete = complete and not left
        return complete

    async def _fetch(self, digests: list[Digest]) -> list[Digest]:
        """Those that could not be had; what was swept meanwhile is not wanted any more."""
        replica = self._replica
        disk, owners = replica.host.disk, replica.tree.owners
        missing = await run(replica.host.crew, partial(disk.missing, digests))
        if not missing:
            return []
        replica.staging.forget(missing)
        before = {digest: owners.of(digest) for digest in missing}
        index, left, gone = replica.driver.applied, missing, set[Digest]()
        for node in replica.paths_from(replica.driver.raft.leader):
            fetched = await replica.fetcher.fetch(dict.fromkeys(left, index), [node])
            gone.update(fetched.gone)
            left = fetched.left + fetched.gone
        absent = set(left)
        replica.staging.adopt([digest for digest in missing if digest not in absent])
        owners.release(d for d in absent & gone if owners.of(d) == before[d])
        return [digest for digest in left if replica.tree.is_needed(digest)]
