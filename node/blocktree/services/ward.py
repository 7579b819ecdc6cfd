"""One actor of the tree that this node runs, in a child process of its own.

Faults, before the happy path: the child dies, or does not answer: it is started again, later and
later; the claim is lost: it is killed at once, and nothing that it still says is passed on; its
code cannot be verified or read: that is tried again, and said in its log.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from weakref import WeakValueDictionary

from blocktree.actors import Actor, Call, Restarts, receives
from blocktree.actors.description import Describe
from blocktree.actors.supervision import Supervision
from blocktree.actors.watches import Watch
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.link import Failure
from blocktree.names import Address, Path
from blocktree.services.frames import (
    Answered,
    Begin,
    Begun,
    Blamed,
    Deliver,
    End,
    Left,
    Pipe,
    Refused,
    Save,
    Send,
)
from blocktree.services.journal import Journal
from blocktree.wire import Opaque, Record, decode, encode

log = logging.getLogger(__name__)

WAITING_MAX = 1024  # messages that the child has and did not answer
MEMORY_BYTES_MAX = 512 << 20
_NICE = 5
_LIVES_S = 15.0  # between two looks whether it still answers
_SILENT_S = 30.0  # without an answer it is killed
_END_S = 2.0
_HOLD_S = 8.0  # a message waits for the child to begin; who asks waits 10 s by default
_WATCH = encode(Watch())
_SENDING_MAX = 256
_CALLERS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Errand:
    """What a ward needs from its node.

    Args:
        path: at which the actor answers.
        epoch: under which.
        holds: whether it may still act.
        begin: verifies the code, reads the kept state, and says what the child begins with.
        keep: keeps a state.
    """

    path: Path
    epoch: int
    holds: Callable[[], bool]
    begin: Callable[[], Awaitable[Begin]]
    keep: Callable[[int, bytes], Awaitable[None]]


class Ward(Actor):
    """Passes messages to the child and back."""

    raw = True

    def __init__(self, errand: Errand, journal: Journal) -> None:
        self.errand = errand
        self.journal = journal
        self.crashes = 0
        self.state = "starting"  # "running", "restarting"
        self.pid = 0
        self._running = asyncio.Event()  # the child has begun
        self._held = 0  # messages that wait for that
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Record]] = {}
        self._callers: dict[Address, Call] = {}  # who spoke to it lately, and who that proved to be
        self._pipe: Pipe | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Held while something is told there; who waits goes on in the order in which he came.
        self._turns: WeakValueDictionary[Address | Path, asyncio.Lock] = WeakValueDictionary()
        self._supervision = Supervision(Restarts())

    async def started(self) -> None:
        """Start the child."""
        self._spawn(self._live())

    async def stopped(self) -> None:
        """Let the child end, or kill it."""
        process = self._process
        if process is not None and process.returncode is None and self._pipe is not None:
            with contextlib.suppress(Fault, TimeoutError):
                self._pipe.send(End())
                async with asyncio.timeout(_END_S):
                    await process.wait()
        self.kill()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if process is not None:
            await process.wait()

    def kill(self) -> None:
        """End the child at once: its claim is lost."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    @receives
    def pass_on(self, message: Opaque, call: Call) -> "asyncio.Future[Record] | None":
        """A message of whatever class, for the child."""
        if message.data == _WATCH:
            self.runtime.household.watches.add(self.address.actor, call)
            return None
        if self.state == "running" and not self._held:
            return self._give(message.data, call)
        if self._held >= WAITING_MAX:
            raise Fault(Kind.BUSY, f"it is {self.state}", path=self.errand.path)
        self._held += 1
        return asyncio.ensure_future(self._give_later(message.data, call))

    def gone(self, peer: Identity) -> None:
        """Tell the child, whose conversations with that process are over."""
        spoke = [address for address in self._callers if address.process == peer.path]
        for address in spoke:
            del self._callers[address]
        if spoke and self._pipe is not None:
            with contextlib.suppress(Fault):
                self._pipe.send(Left(peer.path))

    # inside

    def _give(self, data: bytes, call: Call) -> "asyncio.Future[Record]":
        if self._pipe is None or self.state != "running":
            raise Fault(Kind.BUSY, f"it is {self.state}", path=self.errand.path)
        if len(self._waiting) >= WAITING_MAX:
            raise Fault(Kind.BUSY, "too many wait for it", path=self.errand.path)
        number = next(self._numbers)
        sender, path = call.sender, call.path or ""
        self._callers.pop(sender, None)  # the latest last
        self._callers[sender] = call
        if len(self._callers) > _CALLERS_MAX:
            del self._callers[next(iter(self._callers))]
        self._pipe.send(Deliver(number, sender.process, sender.actor, path, data))
        answer: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        return answer

    async def _give_later(self, data: bytes, call: Call) -> Record:
        """Once the child has begun; those that wait go on in the order they came."""
        try:
            async with asyncio.timeout(_HOLD_S):
                await self._running.wait()
        except TimeoutError:
            raise Fault(Kind.BUSY, f"it is {self.state}", path=self.errand.path) from None
        finally:
            self._held -= 1
        return await self._give(data, call)

    def _spawn(self, work: "Coroutine[object, object, None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self) -> None:
        """One child after another."""
        while True:
            try:
                why = await self._life()
            except Fault as fault:
                why = str(fault)
            except OSError as cause:
                why = f"its process cannot be started: {cause}"
            self._over(why)
            pause = self._supervision.crashed(asyncio.get_running_loop().time())
            self.crashes = self._supervision.crashes
            await asyncio.sleep(max(pause or 0.0, 0.1))

    async def _life(self) -> str:
        """One child from its start to its end, and why it ended."""
        begin = await self.errand.begin()
        ours, its = socket.socketpair()
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-u", "-P", "-m", "blocktree.services.child", str(its.fileno())),
                pass_fds=(its.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd="/",
                env=_environment(),
            )
        finally:
            its.close()
        self.pid = process.pid
        _confine(process.pid)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        pipe = self._pipe = Pipe(reader, writer)
        self._spawn(self._note(process))
        pipe.send(begin)
        watching = asyncio.ensure_future(self._watch(pipe))
        try:
            while (frame := await pipe.receive()) is not None:
                self._hear(frame, pipe)
        finally:
            watching.cancel()
            pipe.close()
            self.kill()
        return f"its process ended with code {await process.wait()}"

    async def _note(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line that does not end
                continue
            if not line:
                return
            self.journal.add(line.decode(errors="replace"))

    async def _watch(self, pipe: Pipe) -> None:
        """Kill a child that answers nothing any more."""
        while True:
            await asyncio.sleep(_LIVES_S)
            try:
                async with asyncio.timeout(_SILENT_S):
                    await self._give(encode(Describe()), Call(self.address))
            except TimeoutError:
                self.journal.add("it answers nothing any more and is started again")
                self.kill()
                return
            except Fault as fault:
                log.debug("%s: %s", self.errand.path, fault)

    def _hear(self, frame: Record, pipe: Pipe) -> None:
        match frame:
            case Begun():
                self.state = "running"
                self._running.set()
            case Answered(number, data):
                self._settle(number, Opaque(data))
            case Refused(number, data):
                self._settle(number, self._told(decode(data, Failure).fault()))
            case Send():
                self._carry(frame.number, pipe, lambda: self._sent(frame))
            case Blamed(process, sender, charge):
                call = self._callers.get(Address(process, sender))
                if call is not None:
                    self.runtime.ledger.note(self.address, charge, call)
            case Save():
                self._carry(frame.number, pipe, lambda: self._saved(frame))
            case _:
                raise Fault(Kind.CONTRACT, f"a child does not say {type(frame).__name__}")

    def _settle(self, number: int, outcome: Record | Fault) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, Fault):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)

    def _told(self, fault: Fault) -> Fault:
        """A fault of the child as others are told: a crash is read about in the log of the path."""
        if fault.kind is not Kind.FAILED or fault.path != str(self.address):
            return fault
        path = self.errand.path
        return Fault(fault.kind, fault.what, path=path, next_step=f"bt logs {path}")

    def _carry(self, number: int, pipe: Pipe, work: "Callable[[], Awaitable[Opaque]]") -> None:
        """Do what the child asks for, while it may act, and answer."""

        async def carry() -> None:
            try:
                self._allow()
                answer: Record = Answered(number, (await work()).data)
            except Fault as fault:
                answer = Refused(number, encode(Failure.of(fault)))
                if not number:  # the child does not hear of it
                    self.journal.add(f"what it told did not go out: {fault}")
            if number:
                with contextlib.suppress(Fault):
                    pipe.send(answer)

        self._spawn(carry())

    def _allow(self) -> None:
        if len(self._tasks) > _SENDING_MAX:
            raise Fault(Kind.BUSY, "too much is on its way")
        if not self.errand.holds():
            raise Fault(Kind.CONFLICT, "another acts there now", path=self.errand.path)

    async def _sent(self, frame: Send) -> Opaque:
        """Tell or ask, once what was told there before has gone out.

        Each frame has a task of its own, and one may wait for a link, or for a look-up that failed
        for a moment: those behind it must not overtake it.
        """
        to: Address | Path = Address(frame.to, frame.actor) if frame.actor else frame.to
        message, clock = Opaque(frame.message), asyncio.get_running_loop().time
        end = clock() + frame.timeout_ms / 1000
        turn = self._turns.setdefault(to, asyncio.Lock())
        try:
            async with asyncio.timeout_at(end):
                await turn.acquire()
        except TimeoutError:
            what = "what was told there before has not gone out yet"
            raise Fault(Kind.BUSY, what, path=str(to)) from None
        try:
            if not frame.number:
                await self.runtime.tell(to, message, sender=self.address, timeout=end - clock())
                return Opaque(b"")
        finally:
            turn.release()
        return await self.runtime.ask(
            to, message, Opaque, sender=self.address, timeout=end - clock()
        )

    async def _saved(self, frame: Save) -> Opaque:
        await self.errand.keep(frame.serial, frame.state)
        return Opaque(b"")

    def _over(self, why: str) -> None:
        self.journal.add(why)
        self.state, self._pipe, self.pid = "restarting", None, 0
        self._running.clear()
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                fault = Fault(Kind.FAILED, "it crashed", path=str(self.address))
                waiting.set_exception(self._told(fault))


def _environment() -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _confine(pid: int) -> None:
    """Bound what the child may take from its node."""
    with contextlib.suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
