"""What link and actor tests share: an event loop for each, sides, pools, a relay that freezes."""

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from blocktree.fault import Fault
from blocktree.keys import Identity
from blocktree.link import Lane, Link, Links, Listener, Side, dial, listen
from blocktree.names import Path
from blocktree.wire import Body
from link.tree import NOW, make_node

Test = Callable[..., Coroutine[Any, Any, None]]


def in_loop(test: Test) -> Callable[..., None]:
    """Run a test in an event loop of its own, for at most 20 seconds."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return run


def admit_all(_: Identity) -> None:
    pass


def make_side(name: str, seed: int = 1, **changes: Any) -> Side:
    settings = {"admit": admit_all, "now": lambda: NOW, **changes}
    return Side(make_node(name, seed), **settings)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


class Ear:
    """Keeps what comes on links."""

    def __init__(self, *, release: bool = True) -> None:
        self.links: list[Link] = []
        self.frames: list[tuple[bytes, bytes]] = []
        self.closed: list[Fault] = []
        self.release = release
        self._news = asyncio.Event()

    def open(self, link: Link) -> None:
        self.links.append(link)
        link.on_frame, link.on_close = self.hear, self.end
        self._news.set()

    def hear(self, link: Link, head: bytes, body: Body) -> None:
        self.frames.append((head, bytes(body)))
        if self.release:
            link.release(len(head) + len(body))
        self._news.set()

    def end(self, _link: Link, fault: Fault) -> None:
        self.closed.append(fault)
        self._news.set()

    async def until(self, true: Callable[["Ear"], bool]) -> None:
        while not true(self):
            self._news.clear()
            await self._news.wait()


class Ends:
    """Two processes and the link between them, before or after somebody listens."""

    def __init__(self, listener: Listener, here: Side, ear: Ear, far: Ear) -> None:
        self.listener = listener
        self.here = here
        self.ear = ear
        self.far = far
        self.address = f"127.0.0.1:{listener.port}"

    async def dial(self, expect: Path | None = None, lane: Lane = Lane.CONTROL) -> Link:
        return await dial(self.address, self.here, self.ear.open, expect=expect, lane=lane)


@contextlib.asynccontextmanager
async def ends(here: Side | None = None, far: Side | None = None) -> AsyncIterator[Ends]:
    """`pi-1` here; `pi-2` listens."""
    ears = Ear(), Ear()
    listener = await listen(far or make_side("pi-2"), ears[1].open, "127.0.0.1")
    try:
        yield Ends(listener, here or make_side("pi-1"), *ears)
    finally:
        for ear in ears:
            for link in ear.links:
                link.close()
        await listener.close()
        await asyncio.sleep(0.01)  # connections say good-bye


class Host:
    """A process with a pool and a port, which knows the addresses of the others."""

    def __init__(self, side: Side, links: Links, listener: Listener) -> None:
        self.side = side
        self.links = links
        self.listener = listener

    @property
    def path(self) -> Path:
        return self.side.credential.path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"


@contextlib.asynccontextmanager
async def hosts(*names: str, **changes: Any) -> AsyncIterator[list[Host]]:
    """Processes of one tree that can reach each other."""
    made: list[Host] = []

    def where(path: Path) -> list[str]:
        return [host.address for host in made if host.path == path]

    try:
        for name in names:
            side = make_side(name)
            links = Links(side, sources=[where], dice=random.Random(1).random, **changes)
            made.append(Host(side, links, await listen(side, links.adopt, "127.0.0.1")))
        yield made
    finally:
        for host in made:
            await host.links.close()
            await host.listener.close()
        await asyncio.sleep(0.01)


class Relay:
    """Stands between two processes and can freeze: the connection stays, nothing passes."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server
        self.address = ""

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.address

    def freeze(self) -> None:
        self._thawed.clear()

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        for pair in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(*pair))
            self._tasks.add(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
