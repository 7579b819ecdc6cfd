"""The driver and time: what is heard after a stall is heard then, and a quiet node seldom wakes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from blocktree.disk import MemoryIndex, SimulatedFiles
from blocktree.raft import (
    Entry,
    Heartbeat,
    Membership,
    Message,
    NodeId,
    Role,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.store.driver import TICK_SECONDS, Driver
from blocktree.store.host import Host
from disk.rig import ME, open_disk
from store.world import in_loop

LEADER, OTHER = NodeId("1" * 64), NodeId("2" * 64)


class Inline:
    """Runs jobs at once, and tells a turn of the loop later."""

    idle = True

    def submit(self, job: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        asyncio.get_running_loop().call_soon(done, job(), None)

    def stop(self) -> None:
        pass


class Machine:
    """Keeps what was to be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[NodeId, Message]] = []

    def send(self, to: NodeId, messages: Sequence[Message]) -> None:
        self.sent += [(to, message) for message in messages]

    def led(self, term: int, role: Role, leader: NodeId) -> None:
        pass

    def apply(self, entry: Entry) -> None:
        pass

    def names(self, digest: bytes) -> bool:
        return False


class Stage:
    """A driver of one of three voters (or of the only one), whose clock is set by hand."""

    def __init__(self, *others: NodeId) -> None:
        disk = open_disk(SimulatedFiles(), MemoryIndex())
        disk.checkpoint({}, SnapshotMark(0, 0, Membership(tuple(sorted((ME, *others))))))
        self.now = 100.0
        self.machine = Machine()
        inline: Any = Inline()
        host = Host(disk, inline, inline, clock=lambda: self.now)
        loop = asyncio.get_running_loop()
        machine: Any = self.machine
        self.driver = Driver(ME, host, machine, loop.call_soon)

    async def settle(self) -> list[Message]:
        """Let everything planned happen; what was said since the last time."""
        for _ in range(5):
            await asyncio.sleep(0)
        sent, self.machine.sent = self.machine.sent, []
        return [message for _, message in sent]


@in_loop
async def test_a_leader_heard_after_a_stall_was_heard_then() -> None:
    """Its lease may rest on this node's answer: nobody else gets a vote for as long as it lasts."""
    stage = Stage(LEADER, OTHER)
    stage.driver.start()
    stage.driver.receive(LEADER, Heartbeat(1, 0, 1))
    await stage.settle()
    stage.now += 60  # the process was stopped; the loop reads its sockets before its timers
    stage.driver.receive(LEADER, Heartbeat(1, 0, 2))
    stage.driver._tick()
    ask = VoteAsk(2, 9, 1, pre=True, transfer=False)
    stage.driver.receive(OTHER, ask)
    said = await stage.settle()
    assert not [one for one in said if isinstance(one, VoteReply)], said
    stage.now += 60  # and when the leader has been silent for long, somebody does
    stage.driver.receive(OTHER, ask)
    assert VoteReply(2, granted=True, pre=True) in await stage.settle()
    stage.driver.stop()


@in_loop
async def test_time_that_was_not_waited_for_counts_as_much_as_a_tick_at_a_time() -> None:
    stage = Stage(LEADER, OTHER)
    stage.driver.start()
    began = stage.driver.raft.now_tick
    for _ in range(9):
        stage.now += 3 * TICK_SECONDS + 1e-6
        stage.driver._tick()
    assert stage.driver.raft.now_tick - began == 27
    assert stage.driver.raft.role is not Role.FOLLOWER  # it heard nobody: it asks for votes
    stage.driver.stop()


@in_loop
async def test_after_a_stall_what_arrived_is_read_before_the_leader_is_missed() -> None:
    stage = Stage(LEADER, OTHER)
    stage.driver.start()
    for late in (0, 16):
        stage.driver.receive(LEADER, Heartbeat(1, 0, 1, late))
        await stage.settle()
        stage.now += 60  # its timer comes first this time
        stage.driver._tick()
        assert stage.driver.raft.leader == LEADER
    stage.driver.receive(LEADER, Heartbeat(1, 0, 2))
    await stage.settle()
    assert stage.driver.raft.quiet_ticks > 4
    stage.now += 60
    stage.driver._tick()
    assert stage.driver.raft.leader == LEADER
    for _ in range(5):  # its timer goes through 20 ticks, of the 24 that it may wait
        stage.now += TICK_SECONDS + 1e-6
        stage.driver._tick()
    assert not stage.driver.raft.leader  # nothing had arrived: it asks for votes
    stage.driver.stop()


@in_loop
async def test_a_node_that_leads_suddenly_waits_no_longer_than_a_tick_too_much() -> None:
    """Its timer was set by a follower's patience."""
    stage = Stage()
    stage.driver.start()
    for _ in range(40):
        stage.now += TICK_SECONDS + 1e-6
        stage.driver._tick()
        await stage.settle()
    assert stage.driver.leads
    planned = stage.driver._planned_ticks
    assert planned == stage.driver.raft.quiet_ticks + 1 <= 3  # a heartbeat is due
    stage.driver.stop()


@in_loop
async def test_a_follower_that_hears_its_leader_is_not_woken_by_its_timer() -> None:
    stage = Stage(LEADER, OTHER)
    stage.driver.start()
    for _ in range(20):
        stage.now += 3 * TICK_SECONDS + 1e-6
        stage.driver.receive(LEADER, Heartbeat(1, 0, 1))
        await stage.settle()
        assert stage.driver._planned_ticks > 4  # that is later than the next heartbeat
        assert stage.driver._planned_from == stage.driver._ticked
    stage.driver.stop()
