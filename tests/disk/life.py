"""A short life of a disk in which operations fail, and what must be there after each start.

A script is played as a node would play it: what is refused for want of room is left out, anything
else ends the process. Then the power fails or the process is killed, and the disk is started again
and again, with and without more work, also with an operation that fails during the start itself.
"""

import errno
import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from blocktree.disk import Batch, Disk, Limits, MemoryIndex, SimulatedFiles
from blocktree.disk.commit import IndexCommit
from blocktree.disk.segment import HEAD_SIZE, length_of, segment_name, segment_of
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.raft import Entry, HardState, SnapshotMark
from disk.rig import (
    ME,
    Truth,
    blob_of,
    check_blobs,
    entry_of,
    log_of,
    mark_of,
    open_disk,
    rebuild_disk,
)
from disk.troubles import Index, Killed, Operations, Trouble

NO_TROUBLE = Trouble()
Step = tuple[str, int]
Script = Sequence[Step]


State = tuple[SnapshotMark, dict[bytes, bytes]]


@dataclass
class Known(Truth):
    """As `Truth`, with the table beside its mark, what is gone for good, and the damage."""

    states: list[State] = field(default_factory=list)
    gone: set[Digest] = field(default_factory=set)  # deleted, and a checkpoint says so
    damaged: list[bool] = field(default_factory=lambda: [False])

    def copy(self) -> "Known":
        twin = copy(self)
        for name in ("blobs", "floor", "every", "gone"):
            setattr(twin, name, getattr(self, name).copy())
        for name in ("logs", "hard_states", "states", "damaged"):
            setattr(twin, name, list(getattr(self, name)))
        return twin

    @property
    def last(self) -> int:
        first, entries = self.log
        return first + len(entries) - 1


class Life:
    """A disk through its starts and ends."""

    def __init__(
        self, dice: random.Random, segment: int = 1500, trouble: Trouble = NO_TROUBLE
    ) -> None:
        self.dice = dice
        self.limits = Limits(segment=segment, batch=65536, reserve=0, log_cache=512)
        self.files, self.index = SimulatedFiles(), Index()
        self.known = Known()
        self.known.states = [(self.known.mark, {})]
        self.term = 1
        self.number = 0
        self.under_way: IndexCommit | None = None
        self.told = True  # the segments alone say all of it
        self.owed = (
            False  # but for where the log begins, which comes at last before the next record
        )
        self.disk: Disk
        self.start(trouble, dice.randrange(4))

    # one step each; the number says how large, or how far

    def entries(self, size: int) -> None:
        self._append([self._entry(self.known.last + 1, size)], [])

    def three(self, size: int) -> None:
        last = self.known.last
        self._append([self._entry(last + at, size) for at in (1, 2, 3)], [])

    def blobs(self, size: int) -> None:
        self._append([self._entry(self.known.last + 1, 20)], [self._blob(size) for _ in range(2)])

    def loose(self, size: int) -> None:
        self._append([], [self._blob(size)])

    def replace(self, back: int) -> None:
        """Entries that are not applied yet, by others of a new term."""
        begin = max(self.known.last + 1 - back, self.known.states[-1][0].index + 1)
        self.term += 1
        self._append([self._entry(begin, 300)], [])

    def again(self, size: int) -> None:
        """A blob that was there once."""
        known = self.known
        for digest in sorted(set(known.every) - set(known.blobs))[:1]:
            self._append([], [(digest, known.every[digest])])

    def vote(self, _: int) -> None:
        self.term += 1
        state = HardState(self.term, ME)
        self.known.hard_state = state
        self.known.hard_states.append(state)
        self.disk.append(Batch(hard_state=state))

    def sync(self, _: int) -> None:
        self.disk.sync()
        self.known.synced()

    def delete(self, count: int) -> None:
        known = self.known
        some = sorted(known.blobs)[:count]
        for digest in some:
            del known.blobs[digest]
            known.floor.pop(digest, None)
        self.disk.delete_blobs(some)

    def checkpoint(self, back: int) -> None:
        self.begin(back)
        self.end(0)

    def begin(self, back: int) -> None:
        self.end(0)
        known = self.known
        mark, table = known.states[-1]
        index = max(mark.index, known.last - back)
        if index >= known.log[0]:
            mark = mark_of(index, known.log[1][index - known.log[0]].term)
        self.number += 1
        changes = {b"k%d" % (self.number % 3): b"%d" % self.number} if mark.index else {}
        known.states.append((mark, {**table, **changes}))
        self.deleted = set(known.every) - set(known.blobs)
        self.under_way = self.disk.begin_checkpoint(changes, mark)
        known.synced()

    def end(self, _: int) -> None:
        commit, self.under_way = self.under_way, None
        if commit is None:
            return
        commit.write()
        try:
            self.disk.end_checkpoint(commit)
        except Fault as fault:
            if fault.kind is Kind.NO_SPACE:
                del self.known.states[1:]
            raise
        del self.known.states[:-1]
        self.known.gone |= self.deleted - set(self.known.blobs)

    def compact(self, keep: int) -> None:
        self.end(0)
        known = self.known
        index = known.states[-1][0].index - keep
        if index >= known.log[0]:
            mark = mark_of(index, known.log[1][index - known.log[0]].term)
            known.compact(index)
            self.disk.compact(mark)

    def reclaim(self, budget: int) -> None:
        self.disk.reclaim(budget)

    def restore(self, ahead: int) -> None:
        self.end(0)
        known = self.known
        self.term += 1
        mark = mark_of(known.last + ahead, self.term)
        self.number += 1
        table = {b"r%d" % n: b"%d" % self.number for n in range(3)}
        self.disk.begin_restore(mark)
        self.disk.add_restore(sorted(table.items()))
        known.states.append((mark, table))
        known.log = mark.index + 1, ()
        known.logs.append(known.log)
        self.owed = True
        self.disk.finish_restore(mark)
        self.owed = False
        del known.states[:-1]
        known.synced()

    def distrust(self, _: int) -> None:
        self.end(0)
        self.known.damaged = [*self.known.damaged, True]
        self.disk.distrust()
        self.known.damaged = [True]

    def forget(self, _: int) -> None:
        self.end(0)
        known = self.known
        if self.disk.damage is None:
            return
        mark = known.states[-1][0]
        known.log = mark.index + 1, ()
        known.logs.append(known.log)
        self.owed = True
        self.disk.forget_log()
        self.owed = False
        known.synced()

    def repaired(self, _: int) -> None:
        self.end(0)
        self.known.damaged = [*self.known.damaged, False]
        self.disk.repaired()
        self.known.damaged = [False]

    def _append(self, entries: list[Entry], blobs: list[tuple[Digest, bytes]]) -> None:
        known = self.known
        for digest, payload in blobs:
            known.every[digest] = known.blobs[digest] = payload
            known.gone.discard(digest)
        for entry in entries:
            known.entry(entry)
        self.disk.append(Batch(blobs=blobs, entries=entries))

    def _entry(self, index: int, size: int) -> Entry:
        return entry_of(index, self.term, self.dice.randbytes(size))

    def _blob(self, size: int) -> tuple[Digest, bytes]:
        return blob_of(self.dice.randbytes(size))

    # a process from its start to its end

    def play(self, script: Script, trouble: Trouble) -> Operations:
        """Go on until the script or the process ends."""
        operations = Operations(trouble)
        operations.watch(self.files, self.index)
        try:
            for name, size in script:
                before = self.known.copy()
                try:
                    getattr(self, name)(size)
                except Fault as fault:
                    if fault.kind is not Kind.NO_SPACE:
                        only(fault, Kind.FAILED)
                        break
                    self._refused(name, before)
                self.told &= name != "delete" or not operations.hit  # it may be without a record
                operations.rest()
                self.look()
                operations.watch(self.files, self.index)
        except Killed:
            pass
        operations.rest()
        return operations

    def _refused(self, name: str, before: Known) -> None:
        """Nothing of the step is there; but what a step before had begun may have ended in it."""
        states, damaged = self.known.states, self.known.damaged
        self.known = before
        if self.under_way is None:
            before.states = states[:1]
        if name in {"distrust", "repaired"}:
            before.damaged = damaged

    def look(self) -> None:
        """What the process itself sees."""
        known = self.known
        assert log_of(self.disk) == known.log
        if self.dice.random() < 0.5:  # what could not be read meanwhile can be now
            for digest, payload in known.blobs.items():
                assert self.disk.read_blob(digest, verify=True) == payload
            assert self.disk.missing(known.blobs) == []
        self._count()

    def leave(self, how: int) -> None:
        """The power fails: of what was not synced nothing is left (0), all, some; or 3: killed."""
        files, dice = self.files, self.dice
        match how:
            case 0:
                self.files = files.crash(lambda *_: False, names_kept=0)
            case 1:
                self.files = files.crash(lambda *_: True, whole_size=True)
            case 2:
                self.files = files.crash_by(dice)
            case _:
                if dice.random() < 0.5:  # the kernel goes on, with or without what it did not write
                    files.evict(lambda *_: dice.random() < 0.5)
                return
        self.index = self.index.copy()

    def start(self, trouble: Trouble, how: int) -> None:
        """Start; if that failed, end as said and start once more."""
        self.under_way = None
        operations = Operations(trouble)
        operations.watch(self.files, self.index)
        try:
            self.disk = open_disk(self.files, self.index, self.limits, salvage=True)
        except (Fault, Killed) as ended:
            if isinstance(ended, Fault):
                only(ended, Kind.FAILED if operations.hit else None, Kind.NO_SPACE)
            operations.rest()
            self.leave(how)
            self.start(NO_TROUBLE, how)
        else:
            operations.rest()
            self._check()

    def _check(self) -> None:
        disk, known = self.disk, self.known
        assert (disk.damage is not None) in known.damaged, disk.damage
        found, state = log_of(disk), disk.saved().hard_state
        assert found in known.logs
        assert state in known.hard_states
        here = check_blobs(disk, known)
        assert not here & known.gone
        table = disk.saved().mark, dict(disk.table_items(b""))
        assert table in known.states, (table, known.states)
        assert table[0].index <= disk.log.last_index
        self._count()
        # From here on that is what there is, and durable.
        known.log, known.hard_state, known.states = found, state, [table]
        known.blobs = {digest: known.every[digest] for digest in here}
        known.damaged = [disk.damage is not None]
        known.synced()

    def _count(self) -> None:
        """Sizes and live bytes are those of the records that count."""
        disk, usage = self.disk, self.disk._ground.usage
        places = [disk._catalogue.find(digest) for digest in self.known.every]
        places += [disk.log.place(n) for n in range(disk.log.first_index, disk.log.last_index + 1)]
        live = dict.fromkeys(usage.sizes, 0)
        for where in places:
            if where:
                live[segment_of(where)] += HEAD_SIZE + length_of(where)
        assert live == {number: usage.live[number] for number in usage.sizes}
        assert sum(live.values()) == usage.wanted
        assert sum(usage.sizes.values()) == usage.size
        for number, size in usage.sizes.items():
            assert self.files.size(segment_name(number)) == size

    def rebuild(self) -> None:
        """An index that is lost is made anew."""
        known = self.known
        if not self.told or self.disk.damage is not None:
            return  # only the index knew
        if self.owed:
            self.play([("entries", 20), ("sync", 0)], NO_TROUBLE)
        disk = rebuild_disk(SimulatedFiles(self.files.everything()), MemoryIndex(), self.limits)
        assert (disk.damage is not None) == (known.log[0] > 1)
        assert log_of(disk) == known.log
        assert disk.saved().hard_state == known.hard_state
        assert disk.missing(known.blobs) == []
        assert disk._ground.usage.live == self.disk._ground.usage.live


def only(fault: Fault, *kinds: Kind | None) -> None:
    """Let no other fault pass."""
    if fault.kind not in kinds:
        raise fault


def live(script: Script, trouble: Trouble, later: Script, seed: int) -> str:
    """One life: the script with its trouble, its end, and three starts; which operation failed."""
    dice = random.Random(seed)
    life = Life(dice, dice.choice((1500, 1500, 6000)), some_trouble(dice))
    hit = life.play(script, trouble).hit
    for _ in range(3):
        life.leave(dice.randrange(4))
        life.start(some_trouble(dice), dice.randrange(4))
        if dice.random() < 0.5:
            life.play(later, NO_TROUBLE)
    life.leave(0)
    life.start(NO_TROUBLE, 0)
    life.rebuild()
    return hit


def some_trouble(dice: random.Random) -> Trouble:
    """For a start, which does not do much."""
    at, cut = dice.choice((0, dice.randrange(1, 9))), dice.choice((0, 0, dice.randrange(1, 9)))
    number, times = dice.choice((errno.EIO, errno.ENOSPC)), dice.choice((1, 3))
    return Trouble(at, number, times, cut=cut, reads=dice.random() < 0.3)
