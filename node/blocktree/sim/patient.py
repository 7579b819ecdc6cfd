"""A process over a disk that fails: it stops when it must, and finds its way back when in doubt.

What a node's driver, saver and `store.doubt` do around the core, in simulated time. The way back is
`store.repair`, the same machine as in a node.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.raft import ChangeKind, NodeId, Raft, Role, VoteAsk, VoteReply
from blocktree.sim.faulty import FaultyDisk, is_poisoned
from blocktree.sim.judge import Violation
from blocktree.sim.process import Process
from blocktree.sim.world import MILLISECOND
from blocktree.store.doubt import NoLog
from blocktree.store.repair import Repair, Stage

START_AGAIN = 150 * MILLISECOND
ASK_TICKS = 6


@dataclass(frozen=True, slots=True)
class Clear:
    """The sender's log is damaged: take it out of the group."""

    life: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """Since this entry the group is without the one that asked."""

    life: int
    index: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """The sender is sound again, and may be made a voter."""


class Patient(Process):
    """One member whose disk is a `FaultyDisk`."""

    disk: FaultyDisk

    def start(self) -> None:
        """Start if the disk opens, else later."""
        if not self.disk.open():
            self._refuse()
            return
        damaged = self.disk.damage is not None
        self._repair = Repair(damaged=damaged, wait_ticks=self._config.election_ticks_min)
        self._clearing: dict[NodeId, tuple[int, int]] = {}  # (its life, my term)
        self._adding: set[NodeId] = set()
        self._sound: set[NodeId] = set()
        self._asked = 0
        self.disk.broken = self._break
        if damaged:
            self._judge.seen["damaged logs"] += 1
            self._world.tell(f"{self.name} is in doubt, {self.disk.found}")
        self._begin()

    @property
    def in_doubt(self) -> bool:
        """Whether it may decide nothing."""
        return self._repair.active

    def _begin(self) -> None:
        """Begin with the log as it is, which is read up to its end."""
        try:
            super().start()
        except Fault as fault:
            if not is_poisoned(fault):
                raise
            self.crash()
            self._refuse()

    def _refuse(self) -> None:
        self._judge.seen["starts refused"] += 1
        self._world.after(START_AGAIN, self._start_again)

    def _start_again(self) -> None:
        if self.raft is None:
            self.start()

    def _new_core(self) -> Raft:
        saved = self.disk.saved()
        log = NoLog(saved.mark) if self._repair.deaf else self.disk.view
        return Raft(self.name, saved, log, self._config, self._world.dice)

    # the disk may fail wherever it is touched

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            if not is_poisoned(fault):
                raise
            self._world.tell(f"{self.name} stops: {fault}")
            self._break()
        except OSError as fault:
            self._world.tell(f"{self.name} stops: {fault}")
            self._break()

    def _break(self) -> None:
        if self.raft is not None:
            self._judge.seen["disks failed"] += 1
            self.crash()
            delay = int(self._world.dice.random() * START_AGAIN)
            self._world.after(delay, self._start_again)

    def _pump(self) -> None:
        with self._stopping():
            super()._pump()

    def _apply_next(self, life: int) -> None:
        with self._stopping():
            super()._apply_next(life)

    # the way back

    def _tick(self, life: int) -> None:
        super()._tick(life)
        if life == self._life and self.raft is not None and self.stalled_since is None:
            with self._stopping():
                self._heal(self.raft)
            if self.raft is not None and self.raft.role is Role.LEADER:
                self._clear_others(self.raft)

    def _heal(self, raft: Raft) -> None:
        repair = self._repair
        repair.tick()
        repair.applied(self.applied, restoring=self._restoring > 0)
        if repair.stage is Stage.ASKING:
            if self._asked % ASK_TICKS == 0:
                self._network.tell_everybody(self.name, Clear(self._life))
            self._asked += 1
        elif repair.stage is Stage.FORGETTING:
            self.disk.forget_log()
            repair.forgotten()
            self._begin()
        elif repair.stage is Stage.NOTING:
            self.disk.repaired()
            raft.trust()
            repair.noted()
            self._network.tell_everybody(self.name, Repaired())
            self._judge.seen["logs repaired"] += 1

    def _clear_others(self, raft: Raft) -> None:
        """What `MemberDesk.clear` does for those who asked, a step a tick; then ADD and PROMOTE."""
        members = raft.membership
        for node, (life, term) in list(self._clearing.items()):
            if term != raft.term:
                del self._clearing[node]
            elif node in (*members.voters, *members.learners):
                with suppress(Fault):
                    raft.change(ChangeKind.REMOVE, node)
            elif raft.commit == raft.last_index:
                del self._clearing[node]
                self._adding.add(node)
                self._network.send(self.name, node, Cleared(life, raft.last_index))
        for node in self._adding - self._clearing.keys() - {*members.voters, *members.learners}:
            with suppress(Fault):
                raft.change(ChangeKind.ADD, node)
        for node in self._sound & set(members.learners):
            with suppress(Fault):
                raft.change(ChangeKind.PROMOTE, node)
        self._pump()

    def receive(self, sender: str, message: Any) -> None:
        """Take a message; the core of a deaf process gets none."""
        if self.raft is None:
            return
        if isinstance(message, Clear):
            if self.raft.role is Role.LEADER:
                self._clearing[NodeId(sender)] = (message.life, self.raft.term)
        elif isinstance(message, Repaired):
            self._sound.add(NodeId(sender))
        elif isinstance(message, Cleared):
            if message.life == self._life:
                self._repair.cleared(message.index)
        elif not self._repair.deaf:
            self._hear(sender, message)

    def _hear(self, sender: str, message: Any) -> None:
        """As `Driver.forgot`: what shows that the disk has forgotten is noted on it."""
        try:
            super().receive(sender, message)
        except Fault as fault:
            if fault.kind is not Kind.DAMAGED:
                raise
            self._world.tell(f"{self.name}: {fault.what}")
            self._judge.seen["lies found out"] += 1
            with suppress(Fault):
                self.disk.distrust()
            self._break()

    def _send(self, to: NodeId, message: Any) -> None:
        """Who is in doubt promises nothing."""
        votes = isinstance(message, VoteAsk) or (isinstance(message, VoteReply) and message.granted)
        if self._repair.deaf or (self._repair.active and votes):
            raise Violation(f"{self.name} is in doubt and says {message}")
        super()._send(to, message)
