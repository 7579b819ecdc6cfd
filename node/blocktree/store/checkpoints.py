"""Checkpoints: the table's changes made durable, so that the log before them can go.

One at a time. The blobs that applied entries refer to are told to the disk first, in the same job:
after a restart only entries after the checkpoint are applied again, and say so again. The rows are
written beside the disk's thread, so that entries do not wait for them.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from blocktree.disk import Disk
from blocktree.disk.commit import IndexCommit
from blocktree.names import Digest
from blocktree.raft import SnapshotMark
from blocktree.store.replica import Replica
from blocktree.store.worker import run

log = logging.getLogger(__name__)

CHANGES_MAX = 8192
UNCHECKPOINTED_BYTES = 96 << 20  # of segments: what a restart would have to read
QUIET_SECONDS = 5.0
BUSY_SECONDS = 60.0


class Checkpoints:
    """Decides when, and does it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._busy = False
        self._last = replica.host.clock()
        self._applied = replica.driver.applied
        self._index = replica.driver.applied  # of the last checkpoint
        self._quiet_since = self._last

    def due(self) -> bool:
        """Whether enough has changed, or enough time gone by."""
        driver = self._replica.driver
        now = self._replica.host.clock()
        if driver.applied != self._applied:
            self._applied = driver.applied
            self._quiet_since = now
        changes = len(self._replica.tree.overlay.changes)
        if self._busy or not (changes or driver.applied > self._index):
            return False
        if changes >= CHANGES_MAX or now - self._last >= BUSY_SECONDS:
            return True
        return now - self._quiet_since >= QUIET_SECONDS and now - self._last >= QUIET_SECONDS

    def heavy(self) -> bool:
        """Whether a restart would have to read much."""
        return self._replica.host.disk.stats().uncheckpointed >= UNCHECKPOINTED_BYTES

    async def write(self, *, log_kept: int | None = None) -> None:
        """Write one, and drop the log but for its last `log_kept` applied entries (as usual)."""
        if self._busy or self._replica.driver.restoring or self._replica.doubt.deaf:
            return
        self._busy = True
        try:
            await self._write(log_kept)
        finally:
            self._busy = False

    async def _write(self, log_kept: int | None) -> None:
        replica, driver = self._replica, self._replica.driver
        tree, disk = replica.tree, replica.host.disk
        overlay = tree.overlay
        mark = driver.raft.mark(driver.applied)
        old = self._cut(replica.host.log_kept if log_kept is None else log_kept)
        changes, kept = overlay.take(), driver.saver.take_kept()
        worker = replica.host.worker
        commit = await run(worker, partial(_begin, disk, changes, kept, mark))
        await run(replica.host.crew, commit.write)
        await run(worker, partial(_end, disk, commit, old))
        overlay.settle()
        if old is not None:
            driver.raft.compact(old.index)
        self._last = replica.host.clock()
        self._index = mark.index
        log.info("checkpoint at %d: %d rows", mark.index, len(changes))

    def _cut(self, kept: int) -> SnapshotMark | None:
        """Up to where the log may go so that about `kept` entries are left; None: nowhere.

        A core that was started anew knows who voted from its checkpoint on, so the log is cut there
        or later; for the sake of those who lag behind only if it is twice as long as it should be.
        """
        driver, first = self._replica.driver, self._replica.host.disk.log.first_index
        cut, known = driver.applied - kept, driver.raft.first_mark
        if cut < known:
            cut = known if driver.applied - first >= 2 * kept else 0
        return driver.raft.mark(cut) if cut >= first else None


def _begin(
    disk: Disk,
    changes: Mapping[bytes, bytes | None],
    kept: Sequence[Digest],
    mark: SnapshotMark,
) -> IndexCommit:
    """On the disk's thread."""
    if kept:
        disk.keep(kept)
    return disk.begin_checkpoint(changes, mark)


def _end(disk: Disk, commit: IndexCommit, old: SnapshotMark | None) -> None:
    """On the disk's thread."""
    disk.end_checkpoint(commit)
    if old is not None:
        disk.compact(old)
