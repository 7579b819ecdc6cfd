"""Talks to the sector service: finds its leader, waits through a change of leader, keeps a session.

A request that failed because the leader moved or the quorum was gone is sent again with back-off
until `patience_s` is over. That is safe for every request: reads change nothing, blobs are named by
their content, locks are idempotent, and a transaction that was already applied is answered with
`Committed` again.

Nodes that say nothing hold nobody up: who leads is asked of all, a moment apart, and while a leader
says nothing the others are asked whether another leads by now.

Lease invariant: `leased(grant)` is true only while the leader that gave this grant has promised not
to change the header without a recall. All leases of the session end together at `_until`, which is
counted from the moment a request was sent; grants below `_since` are void (the leader forgot them,
or is another one), and grants only count up, also from one leader to the next.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from blocktree.fault import Fault, Kind
from blocktree.link import AllFailedError, stagger
from blocktree.names import Address, Path
from blocktree.store.messages import STORE_ACTOR, Alive, GetStatus, HeldLock, KeepAlive, Status
from blocktree.wire import Record

log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=Record)
# What is not a refusal: the request is sent again, and its outcome is open.
AGAIN = {Kind.NOT_LEADER, Kind.UNREACHABLE, Kind.NO_QUORUM, Kind.BUSY, Kind.STOPPED}
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 0.5
_KEEP_ALIVE_MIN_S, _KEEP_ALIVE_MAX_S = 0.05, 1.0
PATIENCE_S = 30.0
_LEAVE_S = 0.5  # when nobody answers, the leases run out soon anyway
_ATTEMPT_MIN_S = 0.5
_ANSWER_S = 10.0  # one attempt; a leader that is alive but waits for a recall answers within this
_STAGGER_S = 0.1  # between two nodes that are asked who leads
_DOUBT_S = 0.5  # without an answer, before the others are asked who leads
_WHO_LEADS_S = 3.0  # for a node to say it


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
        self._term = 0  # the highest that was heard of
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
            left = max(end - self.clock(), _ATTEMPT_MIN_S)  # a frozen leader must not take it all
            target = self._leader
            try:
                target = target or await self._seek(left)
                return await self._attempt(target, message, answer, min(_ANSWER_S, left))
            except Fault as fault:
                if fault.kind not in AGAIN:
                    raise
                moved = self._learn(target, fault)  # also for the next request
                if self.clock() + pause > end:
                    raise _last(fault) from None
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

    async def _attempt(
        self, target: Path, message: Record, answer: type[_T], timeout_s: float
    ) -> _T:
        """Ask one node, and no longer than until another is known to lead.

        Raises:
            Fault: NOT_LEADER with that other; what the node answered; UNREACHABLE.
        """
        try:
            async with asyncio.timeout(None) as limit:
                doubt = _Doubt(limit, partial(self._who_leads_instead, target))
                try:
                    return await self.ask_node(target, message, answer, timeout=timeout_s)
                finally:
                    doubt.end()
        except TimeoutError:
            if not doubt.other:
                raise
        raise Fault(Kind.NOT_LEADER, "it says nothing, and another leads", next_step=doubt.other)

    async def _seek(self, timeout_s: float) -> Path:
        """Who leads, says the first node that answers; one that answers if nobody does.

        Raises:
            Fault: why no node answers.
        """
        nodes = self._nodes_in_turn()
        if len(nodes) == 1:
            return nodes[0]
        limit = min(timeout_s, _WHO_LEADS_S)
        answering: list[Path] = []
        try:
            tries = [partial(self._who_leads, node, limit, answering) for node in nodes]
            self._leader = await stagger(tries, _STAGGER_S)
        except AllFailedError as failed:
            if answering:
                return answering[0]
            raise failed.faults[-1] from None
        return self._leader

    async def _who_leads(self, node: Path, timeout_s: float, answering: list[Path]) -> Path:
        status = await self._runtime.ask(Address(node, STORE_ACTOR), GetStatus(), timeout=timeout_s)
        answering.append(node)
        if not isinstance(status, Status) or not status.leader or status.term < self._term:
            raise Fault(Kind.NOT_LEADER, "knows nobody who leads", path=node)
        self._term = status.term
        return Path(status.leader)

    async def _who_leads_instead(self, silent: Path) -> Path:
        """Who leads, say the other nodes.

        Raises:
            AllFailedError: if none of them says so.
        """

        async def ask(node: Path) -> Path:
            leader = await self._who_leads(node, _DOUBT_S, [])
            if leader == silent:
                raise Fault(Kind.BUSY, "it leads, and takes its time", path=silent)
            return leader

        others = [node for node in self.nodes() if node != silent]
        return await stagger([partial(ask, node) for node in others], _STAGGER_S)

    def _nodes_in_turn(self) -> list[Path]:
        """Every node, each time another first.

        Raises:
            Fault: UNREACHABLE if none is known.
        """
        nodes = list(self.nodes())
        if not nodes:
            raise Fault(
                Kind.UNREACHABLE,
                "no node of the tree is known here",
                next_step="bt up, or give the address of a node with --addr",
            )
        self._turn += 1
        first = self._turn % len(nodes)
        return nodes[first:] + nodes[:first]

    def _learn(self, target: Path | None, fault: Fault) -> bool:
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


def _last(fault: Fault) -> Fault:
    """What is told when patience ends: that one node does not lead says nothing to who asked."""
    if fault.kind is not Kind.NOT_LEADER:
        return fault
    what = "no node leads the tree: too few of them answer"
    return Fault(Kind.NO_QUORUM, what, next_step="bt status")


class _Doubt:
    """Ends a wait when another leads than the one that is waited for.

    Args:
        limit: of the wait.
        look: who else leads; raises `AllFailedError` while nobody else does.
    """

    def __init__(
        self, limit: asyncio.Timeout, look: Callable[[], Coroutine[Any, Any, Path]]
    ) -> None:
        self.other = ""
        self._limit = limit
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_DOUBT_S, self._begin)
        self._task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """The wait is over."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while not self.other:
            try:
                self.other = await self._look()
            except AllFailedError:
                await asyncio.sleep(_DOUBT_S)
        self._limit.reschedule(self._loop.time())
