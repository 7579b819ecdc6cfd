"""The disk itself: append, sync, read, checkpoint, and the chores that keep it small and sound.

Invariants:
- what `sync` returned for survives every crash, and is either read back exactly or reported;
- the index refers only to what was durable when it was committed, and to segments that are there;
- one thread changes things; the methods marked "any thread" may run beside it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from blocktree.disk.batch import (
    Batch,
    Damage,
    Keeper,
    Limits,
    Reclaimed,
    Scrubbed,
    Stats,
)
from blocktree.disk.catalogue import NOWHERE
from blocktree.disk.files import Files
from blocktree.disk.ground import Ground
from blocktree.disk.index import Index, Items
from blocktree.disk.log import DiskLog
from blocktree.disk.reading import read_blob, read_entry
from blocktree.disk.reclaim import Reclaimer
from blocktree.disk.recovery import Recovered, Recovery
from blocktree.disk.scrub import scrub
from blocktree.disk.segment import Place, RecordKind, checksum, encode_deleted, entry_name
from blocktree.disk.snapshot import Snapshot
from blocktree.disk.stream import Piece, Stream, checked
from blocktree.disk.table import Table
from blocktree.fault import Fault, Kind
from blocktree.names import Buffer, Digest
from blocktree.raft import Entry, Saved, SnapshotMark
from blocktree.wire import encode

_DELETED_MAX = 1024  # blobs in one DELETE record
Fresh = tuple[Digest, Buffer, Place | None]


class Disk:
    """One process's disk. One thread calls it, except where "any thread" is said.

    After a failed sync, or a write whose remains cannot be cut off, every call raises the same
    Fault FAILED: the process has to stop, since the kernel may have forgotten what it could not
    write.

    Attributes:
        log: the Raft log. Any thread.
        is_quick: whether appending so many bytes of payload needs no new segment, so no sync.
        begin_sync, end_sync: have somebody else sync (`KernelSync`), as `Stream` says.
        begin_checkpoint, end_checkpoint: a `checkpoint` whose `IndexCommit.write` any thread may
            call in between, while the disk is used as ever; who else commits finishes it first.
    """

    def __init__(self, ground: Ground, found: Recovered, clock: Callable[[], float]) -> None:
        self._ground = ground
        self._key, self._shelf, self._catalogue = ground.key, ground.shelf, ground.catalogue
        start, rows = found.replay.log.start, found.rows
        cache = ground.limits.log_cache
        fetch = partial(read_entry, self._shelf, self._key)
        self.log = DiskLog(start, rows, fetch, ground.usage, cache)
        self.log.loaded(found.indexed, found.replay.log.changed)
        self._stream = Stream(ground, found.replay.hard_state, clock)
        if found.number:
            self._stream.resume(found.number, found.end)
        self.is_quick = self._stream.has_room
        self.begin_sync, self.end_sync = self._stream.begin_sync, self._stream.end_sync
        self._reclaimer = Reclaimer(ground, self.log, self._stream, clock)
        self._table = Table(ground, self.log, self._stream, self._reclaimer.condemned, found)
        self.begin_checkpoint, self.end_checkpoint = self._table.begin, self._table.end

    @classmethod
    def open(
        cls,
        files: Files,
        index: Index,
        limits: Limits,
        keeper: Keeper,
        *,
        salvage: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        dice: Callable[[int], bytes] = os.urandom,
    ) -> "Disk":
        """Open or create; replays what came after the last checkpoint, discards a torn tail.

        Raises:
            Fault: DAMAGED naming segment and offset if something acknowledged cannot be read (with
                `salvage`, opens with what is left and says so in `damage`); WRONG_TREE or DENIED
                if the directory belongs to another tree or node; FAILED if it cannot be read.
        """
        with _failing("the disk cannot be opened"):
            recovery = Recovery(files, index, limits, keeper, dice)
            return cls(recovery.ground, recovery.open(salvage=salvage), clock)

    @classmethod
    def rebuild(
        cls,
        files: Files,
        index: Index,
        limits: Limits,
        keeper: Keeper,
        *,
        clock: Callable[[], float] = time.perf_counter,
        dice: Callable[[int], bytes] = os.urandom,
    ) -> "Disk":
        """Make the index anew from the segments alone.

        The state machine's table is lost by that: if the log does not go back to its beginning,
        `damage` says so until a snapshot has been restored.
        """
        with _failing("the index cannot be rebuilt"):
            recovery = Recovery(files, index, limits, keeper, dice)
            return cls(recovery.ground, recovery.rebuild(salvage=True), clock)

    def saved(self) -> Saved:
        """What the core starts from: the hard state and the mark of the last checkpoint."""
        return Saved(self._stream.hard_state, self._table.mark, self.damage is not None)

    @property
    def damage(self) -> Damage | None:
        """Set only with `salvage`: the process may not vote nor acknowledge entries."""
        return self._table.damage

    # Writing

    def append(self, batch: Batch) -> None:
        """Write a batch behind what is there, without a sync; readable at once.

        Raises:
            Fault: NO_SPACE (nothing of the batch is there), TOO_LARGE, USAGE, FAILED.
        """
        self._stream.guard()
        fresh, known = self._sort_out(batch.blobs)
        self._check_entries(batch.entries)
        self._check_room(fresh, batch.entries)
        pieces: list[Piece] = []
        if batch.hard_state is not None:
            pieces.append(checked(RecordKind.HARD_STATE, encode(batch.hard_state), self._key))
        before = len(pieces)
        extra = int(batch.kept)
        pieces += [(RecordKind.BLOB, extra, batch.stamp, d, blob) for d, blob, _ in fresh]
        pieces += [self._entry_piece(entry) for entry in batch.entries]
        places = self._stream.write(pieces)[before:] if pieces else []
        self._stream.hard_state = batch.hard_state or self._stream.hard_state
        for (digest, _, old), where in zip(fresh, places, strict=False):
            self._catalogue.put(digest, where, old)
        if batch.entries:
            self.log.put(batch.entries, places[len(fresh) :])
        self._note_staged(batch, [digest for digest, _, _ in fresh], known)

    def _sort_out(self, blobs: Sequence[tuple[Digest, Buffer]]) -> tuple[list[Fresh], list[Digest]]:
        """Those to write, with where an unreadable one lies, and those that are here."""
        if not blobs:
            return [], []
        found = self._catalogue.find_many([digest for digest, _ in blobs])
        fresh: dict[Digest, Fresh] = {}
        known: list[Digest] = []
        for (digest, blob), where in zip(blobs, found, strict=True):
            if self._catalogue.sound(digest, where):
                known.append(digest)
            else:
                fresh[digest] = digest, blob, where
        return list(fresh.values()), known

    def _note_staged(self, batch: Batch, fresh: Iterable[Digest], known: Iterable[Digest]) -> None:
        if batch.kept:
            self.keep([*fresh, *known])
            return
        for digest in fresh:
            self._catalogue.stage(digest, batch.stamp, here_before=False)
        for digest in known:
            self._catalogue.stage(digest, batch.stamp, here_before=True)

    def _check_entries(self, entries: Sequence[Entry]) -> None:
        if entries and not self.log.first_index <= entries[0].index <= self.log.last_index + 1:
            raise Fault(Kind.USAGE, f"entry {entries[0].index} does not continue the log")

    def _check_room(self, fresh: Sequence[Fresh], entries: Sequence[Entry]) -> None:
        if not fresh and not entries:
            return
        reserve = self._ground.limits.reserve if fresh else self._ground.limits.reserve // 4
        size = sum([len(b) for _, b, _ in fresh]) + sum([len(entry.payload) for entry in entries])
        if self._ground.files.free() - size < reserve:
            raise Fault(
                Kind.NO_SPACE,
                "the disk is full",
                next_step="delete files, or give the node a larger disk",
            )

    def _entry_piece(self, entry: Entry) -> Piece:
        check = checksum(entry.payload, self._key)
        name = entry_name(entry.index, entry.term)
        return RecordKind.ENTRY, int(entry.kind), check, name, entry.payload

    def sync(self) -> None:
        """Make everything appended so far durable with one fdatasync."""
        self._stream.sync()

    @property
    def unsynced(self) -> int:
        """Bytes that the next sync has to wait for."""
        return self._stream.unsynced

    # Blobs

    def read_blob(self, digest: Digest, *, verify: bool = False) -> memoryview:
        """Any thread. A blob's bytes; `verify` checks them against the digest.

        Raises:
            Fault: NOT_FOUND; DAMAGED if they cannot be read, then it is `missing` until they are.
        """
        while (where := self._catalogue.find(digest)) not in (None, NOWHERE):
            assert where is not None
            if self._catalogue.is_lost(digest, where):
                break
            try:
                blob = read_blob(self._shelf, self._key, digest, where, verify=verify)
            except (Fault, FileNotFoundError) as cause:
                if self._catalogue.find(digest) != where:
                    continue  # moved meanwhile, and its segment removed
                self._catalogue.lost(digest, where, cause)
                if isinstance(cause, Fault):
                    raise
                raise Fault(Kind.DAMAGED, f"the blob {digest.hex()} is lost") from cause
            self._catalogue.found(digest)
            return blob
        if where is None:
            raise Fault(Kind.NOT_FOUND, f"no blob {digest.hex()} here")
        raise Fault(Kind.DAMAGED, f"the blob {digest.hex()} is damaged here")

    def missing(self, digests: Iterable[Digest], *, damaged: bool = True) -> list[Digest]:
        """Any thread. Those that are not here, or are here `damaged`."""
        asked, sound = list(digests), self._catalogue.sound
        found = zip(asked, self._catalogue.find_many(asked), strict=True)
        return [d for d, where in found if where is None or (damaged and not sound(d, where))]

    def keep(self, digests: Iterable[Digest]) -> None:
        """Say that an applied entry refers to these blobs: they are not `staged` any more."""
        for digest in digests:
            self._catalogue.keep(digest)

    def staged(self, before: int, limit: int = 1024) -> list[Digest]:
        """Blobs staged before `before` (seconds since 1970) that nothing refers to yet."""
        return self._catalogue.staged(before, limit)

    def delete_blobs(self, digests: Iterable[Digest]) -> None:
        """Forget blobs; unknown ones are ignored. Durable with the next checkpoint at the latest.

        The record of it makes it durable with the next sync and known to a rebuild. On a disk that
        is full to the last byte there is no record: deleting is what must work then.
        """
        self._stream.guard()
        asked = list(dict.fromkeys(digests))
        for at in range(0, len(asked), _DELETED_MAX):
            some = asked[at : at + _DELETED_MAX]
            found = zip(some, self._catalogue.find_many(some), strict=True)
            gone = [(digest, where) for digest, where in found if where is not None]
            if gone:
                self._record_deletion(gone)
            for digest, _ in gone:
                self._catalogue.drop(digest)

    def _record_deletion(self, gone: Sequence[tuple[Digest, Place]]) -> None:
        payload = encode_deleted(gone)
        try:
            self._stream.write([checked(RecordKind.DELETE, payload, self._key)])
        except Fault as fault:
            if fault.kind is not Kind.NO_SPACE:
                raise

    def digests(self, after: Digest | None = None, limit: int = 1024) -> list[Digest]:
        """The blobs here, in order, as of the last checkpoint, less those deleted since."""
        return [digest for digest, _ in self._catalogue.after(after or b"", limit)]

    # Checkpoints and the state machine's table

    def checkpoint(self, changes: Mapping[bytes, bytes | None], mark: SnapshotMark) -> None:
        """One durable transaction: the table's changes, the mark they lead to, and the index.

        `changes` (None: delete) are those of all entries since the last checkpoint's mark.
        Afterwards the segments that `reclaim` emptied are removed.
        Faults: NO_SPACE, nothing has changed; FAILED.
        """
        self.end_checkpoint(self.begin_checkpoint(changes, mark))

    def table_get(self, key: bytes) -> bytes | None:
        """Any thread. The table's value at the last checkpoint."""
        return self._ground.index.get(self._table.space, key)

    def table_get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Any thread. As `table_get`, of one checkpoint."""
        return self._ground.index.get_many(self._table.space, keys)

    def table_items(self, prefix: bytes, after: bytes = b"", limit: int = 1024) -> Items:
        """Any thread. The table at the last checkpoint in key order: `prefix`…, after `after`."""
        return self._ground.index.items(self._table.space, prefix, after, limit)

    def compact(self, mark: SnapshotMark) -> None:
        """Drop log entries up to mark.index, which must not be after the checkpoint's mark."""
        self._table.compact(mark)

    def snapshot(self) -> Snapshot:
        """The table at the last checkpoint, frozen."""
        return self._table.snapshot()

    def begin_restore(self, mark: SnapshotMark) -> bytes:
        """Start to receive the snapshot of `mark`; the last key that is here already, or b""."""
        return self._table.begin_restore(mark)

    def add_restore(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """The next pairs of the snapshot, in key order. Durable on return."""
        self._table.add_restore(items)

    def finish_restore(self, mark: SnapshotMark) -> None:
        """Install the received snapshot: it replaces the table and the log. Durable on return."""
        self._reclaimer.abandon()
        self._table.finish_restore(mark)

    # Chores

    def forget_log(self) -> None:
        """Drop all entries behind the last checkpoint's mark, for the group to send them again.

        If the table is lost, too, the mark is that of an empty log. Durable on return. Only for a
        disk with `damage`, and only after the group has taken its promises back.
        """
        self._reclaimer.abandon()
        self._table.forget_log()

    def distrust(self) -> None:
        """The group knows of entries that were durable here and are gone: set `damage`, durably."""
        self._table.distrust()

    def repaired(self) -> None:
        """The log holds again what the group decided: forget `damage`."""
        self._table.repaired()

    def reclaim(self, budget: int) -> Reclaimed:
        """Copy live records out of the emptiest segment, reading or writing about `budget` bytes.

        Emptied segments are removed by the next checkpoint.
        """
        self._stream.guard()
        return self._reclaimer.step(
            budget, short=self._ground.files.free() < self._ground.limits.reserve
        )

    def scrub(self, after: Digest | None, budget: int) -> Scrubbed:
        """Any thread. Read about `budget` bytes of live blobs and check their hashes."""
        return scrub(self._ground, after, budget)

    @property
    def uncheckpointed(self) -> int:
        """Any thread. Bytes that a restart has to replay."""
        return self._stream.written - self._table.written

    @property
    def free(self) -> int:
        """Any thread. Bytes that could still be written, the reserve included."""
        return self._ground.files.free()

    def stats(self) -> Stats:
        """Any thread."""
        usage = self._ground.usage
        times = sorted(self._stream.latencies.copy()) or [0.0]
        return Stats(
            segments=len(usage.sizes),
            live=usage.wanted,
            dead=usage.size - usage.wanted,
            free=self.free,
            index=self._ground.index.size(),
            uncheckpointed=self.uncheckpointed,
            damaged_blobs=len(self._catalogue.damaged),
            log_first=self.log.first_index,
            log_last=self.log.last_index,
            syncs=self._stream.syncs,
            sync_p50=times[len(times) // 2],
            sync_p99=times[len(times) * 99 // 100],
        )

    def close(self) -> None:
        """Close files and index without a checkpoint."""
        self._shelf.close()
        self._ground.index.close()
        self._ground.files.close()


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise Fault(Kind.FAILED, f"{what}: {cause}") from cause
