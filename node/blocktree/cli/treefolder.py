"""A tree's directory for a copy, and reading a tree's file as a stream."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Sequence

from blocktree.cli.folders import CHUNK, Item
from blocktree.cli.treepaths import TreePath
from blocktree.cli.trees import find, listing
from blocktree.fault import Fault, Kind
from blocktree.files.volume import Attributes, Changes, NodeKind, Permissions, Volume
from blocktree.names import Buffer

_UNDO_SECONDS = 3.0  # for removing what an interrupted copy began


def umask() -> int:
    """The permission bits that this process takes from what it makes."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def new_permissions(mode: int) -> Permissions:
    """What is made here belongs to who runs this."""
    return Permissions(mode & 0o777 & ~umask(), os.getuid(), os.getgid())


def item_of(attributes: Attributes) -> Item:
    """Attributes as a copy sees them."""
    return Item(
        attributes.kind, attributes.size, attributes.mode, attributes.mtime_ns, attributes.ino
    )


async def read_file(files: Volume, ino: int) -> AsyncGenerator[Buffer, None]:
    """The content of a file, in pieces."""
    handle = await files.open(ino, os.O_RDONLY)
    try:
        offset = 0
        while chunk := await files.read(handle, offset, CHUNK):
            offset += len(chunk)
            yield chunk
    finally:
        await files.release(handle)


class TreeFolder:
    """A directory of an open tree; fulfils `folders.Folder`.

    Args:
        files: the tree.
        where: its path, for people.
        ino: its number; the lookup that told it is never given back, because a copy is short.
    """

    def __init__(self, files: Volume, where: TreePath, ino: int) -> None:
        self._files = files
        self._where = where
        self._ino = ino

    def path(self, name: bytes) -> str:
        """The path of what is called `name` here."""
        return str(self._where.below(name)) if name else str(self._where)

    async def look(self, name: bytes) -> Item | None:
        """What has that name."""
        try:
            async with self._known(name) as attributes:
                return item_of(attributes)
        except Fault as fault:
            if fault.kind is Kind.NOT_FOUND:
                return None
            raise

    async def entries(self) -> Sequence[tuple[bytes, Item]]:
        """Everything in it, by name."""
        entries = await listing(self._files, self._ino, attributes=True)
        return [(e.name, item_of(e.attributes)) for e in entries if e.attributes is not None]

    async def enter(self, name: bytes) -> "TreeFolder":
        """The directory of that name."""
        where = self._where.below(name)
        attributes = await self._files.lookup(self._ino, name)
        if attributes.kind is NodeKind.SYMLINK:
            attributes = (await find(self._files, where)).attributes
        if attributes.kind is not NodeKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "is not a directory")
        return TreeFolder(self._files, where, attributes.ino)

    async def make(self, name: bytes) -> "TreeFolder":
        """The same, made if it is not there."""
        try:
            attributes = await self._files.mkdir(self._ino, name, new_permissions(0o777))
        except Fault as fault:
            if fault.kind is not Kind.EXISTS:
                raise
            return await self.enter(name)
        return TreeFolder(self._files, self._where.below(name), attributes.ino)

    async def read(self, name: bytes) -> AsyncGenerator[Buffer, None]:
        """The content of a file."""
        async with (
            self._known(name) as attributes,
            contextlib.aclosing(read_file(self._files, attributes.ino)) as content,
        ):
            async for chunk in content:
                yield chunk

    async def write(
        self, name: bytes, content: AsyncGenerator[Buffer, None], item: Item, *, keep: bool
    ) -> None:
        """Make or overwrite a file."""
        files = self._files
        there = await self.look(name)
        if there is not None and there.kind is NodeKind.SYMLINK:
            await self.remove(name)
            there = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        attributes, handle = await files.create(self._ino, name, new_permissions(item.mode), flags)
        try:
            offset = 0
            async for chunk in content:
                offset += await files.write(handle, offset, chunk)
            if keep:
                changes = Changes(mode=item.mode & 0o777, mtime_ns=item.mtime_ns)
                await files.setattr(attributes.ino, changes, handle)
            await files.flush(handle)
        except BaseException:
            if there is None:
                await self._undo(name)
            raise
        finally:
            await files.release(handle)
            files.forget(attributes.ino, 1)

    async def readlink(self, name: bytes) -> bytes:
        """The target of a symbolic link."""
        async with self._known(name) as attributes:
            return await self._files.readlink(attributes.ino)

    async def link(self, name: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        if await self.look(name) is not None:
            await self.remove(name)
        permissions = Permissions(0o777, os.getuid(), os.getgid())  # of a link, nobody asks
        attributes = await self._files.symlink(self._ino, name, target, permissions)
        self._files.forget(attributes.ino, 1)

    async def keep(self, name: bytes, item: Item) -> None:
        """Give what has that name the permissions and modification time of `item`."""
        changes = Changes(mode=item.mode & 0o777, mtime_ns=item.mtime_ns)
        async with self._known(name) as attributes:
            await self._files.setattr(attributes.ino, changes)

    async def remove(self, name: bytes) -> None:
        """Remove a file or link."""
        await self._files.unlink(self._ino, name)

    @contextlib.asynccontextmanager
    async def _known(self, name: bytes) -> AsyncGenerator[Attributes, None]:
        """What has that name, known to the tree's files for as long as it is worked with."""
        attributes = await self._files.lookup(self._ino, name)
        try:
            yield attributes
        finally:
            self._files.forget(attributes.ino, 1)

    async def _undo(self, name: bytes) -> None:
        with contextlib.suppress(Fault, TimeoutError):
            async with asyncio.timeout(_UNDO_SECONDS):
                await self._files.unlink(self._ino, name)
