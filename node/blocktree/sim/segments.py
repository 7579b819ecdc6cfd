"""The real disk under the simulated processes: segments and index on files that tear.

Same face as `sim.disk.Disk`. Writes are appended at once and synced when they finish; a crash
leaves what `SimulatedFiles` allows (any blocks since the last sync, any unsynced names), and the
real recovery makes of it what it can. A `Platter` beside it says what must have survived.
"""

from collections import deque
from collections.abc import Callable, Sequence

from blocktree.disk import Batch, Disk, Keeper, Limits, MemoryIndex, SimulatedFiles
from blocktree.names import PrincipalId, TreeId
from blocktree.raft import Log, SnapshotMark
from blocktree.sim.disk import Platter, Snapshot, Write
from blocktree.sim.judge import Violation
from blocktree.sim.world import MILLISECOND, World

LIMITS = Limits(segment=2048, batch=65536, reserve=0, log_cache=256)
KEEPER = Keeper(TreeId("bt1" + "a" * 52), PrincipalId(bytes(32)))
RECLAIM_BYTES = 2048
ITEMS_MAX = 64
BYTES_MAX = 1 << 30


class SegmentDisk:
    """A `blocktree.disk.Disk`, and the writes that are not synced yet."""

    def __init__(self, world: World, platter: Platter) -> None:
        self.platter = platter
        self.slow = 0  # microseconds that every write takes longer
        self._world = world
        self._pending: deque[tuple[Write, Callable[[], None]]] = deque()
        self._free_at = 0
        self._life = 0
        self._files, self._index = SimulatedFiles(), MemoryIndex()
        self._open()
        if platter.checkpoint.mark.membership.voters:
            self._disk.checkpoint({}, platter.checkpoint.mark)

    @property
    def view(self) -> Log:
        """The log as the process reads it."""
        return self._disk.log

    @property
    def busy(self) -> bool:
        """Whether a crash now would lose something."""
        return bool(self._pending)

    def write(self, write: Write, finished: Callable[[], None]) -> None:
        """Start a write; `finished` is called once it is durable, in order."""
        self._put(write)
        self._pending.append((write, finished))
        world = self._world
        span = MILLISECOND // 2 + int(world.dice.random() * 4 * MILLISECOND)
        self._free_at = max(self._free_at, world.now + span + self.slow)
        world.after(self._free_at - world.now, self._finish, self._life)

    def _finish(self, life: int) -> None:
        if life == self._life:
            write, finished = self._pending.popleft()
            self._disk.sync()
            self.platter.put(write)
            finished()

    def crash(self) -> None:
        """Power is gone: files tear, and the disk is opened again."""
        self._life += 1
        self._free_at = 0
        lost = [write for write, _ in self._pending]
        self._pending.clear()
        self._files, self._index = self._files.crash_by(self._world.dice), self._index.copy()
        self._open()
        before, self.platter = self.platter, self._recovered()
        _compare(before, self.platter, lost)

    def _open(self) -> None:
        self._disk = Disk.open(
            self._files,
            self._index,
            LIMITS,
            KEEPER,
            clock=lambda: self._world.now / 1e6,
            dice=self._world.dice.randbytes,
        )

    def _recovered(self) -> Platter:
        log, saved = self._disk.log, self._disk.saved()
        items = self._disk.table_items(b"", b"", ITEMS_MAX)
        values = {key.decode(): int.from_bytes(value, "big") for key, value in items}
        base = log.first_index - 1
        entries = []
        if log.last_index > base:
            entries = list(log.entries(base + 1, log.last_index + 1, BYTES_MAX))
        checkpoint = Snapshot(saved.mark, values)
        return Platter(checkpoint, saved.hard_state, base, log.term(base), entries)

    def _put(self, write: Write) -> None:
        disk = self._disk
        if write.restore is not None:
            disk.begin_restore(write.restore.mark)
            disk.add_restore(_rows(write.restore))
            disk.finish_restore(write.restore.mark)
        if write.hard_state is not None or write.entries:
            disk.append(Batch(hard_state=write.hard_state, entries=write.entries))
        if write.checkpoint is not None:
            self._checkpoint(write.checkpoint, write.keep)

    def _checkpoint(self, snapshot: Snapshot, keep: int) -> None:
        disk, mark = self._disk, snapshot.mark
        disk.reclaim(RECLAIM_BYTES)
        disk.checkpoint(dict(_rows(snapshot)), mark)
        index = mark.index - keep
        if index >= disk.log.first_index:
            disk.compact(SnapshotMark(index, disk.log.term(index), mark.membership))


def _compare(before: Platter, after: Platter, lost: Sequence[Write]) -> None:
    """Everything that was synced is there, but for what an unfinished write may have replaced."""
    allowed = {before.hard_state, *[write.hard_state for write in lost]}
    if after.hard_state not in allowed:
        raise Violation(f"the disk made {after.hard_state} of {before.hard_state}")
    if after.checkpoint.mark.index < before.checkpoint.mark.index:
        raise Violation(f"the disk forgot its checkpoint at {before.checkpoint.mark.index}")
    replaced = [write.entries[0].index for write in lost if write.entries]
    if any(write.restore for write in lost):
        return
    for entry in before.log:
        if entry.index < min(replaced, default=entry.index + 1) and entry.index > after.base:
            kept = after.log[entry.index - after.base - 1 : entry.index - after.base]
            if kept != [entry]:
                raise Violation(f"the disk made {kept} of {entry}")


def _rows(snapshot: Snapshot) -> list[tuple[bytes, bytes]]:
    return sorted((k.encode(), v.to_bytes(8, "big")) for k, v in snapshot.values.items())
