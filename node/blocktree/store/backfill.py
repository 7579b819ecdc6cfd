"""Fetches what the state names and this node has not: after a snapshot, and after bit rot.

The rows of `owners` name every blob of the domain. A note in the table keeps the work from being
forgotten over a restart. Bounded: a few hundred blobs at a time, and it pauses between rounds.

Who applies old entries again after a restart names blobs that all have swept since. So a row goes
when no node has its blob, and one that had applied as much as this node says that nothing needs it;
two have to say so while somebody does not answer.

What nobody has is asked for again and again, less and less often; and at once when something else
is found missing.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial

from blocktree.names import Digest
from blocktree.store.blobs import Fetched
from blocktree.store.owners import BACKFILL_KEY, OWNER_PREFIX
from blocktree.store.replica import Replica
from blocktree.store.worker import run

log = logging.getLogger(__name__)

_ROWS = 512
PAUSE_SECONDS = 2.0  # after the first time that somebody did not answer, or nobody had it
PAUSE_MAX_SECONDS = 30.0


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
        self._pause = PAUSE_SECONDS
        self._again = 0.0  # not asked for before that

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
        overlay, clock = self._replica.tree.overlay, self._replica.host.clock
        news = self.damaged - self._asked
        if not news and clock() < self._again:
            return
        if overlay.get(BACKFILL_KEY) is not None and await self._everything():
            overlay.delete(BACKFILL_KEY)
        if self.damaged:
            if news:
                log.warning("%d blobs are damaged, or not here: asking the others", len(news))
            await self._mend_damaged()
        waits = self.missing != 0
        self._again = clock() + self._pause if waits else 0.0
        self._pause = min(2 * self._pause, PAUSE_MAX_SECONDS) if waits else PAUSE_SECONDS

    async def _mend_damaged(self) -> None:
        self._asked = set(self.damaged)
        fetched = await self._fetch(sorted(self._asked))
        self.damaged -= self._asked.difference(fetched.left)

    async def mend(self, digests: Sequence[Digest]) -> list[Digest]:
        """Replace damaged blobs; those that nobody has just now, which are tried again.

        What no version refers to and no entry will is deleted instead.
        """
        replica = self._replica
        left = (await self._fetch(list(digests))).left
        self.damaged.difference_update(digests)
        self.damaged.update(left)
        lost = await run(replica.host.crew, partial(replica.host.disk.missing, digests))
        waste = [d for d in lost if not replica.staging.needs(d)]
        await replica.staging.drop(waste)
        return left

    async def _everything(self) -> bool:
        """Whether that is all that can be had; what is lost everywhere is `damaged` from now on."""
        tree, after, lost, sure = self._replica.tree, b"", set[Digest](), True
        while rows := tree.overlay.items(OWNER_PREFIX, after, _ROWS):
            after = rows[-1][0]
            fetched = await self._fetch([Digest(key[len(OWNER_PREFIX) :]) for key, _ in rows])
            lost.update(fetched.left)
            sure = sure and not (fetched.left and fetched.silent)
        if sure:
            self.damaged |= lost
        return sure

    async def _fetch(self, digests: list[Digest]) -> Fetched:
        """What could not be had; what was swept meanwhile is not wanted any more."""
        replica = self._replica
        disk, owners = replica.host.disk, replica.tree.owners
        missing = await run(replica.host.crew, partial(disk.missing, digests))
        if not missing:
            return Fetched([])
        replica.staging.forget(missing)
        before = {digest: owners.of(digest) for digest in missing}
        index, left, gone = replica.driver.applied, missing, Counter[Digest]()
        nodes = replica.paths_from(replica.driver.raft.leader)
        silent = not nodes
        for node in nodes:
            fetched = await replica.fetcher.fetch(dict.fromkeys(left, index), [node])
            gone.update(fetched.gone)
            silent = silent or fetched.silent
            left = fetched.left + fetched.gone
        absent = set(left)
        replica.staging.adopt([digest for digest in missing if digest not in absent])
        sure = 2 if silent else 1  # who does not answer may have what one takes for gone
        owners.release(d for d in absent if gone[d] >= sure and owners.of(d) == before[d])
        return Fetched([d for d in left if replica.tree.is_needed(d)], silent=silent)
