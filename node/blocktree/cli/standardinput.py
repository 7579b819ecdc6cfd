"""Standard input as the source of a copy, read so that Ctrl-C ends the wait for it."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence

from blocktree.cli.folders import CHUNK, Item, Source
from blocktree.fault import Fault, Kind
from blocktree.files.volume import NodeKind
from blocktree.names import Buffer

ITEM = Item(NodeKind.FILE, 0, 0o666, 0, 0)


class StandardInput(Source):
    """A folder of one file, which can be read once."""

    def path(self, name: bytes) -> str:
        """What it is called."""
        del name
        return "standard input"

    async def entries(self) -> Sequence[tuple[bytes, Item]]:
        """The one file; its size is not known before it ends."""
        return [(b"-", ITEM)]

    async def enter(self, name: bytes) -> Source:
        """There is no directory in it."""
        raise Fault(Kind.NOT_DIRECTORY, "is not a directory")

    async def readlink(self, name: bytes) -> bytes:
        """There is no link in it."""
        raise Fault(Kind.USAGE, "is not a link")

    async def read(self, name: bytes) -> AsyncGenerator[Buffer, None]:
        """All of it."""
        del name
        descriptor = sys.stdin.fileno()
        try:
            while chunk := await _read_some(descriptor):
                yield chunk
        except OSError as cause:
            raise Fault(Kind.FAILED, f"cannot be read: {cause.strerror}") from None


async def _read_some(descriptor: int) -> bytes:
    """What is there, once something is. A thread that waits in read(2) could not be interrupted."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a file on disk, which epoll does not take and which never waits
        return await asyncio.to_thread(os.read, descriptor, CHUNK)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, CHUNK)
