"""Operations on names: lookup, listing, making and removing.

A file made here stays `unborn` until its first flush, so that making, writing and closing it is one
transaction, and so does a directory until something in it is flushed, or some seconds have passed.
The directory they are in is held exclusively meanwhile: nobody else can make the same name, and
whoever looks into the directory has the lease recalled, which flushes the name first. All other
changes of names are committed before the call returns.
"""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.files.attributes import describe
from blocktree.files.commit import NewVersion
from blocktree.files.core import Core, until_agreed
from blocktree.files.flush import Flushes
from blocktree.files.nodes import Node, arriving, entry_of, gone, hold
from blocktree.files.parts import Part
from blocktree.files.volume import Entry, Permissions
from blocktree.names import COMPONENT_BYTES_MAX, FileId, new_file
from blocktree.sectors.directory import DirEntry
from blocktree.sectors.header import (
    DIRECTORY_SECTOR_BYTES,
    Cipher,
    FileKind,
    Header,
)
from blocktree.sectors.inline import seal_inline
from blocktree.sectors.sector import NONCE_BYTES


class NameOperations:
    """Lookup, listing, making and removing of names; moving them is in `moves`."""

    def __init__(self, core: Core, flushes: Flushes) -> None:
        self._core = core
        self._flushes = flushes

    # reading

    async def find(self, directory: Node, name: bytes) -> Node | None:
        """The node called `name`, or None."""
        _check_length(name)
        node = directory.unborn.get(name)
        if node is not None:
            return node
        entry = await self._core.directories.lookup(directory, name)
        node = directory.unborn.get(name)  # made while the directory was fetched
        if node is not None or entry is None:
            return node
        return self.node_of(entry)

    async def require(self, directory: Node, name: bytes) -> Node:
        """The node called `name`.

        Raises:
            Fault: NOT_FOUND if there is none.
        """
        node = await self.find(directory, name)
        if node is None:
            raise Fault(Kind.NOT_FOUND, "no such file or directory", path=_say(name))
        return node

    async def parent(self, directory: Node) -> Node:
        """What `..` means in a directory, as far as it is known here."""
        header = await self._core.opened.header(directory)
        node = self._core.nodes.of(header.parent)
        return directory if node is None else node

    async def list(
        self, directory: Node, after: int, count: int, *, attributes: bool
    ) -> Sequence[Entry]:
        """Up to `count` entries behind the cookie `after`."""
        if directory.gone:
            return ()
        await self._flushes.flush_names(directory)
        found = await self._core.directories.list(directory, after, count)
        numbers = self._core.nodes.number
        if not attributes:
            return [Entry(c, e.name, numbers(e.file), e.kind) for c, e in found]
        headers = await self._core.headers.get_many([e.file for _, e in found])
        entries = []
        for (cookie, entry), known in zip(found, headers, strict=True):
            described = None
            if known is not None and known.header.kind is entry.kind:
                node = self.node_of(entry)
                described = describe(node, await self._core.opened.header(node))
            entries.append(Entry(cookie, entry.name, numbers(entry.file), entry.kind, described))
        return entries

    def node_of(self, entry: DirEntry) -> Node:
        """The node that an entry of a directory speaks of."""
        return self._core.nodes.add(entry.file, entry.kind, entry.key, entry.epoch)

    # making

    async def create(
        self, directory: Node, name: bytes, permissions: Permissions, cipher: Cipher | None = None
    ) -> Node:
        """Make a file that is committed at its first flush; PLAIN makes it public.

        Raises:
            Fault: EXISTS if the name is taken.
        """
        await self._reserve(directory, name)
        node = self._new_node(FileKind.FILE, directory.file, permissions, cipher)
        self._promise(directory, name, node)
        return node

    async def make_directory(self, directory: Node, name: bytes, permissions: Permissions) -> Node:
        """Make a directory that is committed with the first thing in it, or soon by itself.

        While what is promised does not get committed, it is at once, so that the caller is told.

        Raises:
            Fault: EXISTS if the name is taken; DENIED without the right to write there.
        """
        if self._flushes.behind:
            return await self.make(directory, name, FileKind.DIRECTORY, permissions)
        await self._require_write(directory)
        await self._reserve(directory, name)
        node = self._new_node(FileKind.DIRECTORY, directory.file, permissions)
        node.last = self._holding(node, b"")
        self._promise(directory, name, node)
        return node

    async def _require_write(self, directory: Node) -> None:
        while directory.place is not None:
            directory = directory.place[0]
        core = self._core
        await core.trust.require_write(core.commits.writer, await core.opened.header(directory))

    async def _reserve(self, directory: Node, name: bytes) -> None:
        """Return when the name is free and nobody else can make it; so it is until the next await.

        Raises:
            Fault: EXISTS if it is taken.
        """
        while True:
            await self._exclusive(directory)
            if await self.find(directory, name) is not None:
                raise Fault(Kind.EXISTS, "the name is taken", path=_say(name))
            if name in directory.arriving:
                async with directory.lock:
                    continue
            # From here to the promise nothing else runs: the lease was not recalled in between.
            if directory.born or self._core.headers.fresh(directory.file, exclusive=True):
                return

    def _promise(self, directory: Node, name: bytes, node: Node) -> None:
        """From now on the name means the node here; it is committed before anybody else looks.

        The directory's times are those of the promise, and not of the commit: what is set in
        between (by tar and rsync, when they are done with a directory) stays.
        """
        node.place = (directory, name)
        directory.unborn[name] = node
        directory.meta["mtime_ns"] = directory.meta["ctime_ns"] = self._core.now_ns()

    async def make(  # noqa: PLR0917 - as many as mknod(2)
        self,
        directory: Node,
        name: bytes,
        kind: FileKind,
        permissions: Permissions,
        content: bytes = b"",
        cipher: Cipher | None = None,
    ) -> Node:
        """Make a symbolic link to `content`, an actor that is to run, or a directory, at once.

        Raises:
            Fault: EXISTS if the name is taken, TOO_LARGE for a target that does not fit a header.
        """
        _check_length(name)
        await self._flushes.store(directory)

        async def attempt() -> Node:
            core = self._core
            async with directory.lock, AsyncExitStack() as stack:
                if await self.find(directory, name) is not None:
                    raise Fault(Kind.EXISTS, "the name is taken", path=_say(name))
                stack.enter_context(arriving(directory, name))
                edit = await core.directories.edit(directory)
                node = self._new_node(kind, directory.file, permissions, cipher)
                try:
                    header = self._holding(node, content)
                    await core.directories.add(edit, entry_of(node, name))
                    if kind is FileKind.DIRECTORY:
                        core.directories.count_directory(edit, 1)
                    version = await core.directories.prepare(edit, core.now_ns())
                    part = Part(node, NewVersion(node.file, None, header), None, {})
                    headers = await self._core.parts.commit([part], [version])
                except BaseException:
                    self.lost(node)
                    raise
                node.born = False
                core.directories.settle(edit, headers[0])
                return node

        return await until_agreed(attempt)

    def _holding(self, node: Node, content: bytes) -> Header:
        """The header of a new node with its content sealed in it."""
        assert node.last is not None
        assert node.cipher is not None
        sealed = seal_inline(node.cipher, content, self._core.draw(NONCE_BYTES), node.kind)
        return replace(node.last, size=len(content), inline=sealed)

    def _new_node(
        self,
        kind: FileKind,
        parent: FileId,
        permissions: Permissions,
        cipher: Cipher | None = None,
    ) -> Node:
        core = self._core
        now = core.now_ns()
        file = new_file(now, core.draw)
        ring = KeyRing.start(core.draw)
        node = core.nodes.add(file, kind, ring.current, ring.epoch)
        directory = kind is FileKind.DIRECTORY
        header = Header(
            file=file,
            kind=kind,
            version=0,
            size=0,
            sector_size=DIRECTORY_SECTOR_BYTES if directory else permissions.sector_size,
            cipher=core.cipher if cipher is None else cipher,
            epoch=ring.epoch,
            root=b"",
            inline=b"",
            mode=permissions.mode & 0o7777,
            uid=permissions.uid,
            gid=permissions.gid,
            mtime_ns=now,
            ctime_ns=now,
            links=2 if directory else 1,
            parent=parent,
            previous=b"",
            access=b"",
            attributes=b"",
            past_keys=b"",
            writer=core.commits.writer,
        )
        core.opened.bear(node, header, ring)
        return node

    # removing

    async def unlink(self, directory: Node, name: bytes) -> None:
        """Remove a name of a file or link.

        Raises:
            Fault: NOT_FOUND, IS_DIRECTORY.
        """

        async def attempt() -> None:
            node = await self.require(directory, name)
            if node.kind is FileKind.DIRECTORY:
                raise Fault(Kind.IS_DIRECTORY, "is a directory", path=_say(name))
            await self._remove(directory, name, node)

        await until_agreed(attempt)

    async def rmdir(self, directory: Node, name: bytes) -> None:
        """Remove an empty directory.

        Raises:
            Fault: NOT_FOUND, NOT_DIRECTORY, NOT_EMPTY.
        """

        async def attempt() -> None:
            node = await self.require(directory, name)
            if node.kind is not FileKind.DIRECTORY:
                raise Fault(Kind.NOT_DIRECTORY, "not a directory", path=_say(name))
            await self._remove(directory, name, node)

        await until_agreed(attempt)

    async def _remove(self, directory: Node, name: bytes, node: Node) -> None:
        core = self._core
        async with AsyncExitStack() as stack:
            await hold(stack, [directory, node])
            if await self.find(directory, name) is not node:
                raise Fault(Kind.CONFLICT, "the name changed meanwhile")
            if node.born:
                self.unmake(directory, name, node)
                return
            edit = await core.directories.edit(directory)
            await core.directories.remove(edit, name, node)
            if node.kind is FileKind.DIRECTORY:
                core.directories.count_directory(edit, -1)
            version = await core.directories.prepare(edit, core.now_ns())
            part = await self.less(node)
            headers = await self._core.parts.commit([part], [version])
            core.directories.settle(edit, headers[0])
            if part.version.header is None:
                self.lost(node)

    def unmake(self, directory: Node, name: bytes, node: Node) -> None:
        """Take a name away that was promised and is not in the store; both locks are held.

        Raises:
            Fault: NOT_EMPTY for a directory that has names in it.
        """
        if node.unborn:
            raise _not_empty()
        del directory.unborn[name]
        self.lost(node)

    async def less(self, node: Node) -> Part:
        """A node's part in a transaction that takes one of its names away; its lock is held.

        Raises:
            Fault: NOT_EMPTY for a directory that has names in it.
        """
        core = self._core
        if node.kind is FileKind.DIRECTORY:
            table = await core.opened.table(node)
            if table.names.size or node.unborn:
                raise _not_empty()
            header = table.header
        else:
            header = await core.opened.header(node)
        # Nothing runs in between: what was looked at is the version that goes.
        if node.kind is FileKind.DIRECTORY or header.links <= 1:
            return Part(node, NewVersion(node.file, core.opened.signed(node), None), None, {})
        fields = {"links": header.links - 1, "ctime_ns": core.now_ns()}
        return await self._core.parts.prepare(node, header, **fields)

    def lost(self, node: Node) -> None:
        """The node's last name is gone."""
        gone(node)
        self._core.nodes.tidy(node)

    async def _exclusive(self, directory: Node) -> Header:
        header = await self._core.opened.header(directory, exclusive=True)
        if header.kind is not FileKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "not a directory")
        if directory.gone:
            raise Fault(Kind.NOT_FOUND, "the directory was removed")
        return header


def _check_length(name: bytes) -> None:
    if len(name) > COMPONENT_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a name of {len(name)} bytes", path=_say(name[:32]))


def _not_empty() -> Fault:
    return Fault(Kind.NOT_EMPTY, "the directory is not empty")


def _say(name: bytes) -> str:
    return os.fsdecode(name)
