"""Actors at paths: who answers here, where else to look, and who may send there.

What a process hosts at a path is reached by the path alone, wherever it moves. Three things are
passed in by who wires the process, since this package knows nothing of the sector service: a
`Resolver` finds the process that answers at a path, a `Judge` decides who may send to what is
hosted here, and `holds` says, at each message, whether this process may still act there.

Faults, before the happy path: hosted no more, or under another epoch than the sender knows: MOVED,
nothing was done, look it up again; who may not send: DENIED; too many wait for a judgement: BUSY.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.names import Address, Path, PrincipalId

ADMITTED_S = 5.0  # a judgement holds: what was withdrawn ends within this
ADMITTED_MAX = 4096
WAITING_MAX = 256  # messages of one sender to one path while he is judged
_Key = tuple[Path, PrincipalId, Address]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads now. `epoch` is that of a sole holder, 0 for one of several."""

    path: Path
    address: Address
    epoch: int = 0


class Resolver(Protocol):
    """Finds out who answers at a path, and remembers it."""

    async def resolve(self, path: Path, /, *, timeout: float) -> Target:
        """Who answers at `path`. Raises `Fault` UNREACHABLE if nobody does, in bounded time."""

    def forget(self, target: Target, /) -> None:
        """It did not lead there: do not say it again without asking."""


# Path, who the sending process proved to be, and the actor that it says sent it. Raises DENIED.
Judge = Callable[[Path, Identity, Address], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Hosted:
    """An actor of this process that answers at a path."""

    actor: str
    epoch: int
    holds: Callable[[], bool]


def always() -> bool:
    """What `holds` says of an offer: others may answer there too."""
    return True


class Places:
    """The paths at which actors of this process answer."""

    def __init__(self) -> None:
        self.judge: Judge | None = None
        self._hosted: dict[Path, Hosted] = {}
        self._loop = asyncio.get_running_loop()
        self._admitted: dict[_Key, float] = {}  # to the end of the judgement
        self._waiting: dict[_Key, deque[Callable[[Fault | None], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def host(self, path: Path, hosted: Hosted) -> None:
        """Answer at a path from now on."""
        self._hosted[path] = hosted

    def unhost(self, path: Path) -> None:
        """Answer there no more."""
        self._hosted.pop(path, None)

    def paths(self) -> tuple[Path, ...]:
        """Where actors of this process answer."""
        return tuple(self._hosted)

    def at(self, path: Path, epoch: int) -> str:
        """The actor that answers at a path, for a message that was sent to that epoch of it.

        Raises:
            Fault: MOVED; nothing was done then, and nothing will be.
        """
        hosted = self._hosted.get(path)
        if hosted is None or not hosted.holds():
            raise Fault(Kind.MOVED, "it does not answer here", path=path)
        if hosted.epoch != epoch:
            what = f"it answers under epoch {hosted.epoch}, this came for epoch {epoch}"
            raise Fault(Kind.MOVED, what, path=path)
        return hosted.actor

    def admit(
        self,
        path: Path,
        peer: Identity,
        sender: Address,
        deliver: Callable[[Fault | None], None],
    ) -> None:
        """Call `deliver` when `peer` may send to `path`, or with the fault that says why not.

        Messages of one peer to one path are delivered in the order in which they came.
        """
        key = (path, peer.principal, sender)
        waiting = self._waiting.get(key)
        if waiting is not None:
            if len(waiting) >= WAITING_MAX:
                raise Fault(Kind.BUSY, "too much waits until its right to send is known")
            waiting.append(deliver)
        elif self._admitted.get(key, 0.0) > self._loop.time():
            deliver(None)
        else:
            self._waiting[key] = deque([deliver])
            task = self._loop.create_task(self._decide(key, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Judge nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _decide(self, key: _Key, peer: Identity) -> None:
        fault: Fault | None = Fault(Kind.STOPPED, "the process is stopping", path=key[0])
        try:
            fault = await self._judged(key[0], peer, key[2])
        finally:
            if fault is None:
                if len(self._admitted) >= ADMITTED_MAX:
                    self._admitted.clear()
                self._admitted[key] = self._loop.time() + ADMITTED_S
            for deliver in self._waiting.pop(key):
                deliver(fault)

    async def _judged(self, path: Path, peer: Identity, sender: Address) -> Fault | None:
        if self.judge is None:
            return Fault(Kind.DENIED, "this process cannot judge who may send there", path=path)
        try:
            await self.judge(path, peer, sender)
        except Fault as fault:
            return fault
        return None
