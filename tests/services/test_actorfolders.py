"""An actor as a directory: what a shell script on a mount sees."""

import asyncio
import os
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO, NodeKind
from blocktree.services.actorfolders import FILES, ActorFolders
from services.test_running import COUNTER, files_of, run, runs, total
from services.town import townsman
from store.world import in_loop, world


async def write(folders: ActorFolders, ino: int, text: bytes) -> None:
    handle = await folders.open(ino, os.O_WRONLY)
    await folders.write(handle, 0, text)
    await folders.flush(handle)
    await folders.release(handle)


async def read(folders: ActorFolders, ino: int) -> str:
    """As `cat` does: no further than its size says."""
    handle = await folders.open(ino, os.O_RDONLY)
    size = (await folders.getattr(ino)).size
    content = await folders.read(handle, 0, size)
    await folders.release(handle)
    return bytes(content).decode()


@in_loop
async def test_a_script_reads_what_an_actor_is_and_talks_to_it(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        await total(ann, await run(tree, "counter", COUNTER, "Counter"))
        async with files_of(tree) as files:
            folders = ActorFolders(files, ann.runtime)
            (shown,) = [
                entry
                for entry in await folders.readdir(ROOT_INO, 0, 10, attributes=True)
                if entry.name == b"counter"
            ]
            assert shown.kind is NodeKind.DIRECTORY
            folder = await folders.lookup(ROOT_INO, b"counter")
            assert folder.kind is NodeKind.DIRECTORY
            entries = await folders.readdir(folder.ino, 0, 10)
            assert [entry.name for entry in entries] == list(FILES)
            contract, status, last, inbox = [
                (await folders.lookup(folder.ino, name)).ino for name in FILES
            ]
            assert "Add amount=int [request=text]" in await read(folders, contract)
            assert await read(folders, status) == "at 0\n"
            await write(folders, inbox, b"Add amount=5 request=one\n")
            assert await read(folders, inbox) == "Total total=5 additions=1\n"
            await write(folders, inbox, b"Nonsense\n")
            assert "takes no Nonsense (it takes: Add, Read)" in await read(folders, inbox)
            assert await read(folders, last) == "at 5\n"
            with pytest.raises(Fault) as refused:
                await folders.open(status, os.O_WRONLY)
            assert refused.value.kind is Kind.DENIED
            with pytest.raises(Fault) as missing:
                await folders.lookup(folder.ino, b"other")
            assert missing.value.kind is Kind.NOT_FOUND
            assert (await folders.lookup(ROOT_INO, b"counter.py")).kind is NodeKind.FILE
            await folders.rmdir(ROOT_INO, b"counter")
            async with asyncio.timeout(5):
                while await runs(ann):  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.05)
