"""A disk that does all that disks do: fails, fills, lies about syncs, rots, writes to wrong places.

It is opened as a node opens its own (`disk.salvage`), and what is found is held against what must
be there: a disk that calls itself sound has every byte; one that says `damage` has no wrong byte
before the place from which it says that entries may be missing, and something was spoiled.
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence

from blocktree.disk import Damage, MemoryIndex, Space, salvage, scrub_log
from blocktree.disk.simulated import FREE
from blocktree.fault import Fault, Kind
from blocktree.raft import Saved, SnapshotMark
from blocktree.sim.disk import Platter, Snapshot, Write
from blocktree.sim.judge import Violation
from blocktree.sim.segments import BYTES_MAX, ITEMS_MAX, KEEPER, LIMITS, SegmentDisk
from blocktree.sim.world import MILLISECOND, World

BLOCK = 512
FULL_FOR = 100 * MILLISECOND  # what found no room is tried again after this
ROTTING = (Space.STATE, Space.LOG, Space.SEGMENTS)  # of the index; rows of the table are signed
Finished = Callable[[], None]


class FaultyDisk(SegmentDisk):
    """One process's disk, and how its world spoils it.

    Attributes:
        rotten: something was spoiled, and nobody knows yet that all of it was repaired.
        failing: how likely each operation is to end with an I/O error.
        broken: told when the disk gave up: the process has to stop.
        found: why it did not open, or did but may not be trusted; the last time.
        forgotten: what it had acknowledged and lost since; the group may still count it.
    """

    def __init__(self, world: World, platter: Platter) -> None:
        self.rotten = False
        self.failing = 0.0
        self.broken: Finished = lambda: None
        self.found = ""
        self.forgotten: Platter | None = None
        self._lied = False
        self._opened = False
        self._rebuilt = False
        self._short: deque[tuple[Write, Finished]] = deque()
        self._lost: list[Write] = []
        super().__init__(world, platter)
        self._hook()

    @property
    def damage(self) -> Damage | None:
        """What the disk says that it cannot read."""
        return self._disk.damage

    def saved(self) -> Saved:
        """What the core starts from."""
        return self._disk.saved()

    # what befalls it

    def fill(self, room: int) -> None:
        """Leave so many bytes."""
        self._files.capacity = self._files.capacity - self._files.free() + room

    def lie(self) -> None:
        """Say from now on that syncs are done, and do nothing."""
        self._files.lies = self._lied = self.rotten = True

    def heal(self) -> None:
        """Be a good disk again; what rotted stays so."""
        self.failing, self.slow = 0.0, 0
        if self._files.lies and self._opened:
            self._files.settle()
            self._lied = self.rotten = False
        self._files.capacity, self._files.lies = FREE, False

    def rot(self) -> str:
        """Spoil something, and say what."""
        self.rotten = True
        dice = self._world.dice
        names = [name for name in self._files.names() if name.startswith("segment-")]
        if not names or dice.random() < 0.25:
            return self._rot_index()
        name = dice.choice(names)
        size = len(self._files.contents(name))
        if not size:
            return "nothing"
        if dice.random() < 0.3:
            offset = dice.randrange(size) // BLOCK * BLOCK
            self._files.scribble(name, offset, self._stray(names))
            return f"{name}: a block at {offset} written by mistake"
        flips = [dice.randrange(size) for _ in range(dice.choice((1, 1, 1, 5)))]
        for at in flips:
            self._files.flip(name, at, 1 << dice.randrange(8))
        return f"{name}: flips at {flips}"

    def _stray(self, names: Sequence[str]) -> bytes:
        """A block of something else; one that has zeros at an end could be an unfinished write."""
        dice = self._world.dice
        contents = self._files.contents(dice.choice(names))
        at = dice.randrange(len(contents) // BLOCK + 1) * BLOCK
        block = contents[at : at + BLOCK]
        if len(block) == BLOCK and block[0] and block[-1]:
            return block
        return bytes(dice.randrange(1, 256) for _ in range(BLOCK))

    def _rot_index(self) -> str:
        dice = self._world.dice
        space = dice.choice(ROTTING)
        rows = self._index.items(space, b"", b"", 1000)
        if not rows:
            return "nothing"
        key, value = dice.choice(rows)
        at = dice.randrange(8 * len(value))
        bad = bytearray(value)
        bad[at // 8] ^= 1 << at % 8
        self._index.on_commit = None
        self._index.commit({space: {key: bytes(bad)}})
        self._hook()
        return f"the index: bit {at} of {space.name} {key.hex()}"

    def _hook(self) -> None:
        self._files.before, self._index.on_commit = self._before, self._commits

    def _before(self, verb: str, name: str) -> None:
        if self.failing and self._world.dice.random() < self.failing:
            raise OSError(errno.EIO, f"{verb} {name}: the disk failed")

    def _commits(self) -> None:
        if self.failing and self._world.dice.random() < self.failing:
            raise Fault(Kind.FAILED, "the index could not be written")
        if self._files.free() <= 0:
            raise Fault(Kind.NO_SPACE, "the disk is full")

    # writing

    def write(self, write: Write, finished: Finished) -> None:
        """As `SegmentDisk.write`; what finds no room waits, and all that comes later behind it."""
        if not self._short and self._tried(write, finished):
            return
        self._short.append((write, finished))
        if len(self._short) == 1:
            self._world.after(FULL_FOR, self._again, self._life)

    def _tried(self, write: Write, finished: Finished) -> bool:
        try:
            super().write(write, finished)
        except Fault as fault:
            if fault.kind is not Kind.NO_SPACE:
                raise
            return write.checkpoint is not None  # it is left out: another one comes
        return True

    def _again(self, life: int) -> None:
        if life != self._life:
            return
        try:
            while self._short and self._tried(*self._short[0]):
                self._short.popleft()
        except Fault:
            self.broken()
            return
        if self._short:
            self._world.after(FULL_FOR, self._again, life)

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        try:
            self._disk.sync()
        except Fault:
            self.broken()
            return
        super()._finish(life)

    def distrust(self) -> None:
        """See `Disk.distrust`."""
        self._disk.distrust()
        self.rotten = True

    def forget_log(self) -> None:
        """See `Disk.forget_log`."""
        assert not self._pending, "a deaf process has nothing to save"
        self._disk.forget_log()
        self.platter, self.forgotten = self._recovered(), None

    def repaired(self) -> None:
        """See `Disk.repaired`."""
        self._disk.repaired()
        self.rotten = False

    # crashing and opening

    def crash(self) -> None:
        """Power is gone: files tear. They are opened by `open`."""
        self._life += 1
        self._free_at = 0
        self._lost += [write for write, _ in (*self._pending, *self._short)]
        self._pending.clear()
        self._short.clear()
        lies, self._files.lies = self._files.lies, False
        capacity = self._files.capacity
        self._files, self._index = self._files.crash_by(self._world.dice), self._index.copy()
        self._files.capacity, self._files.lies = capacity, lies
        self._hook()
        self._opened = False

    def open(self) -> bool:
        """Open what a crash left, if that is possible just now."""
        if self._opened:
            return True
        try:
            self._open()
        except Fault as fault:
            if fault.kind is Kind.DAMAGED:
                raise
            self.found = str(fault)
            return False
        failing, self.failing = self.failing, 0.0  # the judge reads, not the process
        before, self.platter = self.platter, self._recovered()
        self._check(before)
        if self.damage is not None and not self.rotten:
            raise Violation(f"nothing was spoiled and the disk says {self.found}")
        if self.damage is not None or self._lied:
            self.forgotten = self.forgotten or before
        self._lost, self._lied, self._rebuilt = [], False, False
        if self.rotten and self.damage is None:
            self._scrub()
        self.failing = failing
        return True

    def _open(self) -> None:
        self._disk = salvage(
            self._files,
            self._open_index,
            LIMITS,
            KEEPER,
            lambda fault: setattr(self, "found", str(fault)),
            clock=lambda: self._world.now / 1e6,
            dice=self._world.dice.randbytes,
        )
        self._opened = True

    def _open_index(self, anew: bool) -> MemoryIndex:  # noqa: FBT001 - as `salvage` calls it
        if anew:
            self._index, self._rebuilt = MemoryIndex(), True
            self._hook()
        return self._index

    def _recovered(self) -> Platter:
        """What is here, from the newest entry that cannot be read on."""
        log, saved = self._disk.log, self._disk.saved()
        items = self._disk.table_items(b"", b"", ITEMS_MAX)
        values = {key.decode(): int.from_bytes(value, "big") for key, value in items}
        base = log.first_index - 1
        bad = [index for index in scrub_log(log, 0, BYTES_MAX).damaged if index > base]
        if bad and bad[-1] > saved.mark.index and self.damage is None:
            raise Violation(f"the disk calls itself sound and cannot read entry {bad[-1]}")
        base = max([base, *bad])
        entries = [log.read(index) for index in range(base + 1, log.last_index + 1)]
        checkpoint = Snapshot(saved.mark, values)
        return Platter(checkpoint, saved.hard_state, base, log.term(base), entries)

    def _check(self, before: Platter) -> None:
        """Nothing wrong is here, and nothing is missing without a word."""
        after, damage = self.platter, self.damage
        replaced = [write.entries[0].index for write in self._lost if write.entries]
        restored = any(write.restore for write in self._lost)
        until = min([*replaced, before.last_index + 1])
        if damage is not None:
            until = min(until, damage.log_from)
            self.found = f"damage: {damage}"
        elif not (self._lied or restored):
            self._check_promises(before)
        if restored:
            return
        for entry in before.log[: max(0, until - before.base - 1)]:
            missing = entry.index > after.last_index and (self._lied or damage is not None)
            if self._lied and not missing and entry.index > after.base:  # what it replaced is back
                missing = after.term(entry.index) != entry.term
            if entry.index > after.base and not missing:
                kept = after.log[entry.index - after.base - 1 : entry.index - after.base]
                if kept != [entry]:
                    raise Violation(f"the disk made {kept} of {entry}, it said {self.found!r}")

    def _check_promises(self, before: Platter) -> None:
        after = self.platter
        allowed = {before.hard_state, *[write.hard_state for write in self._lost]}
        if after.hard_state not in allowed:
            raise Violation(f"the disk made {after.hard_state} of {before.hard_state}")
        if after.checkpoint.mark.index < before.checkpoint.mark.index and not self._rebuilt:
            raise Violation(f"the disk forgot its checkpoint at {before.checkpoint.mark.index}")
        same = after.checkpoint.mark == before.checkpoint.mark
        if same and after.checkpoint.values != before.checkpoint.values:
            raise Violation(f"the disk made {after.checkpoint} of {before.checkpoint}")

    def _scrub(self) -> None:
        """What the store's scrub does about old entries that cannot be read, sometimes."""
        if self._world.chance(0.5):
            return
        log, mark = self._disk.log, self._disk.saved().mark
        try:
            if scrub_log(log, 0, BYTES_MAX).damaged:
                self._disk.compact(SnapshotMark(mark.index, mark.term, mark.membership))
                self._disk.checkpoint({}, mark)
                self.platter = self._recovered()
        except Fault:
            return  # full, or failing: the next restart tries again
        self.rotten = False

    def check_whole(self) -> None:
        """What the platter should hold can be read, every byte."""
        first = self._disk.log.first_index  # a checkpoint may be under way
        for entry in () if self.rotten else self.platter.log:
            if entry.index >= first and self._disk.log.read(entry.index) != entry:
                raise Violation(f"{entry} is on the platter and cannot be read")


def is_poisoned(fault: Fault) -> bool:
    """Whether a process has to stop because of what its disk said."""
    return fault.kind in {Kind.FAILED, Kind.DAMAGED}
