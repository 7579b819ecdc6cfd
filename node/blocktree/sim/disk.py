"""A disk for one raft process: writes are ordered, take time, and are lost if a crash comes first.

`view` is what the process sees when it reads its log, `platter` what a crash would leave.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from blocktree.raft import NOBODY, Entry, HardState, Membership, SnapshotMark
from blocktree.sim.world import MILLISECOND, World

EMPTY_MARK = SnapshotMark(0, 0, Membership(()))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state machine at a mark."""

    mark: SnapshotMark
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Write:
    """What becomes durable together."""

    restore: Snapshot | None = None
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    checkpoint: Snapshot | None = None
    keep: int = 0  # entries to keep before the checkpoint's mark


@dataclass(slots=True)
class Platter:
    """Raft's log and vote, and the newest checkpoint; has the shape of `raft.Log`."""

    checkpoint: Snapshot
    hard_state: HardState = HardState(0, NOBODY)
    base: int = 0  # index before the first entry
    base_term: int = 0
    log: list[Entry] = field(default_factory=list)

    @property
    def first_index(self) -> int:
        """The oldest entry that is still here."""
        return self.base + 1

    @property
    def last_index(self) -> int:
        """The newest entry."""
        return self.base + len(self.log)

    def term(self, index: int) -> int:
        """The term of the entry at `index`."""
        assert self.base <= index <= self.last_index, (self.base, index, self.last_index)
        return self.base_term if index == self.base else self.log[index - self.base - 1].term

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Entries low ≤ index < high, at least one."""
        found: list[Entry] = []
        assert self.base < low, (self.base, low)
        for entry in self.log[low - self.base - 1 : high - self.base - 1]:
            bytes_max -= len(entry.payload)
            if bytes_max < 0 and found:
                break
            found.append(entry)
        return found

    def put(self, write: Write) -> None:
        """Apply one write."""
        if write.restore is not None:
            self.checkpoint = write.restore
            self.base, self.base_term = write.restore.mark.index, write.restore.mark.term
            self.log.clear()
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            start = write.entries[0].index - self.base - 1
            assert 0 <= start <= len(self.log), "the log would have a gap"
            self.log[start:] = write.entries
        if write.checkpoint is not None and write.checkpoint.mark.index > self.base:
            self.checkpoint = write.checkpoint
            self._drop(write.checkpoint.mark.index - write.keep)

    def _drop(self, index: int) -> None:
        if index > self.base:
            self.base_term = self.term(index)
            del self.log[: index - self.base]
            self.base = index

    def copy(self) -> "Platter":
        """The same content, to be changed independently."""
        return Platter(self.checkpoint, self.hard_state, self.base, self.base_term, self.log.copy())

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is here, or covered by the checkpoint."""
        if index <= self.checkpoint.mark.index:
            return True
        return self.base < index <= self.last_index and self.term(index) == term


class Disk:
    """One platter and the writes on their way to it."""

    def __init__(self, world: World, platter: Platter) -> None:
        self.platter = platter
        self.view = platter.copy()
        self.slow = 0  # microseconds that every write takes longer
        self.shown_at_once = world.chance(0.5)  # reads see writes before they are durable
        self._world = world
        self._pending: deque[tuple[Write, Callable[[], None]]] = deque()
        self._free_at = 0
        self._life = 0

    @property
    def busy(self) -> bool:
        """Whether a crash now would lose something."""
        return bool(self._pending)

    def write(self, write: Write, finished: Callable[[], None]) -> None:
        """Start a write; `finished` is called once it is durable, in order."""
        if self.shown_at_once:
            self.view.put(write)
        self._pending.append((write, finished))
        world = self._world
        span = MILLISECOND // 2 + int(world.dice.random() * 4 * MILLISECOND)
        self._free_at = max(self._free_at, world.now + span + self.slow)
        world.after(self._free_at - world.now, self._finish, self._life)

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        write, finished = self._pending.popleft()
        self.platter.put(write)
        if not self.shown_at_once:
            self.view.put(write)
        finished()

    def crash(self) -> None:
        """Power is gone: a first part of what was on its way may have arrived, the rest is lost."""
        self._life += 1
        for write, _ in list(self._pending)[: self._world.dice.randint(0, len(self._pending))]:
            self.platter.put(write)
        self._pending.clear()
        self.view = self.platter.copy()
        self._free_at = 0
