"""A node that says nothing, as a frozen one does, costs those who ask no more than a moment."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path as File

from blocktree.actors import Address, Runtime
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.files.opening import Limits, open_filesystem
from blocktree.files.service import Filesystem
from blocktree.keys import process_credential
from blocktree.link import Links, Side
from blocktree.names import Path
from blocktree.store.messages import GetHeaders, Headers
from blocktree.wire import Record
from files.test_real_nodes import laptop
from files.test_volume import get, put
from store.test_strangers import hand_over
from store.world import NOW, World, in_loop, world

SILENT_S = 5.0  # what one question to a frozen node takes that nobody gives up before


@contextlib.contextmanager
def frozen() -> Iterator[str]:
    """An address at which the kernel takes connections, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        yield f"{host}:{port}"


@contextlib.asynccontextmanager
async def laptop_beside(tree: World, silent: Path, address: str) -> AsyncIterator[Filesystem]:
    """A new laptop, to which one of the nodes is frozen."""

    def where(path: Path) -> list[str]:
        return [address] if path == silent else tree.where(path)

    credential = process_credential(tree.tree.user, os.urandom(4).hex(), now=NOW, draw=os.urandom)
    links = Links(Side(credential, lambda _: None), sources=[where], dice=lambda: 0.5)
    runtime = Runtime(credential.path, links)
    nodes = sorted(tree.paths, key=lambda path: path != silent)  # the frozen one comes first
    volume = open_filesystem(tree.tree.user, runtime, lambda: nodes, Limits())
    volume.core.service._turn = -1
    try:
        await volume.start()
        yield volume
        await volume.close()
    finally:
        await runtime.close()
        await links.close()


@in_loop
async def test_a_frozen_follower_keeps_nobody_from_reading(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        content = os.urandom(3 << 20)
        async with laptop(tree) as writer:
            await put(writer, b"big", content)
        follower = next(tree.path(name) for name in tree.nodes if name != tree.leader())
        with frozen() as address:
            began = time.monotonic()
            async with laptop_beside(tree, follower, address) as volume:
                assert (await volume.lookup(1, b"big")).size == len(content)
                assert await get(volume, (await volume.lookup(1, b"big")).ino) == content
            assert time.monotonic() - began < SILENT_S


@in_loop
async def test_a_command_starts_with_whoever_answers_first(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        with frozen() as address:
            (seed,) = tree.where(tree.paths[0])
            began = time.monotonic()
            client = Client(tree.tree.user, seeds=[address, seed])
            try:
                await client.start()
                assert len(client.nodes()) == 3
            finally:
                await client.close()
            assert time.monotonic() - began < SILENT_S


class Deaf:
    """A runtime to which some processes say nothing."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.silent: set[Path] = set()

    async def ask(self, to: Address, message: Record, /, *, timeout: float) -> Record:
        if to.process in self.silent:
            await asyncio.sleep(timeout)
            raise Fault(Kind.UNREACHABLE, "no answer", path=str(to))
        return await self.runtime.ask(to, message, timeout=timeout)


@in_loop
async def test_a_leader_that_froze_is_left_as_soon_as_another_leads(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        client = await tree.client()
        deaf = Deaf(client.runtime)
        service = SectorService(deaf, lambda: tree.paths, os.urandom(16), time.monotonic)
        await service.ask(GetHeaders(()), Headers)
        first = tree.leader()
        assert service._leader == tree.path(first)
        deaf.silent.add(tree.path(first))
        asking = asyncio.ensure_future(service.ask(GetHeaders(()), Headers))
        done, _ = await asyncio.wait([asking], timeout=2)
        assert not done  # it leads still: it may only be slow
        await hand_over(tree, next(name for name in tree.nodes if name != first))
        began = time.monotonic()
        await asking
        assert time.monotonic() - began < SILENT_S
        assert service._leader == tree.path(tree.leader())
