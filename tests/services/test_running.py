"""Actors that the tree runs: verified, in a process of their own, one at a time, wherever."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path as File

import pytest

from blocktree.examples import counter
from blocktree.examples.counter import Add, Read, Total
from blocktree.fault import Fault, Kind
from blocktree.files.opening import open_filesystem
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions
from blocktree.names import Address, Path
from blocktree.services.deploy import deploy
from blocktree.services.run_messages import SERVICES_ACTOR, GetWards, LogLines, ReadLog, Wards
from blocktree.services.ward import Ward
from blocktree.store.place_messages import ListRunning, Run, RunList
from services.town import Townsman, townsman
from store.world import Client, World, in_loop, until, world

OWN = Permissions(0o644, 0, 0)
COUNTER = File(counter.__file__).read_bytes()


@contextlib.asynccontextmanager
async def files_of(tree: World) -> AsyncIterator[Filesystem]:
    client = Client(tree, "writer")
    tree.clients.append(client)
    files = open_filesystem(client.user, client.runtime, lambda: tree.paths)
    await files.start()
    try:
        yield files
    finally:
        await files.close()


async def run(
    tree: World, name: str, source: bytes, cls: str, *, on: str = "", only: bool = False
) -> Path:
    """Have an actor run at the root of the tree."""
    path = tree.path(name)
    async with files_of(tree) as files:
        settings = {"permissions": OWN, "on": on, "only": only, "replace": True}
        await deploy(files, ROOT_INO, path, source, cls, **settings)  # type: ignore[arg-type]
    return path


async def stop(tree: World, name: str) -> None:
    async with files_of(tree) as files:
        await files.unlink(ROOT_INO, name.encode())


async def runs(ann: Townsman) -> list[Run]:
    return list((await ann.client.ask_places(ListRunning(), RunList)).runs)


async def total(ann: Townsman, path: Path, seconds: float = 60) -> Total:
    """Ask until it runs."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await ann.runtime.ask(path, Read(), Total, timeout=2)
            except Fault as fault:
                if fault.kind not in (Kind.UNREACHABLE, Kind.BUSY, Kind.FAILED, Kind.NO_QUORUM):
                    raise
            await asyncio.sleep(0.05)


@in_loop
async def test_the_counter_runs_and_moves_when_its_node_dies(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await townsman(tree, "laptop")
        path = await run(tree, "counter", COUNTER, "Counter")
        assert await total(ann, path) == Total(0, 0)
        for number in range(5):
            await ann.runtime.ask(path, Add(2, f"request {number}"), Total)
        assert await ann.runtime.ask(path, Add(2, "request 3"), Total) == Total(10, 5)  # again
        (first,) = await runs(ann)
        assert first.actor == "Counter"
        await tree.crash(first.process.rpartition("/")[2])
        assert await total(ann, path) == Total(10, 5)
        (second,) = await runs(ann)
        assert second.process != first.process
        assert second.epoch > first.epoch
        assert await ann.runtime.ask(path, Add(1, "request 4"), Total) == Total(10, 5)
        await stop(tree, "counter")
        await until(
            lambda: (
                not any(node.store.replica.tree.sectors.holdings() for node in tree.nodes.values())
            )
        )
        with pytest.raises(Fault) as gone:
            await ann.runtime.ask(path, Read(), Total, timeout=1)
        assert gone.value.kind is Kind.UNREACHABLE


@in_loop
async def test_who_asks_while_it_starts_is_answered_when_it_runs(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        path = await run(tree, "counter", COUNTER, "Counter")
        asks = [ann.runtime.ask(path, Add(1, f"early {number}"), Total) for number in range(5)]
        totals = await asyncio.gather(*asks)
        assert [each.total for each in totals] == [1, 2, 3, 4, 5]
        (node,) = tree.nodes.values()
        (ward,) = (
            cell.actor
            for name in node.runtime.names()
            if isinstance((cell := node.runtime._cell(name)).actor, Ward)
        )
        os.kill(ward.pid, signal.SIGKILL)
        await until(lambda: ward.state == "restarting")
        assert await ann.runtime.ask(path, Read(), Total) == Total(5, 5)


@in_loop
async def test_user_code_that_dies_hangs_or_prints_disturbs_nobody(tmp_path: File) -> None:
    source = COUNTER.decode().replace(
        "        return Total(self.total, self.additions)\n",
        "        print('asked for', self.total)\n"
        "        if self.total == 11:\n"
        "            raise ValueError\n"
        "        if self.total == 13:\n"
        "            import os\n"
        "            os._exit(7)\n"
        "        return Total(self.total, self.additions)\n",
    )
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        path = await run(tree, "counter", source.encode(), "Counter")
        await total(ann, path)
        for amount, words in ((11, "it crashed: ValueError"), (2, "it crashed")):
            with pytest.raises(Fault) as died:
                await ann.runtime.ask(path, Add(amount, f"unlucky {amount}"), Total)
            assert (died.value.kind, died.value.what) == (Kind.FAILED, words)
            assert (died.value.path, died.value.next_step) == (path, f"bt logs {path}")
        node = Address(tree.paths[0], SERVICES_ACTOR)
        lines = (await ann.runtime.ask(node, ReadLog(path), LogLines)).lines
        assert any("asked for 0" in line for line in lines)
        assert any("its process ended with code" in line for line in lines)
        async with asyncio.timeout(60):
            while True:  # it starts again, at what it kept
                (ward,) = (await ann.runtime.ask(node, GetWards(), Wards)).wards
                if ward.state == "running":
                    break
                await asyncio.sleep(0.05)
        assert ward.crashes == 1
        os.kill(ward.pid, signal.SIGKILL)


@in_loop
async def test_code_that_is_not_what_was_said_is_not_run(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        path = await run(tree, "counter", COUNTER, "Counter")
        await total(ann, path)
        async with files_of(tree) as files:
            found = await files.lookup(ROOT_INO, b"counter.py")
            handle = await files.open(found.ino, os.O_WRONLY)
            await files.write(handle, 0, b"#")
            await files.flush(handle)
            await files.release(handle)
        node = Address(tree.paths[0], SERVICES_ACTOR)
        (ward,) = (await ann.runtime.ask(node, GetWards(), Wards)).wards
        os.kill(ward.pid, signal.SIGKILL)

        async def refused() -> bool:
            lines = (await ann.runtime.ask(node, ReadLog(path), LogLines)).lines
            return any("another than the one that was to run" in line for line in lines)

        async with asyncio.timeout(10):
            while not await refused():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.05)


@in_loop
async def test_an_actor_runs_on_the_node_that_was_asked_for_while_that_lives(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as tree:
        ann = await townsman(tree, "laptop")
        there = next(name for name in tree.nodes if name != tree.leader())
        both = [
            await run(tree, name, COUNTER, "Counter", on=tree.path(there), only=name == "stays")
            for name in ("moves", "stays")
        ]
        for path in both:
            await total(ann, path)
        assert {one.process for one in await runs(ann)} == {tree.path(there)}
        await tree.crash(there)
        await total(ann, both[0])
        moves, stays = await runs(ann)
        assert moves.process not in ("", tree.path(there))
        assert stays.process == ""
        await tree.start(there)
        await total(ann, both[1])
        assert (await runs(ann))[1].process == tree.path(there)
