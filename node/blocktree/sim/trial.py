"""One whole story: trouble first, then repair, then the verdict."""

from collections.abc import Iterable
from dataclasses import dataclass

from blocktree.fault import Fault
from blocktree.raft import Config, Membership, NodeId, SnapshotMark
from blocktree.sim.clients import Client, settled
from blocktree.sim.disk import EMPTY_MARK, Disk, Platter, Snapshot
from blocktree.sim.disktrouble import DiskTrouble
from blocktree.sim.faulty import FaultyDisk
from blocktree.sim.judge import Judge, Violation
from blocktree.sim.linear import Operation, unexplained_key
from blocktree.sim.network import Network
from blocktree.sim.patient import Patient
from blocktree.sim.process import Process
from blocktree.sim.segments import SegmentDisk
from blocktree.sim.trouble import Trouble, leader_of
from blocktree.sim.world import SECOND, World

CONFIG = Config(
    heartbeat_ticks=1,  # half the usual times, so that more happens in a second
    election_ticks_min=6,
    election_ticks_max=12,
    calm_after_ticks=20,
    calm_heartbeat_ticks=10,
    append_bytes_max=64,
    inflight_messages_max=4,
    inflight_bytes_max=160,
    tail_bytes_max=200,
    apply_bytes_max=80,
    reads_max=16,
    hold_bytes_max=24,
)
CLIENTS = 4
KEYS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """A story without a violation, in numbers."""

    seed: int
    events: int
    seconds: float  # simulated
    operations: int  # that returned
    terms: int
    committed: int


class Trial:
    """The set-up of one seed."""

    def __init__(
        self,
        seed: int,
        *,
        trace: bool = False,
        config: Config = CONFIG,
        disk: type[Disk] | type[SegmentDisk] | type[FaultyDisk] = Disk,
    ) -> None:
        self.world = World(seed, trace=trace)
        self.network = Network(self.world)
        dice = self.world.dice
        names = [NodeId(f"n{number}") for number in range(dice.choice((3, 3, 4, 5)))]
        voters = tuple(names[: dice.choice((1, 2, 3, 3, 3, 3, 3, len(names)))])
        first = SnapshotMark(0, 0, Membership(voters))
        self.processes: list[Process] = []
        self.judge = Judge(self._holds, self._leases)
        for name in names:
            mark = first if name in voters else EMPTY_MARK
            platter = Platter(Snapshot(mark, {}))
            kind = Patient if issubclass(disk, FaultyDisk) else Process
            self.processes.append(
                kind(name, self.world, self.network, self.judge, config, disk(self.world, platter))
            )
        self.history: list[Operation] = []
        self.clients = [
            Client(self.world, self.processes, self.history, KEYS) for _ in range(CLIENTS)
        ]
        self._goal = 0

    def _holds(self, node: NodeId, index: int, term: int) -> bool:
        disk = self.processes[int(node[1:])].disk
        forgotten = disk.forgotten if isinstance(disk, FaultyDisk) else None
        promised = forgotten is not None and forgotten.holds(index, term)
        return promised or disk.platter.holds(index, term)

    def _leases(self) -> Iterable[tuple[NodeId, int, int]]:
        for process in self.processes:
            if process.raft is not None and process.stalled_since is None:
                yield process.name, process.raft.term, process.raft.lease_ticks()

    def run(self, trouble_seconds: float = 4.0) -> Verdict:
        """Play it.

        Raises:
            Violation: naming the promise that was broken; the message starts with the seed.
        """
        try:
            self._play(int(trouble_seconds * SECOND))
        except (AssertionError, Fault, LookupError) as broken:
            where = f"seed {self.world.seed} at {self.world.now / SECOND:.6f} s"
            raise Violation(f"{where}: {broken}") from broken
        return Verdict(
            self.world.seed,
            self.world.events,
            self.world.now / SECOND,
            sum(client.done for client in self.clients),
            len(self.judge.leaders),
            len(self.judge.committed),
        )

    def _play(self, length: int) -> None:
        trouble = self._trouble()
        self.world.run(length)
        trouble.end()
        self._goal = sum(client.done for client in self.clients) + 2 * CLIENTS
        if not self.world.run(self.world.now + 20 * SECOND, self._served):
            raise Violation("nobody is served after everything was repaired")
        for client in self.clients:
            client.paused = True
        self.world.run(self.world.now + SECOND)
        if not self.world.run(self.world.now + 20 * SECOND, self._converged):
            raise Violation("the members do not converge after everything was repaired")
        self.judge.logs_match((p.name, p.disk.platter) for p in self.processes)
        self._compare_machines()
        for process in self.processes:
            if isinstance(process.disk, FaultyDisk) and process.raft is not None:
                process.disk.check_whole()
        key = unexplained_key(settled(self.history))
        if key is not None:
            raise Violation(f"the history of {key} is not linearizable")

    def _trouble(self) -> Trouble:
        patients = [process for process in self.processes if isinstance(process, Patient)]
        if patients:
            return DiskTrouble(self.world, self.network, patients)
        return Trouble(self.world, self.network, self.processes)

    def _served(self) -> bool:
        return sum(client.done for client in self.clients) >= self._goal

    def _members(self) -> list[Process]:
        leader = leader_of(self.processes)
        if leader is None:
            return []
        members = {*leader.membership.voters, *leader.membership.learners}
        return [process for process in self.processes if process.name in members]

    def _converged(self) -> bool:
        leader, members = leader_of(self.processes), self._members()
        return leader is not None and all(p.applied == leader.last_index for p in members)

    def _compare_machines(self) -> None:
        machines = [process.values for process in self._members()]
        if any(machine != machines[0] for machine in machines):
            raise Violation(f"the machines differ: {machines}")


def run_trial(seed: int, *, trace: bool = False) -> Verdict:
    """Play one seed with the usual sizes."""
    return Trial(seed, trace=trace).run()
