"""Checkpoints: the state machine's table, and with each commit the index of the stream so far."""

import contextlib
from collections.abc import Mapping, Sequence

from blocktree.disk.batch import Damage
from blocktree.disk.checkpoint import RESTORE_KEY, Checkpoint, Restore, load_restore, state_rows
from blocktree.disk.commit import IndexCommit
from blocktree.disk.ground import Ground
from blocktree.disk.index import Space
from blocktree.disk.log import DiskLog
from blocktree.disk.recovery import Recovered
from blocktree.disk.replay import NOTHING
from blocktree.disk.segment import VERSION, RecordKind, SegmentHead, segment_name
from blocktree.disk.snapshot import Snapshot
from blocktree.disk.stream import Piece, Stream, checked
from blocktree.fault import Fault, Kind
from blocktree.raft import SnapshotMark
from blocktree.wire import encode

Rows = Mapping[bytes, bytes | None]


class Table:
    """What the index holds durably, and the only one who commits to it.

    Attributes:
        space: where the table lies; a snapshot is received into the other one.
        mark: the point of the log that the table stands for.
        written: how many bytes the stream had been given at the last commit.
        damage: what recovery could not read and the group has not repaired yet.
    """

    def __init__(
        self,
        ground: Ground,
        log: DiskLog,
        stream: Stream,
        condemned: set[int],
        found: Recovered,
    ) -> None:
        self._ground = ground
        self._log = log
        self._stream = stream
        self._condemned = condemned
        self.space = Space(found.checkpoint.table)
        self.mark = found.checkpoint.mark
        self.written = -found.replayed
        self.damage = found.damage
        self._under_way: IndexCommit | None = None
        stream.opening = self.opening
        if log.start.index and not found.replayed and not found.rows:
            self._begin_again(log.start)
        if found.anew or found.damage != found.checkpoint.damage:
            self._commit(self.mark)

    def opening(self) -> bytes:
        """What the next segment begins with."""
        keeper, log = self._ground.keeper, self._log
        state = self._stream.hard_state
        head = SegmentHead(
            VERSION,
            self._ground.disk,
            keeper.tree,
            keeper.node,
            state,
            log.start,
            log.last_index,
            self._stream.previous,
        )
        return encode(head)

    def begin(self, changes: Rows, mark: SnapshotMark) -> IndexCommit:
        """See `Disk`."""
        self._ready()
        if mark.index == self._log.start.index and mark != self._log.start:
            self._begin_log(mark)  # the very first membership
        return self._gather(mark, {self.space: changes})

    def end(self, commit: IndexCommit) -> None:
        """See `Disk`."""
        self._stream.guard()
        mine = commit is self._under_way
        if mine:
            self._settle()
        fault = commit.fault
        if fault is None:
            return
        if fault.kind is not Kind.NO_SPACE or not (mine and self._condemned):
            raise fault
        self._commit(self.mark)  # the index alone takes less, and frees the emptied segments
        self._commit(commit.mark, {self.space: commit.rows[self.space]})

    def forget_log(self) -> None:
        """See `Disk.forget_log`. The commit is the moment of change, as in `finish_restore`."""
        self._ready()
        if self.damage is None:
            raise Fault(Kind.USAGE, "the log is sound")
        mark = NOTHING if self.damage.table_lost else self.mark
        self._log.reset(mark)
        self._begin_anew(mark, {}, [self.space] if mark == NOTHING else [])

    def distrust(self) -> None:
        """See `Disk.distrust`."""
        self._ready()
        end = self._log.last_index + 1
        self.damage = self.damage or Damage(self._stream.number, self._stream.end, True, end)  # noqa: FBT003
        self._commit(self.mark)

    def repaired(self) -> None:
        """The log holds again what the group decided."""
        self._ready()
        self.damage = None
        self._commit(self.mark)

    def _commit(
        self,
        mark: SnapshotMark,
        more: Mapping[Space, Rows] | None = None,
        clear: Sequence[Space] = (),
    ) -> None:
        """Index everything up to the end of the stream, now; nothing is under way (`_ready`)."""
        commit = self._gather(mark, more or {}, clear)
        self._settle()
        if commit.fault is not None:
            raise commit.fault

    def _gather(
        self, mark: SnapshotMark, more: Mapping[Space, Rows], clear: Sequence[Space] = ()
    ) -> IndexCommit:
        """What the index lacks up to the end of the stream.

        The stream is synced first: the index never refers to what a crash could take away. Emptied
        segments are removed last: the index never refers to what is not there.
        """
        self._stream.sync()
        catalogue, usage, log = self._ground.catalogue, self._ground.usage, self._log
        condemned = frozenset(self._condemned)
        for number in condemned:
            usage.forget(number)
        end = (self._stream.number, self._stream.end)
        state = self._stream.hard_state
        record = Checkpoint(
            self._ground.disk, *end, self.space, mark, state, log.start, self.damage
        )
        rows: dict[Space, Rows] = {
            **catalogue.freeze(),
            Space.LOG: log.freeze(),
            Space.SEGMENTS: usage.freeze(),
            **more,
        }
        rows[Space.STATE] = {**rows.get(Space.STATE, {}), **state_rows(record)}
        index, written = self._ground.index, self._stream.written
        self._under_way = IndexCommit(index, rows, clear, mark, written, condemned)
        return self._under_way

    def _ready(self) -> None:
        """Called before what builds on the last checkpoint, or makes the next."""
        self._stream.guard()
        self._settle()

    def _settle(self) -> None:
        """Finish what is under way: from here on memory says what the index has."""
        commit, self._under_way = self._under_way, None
        if commit is None:
            return
        commit.write()
        parts = self._ground.catalogue, self._log, self._ground.usage
        if commit.fault is not None:
            for part in parts:
                part.thaw()
            if commit.fault.kind is not Kind.NO_SPACE:
                raise self._stream.poison("the index could not be written", commit.fault)
            return
        for part in parts:
            part.settle()
        self.mark, self.written = commit.mark, commit.written
        self._remove(commit.condemned)

    def _commit_rows(self, rows: Mapping[Space, Rows], clear: Sequence[Space] = ()) -> None:
        """Write rows that say nothing of the stream."""
        try:
            self._ground.index.commit(rows, clear=clear)
        except Fault as fault:
            if fault.kind is Kind.NO_SPACE:
                raise
            raise self._stream.poison("the index could not be written", fault) from fault

    def _remove(self, condemned: frozenset[int]) -> None:
        if condemned:
            # What cannot be removed now is removed when the disk is opened again.
            with contextlib.suppress(OSError):
                for number in sorted(condemned):
                    self._ground.shelf.forget(number)
                    self._ground.files.remove(segment_name(number))
                self._ground.files.sync_directory()
            self._condemned -= condemned

    def compact(self, mark: SnapshotMark) -> None:
        """See `Disk.compact`."""
        self._ready()
        if mark.index > self.mark.index:
            raise Fault(Kind.USAGE, "the log is needed from the last checkpoint on")
        if mark.index > self._log.start.index:
            self._begin_log(mark)

    def _begin_log(self, mark: SnapshotMark) -> None:
        self._stream.write([checked(RecordKind.START, encode(mark), self._ground.key)])
        self._log.compact(mark)

    def snapshot(self) -> Snapshot:
        """The table at the last checkpoint, frozen."""
        self._ready()  # or the index might be ahead of the mark
        return Snapshot(self._ground.index.view(), self.space, self.mark)

    @property
    def _other(self) -> Space:
        return Space.OTHER_TABLE if self.space is Space.TABLE else Space.TABLE

    def begin_restore(self, mark: SnapshotMark) -> bytes:
        """See `Disk.begin_restore`."""
        self._ready()
        before = load_restore(self._ground.index)
        if before is not None and before.mark == mark:
            return before.after
        self._commit_rows({Space.STATE: state_rows(Restore(mark, b""))}, [self._other])
        return b""

    def add_restore(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """See `Disk.add_restore`."""
        self._ready()
        restore = load_restore(self._ground.index)
        if restore is None:
            raise Fault(Kind.USAGE, "no snapshot is being received")
        if items:
            state = state_rows(Restore(restore.mark, items[-1][0]))
            self._commit_rows({self._other: dict(items), Space.STATE: state})

    def finish_restore(self, mark: SnapshotMark) -> None:
        """See `Disk.finish_restore`. The commit is the moment of change.

        The START record comes after it and serves only a rebuild, which finds the old log without
        it. A crash may leave it out; then the next start writes it, see `_begin_again`.
        """
        self._ready()
        restore = load_restore(self._ground.index)
        if restore is None or restore.mark != mark:
            raise Fault(Kind.USAGE, "another snapshot is being received")
        old, self.space = self.space, self._other
        self._log.reset(mark)
        self._begin_anew(mark, {Space.STATE: {RESTORE_KEY: None}}, [old])

    def _begin_anew(
        self, mark: SnapshotMark, more: Mapping[Space, Rows], clear: Sequence[Space]
    ) -> None:
        """Make an empty log after the mark durable."""
        try:
            self._commit(mark, more, clear)
            self._stream.write([self._reset(mark)])
            self._stream.sync()
        except Fault as fault:  # memory is ahead of the disk: only a restart brings them together
            raise self._stream.poison("the log could not be begun anew", fault) from fault

    def _begin_again(self, mark: SnapshotMark) -> None:
        """A crash may have come between the two steps of `_begin_anew`.

        Then a rebuild would join old entries to new ones, or show old ones in place of those that
        the snapshot stands for: the record comes before anything else, and before anybody is told.
        """
        self._stream.owed = [self._reset(mark)]
        try:
            self._stream.write([])
        except Fault as fault:
            if fault.kind is not Kind.NO_SPACE:
                raise
        else:
            self._stream.sync()

    def _reset(self, mark: SnapshotMark) -> Piece:
        """The record that the log is empty and goes on after the mark."""
        return checked(RecordKind.START, encode(mark), self._ground.key, extra=1)
