"""The trees that one command works on: opened when they are first used, closed at its end."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from blocktree.cli.exits import exit_code
from blocktree.cli.output import complain
from blocktree.cli.places import TreePlace, here
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.files.opening import Limits
from blocktree.files.service import Filesystem
from blocktree.keys import Member
from blocktree.store.messages import GetMembers, Members
from blocktree.wire import decode

_T = TypeVar("_T")
_PATIENCE_SECONDS = 10.0  # for another leader to be elected, which takes a second or two
_LEAVING_SECONDS = 3.0  # for committing what is written after an interruption

# What is wrong with one file, so that a command goes on with the next one.
ABOUT_FILES = {
    Kind.USAGE,
    Kind.DAMAGED,
    Kind.DENIED,
    Kind.CONFLICT,
    Kind.NOT_FOUND,
    Kind.EXISTS,
    Kind.NOT_DIRECTORY,
    Kind.IS_DIRECTORY,
    Kind.NOT_EMPTY,
    Kind.TOO_LARGE,
    Kind.UNSUPPORTED,
}

# What is left of the patience of `SectorService` when no node could decide.
_LEADERLESS = {Kind.NOT_LEADER, Kind.UNREACHABLE, Kind.STOPPED, Kind.NO_QUORUM}


@dataclass(frozen=True, slots=True)
class OpenTree:
    """A tree in use: the process's links into it, and its files."""

    place: TreePlace
    client: Client
    files: Filesystem


async def members_of(tree: OpenTree) -> tuple[Member, ...]:
    """Who belongs to a tree, as its leader knows: also who joined or left a moment ago.

    Raises:
        Fault: as `SectorService.ask`.
    """
    answer = await tree.files.core.service.ask(GetMembers(), Members)
    return tuple(decode(member, Member) for member in answer.members)


class Session:
    """Opens trees on demand; made by `run`.

    Args:
        addresses: nodes named by --addr, beside those that this machine remembers.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._stack = AsyncExitStack()
        self._open: dict[str, OpenTree] = {}
        self._started = False

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        limit = None if raised is None else _LEAVING_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._stack.aclose()

    @property
    def started(self) -> bool:
        """Whether a node of some tree was found."""
        return self._started

    async def tree(self, place: TreePlace) -> OpenTree:
        """The tree kept at `place`.

        Raises:
            Fault: UNREACHABLE if none of its nodes is found; as `Client.start`.
        """
        opened = self._open.get(place.alias)
        if opened is None:
            client = Client(place.user(), seeds=(*self._addresses, *place.seeds()))
            self._stack.push_async_callback(client.close)
            await client.start()
            self._started = True
            files = await client.open_files(Limits(patience_s=_PATIENCE_SECONDS))
            place.founded()
            place.remember_seeds(client.addresses())
            opened = self._open[place.alias] = OpenTree(place, client, files)
        return opened


def run(
    work: Callable[[Session], Awaitable[_T]],
    addresses: Sequence[str] = (),
    *,
    leaderless: bool = True,
) -> _T:
    """Run a command's work in a session, from its beginning to its end.

    With `leaderless`, a fault that nobody answers is told as what it means for files: no leader.
    """

    async def play() -> _T:
        async with Session(addresses) as session:
            try:
                return await work(session)
            except Fault as fault:
                if leaderless and session.started and fault.kind in _LEADERLESS:
                    raise _no_leader() from None
                raise

    try:
        return asyncio.run(play())
    except Fault as fault:
        raise for_people(fault, here().trees()) from None


def for_people(fault: Fault, trees: Iterable[TreePlace]) -> Fault:
    """The same fault, with the names of trees in place of their ids."""
    for place in trees:
        tree, alias = f"/{place.tree()}", f"/{place.alias}"
        fault.path = fault.path.replace(tree, alias)
        fault.what = fault.what.replace(tree, alias)
        fault.next_step = fault.next_step.replace(tree, alias)
    return fault


@contextlib.contextmanager
def said_of(path: object) -> Iterator[None]:
    """Have faults about files name the path that the person knows."""
    try:
        yield
    except Fault as fault:
        if fault.kind in ABOUT_FILES:
            fault.path = str(path)
        raise


async def each(
    things: Iterable[_T], act: Callable[[_T], Awaitable[None]], *, say: Callable[[_T], object] = str
) -> int:
    """Do the same for several files; what fails for one is told, and the next one is tried.

    Returns:
        The exit code: that of the first fault, or 0.
    """
    code = 0
    for thing in things:
        try:
            with said_of(say(thing)):
                await act(thing)
        except Fault as fault:
            if fault.kind not in ABOUT_FILES:
                raise
            complain(fault)
            code = code or exit_code(fault.kind)
    return code


async def together(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Run several at once; the first fault ends them all.

    Raises:
        Fault: that of the first.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as several:
        raise _first(several) from None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C end a question at once: the event loop would only note it meanwhile."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _no_leader() -> Fault:
    return Fault(
        Kind.NO_QUORUM, "no node leads the tree: too few of them answer", next_step="bt status"
    )


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
