"""An actor as a directory: what a shell script on a mount sees."""

import asyncio
import os
import subprocess
import time
from pathlib import Path as File
from typing import cast

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO, NodeKind, Volume
from blocktree.mount import mount
from blocktree.services.actorfolders import FILES, ActorFolders
from blocktree.services.conversation import LINE_BYTES_MAX, UNREAD_MAX, Conversation
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


@in_loop
async def test_an_actor_that_runs_nowhere_is_looked_at_without_waiting_for_each_file(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        await run(tree, "counter", COUNTER, "Counter", on=tree.path("pi-9"), only=True)
        async with files_of(tree) as files:
            folders = ActorFolders(files, ann.runtime)
            folder = await folders.lookup(ROOT_INO, b"counter")
            began = time.monotonic()
            for entry in await folders.readdir(folder.ino, 0, 10, attributes=True):
                (said, *_) = (await read(folders, entry.ino)).splitlines() or ["inbox"]
                assert said in ("inbox", "! it is to run there, and no node runs it yet")
            assert time.monotonic() - began < 3


SCRIPT = """
cd "$1/counter" || exit 1
exec 3<>inbox 4<>inbox
echo "Add amount=5 'request=number one'" >&3
echo "Add amount=1" >&4
read -r three <&3; read -r four <&4; echo "$three; $four"
echo Read >&3; echo Nonsense >&3
read -r again <&3; read -r refused <&3; echo "$again; $refused"
cat <&3                        # nothing is left to read
printf Read >&4; cat <&4       # without an end of line
cat inbox; tail -n 1 inbox     # others see the last answer
echo Read > inbox; head -n 1 < inbox
"""


@in_loop
async def test_on_a_mount_a_script_holds_a_conversation_on_one_descriptor(tmp_path: File) -> None:
    (point := tmp_path / "point").mkdir()
    async with world(tmp_path / "world", 1) as tree:
        ann = await townsman(tree, "laptop")
        await total(ann, await run(tree, "counter", COUNTER, "Counter"))
        async with files_of(tree) as files:
            volume = cast("Volume", ActorFolders(files, ann.runtime))
            mounted = await mount(volume, point)
            try:
                shell = await asyncio.create_subprocess_exec(
                    "bash", "-c", SCRIPT, "script", str(point), stdout=subprocess.PIPE
                )
                said, _ = await asyncio.wait_for(shell.communicate(), 30)
            finally:
                await mounted.unmount(lazy=True)
    assert said.decode().splitlines() == [
        "Total total=5 additions=1; Total total=6 additions=2",
        "Total total=6 additions=2; ! Counter takes no Nonsense (it takes: Add, Read)",
        *["Total total=6 additions=2"] * 4,
    ]


def test_what_is_written_in_pieces_is_one_message_and_too_much_is_refused() -> None:
    inbox = Conversation(b"before\n")
    assert inbox.read(3) == b"bef"
    assert (inbox.write(b"Add am"), inbox.write(b"ount=1\nRe")) == ([], ["Add amount=1"])
    assert (inbox.read(100), inbox.end_line(), inbox.end_line()) == (b"", ["Re"], [])
    for data, kind in ((b"x" * (LINE_BYTES_MAX + 1), Kind.TOO_LARGE), (b"\xff\n", Kind.USAGE)):
        with pytest.raises(Fault) as refused:
            inbox.write(data)
        assert (refused.value.kind, inbox.end_line()) == (kind, [])
    for number in range(10):
        inbox.answer(str(number).encode() * (UNREAD_MAX // 4))
    assert inbox.read(UNREAD_MAX + 1) == b"".join(
        n * (UNREAD_MAX // 4) for n in (b"6", b"7", b"8", b"9")
    )
