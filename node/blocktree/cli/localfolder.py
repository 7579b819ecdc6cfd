"""Directories of this machine for a copy; calls that may wait for the disk run in a thread."""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import BinaryIO, ParamSpec, TypeVar

from blocktree.cli.folders import CHUNK, Item
from blocktree.cli.treefolder import umask
from blocktree.cli.treepaths import printable
from blocktree.fault import Fault, Kind
from blocktree.files.volume import NodeKind
from blocktree.names import Buffer

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SYSTEM = {b"/dev", b"/dev/fd", b"/proc/self/fd"}
_KINDS = {
    errno.ENOENT: Kind.NOT_FOUND,
    errno.EACCES: Kind.DENIED,
    errno.EPERM: Kind.DENIED,
    errno.EROFS: Kind.DENIED,
    errno.EEXIST: Kind.EXISTS,
    errno.ENOTDIR: Kind.NOT_DIRECTORY,
    errno.EISDIR: Kind.IS_DIRECTORY,
    errno.ENOTEMPTY: Kind.NOT_EMPTY,
    errno.ENOSPC: Kind.NO_SPACE,
    errno.EDQUOT: Kind.NO_SPACE,
    errno.ENAMETOOLONG: Kind.TOO_LARGE,
    errno.EFBIG: Kind.TOO_LARGE,
    errno.ELOOP: Kind.USAGE,
}


def fault_of(cause: OSError) -> Fault:
    """What the operating system refused, as a fault."""
    kind = _KINDS.get(cause.errno or 0, Kind.FAILED)
    return Fault(kind, f"{(cause.strerror or str(cause)).lower()} (on this machine)")


def look_at(path: bytes, *, follow: bool) -> Item | None:
    """What is at a path of this machine, or None.

    Raises:
        Fault: DENIED, NOT_DIRECTORY, … as the operating system says.
    """
    try:
        found = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - bytes: any name there is
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise fault_of(cause) from None
    kinds = {
        stat.S_IFREG: NodeKind.FILE,
        stat.S_IFDIR: NodeKind.DIRECTORY,
        stat.S_IFLNK: NodeKind.SYMLINK,
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode))
    mode = stat.S_IMODE(found.st_mode)
    return Item(kind, found.st_size, mode, found.st_mtime_ns, found.st_ino)


class LocalFolder:
    """A directory of this machine; fulfils `folders.Folder`."""

    def __init__(self, where: bytes) -> None:
        self._where = where

    def path(self, name: bytes) -> str:
        """The path of what is called `name` here."""
        return printable(self._at(name))

    async def look(self, name: bytes) -> Item | None:
        """What has that name."""
        return await asyncio.to_thread(look_at, self._at(name), follow=False)

    async def entries(self) -> Sequence[tuple[bytes, Item]]:
        """Everything in it, by name; what vanishes meanwhile is left out."""
        return await _in_thread(self._list)

    async def enter(self, name: bytes) -> "LocalFolder":
        """The directory of that name."""
        item = await asyncio.to_thread(look_at, self._at(name), follow=True)
        if item is None:
            raise Fault(Kind.NOT_FOUND, "no such directory")
        if not item.is_directory:
            raise Fault(Kind.NOT_DIRECTORY, "is not a directory")
        return LocalFolder(self._at(name))

    async def make(self, name: bytes) -> "LocalFolder":
        """The same, made if it is not there."""
        try:
            await _in_thread(os.mkdir, self._at(name))
        except Fault as fault:
            if fault.kind is not Kind.EXISTS:
                raise
        return await self.enter(name)

    async def read(self, name: bytes) -> AsyncGenerator[Buffer, None]:
        """The content of a file."""
        file: BinaryIO = await _in_thread(open, self._at(name), "rb", 0)
        try:
            while chunk := await _in_thread(file.read, CHUNK):
                yield chunk
        finally:
            file.close()

    async def write(
        self, name: bytes, content: AsyncGenerator[Buffer, None], item: Item, *, keep: bool
    ) -> None:
        """Make or overwrite a file: beside it first, then in its place, so it is never half."""
        if self._where in _SYSTEM:  # /dev/stdout may lead to an ordinary file, not to be replaced
            await _pour(content, self._at(name))
            return
        target = await _in_thread(os.path.realpath, self._at(name))
        there = await asyncio.to_thread(look_at, target, follow=True)
        if there is not None and there.kind is not NodeKind.FILE:
            if there.is_directory:
                raise Fault(Kind.IS_DIRECTORY, "is a directory")
            await _pour(content, target)  # a device or a pipe cannot be replaced
            return
        folder, leaf = os.path.split(target)
        mark = secrets.token_hex(4).encode()
        part = os.path.join(folder, b"." + leaf[:200] + b"." + mark + b".part")  # noqa: PTH118
        mode = item.mode & 0o777 & ~umask() if there is None else there.mode
        try:
            await _pour(content, part)
            await _in_thread(os.chmod, part, item.mode & 0o777 if keep else mode)
            if keep:
                await _in_thread(os.utime, part, ns=(item.mtime_ns, item.mtime_ns))
            await _in_thread(os.replace, part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)  # noqa: PTH108
            raise

    async def readlink(self, name: bytes) -> bytes:
        """The target of a symbolic link."""
        return await _in_thread(os.readlink, self._at(name))

    async def link(self, name: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        there = await self.look(name)
        if there is not None:
            await self.remove(name)
        await _in_thread(os.symlink, target, self._at(name))

    async def keep(self, name: bytes, item: Item) -> None:
        """Give what has that name the permissions and modification time of `item`."""
        await _in_thread(os.chmod, self._at(name), item.mode & 0o777)
        await _in_thread(os.utime, self._at(name), ns=(item.mtime_ns, item.mtime_ns))

    async def remove(self, name: bytes) -> None:
        """Remove a file or link."""
        await _in_thread(os.unlink, self._at(name))

    def _at(self, name: bytes) -> bytes:
        return os.path.join(self._where, name) if name else self._where  # noqa: PTH118

    def _list(self) -> list[tuple[bytes, Item]]:
        names = sorted(os.listdir(self._where))  # noqa: PTH208
        items = [(name, look_at(self._at(name), follow=False)) for name in names]
        return [(name, item) for name, item in items if item is not None]


async def _pour(content: AsyncGenerator[Buffer, None], path: bytes) -> None:
    file: BinaryIO = await _in_thread(open, path, "wb", 0)
    try:
        async for chunk in content:
            await _in_thread(_write_all, file, chunk)
    finally:
        await _in_thread(file.close)


def _write_all(file: BinaryIO, chunk: Buffer) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


async def _in_thread(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    try:
        return await asyncio.to_thread(call, *args, **kwargs)
    except OSError as cause:
        raise fault_of(cause) from None
