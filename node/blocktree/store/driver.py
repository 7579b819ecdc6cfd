"""Drives the raft core: its Readies are saved, sent and applied in the order of their fields.

Invariants
- The core is touched on the event loop only.
- Entries are applied in order, each once, in slices of a few milliseconds, so that heartbeats are
  never late because of a long queue.
- A read is released only after everything that its Ready told to apply was applied.
- Time is counted before a message is told to the core: a promise to be loyal begins no earlier than
  the message that it answers, however long this process was stopped.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.raft import (
    ChangeKind,
    Entry,
    Membership,
    Message,
    NodeId,
    Raft,
    Ready,
    Role,
    SnapshotMark,
)
from blocktree.store.delays import Delays
from blocktree.store.doubt import NoLog
from blocktree.store.holding import Holding
from blocktree.store.host import Host
from blocktree.store.saver import Saver

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05
_LARGE_BYTES = 4 << 10  # of an entry
_QUIET_MAX = 20  # ticks that only count and are not waited for: a quiet node wakes less often
_SLICE_SECONDS = 0.004


class Machine(Protocol):
    """What the driver drives, beside the disk."""

    def apply(self, entry: Entry) -> None:
        """A committed entry, in order."""

    def restored(self, mark: SnapshotMark) -> None:
        """A snapshot replaced the state."""

    def send(self, to: NodeId, messages: Sequence[Message]) -> None:
        """Send Raft messages, or lose them."""

    def send_snapshot(self, to: NodeId) -> None:
        """A follower is behind the log."""

    def led(self, term: int, role: Role, leader: NodeId) -> None:
        """Term, role or leader changed."""

    def names(self, digest: Digest) -> bool:
        """Whether an entry that is not applied yet names a blob."""

    def broken(self, fault: Fault) -> None:
        """The disk failed for good: stop the node."""


class Driver:
    """One group's core with its disk, its clock and its way out.

    `soon` plans a call for when all that came together is taken (`Runtime.soon`).
    """

    def __init__(
        self,
        me: NodeId,
        host: Host,
        machine: Machine,
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        disk = host.disk
        self._machine = machine
        self._soon = soon
        self._clock = host.clock
        self._loop = asyncio.get_running_loop()
        saved = disk.saved()
        self._new_core = partial(Raft, me, config=host.config, dice=host.dice)
        self._disk = disk
        self._worker = host.worker
        self.raft = self._new_core(saved, NoLog(saved.mark) if saved.in_doubt else disk.log)
        self.saver = Saver(host, machine.names, self._saved, self.kick, self._fail)
        self._delays = Delays(lambda: self.raft, host.clock)
        self._holding = Holding(lambda: self.raft, self._pump, self._loop.call_later)
        self.applied = disk.saved().mark.index
        self._todo: deque[Entry | tuple[int, ...] | SnapshotMark] = deque()
        self._restoring: dict[int, SnapshotMark] = {}
        self._restored_to = 0  # entries up to here are in the snapshot that is being installed
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._read_number = 0
        self._gathering = self._pumping = False  # that one is planned
        self._seen: tuple[int, Role, NodeId] = (-1, Role.FOLLOWER, NodeId(""))
        self._ticked = host.clock()
        self._planned_ticks = 1  # that the timer waits for, from when
        self._planned_from = self._ticked
        self._timer: asyncio.TimerHandle | None = None
        self._started = self._stopped = False
        self._patience = 0  # ticks, when that was told last

    # what its owner calls

    def start(self) -> None:
        """Let time pass from now on."""
        self._ticked, self._started = self._clock(), True
        self._plan_tick()
        self.kick()

    def stop(self) -> None:
        """Do nothing any more; what waits is told STOPPED."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self.saver.stop()
        self._holding.stop()
        self._release_reads(tuple(self._reads), Fault(Kind.STOPPED, "the node is stopping"))

    def begin_anew(self) -> None:
        """The disk's log was replaced behind the back of a core that heard nothing so far."""
        assert not self._todo, "a core in doubt has no work"
        saved = self._disk.saved()
        self.raft = self._new_core(saved, self._disk.log)
        self.applied = saved.mark.index
        self.kick()

    @property
    def restoring(self) -> bool:
        """Whether a snapshot is being installed: the table below may be of another time."""
        return self.applied < self._restored_to

    @property
    def leads(self) -> bool:
        """Whether this node believes to be the leader."""
        return self.raft.role is Role.LEADER

    def receive(self, sender: NodeId, message: Message) -> None:
        """A message from a peer."""
        self._count_ticks()
        self.raft.receive(sender, message)
        self._delays.heard(sender, message)
        self.kick()

    def forgot(self, fault: Fault) -> None:
        """The disk lost what it had acknowledged: note that on it, and stop.

        When it starts again it is in doubt (`doubt`), and the group repairs it.
        """
        if not self._stopped:
            self.stop()
            self._worker.submit(self._disk.distrust, lambda _, cause: self._fail(_of(cause, fault)))

    def gather(self) -> None:
        """Several messages come now: do nothing about them until `act`."""
        self._gathering = True

    def act(self) -> None:
        """Do at once what the messages since `gather` ask for."""
        self._gathering = False
        self._pump()

    def propose(self, payload: bytes, beside: int = 0) -> int:
        """Append an entry as `Raft.propose` does. Then call `proposed`.

        While the disk is at work entries gather, and leave together when it is done or a follower
        answers: they could not be saved here before, and few large messages cost less than many.
        """
        return self.raft.propose(payload, beside)

    def proposed(self, size: int) -> None:
        """Let go what was proposed, so many bytes, unless the disk is at work.

        What is large waits for no company: the others work on it while the next is checked here.
        """
        if self.saver.busy:
            return
        if size >= _LARGE_BYTES:
            self._pump()
        else:
            self.kick()

    def change(self, kind: ChangeKind, node: NodeId) -> int:
        """Append a change of membership."""
        index = self.raft.change(kind, node)
        self.kick()
        return index

    def transfer(self, to: NodeId) -> None:
        """Hand leadership over."""
        self.raft.transfer(to)
        self.kick()

    def read(self) -> "asyncio.Future[None]":
        """Done when the state includes every change acknowledged before this call.

        Fault: NOT_LEADER or BUSY.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._read_number += 1
        self._reads[self._read_number] = future
        try:
            self.raft.read(self._read_number)
        except Fault:
            del self._reads[self._read_number]
            raise
        self.kick()
        return future

    def lease_seconds(self) -> float:
        """For how long from now no other leader can exist and the applied state is the newest.

        Ticks that are overdue (the process was stopped, the machine slept) are counted first.
        """
        if self.raft.role is not Role.LEADER:
            return 0.0
        if self._count_ticks():
            self.kick()
        return self.raft.lease_ticks() * TICK_SECONDS - (self._clock() - self._ticked)

    def kick(self) -> None:
        """Look for work soon, once for all that comes together."""
        if not (self._pumping or self._gathering or self._stopped):
            self._pumping = True
            self._soon(self._planned)

    @property
    def membership(self) -> Membership:
        """Who votes and who learns."""
        return self.raft.membership

    # inside

    def _plan_tick(self) -> None:
        """Set the timer anew if ticks were counted meanwhile, or something is due earlier."""
        ticks = min(self.raft.quiet_ticks, _QUIET_MAX) + 1
        if self._timer is not None:
            if self._planned_from == self._ticked and ticks >= self._planned_ticks:
                return
            self._timer.cancel()
        self._planned_ticks, self._planned_from = ticks, self._ticked
        left = self._ticked + ticks * TICK_SECONDS - self._clock()
        self._timer = self._loop.call_later(max(0.0, left), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._count_ticks():
            self._pump()  # at once: a turn of the loop for it would be half of what idling costs
        else:
            self._plan_tick()

    def _count_ticks(self) -> bool:
        """Tell the core of the time that passed: the ticks that were waited for, and any stall.

        After a stall the tick for which the timer was set is yet to come: what arrived meanwhile is
        read before anything is done for the lack of it.
        """
        elapsed = int((self._clock() - self._ticked) / TICK_SECONDS)
        if elapsed <= 0 or not self._started:
            return False
        self._ticked += elapsed * TICK_SECONDS
        planned = self._planned_ticks
        awaited = elapsed if elapsed <= planned else max(1, planned - 1)
        for _ in range(awaited - 1):
            self.raft.tick()
        self.raft.tick(elapsed - awaited + 1)
        return True

    def _planned(self) -> None:
        self._pumping = False
        self._pump()

    def _pump(self) -> None:
        if self._stopped:
            return
        try:
            self._turn()
        except Exception:
            # A replica that cannot do what the group decided must not go on as if it had.
            log.exception("the replica broke")
            self._fail(Fault(Kind.FAILED, "the replica broke, its log says how"))

    def _turn(self) -> None:
        self._count_ticks()
        end = self._clock() + _SLICE_SECONDS
        while True:
            ready = self.raft.ready()
            if ready is not None:
                self._take(ready)
            if self._todo:
                self._work(end)
                if self._todo:  # the time is up
                    self.kick()
                    break
            elif ready is None:
                break
        self._notice()
        if self._started and not self._stopped:
            self._plan_tick()
            self._holding.look()

    def _take(self, ready: Ready) -> None:
        self._send(ready)  # first: the others' disks are to work at the same time as this one's
        if ready.must_save:
            if ready.restore is not None:
                self._restoring[ready.number] = ready.restore
                self._restored_to = ready.restore.index
            self.saver.save(ready)
        self._todo.extend(ready.apply)
        if ready.reads:
            self._todo.append(ready.reads)
        if ready.reads_failed:
            self._release_reads(
                ready.reads_failed,
                Fault(Kind.NOT_LEADER, "leadership moved", next_step=self.raft.leader),
            )
        for node in ready.snapshots:
            self._machine.send_snapshot(node)

    def _send(self, ready: Ready) -> None:
        out: dict[NodeId, list[Message]] = {}
        for to, message in ready.send:
            out.setdefault(to, []).append(message)
        for to, messages in out.items():
            self._delays.sent(to, messages)
            self._machine.send(to, messages)

    def _notice(self) -> None:
        now = (self.raft.term, self.raft.role, self.raft.leader)
        if now != self._seen:
            self._seen = now
            self._machine.led(*now)

    def _work(self, end: float) -> None:
        """Apply what is committed until the time is up."""
        while self._todo:
            item = self._todo.popleft()
            if isinstance(item, Entry):
                if item.index > self._restored_to:  # else the snapshot has it
                    self._machine.apply(item)
                    self.applied = item.index
            elif isinstance(item, SnapshotMark):
                self.applied = item.index
                self._machine.restored(item)
            else:
                self._release_reads(item, None)
            if self._clock() > end:
                break
        self.raft.applied(self.applied)

    def _saved(self, number: int) -> None:
        for done in [n for n in self._restoring if n <= number]:
            self._todo.append(self._restoring.pop(done))
        self._count_ticks()  # a save takes as long as it took
        self.raft.saved(number)
        self._tell_patience()
        self._pump()

    def _tell_patience(self) -> None:
        """Say when elections here begin to wait for a slow disk, or no longer have to."""
        ticks = self.raft.patience_ticks
        if abs(ticks - self._patience) < max(4, self._patience // 2):
            return
        self._patience = ticks
        log.info(
            "elections wait %d ms longer here: the disk takes up to %d ms to save",
            ticks * TICK_SECONDS * 1000,
            ticks * TICK_SECONDS * 500,
        )

    def _fail(self, fault: Fault) -> None:
        log.error("the node has to stop: %s", fault)
        self.stop()
        self._machine.broken(fault)

    def _release_reads(self, numbers: Sequence[int], fault: Fault | None) -> None:
        for number in numbers:
            future = self._reads.pop(number, None)
            if future is None or future.done():
                continue
            if fault is None:
                future.set_result(None)
            else:
                future.set_exception(Fault(fault.kind, fault.what, next_step=fault.next_step))


def _of(cause: Exception | None, fault: Fault) -> Fault:
    return cause if isinstance(cause, Fault) else fault
