"""One client process of a torture run: `python -m torture.worker SETTINGS`, until its input ends.

It writes what it does to a journal, one JSON line before each operation and one after it, on the
clock that all processes of this machine share. Writers and readers work on registers (whole files,
each written by one `write` and one `flush`); keepers make, rename and remove files of their own and
let one file grow.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.files.opening import Limits
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions, RenameFlag
from blocktree.keys import Credential
from torture.content import content_of, value_of

SIZES = (200, 3000, 20_000, 150_000)  # of the registers of one age
AGE_SECONDS = 6  # then new registers are used, so that each history can be judged
PAUSE_SECONDS = 0.06  # between operations
PIECE = 1000  # by which a growing file grows
GROWN_MAX = 400 * PIECE  # then another file grows, so that a long run does not fill the disks
KEPT_MAX = 120  # files of one keeper
MOVED_MAX = 64  # letters of a name, to which every move adds one
MINE = Permissions(0o644, 0, 0)
SEQUENCE = 1_000_000  # values of one process start at its number times this


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is told."""

    role: str  # writer, reader, keeper, auditor
    number: int  # no two processes of a run have the same
    seed: int
    user: str  # file with the user's credential
    seeds: tuple[str, ...]
    journal: str
    began: float  # of the run, on the monotonic clock

    def text(self) -> str:
        return json.dumps(asdict(self))


class Journal:
    """Calls and returns, in the order in which they happened."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115 - as long as the process
        self._number = 0

    def call(self, what: str, name: str, value: int) -> int:
        self._number += 1
        self._write("call", self._number, what, name, value)
        return self._number

    def done(self, number: int, value: int) -> None:
        self._write("done", number, value)

    def wrong(self, name: str, found: bytes) -> None:
        self._write("wrong", name, len(found), found[:64].hex())

    def failed(self, number: int, fault: Fault) -> None:
        self._write("failed", number, fault.kind.name, str(fault))

    def _write(self, *fields: object) -> None:
        self._file.write(json.dumps([time.monotonic_ns(), *fields]) + "\n")


class Worker:
    """The operations, on one file system."""

    def __init__(self, settings: Settings, files: Filesystem) -> None:
        self.settings = settings
        self.files = files
        self.journal = Journal(settings.journal)
        self.dice = random.Random(settings.seed)
        self.value = settings.number * SEQUENCE
        self.kept: list[str] = []
        self._growing: tuple[int, int] | None = None  # number and handle of the file
        self._length = 0
        self._grown = 0  # files that reached their size

    async def one(self) -> None:
        """One operation; its fault is written down."""
        await {"writer": self._write, "reader": self._read, "keeper": self._keep}[
            self.settings.role
        ]()

    # registers

    def _register(self) -> tuple[str, int]:
        age = int((time.monotonic() - self.settings.began) / AGE_SECONDS)
        which = self.dice.randrange(len(SIZES))
        return f"r{age}.{which}", SIZES[which]

    async def _write(self) -> None:
        name, size = self._register()
        self.value += 1
        await self._noted("write", name, self.value, self._put(name, content_of(self.value, size)))

    async def _read(self) -> None:
        name, size = self._register()

        async def read() -> int:
            content = await self.get(name)
            value = value_of(content, size)
            if value is None:
                self.journal.wrong(name, content)
                raise Fault(Kind.DAMAGED, "wrong bytes", path=name)
            return value

        await self._noted("read", name, 0, read())

    # files of one keeper

    async def _keep(self) -> None:
        choice = self.dice.random()
        if choice < 0.3:
            await self._grow()
        elif not self.kept or (choice < 0.75 and len(self.kept) < KEPT_MAX):
            self.value += 1
            name, size = f"k{self.value}", self.dice.choice((40, 2500, 66_000, 200_000))
            content = content_of(self.value, size)
            if await self._noted("make", name, size, self._put(name, content)):
                self.kept.append(name)
        else:
            old = self.kept.pop(self.dice.randrange(len(self.kept)))
            if 0.75 <= choice < 0.9 and len(old) < MOVED_MAX:
                new = old + "m"
                moving = self.files.rename(
                    ROOT_INO, old.encode(), ROOT_INO, new.encode(), RenameFlag(0)
                )
                if await self._noted("move", old, 0, moving):
                    self.kept.append(new)
            else:
                await self._noted("drop", old, 0, self.files.unlink(ROOT_INO, old.encode()))

    async def _grow(self) -> None:
        name = f"g{self.settings.number}.{self._grown}"

        async def grow() -> None:
            if not self._growing:
                self._growing = await self._open(name)
            ino, handle = self._growing
            piece = content_of(self._length // PIECE + 1, PIECE)
            await self.files.write(handle, self._length, piece)
            self._length += PIECE  # from here on it is the volume's to keep
            await self.files.flush(handle)
            if self._length >= GROWN_MAX:
                await self._release(handle, ino)
                self._growing, self._length = None, 0
                self._grown += 1

        await self._noted("grow", name, self._length + PIECE, grow())

    # at the end

    async def copy_everything(self, folder: Path) -> None:
        """Copy every file of the tree to an empty folder of this machine."""
        after = 0
        while entries := await self.files.readdir(ROOT_INO, after, 256):
            for entry in entries:
                (folder / entry.name.decode()).write_bytes(await self.get(entry.name.decode()))
            after = entries[-1].cookie

    # beneath

    async def _noted(self, what: str, name: str, value: int, work: Awaitable[object]) -> bool:
        number = self.journal.call(what, name, value)
        try:
            result = await work
        except Fault as fault:
            self.journal.failed(number, fault)
            await asyncio.sleep(0.05)
            return False
        self.journal.done(number, result if isinstance(result, int) else 0)
        return True

    async def _open(self, name: str) -> tuple[int, int]:
        """Number and handle of a file, made if there is none."""
        try:
            ino = (await self.files.lookup(ROOT_INO, name.encode())).ino
            return ino, await self.files.open(ino, os.O_RDWR)
        except Fault as fault:
            if fault.kind is not Kind.NOT_FOUND:
                raise
        try:
            made = await self.files.create(ROOT_INO, name.encode(), MINE, os.O_RDWR)
        except Fault as refused:
            if refused.kind.name != "EXISTS":  # another worker was quicker
                raise
            return await self._open(name)
        return made[0].ino, made[1]

    async def _put(self, name: str, content: bytes) -> None:
        ino, handle = await self._open(name)
        try:
            await self.files.write(handle, 0, content)
            await self.files.flush(handle)
        finally:
            await self._release(handle, ino)

    async def get(self, name: str) -> bytes:
        """All bytes of a file; none if there is no such file."""
        try:
            ino = (await self.files.lookup(ROOT_INO, name.encode())).ino
        except Fault as fault:
            if fault.kind is Kind.NOT_FOUND:
                return b""
            raise
        handle = await self.files.open(ino, os.O_RDONLY)
        try:
            return await self._whole(handle)
        finally:
            await self._release(handle, ino)

    async def _whole(self, handle: int) -> bytes:
        content = b""
        while part := bytes(await self.files.read(handle, len(content), 1 << 20)):
            content += part
        return content

    async def _release(self, handle: int, ino: int) -> None:
        with contextlib.suppress(Fault):
            await self.files.release(handle)
        self.files.forget(ino, 1)


def load_user(settings: Settings) -> Credential:
    return Credential.load(Path(settings.user).read_bytes())


@contextlib.asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """A client of the tree."""
    client = Client(load_user(settings), seeds=settings.seeds)
    try:
        await client.start(find_seconds=180)
        files = await client.open_files(Limits(cache_bytes=16 << 20))
        yield Worker(settings, files)
    finally:
        with contextlib.suppress(Fault):
            await client.close()


async def work(settings: Settings, ended: Callable[[], bool]) -> None:
    """Work until told to end."""
    async with open_worker(settings) as worker:
        if settings.role == "auditor":
            await worker.copy_everything(Path(settings.journal + ".found"))
            return
        while not ended():
            await worker.one()
            await asyncio.sleep(PAUSE_SECONDS)


def tell_tasks() -> None:
    """What every task waits for, to the log: asked of a client that does not finish."""
    for task in asyncio.all_tasks():
        task.print_stack()


async def main(text: str) -> None:
    told = json.loads(text)
    settings = Settings(**{**told, "seeds": tuple(told["seeds"])})
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_tasks)
    end = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    await work(settings, end.done)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(sys.argv[1]))
