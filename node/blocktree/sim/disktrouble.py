"""What goes wrong with disks, beside everything else: errors, full, slow, rot, and one that lies.

Rot strikes one process at a time, and only when it can be borne: with two other voters, and not
before the last one was repaired. A disk that lies about its syncs and then loses power makes its
process forget promises without a trace; no majority bears that while others fail as well, so the
rest is left in peace until it has caught up.
"""

from collections.abc import Callable, Sequence

from blocktree.raft import ChangeKind, Membership, NodeId, Raft, Role
from blocktree.sim.judge import Violation
from blocktree.sim.network import Network, Weather
from blocktree.sim.patient import Patient
from blocktree.sim.trouble import Trouble
from blocktree.sim.world import MILLISECOND, SECOND, World

PATIENCE = 10 * SECOND  # for the recovery of a process whose disk lied
_POLL = 50 * MILLISECOND


class DiskTrouble(Trouble):
    """`Trouble` with disks that fail."""

    def __init__(self, world: World, network: Network, processes: Sequence[Patient]) -> None:
        self._patients = processes
        self._liar: Patient | None = None
        super().__init__(world, network, processes)

    def _kinds(self) -> tuple[Callable[[], None], ...]:
        return (
            *super()._kinds(),
            self._rot,
            self._rot,
            self._fail,
            self._fail_leader,
            self._fill,
            self._crawl,
            self._lie,
        )

    def end(self) -> None:
        """Good disks from now on, for those who have room for repair."""
        for patient in self._patients:
            patient.disk.heal()
        super().end()

    def _strike(self) -> None:
        if self._liar is None:
            super()._strike()
        elif not self._over:
            self._plan()

    def _step(self, membership: Membership) -> tuple[ChangeKind, NodeId]:
        kind, node = super()._step(membership)
        doubtful = {p.name for p in self._patients if p.raft is None or p.in_doubt}
        if kind is ChangeKind.PROMOTE and node in doubtful:  # as `GroupKeeper._is_complete` sees
            return ChangeKind.ADD, node
        if any(patient.disk.rotten for patient in self._patients) and kind in {
            ChangeKind.REMOVE,
            ChangeKind.DEMOTE,
        }:
            return ChangeKind.ADD, node  # refused: nobody takes nodes out while one is damaged
        return kind, node

    # one after the other

    def _rot(self) -> None:
        victim = self._world.dice.choice(self._patients)
        if not self._bears_one_less():
            return
        if victim.raft is not None and self._world.chance(0.7):
            self._bring_down(victim)
        self._world.tell(f"{victim.name} rots: {victim.disk.rot()}")

    def _bears_one_less(self) -> bool:
        """Whether two sound voters are left without any one, in whatever membership comes to be."""
        if any(patient.disk.rotten for patient in self._patients):
            return False
        memberships = [p.raft.membership for p in self._patients if p.raft is not None]
        sound = all(
            len(membership.voters) >= 3 or not membership.voters for membership in memberships
        )
        leader = self._steady()
        return sound and leader is not None and len(leader.membership.voters) >= 3

    def _steady(self) -> Raft | None:
        """A leader whose membership is committed."""
        for patient in self._patients:
            raft = patient.raft
            if raft is not None and raft.role is Role.LEADER and raft.is_settled:
                return raft
        return None

    def _fail(self) -> None:
        self._ail(self._world.dice.choice(self._patients))

    def _fail_leader(self) -> None:
        leads = [p for p in self._patients if p.raft is not None and p.raft.role is Role.LEADER]
        self._ail(self._world.dice.choice(leads or self._patients))

    def _ail(self, victim: Patient) -> None:
        """Every operation may fail, for a while."""
        victim.disk.failing = self._world.dice.choice((0.002, 0.02, 0.2, 1.0))
        self._world.after(int(self._world.dice.random() * 500 * MILLISECOND), victim.disk.heal)

    def _fill(self) -> None:
        victim = self._world.dice.choice(self._patients)
        victim.disk.fill(self._world.dice.choice((0, 50, 300, 1000)))
        self._world.after(int(self._world.dice.random() * SECOND), victim.disk.heal)

    def _crawl(self) -> None:
        """So slow that everybody else gives up first."""
        victim = self._world.dice.choice(self._patients)
        victim.disk.slow = self._world.dice.choice((1, 2, 3)) * SECOND
        self._world.after(int(self._world.dice.random() * 2 * SECOND), victim.disk.heal)

    # a lie

    def _lie(self) -> None:
        victim = self._world.dice.choice(self._patients)
        if victim.raft is None or not self._bears_one_less():
            return
        self._liar = victim
        self._network.mend()
        self._network.weather = Weather()
        for patient in self._patients:
            patient.disk.heal()
            self._restart(patient)
        self._world.tell(f"the disk of {victim.name} lies")
        victim.disk.lie()
        self._world.after(SECOND, self._lose_power, victim)

    def _lose_power(self, victim: Patient) -> None:
        leader = self._steady()
        alive = all(patient.raft is not None for patient in self._patients)
        if self._over or leader is None or victim.raft is leader or not alive:
            victim.disk.heal()
            self._liar = None
            return
        goal = max(patient.raft.commit for patient in self._patients if patient.raft is not None)
        victim.crash()
        victim.disk.heal()
        self._world.tell(f"{victim.name} loses power")
        self._world.after(_POLL, self._restart, victim)
        self._world.after(2 * _POLL, self._recovers, victim, goal, self._world.now + PATIENCE)

    def _recovers(self, victim: Patient, goal: int, until: int) -> None:
        leader = self._steady()
        members = leader.membership if leader is not None else Membership(())
        gone = leader is not None and victim.name not in (*members.voters, *members.learners)
        up = victim.raft is not None and not victim.in_doubt and victim.applied >= goal
        if up or (gone and victim.raft is not None and not victim.in_doubt):
            self._liar = None
        elif self._world.now > until:
            raise Violation(f"{victim.name} does not recover from what its disk forgot")
        elif not self._over:
            self._world.after(_POLL, self._recovers, victim, goal, until)
