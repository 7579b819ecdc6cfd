"""Small whole files in the tree, by path: read, replace in one step, append, list, watch."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from blocktree.fault import Fault, Kind
from blocktree.files.volume import (
    ROOT_INO,
    Attributes,
    NodeKind,
    Permissions,
    RenameFlag,
    Renaming,
    Volume,
)
from blocktree.sectors.header import SECTOR_BYTES_MIN

Place = tuple[bytes, ...]
"""A path below the tree's root, as the names that lead to it."""

WHOLE_BYTES_MAX = 16 << 20  # of a file that is read in one piece
_PAGE = 1000
_MODE_FILE, _MODE_DIRECTORY, _MODE_LINK = 0o644, 0o755, 0o777


def place_of(path: str) -> Place:
    """The place that a tree path names, without its tree: `/<tree>/a/b` is `(b"a", b"b")`."""
    return tuple(part.encode() for part in path.split("/")[2:])


class SmallFiles:
    """Files of a volume by path. Nothing is kept here: the volume caches under its leases."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._owner = os.getuid(), os.getgid()

    # looking

    async def find(self, place: Place) -> Attributes | None:
        """What is at `place`; None if nothing is. Links are not followed."""
        async with self._at(place) as found:
            return found

    async def read(self, place: Place) -> bytes | None:
        """The whole content of a file; None if there is none.

        Raises:
            Fault: TOO_LARGE over 16 MiB.
        """
        async with self._at(place) as found:
            if found is None or found.kind is not NodeKind.FILE:
                return None
            if found.size > WHOLE_BYTES_MAX:
                raise Fault(Kind.TOO_LARGE, f"is {found.size} bytes long", path=said(place))
            async with self._open(found.ino, os.O_RDONLY) as handle:
                return bytes(await self.volume.read(handle, 0, found.size))

    async def read_link(self, place: Place) -> bytes | None:
        """Where a symbolic link points; None if there is none."""
        async with self._at(place) as found:
            if found is None or found.kind is not NodeKind.SYMLINK:
                return None
            return await self.volume.readlink(found.ino)

    async def names(self, place: Place) -> Sequence[bytes]:
        """The names in a directory, sorted; none if there is no such directory."""
        return sorted(await self.listing(place))

    async def listing(self, place: Place) -> dict[bytes, int]:
        """The names in a directory with the numbers of their files; none if there is none."""
        names: dict[bytes, int] = {}
        async with self._at(place) as found:
            if found is None or found.kind is not NodeKind.DIRECTORY:
                return names
            after = 0
            while some := await self.volume.readdir(found.ino, after, _PAGE):
                names |= {entry.name: entry.ino for entry in some}
                after = some[-1].cookie
        return names

    # changing

    async def make_directory(self, place: Place) -> None:
        """The directory at `place`, made with those above it as far as they lack.

        Raises:
            Fault: NOT_DIRECTORY if a file is in the way.
        """
        async with self._directory(place):
            pass

    async def write(
        self,
        place: Place,
        content: bytes,
        links: Mapping[Place, bytes] = MappingProxyType({}),
    ) -> None:
        """Put a file in place, whole or not at all; durable when this returns.

        Symbolic links at `links` say what is given there from the same moment on.
        """
        async with contextlib.AsyncExitStack() as stack:
            directory = await stack.enter_async_context(self._directory(place[:-1]))
            part = _part(place[-1])
            await self._fill(directory, part, content)
            renames = [Renaming(directory, part, directory, place[-1], RenameFlag.REPLACE)]
            renames += [await self._link_part(stack, *link) for link in links.items()]
            await self.volume.rename_together(renames)

    async def overwrite(self, place: Place, content: bytes, *, base: int = 0) -> None:
        """Give a file new content in one commit, keeping the file: for what changes often.

        Args:
            place: of the file; directories above it are made as far as they lack.
            content: all of it.
            base: how many names of `place`, from the root, are a directory that is not made: who
                writes below it must not bring it back when it was moved or removed.

        Raises:
            Fault: NOT_FOUND if the base is not there.
        """
        await self._add(place, content, os.O_WRONLY | os.O_TRUNC, base)

    async def append(
        self, place: Place, content: bytes, *, base: int = 0, size: int | None = None
    ) -> None:
        """Add to the end of a file, which is made if it lacks; durable when this returns.

        Its sectors are small: a line more writes 4 KiB, not 64. Arguments and faults as
        `overwrite`; CONFLICT if the file has another size than the one that is given.
        """
        await self._add(place, content, os.O_WRONLY | os.O_APPEND, base, size)

    async def link(self, place: Place, target: bytes) -> None:
        """Have a symbolic link at `place` point to `target`, in place of an older one."""
        async with contextlib.AsyncExitStack() as stack:
            await self.volume.rename_together([await self._link_part(stack, place, target)])

    async def move(
        self,
        old: Place,
        new: Place,
        links: Mapping[Place, bytes] = MappingProxyType({}),
    ) -> None:
        """Move a file or directory and have symbolic links point elsewhere, in one transaction.

        Args:
            old: what moves.
            new: where to; directories above it are made.
            links: where each link lies, in place of whatever is there then, and what it says. One
                may be at `old`.

        Raises:
            Fault: NOT_FOUND; EXISTS if something is at `new`. Nothing was done then.
        """
        async with contextlib.AsyncExitStack() as stack:
            above = await stack.enter_async_context(self._at(old[:-1]))
            target = await stack.enter_async_context(self._directory(new[:-1]))
            if above is None:
                raise Fault(Kind.NOT_FOUND, "there is nothing here", path=said(old))
            renames = [Renaming(above.ino, old[-1], target, new[-1], RenameFlag.NOREPLACE)]
            renames += [await self._link_part(stack, *link) for link in links.items()]
            try:
                await self.volume.rename_together(renames)
            except Fault as fault:
                raise fault.at(said(old if fault.kind is Kind.NOT_FOUND else new)) from None

    async def remove(self, place: Place) -> None:
        """Remove a file or a whole directory; nothing there is nothing to do."""
        async with self._at(place[:-1]) as above, self._at(place) as found:
            if found is None or above is None:
                return
            if found.kind is not NodeKind.DIRECTORY:
                await self.volume.unlink(above.ino, place[-1])
                return
            for name in await self.names(place):
                await self.remove((*place, name))
            await self.volume.rmdir(above.ino, place[-1])

    # inside

    @contextlib.asynccontextmanager
    async def _at(self, place: Place) -> AsyncIterator[Attributes | None]:
        """What is at `place`, known to the volume for as long as it is used."""
        walked: list[int] = []
        try:
            found: Attributes | None = await self.volume.getattr(ROOT_INO)
            for depth, name in enumerate(place, start=1):
                assert found is not None
                if found.kind is not NodeKind.DIRECTORY:
                    found = None
                    break
                found = await self._look(found.ino, name, place[:depth])
                if found is None:
                    break
                walked.append(found.ino)
            yield found
        finally:
            for ino in walked:
                self.volume.forget(ino, 1)

    @contextlib.asynccontextmanager
    async def _directory(self, place: Place, base: int = 0) -> AsyncIterator[int]:
        """The number of a directory, which is made below `base` if it lacks, while it is used."""
        ino, walked = ROOT_INO, list[int]()
        try:
            for depth, name in enumerate(place, start=1):
                found = await self._look(ino, name, place[:depth])
                if found is None:
                    if depth <= base:
                        raise Fault(Kind.NOT_FOUND, "is not there", path=said(place[:depth]))
                    found = await self._make(ino, name, place[:depth])
                walked.append(found.ino)
                if found.kind is not NodeKind.DIRECTORY:
                    what = "is in the way: it is not a directory"
                    raise Fault(Kind.NOT_DIRECTORY, what, path=said(place[:depth]))
                ino = found.ino
            yield ino
        finally:
            for number in walked:
                self.volume.forget(number, 1)

    async def _make(self, directory: int, name: bytes, place: Place) -> Attributes:
        try:
            return await self.volume.mkdir(
                directory, name, Permissions(_MODE_DIRECTORY, *self._owner)
            )
        except Fault as fault:
            if fault.kind is not Kind.EXISTS:
                raise fault.at(said(place)) from None
            return await self.volume.lookup(directory, name)

    async def _look(self, directory: int, name: bytes, place: Place) -> Attributes | None:
        try:
            return await self.volume.lookup(directory, name)
        except Fault as fault:
            if fault.kind is not Kind.NOT_FOUND:
                raise fault.at(said(place)) from None
            return None

    async def _add(
        self, place: Place, content: bytes, flags: int, base: int, size: int | None = None
    ) -> None:
        async with self._directory(place[:-1], base) as directory:
            found = await self._look(directory, place[-1], place)
            if size is not None and size != (0 if found is None else found.size):
                if found is not None:
                    self.volume.forget(found.ino, 1)
                raise Fault(Kind.CONFLICT, "somebody else wrote to it", path=said(place))
            if found is None:
                await self._fill(directory, place[-1], content)
                return
            try:
                async with self._open(found.ino, flags) as handle:
                    await self.volume.write(
                        handle, 0 if flags & os.O_TRUNC else found.size, content
                    )
                    await self.volume.flush(handle)
            finally:
                self.volume.forget(found.ino, 1)

    async def _fill(self, directory: int, name: bytes, content: bytes) -> None:
        permissions = Permissions(_MODE_FILE, *self._owner, SECTOR_BYTES_MIN)
        made, handle = await self.volume.create(
            directory, name, permissions, os.O_WRONLY | os.O_TRUNC
        )
        try:
            await self.volume.write(handle, 0, content)
            await self.volume.flush(handle)
        finally:
            await asyncio.shield(self.volume.release(handle))
            self.volume.forget(made.ino, 1)

    async def _link_part(
        self, stack: contextlib.AsyncExitStack, place: Place, target: bytes
    ) -> Renaming:
        """What puts a link in its place, made under another name before."""
        directory = await stack.enter_async_context(self._directory(place[:-1]))
        part = await stack.enter_async_context(self._part_link(directory, place[-1], target))
        return Renaming(directory, part, directory, place[-1], RenameFlag.REPLACE)

    @contextlib.asynccontextmanager
    async def _part_link(self, directory: int, name: bytes, target: bytes) -> AsyncIterator[bytes]:
        """A link under a name of its own; it is removed if the body, which moves it, fails."""
        part = _part(name)
        permissions = Permissions(_MODE_LINK, *self._owner)
        made = await self.volume.symlink(directory, part, target, permissions)
        self.volume.forget(made.ino, 1)
        try:
            yield part
        except BaseException:
            with contextlib.suppress(Fault):
                await self.volume.unlink(directory, part)
            raise

    @contextlib.asynccontextmanager
    async def _open(self, ino: int, flags: int) -> AsyncIterator[int]:
        handle = await self.volume.open(ino, flags)
        try:
            yield handle
        finally:
            await asyncio.shield(self.volume.release(handle))


def said(place: Place) -> str:
    """A place for people, with the tree left out: `…/sensors/attic`."""
    return "…/" + b"/".join(place).decode(errors="backslashreplace")


def _part(name: bytes) -> bytes:
    return b"." + name[:200] + b"." + secrets.token_hex(4).encode()
