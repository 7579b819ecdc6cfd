"""Small disks for tests, and what each of them should hold."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from blocktree.disk import Batch, Disk, Files, Index, Keeper, Limits
from blocktree.disk.commit import IndexCommit
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, PrincipalId, TreeId, digest_of
from blocktree.raft import Entry, EntryKind, HardState, Membership, NodeId, SnapshotMark

KEEPER = Keeper(TreeId("bt1" + "a" * 52), PrincipalId(b"n" * 32))
SMALL = Limits(segment=8192, batch=65536, reserve=0, log_cache=512)
ME = NodeId("6e" * 32)
MEMBERS = Membership((ME,))


def blob_of(payload: bytes) -> tuple[Digest, bytes]:
    return digest_of(payload), payload


def entry_of(index: int, term: int = 1, payload: bytes = b"payload") -> Entry:
    return Entry(term, index, EntryKind.NORMAL, payload)


def mark_of(index: int, term: int = 1) -> SnapshotMark:
    return SnapshotMark(index, term, MEMBERS)


def open_disk(files: Files, index: Index, limits: Limits = SMALL, *, salvage: bool = False) -> Disk:
    return Disk.open(
        files,
        index,
        limits,
        KEEPER,
        salvage=salvage,
        clock=lambda: 0.0,
        dice=lambda count: b"d" * count,
    )


def rebuild_disk(files: Files, index: Index, limits: Limits = SMALL) -> Disk:
    return Disk.rebuild(
        files, index, limits, KEEPER, clock=lambda: 0.0, dice=lambda count: b"d" * count
    )


def fault_of(call: Callable[[], object]) -> Fault | None:
    """What a call raised, None if it worked."""
    try:
        call()
    except Fault as fault:
        return fault
    return None


def log_of(disk: Disk) -> tuple[int, tuple[Entry, ...]]:
    log = disk.log
    if log.last_index < log.first_index:
        return log.first_index, ()
    return log.first_index, tuple(log.entries(log.first_index, log.last_index + 1, 1 << 30))


@dataclass
class Truth:
    """What a disk should hold, and every state it went through since the last sync."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    log: tuple[int, tuple[Entry, ...]] = (1, ())
    hard_state: HardState = field(default_factory=lambda: HardState(0, NodeId("")))
    table: dict[bytes, bytes] = field(default_factory=dict)
    mark: SnapshotMark = field(default_factory=lambda: SnapshotMark(0, 0, Membership(())))
    floor: dict[Digest, bytes] = field(default_factory=dict)  # blobs that must be there
    every: dict[Digest, bytes] = field(default_factory=dict)  # blobs that ever were
    logs: list[tuple[int, tuple[Entry, ...]]] = field(default_factory=lambda: [(1, ())])
    hard_states: list[HardState] = field(default_factory=lambda: [HardState(0, NodeId(""))])
    tables: list[dict[bytes, bytes]] = field(default_factory=lambda: [{}])

    def entry(self, entry: Entry) -> None:
        first, entries = self.log
        self.log = first, (*entries[: entry.index - first], entry)
        self.logs.append(self.log)

    def compact(self, index: int) -> None:
        first, entries = self.log
        self.log = index + 1, entries[index + 1 - first :]
        self.logs.append(self.log)

    def checkpointed(self, mark: SnapshotMark) -> None:
        self.table = self.tables[-1]
        self.tables = [self.table]
        self.mark = mark

    def synced(self) -> None:
        self.floor = dict(self.blobs)
        self.logs = [self.log]
        self.hard_states = [self.hard_state]


class Run:
    """A disk driven by dice through everything it can do, with the truth beside it."""

    def __init__(self, disk: Disk, seed: int) -> None:
        self.dice = random.Random(seed)
        self.truth = Truth()
        self.disk = disk
        self.applied = 0  # no entry up to this one is replaced any more
        self.term = 1

    def step(self) -> None:
        steps = [self.append] * 8 + [self.sync] * 4 + [self.checkpoint, self.delete, self.reclaim]
        self.dice.choice([*steps, self.compact, self.vote])()

    def append(self) -> None:
        dice, truth = self.dice, self.truth
        blobs = [
            blob_of(dice.randbytes(dice.choice([30, 700, 2500]))) for _ in range(dice.randint(0, 3))
        ]
        first, entries = truth.log
        last = first + len(entries) - 1
        low = max(self.applied + 1, first)
        begin = dice.randint(max(low, last - 2), last + 1) if dice.random() < 0.2 else last + 1
        if begin <= last:
            self.term += 1
        count = dice.randint(0 if begin == last + 1 else 1, 3)
        new = [
            entry_of(begin + at, self.term, dice.randbytes(dice.choice([5, 90, 600])))
            for at in range(count)
        ]
        for digest, payload in blobs:
            truth.every[digest] = payload
            truth.blobs[digest] = payload
        for entry in new:
            truth.entry(entry)
        self.disk.append(Batch(blobs=blobs, entries=new))

    def vote(self) -> None:
        self.term += 1
        self.truth.hard_state = HardState(self.term, ME)
        self.truth.hard_states.append(self.truth.hard_state)
        self.disk.append(Batch(hard_state=self.truth.hard_state))

    def sync(self) -> None:
        self.disk.sync()
        self.truth.synced()

    def checkpoint(self) -> None:
        changes, mark = self.begin()
        self.disk.checkpoint(changes, mark)
        self.truth.checkpointed(mark)
        self.truth.synced()

    def begin(self) -> tuple[dict[bytes, bytes | None], SnapshotMark]:
        """What a checkpoint is to write; from here on it may be on the disk."""
        truth, dice = self.truth, self.dice
        first, entries = truth.log
        last = first + len(entries) - 1
        index = dice.randint(self.applied, max(self.applied, last))
        term = next((e.term for e in entries if e.index == index), truth.mark.term)
        changes: dict[bytes, bytes | None] = {
            b"k%d" % dice.randint(0, 9): dice.choice([None, dice.randbytes(9)]) for _ in range(3)
        }
        table = truth.table | {k: v for k, v in changes.items() if v is not None}
        for key in (k for k, v in changes.items() if v is None):
            table.pop(key, None)
        truth.tables = [truth.table, table]
        self.applied = index
        return changes, SnapshotMark(index, term, MEMBERS)

    def compact(self) -> None:
        first, entries = self.truth.log
        index = self.dice.randint(first - 1, self.truth.mark.index)
        if index >= first:
            term = entries[index - first].term
            self.truth.compact(index)
            self.disk.compact(SnapshotMark(index, term, MEMBERS))

    def delete(self) -> None:
        some = self.dice.sample(sorted(self.truth.blobs), min(4, len(self.truth.blobs)))
        for digest in some:
            del self.truth.blobs[digest]
            self.truth.floor.pop(digest, None)
        self.disk.delete_blobs(some)

    def reclaim(self) -> None:
        self.disk.reclaim(self.dice.choice([5000, 100_000]))


class BusyRun(Run):
    """As `Run`, with other work between the steps of a checkpoint, which may find no room."""

    def __init__(self, disk: Disk, seed: int) -> None:
        super().__init__(disk, seed)
        self.under_way: IndexCommit | None = None
        self.refused = 0

    def step(self) -> None:
        if self.under_way is not None and self.dice.random() < 0.25:
            self.dice.choice([self.under_way.write, self.look, self.end])()
        else:
            super().step()
        assert self.disk.missing(self.truth.blobs) == []

    def checkpoint(self) -> None:
        self.end()
        self.under_way = self.disk.begin_checkpoint(*self.begin())
        self.truth.synced()

    def look(self) -> None:
        """Nobody gets a table of one moment under the mark of another."""
        commit, truth = self.under_way, self.truth
        assert commit is not None
        snapshot = self.disk.snapshot()
        mark, table = (
            (commit.mark, truth.tables[-1])
            if commit.fault is None
            else (truth.mark, truth.tables[0])
        )
        assert (snapshot.mark, dict(snapshot.items())) == (mark, table)

    def compact(self) -> None:
        self.end()
        super().compact()

    def end(self) -> None:
        commit, self.under_way = self.under_way, None
        if commit is None:
            return
        commit.write()
        try:
            self.disk.end_checkpoint(commit)
        except Fault as fault:
            if fault.kind is not Kind.NO_SPACE:
                raise
            self.refused += 1
            self.truth.tables = self.truth.tables[:1]
        else:
            self.truth.checkpointed(commit.mark)


def check(disk: Disk, truth: Truth) -> None:
    """Everything acknowledged is there; what else is there is a true later state."""
    assert disk.damage is None
    assert log_of(disk) in truth.logs
    assert disk.saved().hard_state in truth.hard_states
    check_blobs(disk, truth)


def check_blobs(disk: Disk, truth: Truth) -> set[Digest]:
    """Every blob that is there is right, and none is missing that was durable; which are there."""
    assert disk.missing(truth.floor) == []
    here = set(truth.every) - set(disk.missing(truth.every))
    for digest in here:
        assert disk.read_blob(digest, verify=True) == truth.every[digest]
    return here
