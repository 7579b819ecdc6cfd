"""One process: a real raft core, a key-value machine, and a disk, driven as `raft/SPEC.md` says.

Messages, ticks and requests come in while it is up. It can crash (everything in memory is lost),
stall (nothing happens for a while, then it finds out how long), and start again from its platter.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.raft import Config, Entry, EntryKind, NodeId, Raft, Ready, Role, Saved, SnapshotMark
from blocktree.sim.disk import Disk, Snapshot, Write
from blocktree.sim.judge import Judge
from blocktree.sim.network import Network
from blocktree.sim.segments import SegmentDisk
from blocktree.sim.world import MILLISECOND, World

TICK = 50 * MILLISECOND
CHECKPOINT_ENTRIES = 24
SNAPSHOT_PATIENCE = 600 * MILLISECOND
REFUSED = -1  # the reply to a request that certainly had no effect
Reply = Callable[[int], None]  # the value read or written, or REFUSED


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """A whole snapshot on its way (the store sends it in pieces)."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """It arrived."""

    index: int


class Process:
    """One member, up or down."""

    def __init__(  # noqa: PLR0917 - wiring
        self,
        name: NodeId,
        world: World,
        network: Network,
        judge: Judge,
        config: Config,
        disk: Disk | SegmentDisk,
    ) -> None:
        self.name = name
        self.disk = disk
        self.raft: Raft | None = None
        self.values: dict[str, int] = {}
        self.applied = 0
        self.stalled_since: int | None = None
        self._world = world
        self._network = network
        self._judge = judge
        self._config = config
        self._life = 0
        self._tick_length = TICK + world.dice.randint(-TICK // 50, TICK // 50)  # clocks drift 2 %
        self._lazy = world.chance(0.3)  # applies later, in its own time
        self._timely = world.chance(0.7)  # has a clock for what is held back, beside its ticks
        network.attach(name, self.receive)
        self.start()

    def start(self) -> None:
        """Start from what the platter holds."""
        platter = self.disk.platter
        checkpoint = platter.checkpoint
        self._life += 1
        self.values = dict(checkpoint.values)
        self.applied = self._commit_seen = checkpoint.mark.index
        self._checkpointed = checkpoint.mark.index
        self._restoring = 0
        self._staged: Snapshot | None = None
        self._work: deque[Ready] = deque()
        self._writes: dict[int, tuple[int, int, Reply]] = {}  # index: (term, value, reply)
        self._reads: dict[int, tuple[str, int, Reply]] = {}
        self._requests = 0
        self._backlog: list[tuple[NodeId, Any]] = []
        self._sending: set[NodeId] = set()
        self._told = ""
        self._held_from = 0
        self.stalled_since = None
        self.raft = self._new_core()
        first = int(self._world.dice.random() * self._tick_length)
        self._world.after(first, self._tick, self._life)

    def _new_core(self) -> Raft:
        platter = self.disk.platter
        saved = Saved(platter.hard_state, platter.checkpoint.mark)
        return Raft(self.name, saved, self.disk.view, self._config, self._world.dice)

    def crash(self) -> None:
        """Lose all memory, and what the disk had not finished."""
        self.raft = None
        self._life += 1
        self.disk.crash()

    def stall(self, length: int) -> None:
        """Do nothing for a while."""
        if self.raft is not None and self.stalled_since is None:
            self.stalled_since = self._world.now
            self._world.after(length, self._wake, self._life)

    def _wake(self, life: int) -> None:
        if life != self._life or self.stalled_since is None or self.raft is None:
            return
        missed = (self._world.now - self.stalled_since) // self._tick_length
        self.stalled_since = None
        self.raft.tick(1 + missed)  # time first: no lease may outlive a stall
        backlog, self._backlog = self._backlog, []
        for sender, message in backlog:
            self.receive(sender, message)
        self._pump()

    def _tick(self, life: int) -> None:
        if life == self._life and self.raft is not None:
            self._world.after(self._tick_length, self._tick, life)
            if self.stalled_since is None:
                self.raft.tick()
                self._pump()

    def receive(self, sender: str, message: Any) -> None:
        """Take a message from the network."""
        if self.raft is None:
            return
        if self.stalled_since is not None:
            self._backlog.append((NodeId(sender), message))
        elif isinstance(message, SnapshotSent):
            self._network.send(self.name, sender, SnapshotTaken(message.snapshot.mark.index))
            if self._restoring == 0 and self.raft.snapshot_staged(message.snapshot.mark):
                self._staged = message.snapshot
            self._pump()
        elif isinstance(message, SnapshotTaken):
            self._snapshot_over(self._life, NodeId(sender))
            self._pump()
        else:
            self.raft.receive(NodeId(sender), message)
            self._pump()

    def put(self, key: str, value: int, reply: Reply) -> None:
        """Propose a write."""
        if self.raft is None or self.stalled_since is not None:
            return
        try:
            index = self.raft.propose(f"{key} {value}".encode())
        except Fault:
            reply(REFUSED)
            return
        self._writes[index] = (self.raft.term, value, reply)
        self._pump()

    def get(self, key: str, reply: Reply, *, lease: bool) -> None:
        """Read, by a quorum round, or at once under a lease if there is one."""
        if self.raft is None or self.stalled_since is not None:
            return
        if lease and self.raft.lease_ticks() > 0:
            self._judge.seen["lease reads"] += 1
            self._judge.reads(self.name, self.applied, self._judge.acknowledged)
            reply(self.values.get(key, 0))
            return
        self._requests += 1
        try:
            self.raft.read(self._requests)
        except Fault:
            reply(REFUSED)
            return
        self._reads[self._requests] = (key, self._judge.acknowledged, reply)
        self._pump()

    def ask(self, act: Callable[[Raft], object]) -> None:
        """Let the core do something that it may refuse, such as a membership change."""
        if self.raft is None or self.stalled_since is not None:
            return
        try:
            act(self.raft)
        except Fault:
            return
        self._pump()

    def _pump(self) -> None:
        """Do the work in the order of the fields of `Ready`."""
        raft, life = self.raft, self._life
        while raft is not None and life == self._life and (ready := raft.ready()) is not None:
            self._watch(raft)
            if ready.must_save:
                self._save(ready)
            for to, message in ready.send:
                self._send(to, message)
            for node in ready.snapshots:
                self._send_snapshot(node)
            for request in ready.reads_failed:
                self._reads.pop(request)[2](REFUSED)
            if ready.apply or ready.reads or ready.restore:
                self._work.append(ready)
                if self._lazy:
                    delay = int(self._world.dice.random() * 5 * MILLISECOND)
                    self._world.after(delay, self._apply_next, life)
                else:
                    self._apply_next(life)
        if raft is not None and life == self._life and self._timely:
            self._plan_release(raft)

    def _plan_release(self, raft: Raft) -> None:
        if raft.held_from not in (0, self._held_from):
            delay = int(self._world.dice.random() * 10 * MILLISECOND)
            self._world.after(delay, self._release, self._life, raft.held_from)
        self._held_from = raft.held_from

    def _release(self, life: int, held_from: int) -> None:
        raft = self.raft
        if life == self._life and raft is not None and raft.held_from == held_from:
            self._judge.seen["releases"] += 1
            if self._world.chance(0.3):
                raft.prefer({node: self._world.dice.random() for node in raft.membership.voters})
            raft.release()
            if self.stalled_since is None:
                self._pump()

    def _send(self, to: NodeId, message: Any) -> None:
        self._network.send(self.name, to, message)

    def _watch(self, raft: Raft) -> None:
        if self._world.story is not None:
            self._tell(raft)
        if raft.role is Role.LEADER:
            self._judge.leads(self.name, raft.term)
            if raft.commit > self._commit_seen:
                self._judge.commits(raft.membership, raft.commit, raft.term)
        self._commit_seen = raft.commit

    def _tell(self, raft: Raft) -> None:
        line = f"{self.name} is {raft.role.name.lower()} in term {raft.term}"
        if line != self._told:
            self._told = line
            self._world.tell(line)

    def _save(self, ready: Ready) -> None:
        restore = None
        if ready.restore is not None:
            assert self._staged is not None, "restore without a snapshot"
            restore, self._restoring = self._staged, ready.number
            self._judge.seen["restores"] += 1
        write = Write(restore, ready.hard_state, ready.entries)
        self.disk.write(write, lambda: self._saved(ready.number))

    def _saved(self, number: int) -> None:
        assert self.raft is not None
        if self._restoring and number >= self._restoring:
            self._restoring = 0
        self.raft.saved(number)
        if self.stalled_since is None:
            self._pump()

    def _apply_next(self, life: int) -> None:
        if life != self._life or self.raft is None:
            return
        ready = self._work.popleft()
        if ready.restore is not None and self._staged is not None:
            self.values = dict(self._staged.values)
            self.applied = self._checkpointed = ready.restore.index
            self._writes.clear()
        if ready.apply:
            self._judge.applies(self.name, ready.apply)
            for entry in ready.apply:
                self._apply(entry)
            self.raft.applied(self.applied)
        for request in ready.reads:
            key, acknowledged, reply = self._reads.pop(request)
            self._judge.seen["quorum reads"] += 1
            self._judge.reads(self.name, self.applied, acknowledged)
            reply(self.values.get(key, 0))
        if self.applied - self._checkpointed >= CHECKPOINT_ENTRIES and not self._restoring:
            self._checkpoint(self.raft)
        self._pump()

    def _apply(self, entry: Entry) -> None:
        assert entry.index == self.applied + 1, (entry.index, self.applied)
        self.applied = entry.index
        if entry.kind is EntryKind.MEMBERS:
            self._judge.seen["memberships applied"] += 1
        if entry.kind is EntryKind.NORMAL:
            key, value = entry.payload.decode().split(" ")
            self.values[key] = int(value)
        term, value_wanted, reply = self._writes.pop(entry.index, (0, 0, None))
        if reply is not None:
            if term == entry.term:
                self._judge.acknowledged = max(self._judge.acknowledged, entry.index)
                reply(value_wanted)
            else:
                reply(REFUSED)

    def _checkpoint(self, raft: Raft) -> None:
        try:
            mark = raft.mark(self.applied)
        except Fault as fault:
            if fault.kind is not Kind.BUSY:
                raise
            return  # the state that replaces this one is on its way to the disk
        self._checkpointed = mark.index
        keep = self._world.dice.choice((0, 8, 100))
        write = Write(checkpoint=Snapshot(mark, dict(self.values)), keep=keep)
        self.disk.write(write, lambda: self._compact(raft, mark))

    def _compact(self, raft: Raft, mark: SnapshotMark) -> None:
        if raft is self.raft:
            raft.compact(mark.index)

    def _send_snapshot(self, node: NodeId) -> None:
        """Send what the newest durable checkpoint holds; say when that is over, well or not."""
        self._sending.add(node)
        self._network.send(self.name, node, SnapshotSent(self.disk.platter.checkpoint))
        self._world.after(SNAPSHOT_PATIENCE, self._snapshot_over, self._life, node)

    def _snapshot_over(self, life: int, node: NodeId) -> None:
        if life == self._life and self.raft is not None and node in self._sending:
            self._sending.discard(node)
            self.raft.snapshot_sent(node)
