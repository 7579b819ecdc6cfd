"""One running actor: its mailbox, the task that works it off, and what happens when it crashes.

Invariants
  - One message at a time; an answer promised for later does not hold up the next message, but no
    more than `LATER_MAX` are outstanding.
  - Every ask gets exactly one outcome: a record, a `Fault`, FAILED after a crash, or STOPPED.
  - A crash restarts this actor and no other, as `supervision` says; its children are stopped first
    and its timers are cancelled, since the fresh actor starts its own.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from blocktree.actors.actor import Actor, Call, Done, Method, played
from blocktree.actors.conversations import (
    Following,
    Fork,
    Table,
    Talk,
    Talks,
    broken,
    move,
    process_of,
    stopped,
    tables_of,
)
from blocktree.actors.later import Later
from blocktree.actors.mailbox import Answer, Mailbox, refuse
from blocktree.actors.supervision import FOREVER, Restarts, Supervision
from blocktree.actors.timers import Timers
from blocktree.actors.words import OWN_WORDS, Broken, Unfinished
from blocktree.fault import Fault, Kind
from blocktree.link import Link
from blocktree.link.link import again
from blocktree.names import Address, Path
from blocktree.wire import Opaque, Record, encode

log = logging.getLogger(__name__)

LATER_MAX = 1024
KNOWN_MAX = 8192  # calls whose conversation was found
TURN_MAX = 256  # messages worked off before other tasks have a turn
CRASHES_LOGGED = 5  # with traceback, in a row
DONE = Done()
_LATER = object()


class Owner(Protocol):
    """Whom a cell tells of its actor's troubles: the household of its runtime."""

    async def before_restart(self, name: str) -> None:
        """The actor is about to be started again."""

    def gave_up(self, name: str, cause: BaseException) -> None:
        """The actor crashed too often and is to be stopped."""


class Cell:
    """Runs one actor. `make` gives the next one after a crash; without it the same goes on."""

    def __init__(
        self,
        actor: Actor,
        make: Callable[[], Actor] | None,
        mailbox: Mailbox,
        owner: Owner,
        restarts: Restarts = FOREVER,
    ) -> None:
        self.actor: Actor
        self.mailbox = mailbox
        self.timers = Timers(self._due)
        self._owner = owner
        self._supervision = Supervision(restarts)
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._known: dict[Call, Talk] = {}  # found by `_meet`; the same for all without contract
        self._always: Talk | None = None  # if all conversations are one that never changes
        self._talks: Talks | None = None
        self._says: frozenset[type] = frozenset()  # what its contracts let it say first
        self._use(actor)
        self._later: dict[asyncio.Future[Record | None] | Later[Any], Answer | None] = {}
        self._later_less: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work off messages."""
        name = f"actor {self.actor.address}"
        self._task = self._loop.create_task(self._run(), name=name)

    def fail(self, cause: BaseException) -> None:
        """Let the actor crash for something else, in its turn."""
        self.mailbox.put((Broken(cause), Call(self.actor.address), None))

    async def stop(self) -> None:
        """Interrupt the actor, answer STOPPED to all who wait, and let it clean up."""
        self.timers.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        fault = Fault(Kind.STOPPED, "the actor was stopped", path=str(self.actor.address))
        for _message, _call, answer in self.mailbox.refuse(fault):
            refuse(answer, fault)
        for later, answer in list(self._later.items()):
            refuse(answer, fault)
            later.cancel()
        await self.actor.stopped()

    def take(self, message: Record, call: Call, answer: Answer | None) -> None:
        """Work off a message at once if the actor is idle and the method is a plain `def`.

        That spares a turn of the event loop. It must be called from the top of the stack (by a
        link that received something), never by an actor, so that actors do not run inside actors.
        Otherwise the message goes to the mailbox, so the order of messages is kept.
        """
        if not self.take_now(message, call, answer):
            self.mailbox.put((message, call, answer))

    def take_now(self, message: Record, call: Call, answer: Answer | None) -> bool:
        """As `take`, but what cannot be worked off at once is left alone: False."""
        try:
            talk = self._always or self._known.get(call) or self._meet(call)
        except Fault as fault:
            refuse(answer, fault)
            return True
        entry = talk.table.plain.get(type(message))
        if entry is None or not self.mailbox.idle or len(self._later) >= LATER_MAX:
            return False
        before, (method, after) = talk.table, entry
        talk.table = after
        try:
            result = method(self.actor, message, call)
        except Fault as fault:
            talk.undo(before, after)
            refuse(answer, fault)
            return True
        except (Exception, asyncio.CancelledError) as cause:
            talk.undo(before, after)
            self.mailbox.put((Broken(cause), call, answer))
            return True
        if result is None or isinstance(result, Record):
            if answer is not None:
                answer.set_result(DONE if result is None else result)
        elif type(result) is Fork or inspect.iscoroutine(result):
            self.mailbox.put((Unfinished(result), call, answer))
        else:
            self._promise(result, answer)
        return True

    def _use(self, actor: Actor) -> None:
        self.actor = actor
        tables = tables_of(type(actor))
        self._known.clear()
        self._always = None if tables.moves else Talk(tables.start)
        self._says = tables.sends
        self._talks = Talks(tables.start, self._talks)

    def saying(self, message: Record, to: Address, link: Link | None) -> Talk | None:
        """The conversation in which the actor may say this now; None if no contract is about it.

        Raises:
            Fault: CONTRACT if it may not.
        """
        if self._always is not None or type(message) not in self._says:
            return None
        assert self._talks is not None
        talk = self._talks.find(to, process_of(link))
        if type(message) not in talk.table.sends:
            assert talk.table.node is not None
            name, state = type(message).__name__, talk.table.node.name
            what = talk.table.why or f"{name} may not be said in state {state}"
            raise Fault(Kind.CONTRACT, what, path=str(to))
        return talk

    def lost(self, *, process: bytes = b"", actor: Address | None = None) -> None:
        """Who was on the other side of conversations is gone."""
        if self._talks is not None and self._talks.lost(process=process, actor=actor):
            self._known.clear()

    def left(self, process: Path) -> None:
        """A process is gone that others tell this one of."""
        if self._talks is not None:
            self._talks.left(process)

    def _meet(self, call: Call) -> Talk:
        """The conversation that a message belongs to."""
        assert self._talks is not None
        if self._talks.crowded() or len(self._known) >= KNOWN_MAX:
            self._known.clear()
        talk = self._talks.find(call.sender, process_of(call.link))
        if call.link is not None or call.path is None:  # else it is a new object each time
            self._known[call] = talk
        return talk

    async def _run(self) -> None:
        mailbox = self.mailbox
        queue, half = mailbox.queue, mailbox.capacity // 2
        turn = 0
        while True:
            if not queue:
                mailbox.spare()
                await mailbox.wait()
                turn = 0
            elif turn >= TURN_MAX:
                await asyncio.sleep(0)
                turn = 0
            turn += 1
            message, call, answer = queue.popleft()
            if mailbox.writers and len(queue) <= half:
                mailbox.spare()
            await self._work(message, call, answer)

    async def _work(  # noqa: C901 - written out, for every message goes through it
        self, message: Record, call: Call, answer: Answer | None
    ) -> None:
        """Give one message to the actor, and what comes of it to whoever asked.

        The conversation goes on before the method runs, for what the method says itself comes after
        the message; if it refuses the message, that is undone.
        """
        talk = before = after = None
        try:
            talk = self._always
            if talk is None:
                try:
                    talk = self._known[call]
                except KeyError:
                    talk = self._meet(call)
            before = talk.table
            try:  # looking up so costs half of `get`
                method, after = before[type(message)]
            except KeyError:
                method, after = self._unknown(talk, message, call)
            talk.table = after
            result = method(self.actor, message, call)
            if result is not None and not isinstance(result, Record):
                result = await self._finished(result, answer, talk)
            if answer is not None and result is not _LATER and not answer.done():
                answer.set_result(DONE if result is None else result)
        except Fault as fault:
            if talk is not None:
                talk.undo(before, after)
            refuse(answer, fault)
        except asyncio.CancelledError:
            refuse(answer, Fault(Kind.STOPPED, "the actor was stopped"))
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self._crashed(Fault(Kind.CANCELLED, "what it waited for was cancelled"))
        except Exception as cause:
            if talk is not None:
                talk.undo(before, after)
            refuse(answer, self._failed(cause))
            await self._crashed(cause)

    async def _finished(self, result: Any, answer: Answer | None, talk: Talk) -> Any:
        """An `async def` is run to its end; any other awaitable answers later."""
        following, pending = None, talk.table
        if type(result) is Fork:  # nothing is taken until it is known what follows
            following, fault, result = result.following, result.fault, result.result
            if fault is not None:
                talk.table = following.refused
                raise fault
        if inspect.iscoroutine(result):
            try:
                result = await result
            except Fault:
                if following is not None:
                    talk.undo(following.refused, pending)
                raise
        elif result is not None and not isinstance(result, Record):
            while len(self._later) >= LATER_MAX:
                self._later_less = self._loop.create_future()
                await self._later_less
            self._promise(result, answer, talk, following)
            return _LATER
        if following is not None:
            talk.undo(following.after(result), pending)
        return result

    def _promise(
        self,
        result: Any,
        answer: Answer | None,
        talk: Talk | None = None,
        following: Following | None = None,
    ) -> None:
        if type(result) is Later and following is None:
            self._later[result] = answer
            result.tell(functools.partial(self._answered, result))
            return
        later = asyncio.ensure_future(cast("Awaitable[Record | None]", result))
        self._later[later] = answer
        later.add_done_callback(self._came)
        if talk is not None and following is not None:
            later.add_done_callback(functools.partial(move, talk, talk.table, following))

    def _answered(self, later: Later[Any], outcome: Record | Fault) -> None:
        """A promised answer is there, in the middle of what somebody else does."""
        answer = self._later.pop(later)
        if self._later_less is not None and not self._later_less.done():
            self._later_less.set_result(None)
        if isinstance(outcome, Fault):
            refuse(answer, outcome)
        elif answer is not None and not answer.done():
            answer.set_result(outcome)

    def _came(self, later: asyncio.Future[Record | None]) -> None:
        """A promised answer is there."""
        answer = self._later.pop(later)
        if self._later_less is not None and not self._later_less.done():
            self._later_less.set_result(None)
        if later.cancelled():
            refuse(answer, Fault(Kind.CANCELLED, "the work was cancelled"))
            return
        cause = later.exception()
        if isinstance(cause, Fault):
            refuse(answer, again(cause))
        elif cause is not None:
            refuse(answer, self._failed(cause))
            self._log_crash(cause)
        elif answer is not None and not answer.done():
            answer.set_result(later.result() or DONE)

    def _unknown(self, talk: Talk, message: Record, call: Call) -> tuple[Method, Table]:
        """What is not in the table: our own words, or somebody broke the contract."""
        own = OWN_WORDS.get(type(message))
        if own is not None:
            return own, talk.table
        if self.actor.raw and Opaque in talk.table:
            method, after = talk.table[Opaque]
            return functools.partial(_in_bytes, method), after
        table, name, here = talk.table, type(message).__name__, str(self.actor.address)
        if table.why:
            raise Fault(Kind.CONTRACT, table.why, path=here)
        if table.node is None:
            raise Fault(Kind.CONTRACT, f"it does not take {name}", path=here)
        what = broken(table.node, name)
        roles, _ = played(type(self.actor))
        self.actor.runtime.ledger.report(self.actor.address, roles, table.node, message, call)
        if talk is not self._always:
            talk.table = stopped(table, f"this conversation was stopped: {what}")
        raise Fault(Kind.CONTRACT, what, path=here)

    def _failed(self, cause: BaseException) -> Fault:
        """What an asker may know of a crash: its class, not its words, which may hold secrets."""
        what = f"it crashed: {type(cause).__name__}"
        return Fault(
            Kind.FAILED, what, path=str(self.actor.address), next_step="see the log of its process"
        )

    async def _crashed(self, cause: BaseException) -> None:
        await self._pause(cause)
        if self._make is None:
            return
        self.timers.cancel()
        await self._owner.before_restart(self.actor.address.actor)
        while True:
            try:
                fresh = self._make()
                fresh.runtime, fresh.address = self.actor.runtime, self.actor.address
                await fresh.started()
            except Exception as again_cause:
                await self._pause(again_cause)
            else:
                self._use(fresh)
                return

    async def _pause(self, cause: BaseException) -> None:
        """Wait before going on after a crash; for ever, if it is given up: it will be stopped."""
        self._log_crash(cause)
        pause = self._supervision.crashed(self._loop.time())
        if pause is None:
            self._owner.gave_up(self.actor.address.actor, cause)
            await self._loop.create_future()
        else:
            await asyncio.sleep(pause)

    def _due(self, message: Record) -> None:
        """A timer rang. A full mailbox has enough to do: then this one is not heard."""
        if not self.mailbox.full:
            self.mailbox.put((message, Call(self.actor.address), None))

    def _log_crash(self, cause: BaseException) -> None:
        """At most `CRASHES_LOGGED` in a row: a storm of messages must not fill a disk."""
        if self._supervision.crashes < CRASHES_LOGGED:
            log.error("actor %s crashed", self.actor.address, exc_info=cause)
        elif self._supervision.crashes == CRASHES_LOGGED:
            log.error("actor %s keeps crashing; no more of it is logged", self.actor.address)


def _in_bytes(method: Method, actor: Actor, message: Record, call: Call) -> Any:
    """An actor that passes messages on takes those of its own process as bytes, too."""
    return method(actor, Opaque(encode(message)), call)
