"""What goes wrong, and when: crashes, stalls, cuts, bad weather, slow disks, changes of plan."""

from collections.abc import Callable, Sequence
from functools import partial

from blocktree.raft import ChangeKind, Membership, NodeId, Raft, Role
from blocktree.sim.network import Network, Weather
from blocktree.sim.process import Process
from blocktree.sim.world import MILLISECOND, SECOND, World


class Trouble:
    """Does something bad every few hundred milliseconds until told to stop."""

    def __init__(self, world: World, network: Network, processes: Sequence[Process]) -> None:
        self._world = world
        self._network = network
        self._processes = processes
        self._over = False
        kinds = self._kinds()
        # Each story has its own mixture (swarm testing, Groce 2012): what is rare on average is
        # frequent in some stories, and what masks a bug is absent in others.
        weights = [world.dice.choice((0, 1, 1, 6)) for _ in kinds]
        self._acts = [act for act, times in zip(kinds, weights, strict=True) for _ in range(times)]
        self._acts += [network.mend] * (1 + len(self._acts) // world.dice.choice((3, 6)))
        self._plan()

    def _kinds(self) -> tuple[Callable[[], None], ...]:
        return (
            self._crash,
            self._crash_leader,
            self._crash_all,
            self._crash_while_saving,
            self._split,
            self._cut_one_way,
            self._cut_pair,
            self._change_weather,
            self._change_disk,
            self._stall,
            self._change_members,
            self._transfer,
        )

    def end(self) -> None:
        """Everything is repaired, and everybody starts again."""
        self._over = True
        self._network.mend()
        self._network.weather = Weather()
        for process in self._processes:
            process.disk.slow = 0
            self._restart(process)

    def _plan(self) -> None:
        delay = int(self._world.dice.random() * 300 * MILLISECOND)
        self._world.after(delay, self._strike)

    def _strike(self) -> None:
        if not self._over:
            act = self._world.dice.choice(self._acts)
            self._world.tell(act.__name__)
            act()
            self._plan()

    def _someone(self) -> Process:
        return self._world.dice.choice(self._processes)

    def _leader(self) -> Process | None:
        leaders = [p for p in self._processes if p.raft and p.raft.role is Role.LEADER]
        return self._world.dice.choice(leaders) if leaders else None

    def _crash(self) -> None:
        self._bring_down(self._someone())

    def _crash_leader(self) -> None:
        self._bring_down(self._leader() or self._someone())

    def _crash_all(self) -> None:
        for process in self._processes:
            self._bring_down(process)

    def _crash_while_saving(self) -> None:
        busy = [p for p in self._processes if p.raft is not None and p.disk.busy]
        if busy:
            self._bring_down(self._world.dice.choice(busy))
        else:
            self._someone().disk.slow = 100 * MILLISECOND

    def _bring_down(self, process: Process) -> None:
        if process.raft is not None:
            process.crash()
            self._world.tell(f"{process.name} is down")
            delay = int(self._world.dice.expovariate(1 / (200 * MILLISECOND)))
            self._world.after(min(delay, 2 * SECOND), self._restart, process)

    def _restart(self, process: Process) -> None:
        if process.raft is None:
            process.start()

    def _split(self) -> None:
        names = [process.name for process in self._processes]
        leader = self._leader()
        if leader is not None and self._world.chance(0.4):
            self._network.split([leader.name])
        else:
            self._network.split(self._world.dice.sample(names, len(names) // 2))

    def _cut_one_way(self) -> None:
        victim = self._someone()
        for other in self._processes:
            if other is not victim:
                self._network.cut(victim.name, other.name)

    def _cut_pair(self) -> None:
        one, other = self._world.dice.sample(self._processes, 2)
        leader = self._leader()
        if leader is not None and leader is not other and self._world.chance(0.5):
            one = leader
        self._network.cut(one.name, other.name)
        if self._world.chance(0.7):
            self._network.cut(other.name, one.name)

    def _change_weather(self) -> None:
        dice = self._world.dice
        self._network.weather = Weather(
            loss=dice.choice((0.0, 0.0, 0.05, 0.3)),
            duplicate=dice.choice((0.0, 0.05, 0.3)),
            straggle=dice.choice((0.0, 0.02, 0.2)),
            delay_max=dice.choice((1, 2, 20, 100)) * MILLISECOND,
        )

    def _change_disk(self) -> None:
        slow = self._world.dice.choice((0, 0, 0, 20, 100, 500))
        self._someone().disk.slow = slow * MILLISECOND

    def _stall(self) -> None:
        victim = self._leader() or self._someone()
        victim.stall(self._world.dice.randint(100, 1000) * MILLISECOND)

    def _change_members(self) -> None:
        for _ in range(self._world.dice.choice((1, 1, 3))):  # the core may refuse all but one
            leader = self._leader()
            if leader is not None and leader.raft is not None:
                kind, node = self._step(leader.raft.membership)
                leader.ask(partial(Raft.change, kind=kind, node=node))

    def _step(self, membership: Membership) -> tuple[ChangeKind, NodeId]:
        """A step towards somewhere, keeping at least two voters."""
        dice = self._world.dice
        node = self._someone().name
        if node in membership.learners:
            return dice.choice((ChangeKind.PROMOTE, ChangeKind.PROMOTE, ChangeKind.REMOVE)), node
        if node not in membership.voters:
            return ChangeKind.ADD, node
        if len(membership.voters) > 2:
            return dice.choice((ChangeKind.REMOVE, ChangeKind.DEMOTE)), node
        return ChangeKind.ADD, node

    def _transfer(self) -> None:
        leader = self._leader()
        if leader is not None and leader.raft is not None:
            to = self._world.dice.choice(leader.raft.membership.voters)
            leader.ask(lambda raft: raft.transfer(to))


def leader_of(processes: Sequence[Process]) -> Raft | None:
    """The core that leads in the highest term, if any."""
    leaders = [p.raft for p in processes if p.raft and p.raft.role is Role.LEADER]
    return max(leaders, key=lambda raft: raft.term, default=None)
