"""One story of a sole holder in a network that splits 2|1: `holding` says what must hold."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cbor2

from blocktree.names import Path
from blocktree.raft import Membership, NodeId, SnapshotMark
from blocktree.sectors.claims import Keep
from blocktree.sim.disk import Disk, Platter, Snapshot
from blocktree.sim.holding import COUNTER, DONE, TREE, Asked, Keeper, Told, counted
from blocktree.sim.judge import Judge, Violation
from blocktree.sim.network import Network
from blocktree.sim.trial import CONFIG
from blocktree.sim.world import MILLISECOND, SECOND, World
from blocktree.store.place_messages import HEARTBEAT_S, LEASE_S

_NAMES = ("n0", "n1", "n2")
_ACT = 40 * MILLISECOND
_LOOK = 500 * MILLISECOND
_PATIENCE = 300 * MILLISECOND
_WAITING = 500 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a holder did."""

    time: int
    epoch: int
    name: str


class Asker:
    """Sends requests to whoever may answer, and gives up on those that are not answered."""

    def __init__(self, world: World, network: Network, keeper: Keeper) -> None:
        self.world = world
        self._network = network
        self._keeper = keeper
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str, Callable[[Any], None]]] = {}
        self._leader = keeper.name
        keeper.at_told = self._told

    def ask(self, to: str, asked: str, content: Any, then: Callable[[Any], None]) -> None:
        """Ask once; `then` is given None if nothing comes of it."""
        number = next(self._numbers)
        self._waiting[number] = (to, then)
        self._network.send(self._keeper.name, to, Asked(number, asked, content))
        self.world.after(_PATIENCE, self._told, to, Told(number, None))

    def ask_leader(self, asked: str, content: Any, then: Callable[[Any], None]) -> None:
        """Ask whoever may lead; another one the next time if that was in vain."""

        def go_on(answer: Any) -> None:
            if answer is None:
                self._leader = NodeId(self.world.dice.choice(_NAMES))
            then(answer)

        self.ask(self._leader, asked, content, go_on)

    def _told(self, sender: str, told: Told) -> None:
        del sender
        waiting = self._waiting.pop(told.number, None)
        if waiting is not None:
            waiting[1](told.content)


class Host:
    """One member as it runs the counter: `services.hosting`, `Registrar` and `State` in one."""

    patient = False  # a planted bug: goes on after its lease

    def __init__(self, story: "Story", keeper: Keeper, number: int) -> None:
        self._story = story
        self._keeper = keeper
        self._path = Path(f"/{TREE}/{keeper.name}")
        self._session = bytes([number + 1]) * 16
        self._asker = Asker(story.world, story.network, keeper)
        self._epoch = 0
        self._until = 0.0
        self._serial = 0
        self._ids: list[int] | None = None
        self._busy = False
        keeper.at_asked = self._asked
        first = int(story.world.dice.random() * SECOND)
        story.world.after(first, self._beat)
        story.world.after(first, self._act)

    def _holds(self) -> bool:
        return self._ids is not None and (self.patient or self._keeper.clock() < self._until)

    def _beat(self) -> None:
        self._story.world.after(int(HEARTBEAT_S * SECOND), self._beat)
        self._asker.ask_leader("volunteer", (self._path, self._session), lambda _: None)
        held = self._keeper.holding()
        if held is None or held.session != self._session:
            if not self.patient:
                self._ids = None
            return
        epoch, sent = held.epoch, self._keeper.clock()

        def renewed(kept: Any) -> None:
            if kept is None:
                return
            if self._epoch != epoch or not self._holds():  # a new life begins with what is kept
                self._epoch, self._busy = epoch, False
                self._serial, self._ids = kept.serial, list(counted(kept))
            self._until = sent + LEASE_S

        self._asker.ask_leader("renew", (self._session, epoch), renewed)

    def _act(self) -> None:
        self._story.world.after(_ACT, self._act)
        if self._holds():
            self._story.acts.append(Act(self._story.world.now, self._epoch, self._keeper.name))

    def _asked(self, sender: str, asked: Asked) -> None:
        def answer(content: Any) -> None:
            self._story.network.send(self._keeper.name, sender, Told(asked.number, content))

        if not self._holds() or self._busy:
            answer(None)
            return
        assert self._ids is not None
        if asked.content in self._ids:
            answer(DONE)
            return
        self._busy = True
        ids, epoch = [*self._ids, asked.content], self._epoch
        keep = Keep(COUNTER, epoch, self._serial + 1, cbor2.dumps(ids))

        def kept(done: Any) -> None:
            if self._epoch != epoch or not self._busy:
                return
            if done is None:
                self._ids = None  # what is kept is not known: this life is over
                return
            self._busy = False
            self._serial, self._ids = keep.serial, ids
            answer(DONE)

        self._asker.ask_leader("keep", keep, kept)


class Story:
    """The set-up of one seed, and its play."""

    keeper: type[Keeper] = Keeper
    host: type[Host] = Host

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.network.weather.loss = self.world.dice.choice((0.0, 0.0, 0.02))
        self.network.weather.duplicate = 0.02
        self.acts: list[Act] = []
        self.answered: list[int] = []
        judge = Judge(lambda *_: True, lambda: ())
        mark = SnapshotMark(0, 0, Membership(tuple(NodeId(name) for name in _NAMES)))
        self.keepers = []
        for name in _NAMES:
            disk = Disk(self.world, Platter(Snapshot(mark, {})))
            keeper = self.keeper(NodeId(name), self.world, self.network, judge, CONFIG, disk)
            keeper.begin(1 + self.world.dice.uniform(-0.04, 0.04))
            self.keepers.append(keeper)
        for number, keeper in enumerate(self.keepers):
            self.host(self, keeper, number)
            self.world.after(_LOOK, self._look_after, keeper)
        self._client = Keeper(NodeId("client"), self.world, self.network, judge, CONFIG, disk)
        self._client.raft = None
        self._client.begin(1.0)
        self._asker = Asker(self.world, self.network, self._client)
        self._request = 1

    def play(self) -> "Story":
        """Split, mend, and judge.

        Raises:
            Violation: naming the promise that was broken, and the seed.
        """
        self.world.after(0, self._add)
        begun = self.world.run(20 * SECOND, lambda: bool(self.answered))
        self.world.run(self.world.now + int(self.world.dice.uniform(0, 3) * SECOND))
        alone = self.world.dice.choice((self._holder(), self.world.dice.choice(_NAMES)))
        self.network.split([alone])
        self.world.run(self.world.now + int(self.world.dice.uniform(4, 11) * SECOND))
        self.network.mend()
        self.world.run(self.world.now + 7 * SECOND)
        goal = len(self.answered) + 2
        if not begun or not self.world.run(
            self.world.now + 20 * SECOND, lambda: len(self.answered) >= goal
        ):
            raise Violation(f"seed {self.world.seed}: the counter is not served")
        self.world.run(self.world.now + SECOND)
        self._judge()
        return self

    def epochs(self) -> int:
        """How many holders acted, one after the other."""
        return len({act.epoch for act in self.acts})

    def _look_after(self, keeper: Keeper) -> None:
        self.world.after(2 * _LOOK, self._look_after, keeper)
        keeper.look_after()

    def _holder(self) -> str:
        return self.acts[-1].name if self.acts else self.world.dice.choice(_NAMES)

    def _add(self) -> None:
        request = self._request

        def told(answer: Any) -> None:
            if answer is not None:
                self.answered.append(request)
                self._request += 1
            self.world.after(20 * MILLISECOND if answer else _WAITING // 10, self._add)

        self._asker.ask(self.world.dice.choice(_NAMES), "add", request, told)

    def _judge(self) -> None:
        seed = self.world.seed
        newest = 0
        for act in self.acts:
            if act.epoch < newest:
                what = f"{act.name} acts under epoch {act.epoch} after one under {newest}"
                raise Violation(f"seed {seed} at {act.time / SECOND:.3f} s: {what}")
            newest = act.epoch
        final = max((keeper.kept() for keeper in self.keepers), key=lambda kept: kept.serial)
        ids = list(counted(final))
        if len(ids) != len(set(ids)):
            raise Violation(f"seed {seed}: something is counted twice")
        if missing := set(self.answered) - set(ids):
            raise Violation(f"seed {seed}: {sorted(missing)} were answered and are not counted")
