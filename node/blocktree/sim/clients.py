"""Clients that write and read a few keys, and the history of what they saw.

Requests and replies travel like messages: late, or never. A client does one thing at a time, gives
up after a while, and then does not know whether its write happened.
"""

from collections.abc import Sequence

from blocktree.sim.linear import Operation
from blocktree.sim.process import REFUSED, Process
from blocktree.sim.world import MILLISECOND, World

PATIENCE = 400 * MILLISECOND


class Client:
    """One caller."""

    def __init__(
        self, world: World, processes: Sequence[Process], history: list[Operation], keys: int
    ) -> None:
        self.paused = False
        self.done = 0
        self._world = world
        self._processes = processes
        self._history = history
        self._keys = keys
        self._writes = world.dice.choice((0.5, 0.5, 0.2, 0.01))  # the share of writes
        self._rest_max = world.dice.choice((10, 30, 30, 200)) * MILLISECOND
        self._favourite = 0
        self._attempt = 0
        self._rest()

    def _rest(self) -> None:
        length = int(self._world.dice.random() * self._rest_max)
        self._world.after(length, self._call)

    def _travel(self) -> int:
        return MILLISECOND // 5 + int(self._world.dice.random() * MILLISECOND)

    def _call(self) -> None:
        if self.paused:
            return
        world, dice = self._world, self._world.dice
        self._attempt += 1
        attempt = self._attempt
        write = dice.random() < self._writes
        # Unique in the whole story: the history's length grows with every call.
        operation = Operation(
            "abcdefgh"[dice.randrange(self._keys)], write, len(self._history) + 1, world.now
        )
        self._history.append(operation)
        process = self._processes[self._favourite]

        def reply(value: int) -> None:
            world.after(self._travel(), self._answer, attempt, operation, value)

        if write:
            world.after(self._travel(), process.put, operation.key, operation.value, reply)
        else:
            operation.value = REFUSED
            lease = dice.random() < 0.5
            world.after(self._travel(), self._get, process, operation.key, reply, lease)
        world.after(PATIENCE, self._give_up, attempt)

    def _get(self, process: Process, key: str, reply: object, lease: object) -> None:
        process.get(key, reply, lease=bool(lease))  # type: ignore[arg-type]

    def _answer(self, attempt: int, operation: Operation, value: int) -> None:
        if attempt != self._attempt:
            return
        self._attempt += 1
        if value == REFUSED:
            operation.called = REFUSED  # certainly without effect: not part of the history
            self._look_elsewhere()
        else:
            operation.value = value
            operation.returned = self._world.now
            self.done += 1
        self._rest()

    def _give_up(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._attempt += 1
            self._look_elsewhere()
            self._rest()

    def _look_elsewhere(self) -> None:
        self._favourite = self._world.dice.randrange(len(self._processes))


def settled(history: Sequence[Operation]) -> list[Operation]:
    """What can be judged: without refused calls and reads that were never answered."""
    return [op for op in history if op.called != REFUSED and (op.write or op.returned is not None)]
