"""Group commit: whatever waits is written in one go, synced once, and then acknowledged.

Invariants
- At most one job is at the disk; what arrives meanwhile is gathered for the next one.
- Blobs that entries name are written before them, in the same job if need be, so an entry that is
  in the log after a crash has its blobs beside it. If one finds no room, all entries wait.
- A stream of other blobs goes in small pieces, each synced, so that entries never wait for more.
- `saved` is called only after the sync that covers it, and in the order of the Readies.
- Whether blobs that found no room are held for an entry that names them, or given up, is decided
  and told in one step: none can be named in between.

Faults: no room for entries, or for blobs that entries name, keeps them queued and tries again every
second (the group goes on without this replica); any other failure of the disk is final, and the
node stops.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from blocktree.disk import Batch, Disk
from blocktree.fault import Fault, Kind
from blocktree.names import Buffer, Digest
from blocktree.raft import Entry, HardState, Ready
from blocktree.store.host import Host

_RETRY_SECONDS = 1.0
_BLOB_BYTES_MAX = 16 << 20  # of blobs in one append
_SMALL_BYTES = 512 << 10
_SMALL_RECORDS = 256
_PIECE_BYTES = 4 << 20  # of a stream: more is not written in one job, nor left to later syncs
_BESIDE_BYTES_MAX = 1 << 20  # of blobs beside entries that do not name them


@dataclass(slots=True, eq=False)
class _Blobs:
    blobs: Sequence[tuple[Digest, Buffer]]
    size: int
    stamp: int
    told: Callable[[Fault | None], None]


@dataclass(slots=True)
class _Job:
    """What one visit to the disk does, and how far it came."""

    blobs: list[_Blobs]
    readies: list[Ready]
    kept: list[Digest]
    refused: list[tuple[_Blobs, Fault]] = field(default_factory=list)
    short: bool = False  # the entries found no room, or must not get ahead of blobs
    seconds: float = 0.0  # that the sync took


class Saver:
    """The way to the disk for all that must be durable.

    Args:
        host: its disk is called on its worker's thread, or here while that is idle.
        named: whether an entry that may come into the log, or is in it, names a blob.
        saved: told the number of the newest Ready that is durable.
        idle: told when a job without any Ready is done.
        broken: told once, when the disk failed for good.
    """

    def __init__(
        self,
        host: Host,
        named: Callable[[Digest], bool],
        saved: Callable[[int], None],
        idle: Callable[[], None],
        broken: Callable[[Fault], None],
    ) -> None:
        self._disk = host.disk
        self._worker = host.worker
        self._kernel = host.kernel
        self._syncing: _Job | None = None  # what the kernel is making durable
        self._named = named
        self._told_saved = saved
        self._told_idle = idle
        self._broken = broken
        self._readies: list[Ready] = []
        self._blobs: list[_Blobs] = []
        self._kept: list[Digest] = []
        self._busy = False
        self._planned = False
        self._listening = False
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self.bytes_waiting = 0
        self.sync_seconds = 0.0  # smoothed
        self.full = False  # the disk had no room for entries the last time

    @property
    def busy(self) -> bool:
        """Whether the disk is at work; `saved` or `idle` is told afterwards."""
        return self._busy

    def save(self, ready: Ready) -> None:
        """Make a Ready durable."""
        self._readies.append(ready)
        self._start()

    def store(
        self,
        blobs: Sequence[tuple[Digest, Buffer]],
        stamp: int,
        told: Callable[[Fault | None], None],
    ) -> None:
        """Write verified blobs; they are durable with the next sync after that.

        `told` is called when they are written, or with a Fault: NO_SPACE or TOO_LARGE.
        """
        size = sum(len(blob) for _, blob in blobs)
        self.bytes_waiting += size
        self._blobs.append(_Blobs(blobs, size, stamp, told))
        if not self._planned:
            # Two turns from now: the entry that refers to them is likely to come along.
            self._planned = True
            self._loop.call_soon(self._loop.call_soon, self._start)

    def keep(self, digests: Sequence[Digest]) -> None:
        """An applied entry refers to these blobs; told to the disk with the next job."""
        self._kept += digests

    def take_kept(self) -> list[Digest]:
        """What `keep` was told and the disk was not, for a job that tells it first."""
        kept, self._kept = self._kept, []
        return kept

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopped = True
        if self._kernel is not None and self._listening:
            self._loop.remove_reader(self._kernel.descriptor)
            self._listening = False

    def _start(self) -> None:
        self._planned = False
        if self._busy or self._stopped or not (self._readies or self._blobs):
            return
        self._busy = True
        size, taken, rest = 0, list[_Blobs](), list[_Blobs]()
        most = _BESIDE_BYTES_MAX if self._readies else _PIECE_BYTES
        for item in self._blobs:
            fits = not taken or size + item.size <= most
            if fits or (self._readies and self._is_named(item)):
                size += item.size
                taken.append(item)
            else:
                rest.append(item)
        job = _Job(taken, self._readies, self._kept)
        self._blobs, self._readies, self._kept = rest, [], []
        if not self._is_small(job, size):
            self._worker.submit(partial(self._write, job), self._done)
            return
        try:
            self._append(job)
        except Exception as cause:  # told like a failure on the thread
            self._loop.call_soon(self._done, None, cause)
            return
        if not job.readies or job.short:
            self._loop.call_soon(self._done, job, None)
        elif not self._kernel_syncs(job):
            self._worker.submit(partial(_sync, self._disk, job), self._done)

    def _kernel_syncs(self, job: _Job) -> bool:
        """Whether the kernel was told to sync, and will say when it has."""
        if self._kernel is None:
            return False
        if self._syncing is None and not self._listening:
            self._listening = True
            self._loop.add_reader(self._kernel.descriptor, self._kernel_synced)
        file = self._disk.begin_sync()
        if file is None or not self._kernel.submit(file):
            return False
        self._syncing = job
        job.seconds = time.perf_counter()
        return True

    def _kernel_synced(self) -> None:
        assert self._kernel is not None
        error = self._kernel.take()
        job, self._syncing = self._syncing, self._syncing if error is None else None
        if error is None or job is None:
            return
        try:
            self._disk.end_sync(error)
        except Fault as fault:
            self._done(None, fault)
            return
        job.seconds = time.perf_counter() - job.seconds
        self._done(job, None)

    def _is_small(self, job: _Job, size: int) -> bool:
        """Whether to append on the loop, where only the sync must not be waited for.

        A few pages into the kernel's cache take less time than handing the interpreter to another
        thread and back.
        """
        if not self._worker.idle or any(ready.restore is not None for ready in job.readies):
            return False
        entries = [entry for ready in job.readies for entry in ready.entries]
        size += sum([len(entry.payload) for entry in entries])
        few = len(entries) + len(job.blobs) <= _SMALL_RECORDS
        return few and size <= _SMALL_BYTES and self._disk.is_quick(size)

    def _done(self, job: _Job | None, error: Exception | None) -> None:
        if job is None:
            self._stopped = True
            fault = error if isinstance(error, Fault) else Fault(Kind.FAILED, f"the disk: {error}")
            self._broken(fault)
            return
        self._hold(job)
        for item in job.blobs:
            self.bytes_waiting -= item.size
        self._answer(job)
        self.full = job.short
        if job.short:
            self._readies = job.readies + self._readies
            self._loop.call_later(_RETRY_SECONDS, self._retry)
            return
        if job.readies:
            self.sync_seconds += (job.seconds - self.sync_seconds) / 8
        self._busy = False
        self._start()  # the disk is to work while the loop acts on what is saved
        if job.readies:
            self._told_saved(job.readies[-1].number)
        else:
            self._told_idle()

    def _hold(self, job: _Job) -> None:
        """Refused blobs that an entry names, by now, are tried again before all others.

        The entries of this job name none of them, or are not written.
        """
        late = [item for item, fault in job.refused if fault.kind is Kind.NO_SPACE]
        held = [item for item in late if self._is_named(item)]
        if held:
            job.blobs = [item for item in job.blobs if item not in held]
            self._blobs = held + self._blobs

    def _is_named(self, item: _Blobs) -> bool:
        return any(self._named(digest) for digest, _ in item.blobs)

    def _retry(self) -> None:
        self._busy = False
        self._start()

    def _write(self, job: _Job) -> _Job:
        """On the disk's thread: everything."""
        self._append(job)
        return _sync(self._disk, job)

    def _append(self, job: _Job) -> None:
        """Blobs, what is kept, entries."""
        _write_blobs(self._disk, job)
        if job.kept:
            self._disk.keep(job.kept)
        if any(self._is_named(item) for item, _ in job.refused):
            job.short = True
            return
        try:
            for batch in _batches(self._disk, job.readies):
                self._disk.append(batch)
        except Fault as fault:
            if fault.kind is not Kind.NO_SPACE:
                raise
            job.short = True

    @staticmethod
    def _answer(job: _Job) -> None:
        refused = dict(job.refused)
        for item in job.blobs:
            item.told(refused.get(item))


def _sync(disk: Disk, job: _Job) -> _Job:
    """On the disk's thread: one sync, if anything is to be acknowledged or a stream comes in.

    A sync waits for all that was appended before it. If a stream was only written into the
    kernel's cache, the next small commit would wait for seconds on a memory card.
    """
    if job.readies and not job.short:
        before = time.perf_counter()
        disk.sync()
        job.seconds = time.perf_counter() - before
    elif disk.unsynced >= _PIECE_BYTES:
        disk.sync()
    return job


def _write_blobs(disk: Disk, job: _Job) -> None:
    for group in _grouped(job.blobs):
        try:
            disk.append(
                Batch(blobs=[b for item in group for b in item.blobs], stamp=group[0].stamp)
            )
        except Fault as fault:
            if fault.kind not in (Kind.NO_SPACE, Kind.TOO_LARGE):
                raise
            job.refused += [(item, fault) for item in group]


def _grouped(items: Sequence[_Blobs]) -> list[list[_Blobs]]:
    groups: list[list[_Blobs]] = []
    size = 0
    for item in items:
        if not groups or size + item.size > _BLOB_BYTES_MAX:
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += item.size
    return groups


def _batches(disk: Disk, readies: list[Ready]) -> "Sequence[Batch]":
    """The fewest appends for these Readies; restores are carried out on the way, once.

    Joining is sound because nothing is acknowledged before the sync that follows all of them.
    """
    batches: list[Batch] = []
    hard_state: HardState | None = None
    entries: list[Entry] = []
    for at, ready in enumerate(readies):
        gap = entries and ready.entries and ready.entries[0].index != entries[-1].index + 1
        if gap or ready.restore is not None:
            batches.append(Batch(hard_state=hard_state, entries=entries))
            hard_state, entries = None, []
        if ready.restore is not None:
            for batch in batches:
                disk.append(batch)
            batches = []
            disk.finish_restore(ready.restore)
            readies[at] = replace(ready, restore=None)  # what follows may find no room
        hard_state = ready.hard_state or hard_state
        entries.extend(ready.entries)
    if hard_state is not None or entries:
        batches.append(Batch(hard_state=hard_state, entries=entries))
    return batches
