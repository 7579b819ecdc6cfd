"""Talks to the sector service: finds its leader, waits through a change of leader, keeps a session.

A request that failed because the leader moved or the quorum was gone is sent again with back-off
until `patience_s` is over. That is safe for every request: reads change nothing, blobs are named by
their content, locks are idempotent, and a transaction that was already applied is answered with
`Committed` again.

Lease invariant: `leased(grant)` is true only while the leader that gave this grant has promised not
to change the header without a recall. All leases of the session end together at `_until`, which is
counted from the moment a request was sent; grants below `_since` are void (the leader forgot them,
or is another one), and grants only count up, also from one leader to the next.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.store.messages import STORE_ACTOR, Alive, HeldLock, KeepAlive
from blocktree.wire import Record

log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=Record)
_AGAIN = {Kind.NOT_LEADER, Kind.UNREACHABLE, Kind.NO_QUORUM, Kind.BUSY, Kind.STOPPED}
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 0.5
_KEEP_ALIVE_MIN_S, _KEEP_ALIVE_MAX_S = 0.05, 1.0
PATIENCE_S = 30.0
_LEAVE_S = 0.5  # when nobody answers, the leases run out soon anyway
_ATTEMPT_MIN_S = 0.5
_ANSWER_S = 10.0  # one attempt; a leader that is alive but waits for a recall answers within this


class Asks(Protocol):
    """The part of the actor runtime that a client needs."""

    async def ask(self, to: Address, message: Record, /, *, timeout: float) -> Record:
        """Send a message and wait for its answer; a `Fault` otherwise."""


def as_fault(cause: Exception) -> Fault:
    """What those are told who wait for work that went wrong; a crash is logged in full."""
    if isinstance(cause, Fault):
        return cause
    log.error("a fault of this program", exc_info=cause)
    return Fault(Kind.FAILED, f"a fault of this program: {type(cause).__name__}: {cause}")


class SectorService:
    """The sector service as one client of it sees it.

    Args:
        runtime: how messages travel.
        nodes: the paths of the storing processes as known now, in any order.
        session: 16 random bytes that name this client's leases and locks.
        clock: seconds, monotonic.
        patience_s: how long a request is sent again.
        actor: of the nodes, that is asked.
    """

    def __init__(
        self,
        runtime: Asks,
        nodes: Callable[[], Sequence[Path]],
        session: bytes,
        clock: Callable[[], float],
        *,
        patience_s: float = PATIENCE_S,
        actor: str = STORE_ACTOR,
    ) -> None:
        self._runtime = runtime
        self.nodes = nodes
        self.session = session
        self.clock = clock
        self._patience_s = patience_s
        self._actor = actor
        self._leader: Path | None = None
        self._turn = random.randrange(1 << 16)  # noqa: S311 - which node to try when the leader is unknown
        self._until = 0.0
        self._since = 0
        self._epoch = 0
        self._beaten = 0.0
        self._used = 0.0  # when a lease was last relied upon
        self._leased_s = 1.0
        self.held: Callable[[], Sequence[HeldLock]] = lambda: ()

    # asking

    async def ask(
        self, message: Record, answer: type[_T], *, patience_s: float | None = None
    ) -> _T:
        """Ask the leader, and go on asking until it answers or patience ends.

        Raises:
            Fault: what the service answered, or UNREACHABLE / NO_QUORUM when patience ended.
        """
        patience = self._patience_s if patience_s is None else patience_s
        end = self.clock() + patience
        pause = _PAUSE_MIN_S
        while True:
            target = self._leader or self._next_node()
            left = max(end - self.clock(), _ATTEMPT_MIN_S)  # a frozen leader must not take it all
            try:
                return await self.ask_node(target, message, answer, timeout=min(_ANSWER_S, left))
            except Fault as fault:
                if fault.kind not in _AGAIN:
                    raise
                moved = self._learn(target, fault)  # also for the next request
                if self.clock() + pause > end:
                    raise
            if not moved:
                await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - not a secret
                pause = min(pause * 2, _PAUSE_MAX_S)

    async def ask_node(
        self, node: Path, message: Record, answer: type[_T], *, timeout: float
    ) -> _T:
        """Ask one node once."""
        reply = await self._runtime.ask(Address(node, self._actor), message, timeout=timeout)
        if not isinstance(reply, answer):
            raise Fault(
                Kind.CONTRACT,
                f"answered {type(message).__name__} with {type(reply).__name__}",
                path=str(node),
            )
        return reply

    async def ask_at(self, address: Address, message: Record, *, timeout: float) -> Record:
        """Ask any actor once, whatever it answers."""
        return await self._runtime.ask(address, message, timeout=timeout)

    def _next_node(self) -> Path:
        nodes = self.nodes()
        if not nodes:
            raise Fault(
                Kind.UNREACHABLE,
                "no node of the tree is known here",
                next_step="bt up, or give the address of a node with --addr",
            )
        self._turn += 1
        return nodes[self._turn % len(nodes)]

    def _learn(self, target: Path, fault: Fault) -> bool:
        """Where to ask next; true if there is somebody to ask at once."""
        hint = Path(fault.next_step) if fault.kind is Kind.NOT_LEADER else None
        if hint and hint != target:
            moved = self._leader is None or target == self._leader
            self._leader = hint
            return moved
        if fault.kind is not Kind.BUSY:
            self._leader = None
        return False

    # leases

    def leased_until(self, sent: float, leased_ms: int, since: int) -> None:
        """Take note of an answer to a request sent at `sent`."""
        self._since = max(self._since, since)
        if leased_ms:
            self._until = max(self._until, sent + leased_ms / 1000)
            self._leased_s = leased_ms / 1000

    def leased(self, grant: int) -> bool:
        """Whether what was leased under `grant` (0: nothing) may still be used without asking."""
        if not grant or grant < self._since:
            return False
        now = self.clock()
        if now >= self._until:
            return False
        self._used = now
        return True

    def remaining_s(self) -> float:
        """Seconds until the leases of this session end."""
        return max(0.0, self._until - self.clock())

    async def keep_alive(self) -> None:
        """Keep the session while it is used; runs until cancelled."""
        while True:
            pause = min(max(self._leased_s / 3, _KEEP_ALIVE_MIN_S), _KEEP_ALIVE_MAX_S)
            await asyncio.sleep(pause)
            held = self.held()
            now = self.clock()
            due = now - self._used < _KEEP_ALIVE_MAX_S  # unused leases may lapse, locks may not
            if not due and not (held and now - self._beaten >= _KEEP_ALIVE_MAX_S):
                continue
            try:
                await self._beat(held)
            except Fault:
                continue  # the next request finds the leader; until then the leases run out

    async def leave(self) -> None:
        """The session is over: nobody has to wait for its leases and locks to run out."""
        if self.clock() >= self._until and not self.held():
            return
        with contextlib.suppress(Fault, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self.ask(KeepAlive(self.session, leaving=True), Alive)
        self._until = 0.0

    async def _beat(self, held: Sequence[HeldLock]) -> None:
        sent = self._beaten = self.clock()
        alive = await self.ask(KeepAlive(self.session), Alive, patience_s=_KEEP_ALIVE_MAX_S)
        self.leased_until(sent, alive.leased_ms, alive.since)
        if alive.epoch != self._epoch:
            if held:
                await self.ask(KeepAlive(self.session, tuple(held)), Alive)
            self._epoch = alive.epoch
