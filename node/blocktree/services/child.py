"""The child process of one actor: `python -m blocktree.services.child FD`, started by its node.

The code of the actor runs here and nowhere else, so that whatever it does, the node goes on. What
it prints and logs goes to the node, which keeps the last of it for `bt logs`.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import TypeVar, overload

from blocktree.actors import Actor, Address, Call, Restarts, Runtime
from blocktree.actors.blames import Ledger
from blocktree.actors.cell import Cell
from blocktree.contract.blame import Charge
from blocktree.fault import Fault, Kind
from blocktree.link import Failure, Lane, Link
from blocktree.names import Path, components, parse_path, tree_of
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
from blocktree.services.service import Service, State
from blocktree.wire import Opaque, Record, decode, encode

log = logging.getLogger(__name__)

_MODULE = "blocktree_service"
_CRASHES_MAX = 3  # in a minute; then the node starts another process, later and later
_SAVE_S = 12.0
_LAST_WORDS_S = 0.05
_R = TypeVar("_R", bound=Record)


class Door:
    """What is asked of the node, and its answers."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self.doubt = asyncio.Event()  # what is kept is not known: begin anew

    async def ask(self, make: Callable[[int], Record], timeout_s: float) -> bytes:
        """Send what `make(number)` gives and wait for the answer."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self.pipe.send(make(number))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise Fault(Kind.UNREACHABLE, "no answer in time") from None
        finally:
            del self._waiting[number]

    def settle(self, frame: Answered | Refused) -> None:
        """An answer came."""
        answer = self._waiting.get(frame.number)
        if answer is None or answer.done():
            return
        if isinstance(frame, Answered):
            answer.set_result(frame.answer)
        else:
            answer.set_exception(decode(frame.failure, Failure).fault())

    async def keep(self, serial: int, state: bytes) -> None:
        """Keep a state. When it is not known whether that was done, this life is over."""
        try:
            await self.ask(partial(_save, serial, state), _SAVE_S)
        except Fault as fault:
            if fault.kind is not Kind.TOO_LARGE:
                log.warning("what is kept is not known any more: %s", fault)
                self.doubt.set()
            raise


class Outcome:
    """The answer to a message that the node delivered; fulfils `mailbox.Answer`."""

    def __init__(self, pipe: Pipe, number: int) -> None:
        self._pipe = pipe
        self._number = number
        self._done = False

    def done(self) -> bool:
        """Whether the outcome was given."""
        return self._done

    def set_result(self, result: Record, /) -> None:
        """Answer."""
        self._done = True
        self._pipe.send(Answered(self._number, encode(result)))

    def set_exception(self, exception: Fault, /) -> None:
        """Refuse."""
        self._done = True
        self._pipe.send(Refused(self._number, encode(Failure.of(exception))))


class ChildLedger(Ledger):
    """Hands violations to the node, which knows who it was and can sign."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(None)
        self._pipe = pipe

    def note(self, actor: Address, what: Charge, call: Call) -> None:
        """Somebody broke the contract."""
        super().note(actor, what, call)
        with contextlib.suppress(Fault):
            self._pipe.send(Blamed(call.sender.process, call.sender.actor, what))


class ChildRuntime(Runtime):
    """A runtime whose messages to others go through the node."""

    def __init__(self, here: Path, door: Door) -> None:
        super().__init__(here)
        self._door = door
        self.ledger = ChildLedger(door.pipe)

    async def tell(
        self,
        to: Address | Path,
        message: Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = 30.0,
    ) -> None:
        """As `Runtime.tell`."""
        to = self._meant(to)
        if self._is_here(to):
            await super().tell(to, message, sender=sender, timeout=timeout)
            return
        if isinstance(to, Address):
            self.says(sender, message, to)
        self._door.pipe.send(_send(to, message, timeout, 0))
        await self._door.pipe.drained()

    @overload
    async def ask(
        self,
        to: Address | Path,
        message: Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = 10.0,
    ) -> Record: ...

    @overload
    async def ask(
        self,
        to: Address | Path,
        message: Record,
        expect: type[_R],
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = 10.0,
    ) -> _R: ...

    async def ask(
        self,
        to: Address | Path,
        message: Record,
        expect: type[Record] = Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = 10.0,
    ) -> Record:
        """As `Runtime.ask`."""
        to = self._meant(to)
        if self._is_here(to):
            return await super().ask(to, message, expect, sender=sender, timeout=timeout)
        talk = self.asks(sender, message, to) if isinstance(to, Address) else None
        try:
            data = await self._door.ask(partial(_send, to, message, timeout), timeout + 1.0)
        except Fault as fault:
            if talk is not None:
                talk.unsent(message, fault)
            raise
        record = decode(data, Record)
        if expect is not Opaque and not isinstance(record, expect):
            what = f"it answered with {type(record).__name__}"
            raise Fault(Kind.CONTRACT, what, path=str(to))
        if talk is not None:
            talk.sent(message, record)
        return Opaque(data) if expect is Opaque else record

    def _meant(self, to: Address | Path) -> Address | Path:
        """People write `/home/…`: without a tree's id the first component is this tree."""
        if isinstance(to, Address) or to.startswith("/bt1"):
            return to
        first, *rest = components(parse_path(to)) or ("",)
        del first
        return Path("/" + "/".join([tree_of(self.here), *rest]))

    def _is_here(self, to: Address | Path) -> bool:
        return isinstance(to, Address) and to.process == self.here and to.actor in self.names()


async def play(pipe: Pipe) -> int:
    """Be the actor that the node names, until it says so or is gone; the exit code."""
    begin = await pipe.receive()
    if not isinstance(begin, Begin):
        return 2
    door = Door(pipe)
    runtime = ChildRuntime(begin.process, door)
    state = State(begin.serial, begin.state, door.keep)
    cls = load_class(begin.source, begin.file, begin.cls)
    make = partial(_make, cls, state)
    listening = asyncio.create_task(_listen(pipe, door, runtime, begin.actor))
    await runtime.spawn(begin.actor, make, restarts=Restarts(_CRASHES_MAX))
    pipe.send(Begun())
    watched = asyncio.create_task(_ended(runtime, begin.actor))
    doubted = asyncio.create_task(_doubted(door))
    tasks = (listening, watched, doubted)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    code = 1 if watched.done() else 3 if doubted.done() else 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await runtime.close()
    return code


def load_class(source: bytes, file: str, name: str) -> type[Actor]:
    """The actor class in some source, which is run for it.

    Raises:
        Fault: USAGE if there is no such class; whatever the source raises.
    """
    module = types.ModuleType(_MODULE)
    module.__file__ = file
    sys.modules[_MODULE] = module  # annotations are looked up there
    exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - that is what it is for
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise Fault(Kind.USAGE, f"there is no actor class {name}", path=file)
    return found


def _make(cls: type[Actor], state: State) -> Actor:
    actor = cls()
    if isinstance(actor, Service):
        actor.state = state
    return actor


async def _listen(pipe: Pipe, door: Door, runtime: Runtime, name: str) -> None:
    while True:
        frame = await pipe.receive()
        match frame:
            case Deliver():
                _deliver(frame, pipe, runtime, name)
            case Answered() | Refused():
                door.settle(frame)
            case Left(process):
                _cell(runtime, name).left(process)
            case End() | None:
                return
            case _:
                log.warning("a %s is not for a child", type(frame).__name__)


def _deliver(frame: Deliver, pipe: Pipe, runtime: Runtime, name: str) -> None:
    answer = Outcome(pipe, frame.number) if frame.number else None
    try:
        call = Call(Address(frame.process, frame.sender), path=Path(frame.path) or None)
        _cell(runtime, name).take(decode(frame.message, Record), call, answer)
    except Fault as fault:
        log.info("a message from %s#%s: %s", frame.process, frame.sender, fault)
        if answer is not None:
            answer.set_exception(fault)


def _cell(runtime: Runtime, name: str) -> Cell:
    cell = runtime.find(name)
    if cell is None:
        raise Fault(Kind.STOPPED, "the actor is stopping")
    return cell


async def _ended(runtime: Runtime, name: str) -> None:
    while runtime.find(name) is not None:  # noqa: ASYNC110 - it ends once, in the process's life
        await asyncio.sleep(0.1)


async def _doubted(door: Door) -> None:
    await door.doubt.wait()
    await asyncio.sleep(_LAST_WORDS_S)  # for the refusal to go out


def _send(to: Address | Path, message: Record, timeout_s: float, number: int) -> Send:
    data, milliseconds = encode(message), int(timeout_s * 1000)
    if isinstance(to, Address):
        return Send(number, to.process, to.actor, data, milliseconds)
    return Send(number, to, "", data, milliseconds)


def _save(serial: int, state: bytes, number: int) -> Save:
    return Save(number, serial, state)


async def _serve(descriptor: int) -> int:
    own = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_unix_connection(sock=own)
    pipe = Pipe(reader, writer)
    try:
        return await play(pipe)
    finally:
        pipe.close()


def main(arguments: list[str]) -> int:
    """Serve the node at the other end of the socket whose number is the only argument."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        return asyncio.run(_serve(int(arguments[0])))
    except Fault as fault:
        log.error("%s", fault)  # noqa: TRY400 - a sentence for people, not a traceback
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
