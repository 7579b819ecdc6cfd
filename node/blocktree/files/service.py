"""The filesystem service: one mounted tree, put together from its parts (`Volume`)."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from blocktree.actors import Runtime
from blocktree.fault import Fault, Kind
from blocktree.files.attributes import NodeAttributes
from blocktree.files.core import Core
from blocktree.files.flush import Flushes
from blocktree.files.handles import Handles
from blocktree.files.locks import LockTable
from blocktree.files.moves import Moves
from blocktree.files.names import NameOperations
from blocktree.files.neighbours import Neighbours
from blocktree.files.nodes import Node
from blocktree.files.peers import PeerCache
from blocktree.files.recalls import Recalls, tell
from blocktree.files.sharing import Sharing
from blocktree.files.sources import CACHE_ACTOR, Source
from blocktree.files.volume import (
    ROOT_INO,
    Attributes,
    Changes,
    Entry,
    Invalidate,
    Lock,
    LockKind,
    Permissions,
    RenameFlag,
    Renaming,
    Space,
)
from blocktree.names import ROOT_FILE, Buffer, FileId
from blocktree.sectors.header import Cipher, FileKind
from blocktree.store.messages import FILES_ACTOR, GetStatus, Status

_COMMIT_EVERY_S = 5.0
_STATUS_S = 2.0
_FILES_TOTAL = 1 << 40  # there is no bound but the disk's
_OWN_VALID_S = 1.0  # nobody else can change what only lives here


class Filesystem:
    """A tree as a file system: fulfils `volume.Volume`.

    Made by `open_filesystem`; `close` commits what is written and stops.
    """

    def __init__(
        self,
        core: Core,
        threads: ThreadPoolExecutor,
        runtime: Runtime,
        *,
        fast_close: bool = False,
    ) -> None:
        self.core = core
        self._threads = threads
        self._runtime = runtime
        self.flushes = Flushes(core, fast_close=fast_close)
        self.names = NameOperations(core, self.flushes)
        self._neighbours = Neighbours(core.headers, core.service.clock)
        self._moves = Moves(core, self.flushes, self.names)
        self._attributes = NodeAttributes(core, self.flushes)
        self.sharing = Sharing(core, self.flushes)
        self._handles = Handles(core, self.flushes, fast_close=fast_close)
        self._locks = LockTable(core.service)
        self.recalls = Recalls(core, self.flushes)
        self.peers = PeerCache(core.engine.fetcher.cache)
        self._tasks: list[asyncio.Task[None]] = []
        self._space: tuple[float, Space] | None = None
        core.service.held = self._locks.held
        self._handles.stale = self.recalls.stale
        core.nodes.add(ROOT_FILE, FileKind.DIRECTORY, b"", 0)

    async def start(self) -> None:
        """Begin to answer recalls and peers, and check that the root can be read."""
        await self._runtime.spawn(FILES_ACTOR, self.recalls)
        await self._runtime.spawn(CACHE_ACTOR, self.peers)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self.core.service.keep_alive()))
        self._tasks.append(loop.create_task(self._commit_regularly()))
        await self.core.opened.table(self.core.nodes.at(ROOT_INO))

    def on_invalidate(self, invalidate: Invalidate) -> None:
        """Have `invalidate` called before a recall is acknowledged."""
        self.recalls.invalidate = invalidate

    def sources(self) -> Sequence[Source]:
        """Every process that blobs were asked from, for `bt peer`."""
        return self.core.engine.fetcher.sources.all()

    async def sync(self) -> None:
        """Commit everything that is written but not committed. Raises as `Flushes.flush_all`."""
        await self.flushes.flush_all()

    async def close(self) -> None:
        """Commit everything, and stop."""
        try:
            await self.sync()
            await self.flushes.close()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.core.service.leave()
            await self._runtime.stop(FILES_ACTOR)
            await self._runtime.stop(CACHE_ACTOR)
            await self.core.engine.fetcher.close()
            self._threads.shutdown(wait=False)

    async def _commit_regularly(self) -> None:
        """What nobody flushes is committed within about five seconds."""
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            self.flushes.launch_old(int(_COMMIT_EVERY_S * 1e9))

    # names

    async def lookup(self, directory: int, name: bytes) -> Attributes:
        """The node called `name`."""
        node = self.core.nodes.at(directory)
        if name == b".":
            return await self._hand_out(node)
        if name == b"..":
            return await self._hand_out(await self.names.parent(node))
        try:
            found = await self.names.require(node, name)
            self._neighbours.found(node, name, found)
            return await self._hand_out(found)
        finally:
            tell(node, name, self.valid_s(directory))

    async def readdir(
        self, directory: int, after: int, count: int, *, attributes: bool = False
    ) -> Sequence[Entry]:
        """Up to `count` entries behind the cookie `after`."""
        node = self.core.nodes.at(directory)
        entries = await self.names.list(node, after, count, attributes=attributes)
        if attributes:
            valid = self.valid_s(directory)
            for entry in entries:
                tell(node, entry.name, valid)
        return entries

    async def create(
        self, directory: int, name: bytes, permissions: Permissions, flags: int
    ) -> tuple[Attributes, int]:
        """Make or open a file."""
        parent = self.core.nodes.at(directory)
        node = None
        if not flags & os.O_EXCL:
            node = await self.names.find(parent, name)
        if node is None:
            try:
                node = await self.names.create(parent, name, permissions)
            except Fault as fault:
                if fault.kind is not Kind.EXISTS or flags & os.O_EXCL:
                    raise
                node = await self.names.require(parent, name)
        handle = await self._handles.open(node, flags)
        tell(parent, name, self.valid_s(directory))
        return await self._hand_out(node), handle.number

    async def create_public(
        self, directory: int, name: bytes, permissions: Permissions
    ) -> tuple[Attributes, int]:
        """Make a file that is not sealed: who keeps it can read it; signed like any other.

        Raises:
            Fault: EXISTS if the name is taken.
        """
        node = await self.names.create(
            self.core.nodes.at(directory), name, permissions, Cipher.PLAIN
        )
        handle = await self._handles.open(node, os.O_WRONLY)
        return await self._hand_out(node), handle.number

    async def make_actor(
        self, directory: int, name: bytes, permissions: Permissions, content: bytes
    ) -> Attributes:
        """Say that an actor is to run at this name: `content` is an encoded `Running`.

        Raises:
            Fault: EXISTS if the name is taken, TOO_LARGE.
        """
        parent = self.core.nodes.at(directory)
        kind, plain = FileKind.ACTOR, Cipher.PLAIN
        node = await self.names.make(parent, name, kind, permissions, content, plain)
        tell(parent, name, self.valid_s(directory))
        return await self._hand_out(node)

    async def read_actor(self, ino: int) -> bytes:
        """What `make_actor` was given.

        Raises:
            Fault: USAGE if it is no actor.
        """
        node = self.core.nodes.at(ino)
        if node.kind is not FileKind.ACTOR:
            raise Fault(Kind.USAGE, "not an actor")
        content = await self.core.opened.content(node)
        return bytes(await content.read(0, content.size))

    async def file_of(self, ino: int) -> FileId:
        """The id by which the sector service knows a node, once it does."""
        node = self.core.nodes.at(ino)
        await self.flushes.store(node)
        return node.file

    async def mkdir(self, directory: int, name: bytes, permissions: Permissions) -> Attributes:
        """Make a directory."""
        parent = self.core.nodes.at(directory)
        node = await self.names.make_directory(parent, name, permissions)
        tell(parent, name, self.valid_s(directory))
        return await self._hand_out(node)

    async def symlink(
        self, directory: int, name: bytes, target: bytes, permissions: Permissions
    ) -> Attributes:
        """Make a symbolic link."""
        parent = self.core.nodes.at(directory)
        node = await self.names.make(parent, name, FileKind.SYMLINK, permissions, target)
        tell(parent, name, self.valid_s(directory))
        return await self._hand_out(node)

    async def link(self, ino: int, directory: int, name: bytes) -> Attributes:
        """Give a file one more name."""
        nodes = self.core.nodes
        node, parent = nodes.at(ino), nodes.at(directory)
        await self._moves.link(node, parent, name)
        tell(parent, name, self.valid_s(directory))
        return await self._hand_out(node)

    async def unlink(self, directory: int, name: bytes) -> None:
        """Remove a name of a file or symbolic link."""
        await self.names.unlink(self.core.nodes.at(directory), name)

    async def rmdir(self, directory: int, name: bytes) -> None:
        """Remove an empty directory."""
        await self.names.rmdir(self.core.nodes.at(directory), name)

    async def rename(
        self, directory: int, name: bytes, new_directory: int, new_name: bytes, flags: RenameFlag
    ) -> None:
        """Move a name."""
        nodes = self.core.nodes
        source, target = (nodes.at(directory), name), (nodes.at(new_directory), new_name)
        await self._moves.rename(source, target, flags)

    async def rename_together(self, renames: Sequence[Renaming]) -> None:
        """Move several names in one transaction."""
        at = self.core.nodes.at
        await self._moves.rename_together(
            [((at(o.directory), o.name), (at(o.to), o.new_name), o.flags) for o in renames]
        )

    async def _hand_out(self, node: Node) -> Attributes:
        """Count a lookup at once, so that a `forget` on its way does not take the node away."""
        node.lookups += 1
        try:
            return await self._attributes.of(node)
        except BaseException:
            self.forget(node.ino, 1)
            raise

    # nodes

    async def getattr(self, ino: int) -> Attributes:
        """The node's attributes."""
        return await self._attributes.of(self.core.nodes.at(ino))

    async def setattr(self, ino: int, changes: Changes, handle: int | None = None) -> Attributes:
        """Change attributes; through a handle they are committed with its next flush."""
        node = self.core.nodes.at(ino)
        writing = node.opens > 0 and node.content is not None and node.content.changed
        later = handle is not None or node.born or writing
        return await self._attributes.change(node, changes, later=later)

    async def readlink(self, ino: int) -> bytes:
        """The target of a symbolic link."""
        node = self.core.nodes.at(ino)
        if node.kind is not FileKind.SYMLINK:
            raise Fault(Kind.USAGE, "not a symbolic link")
        content = await self.core.opened.content(node)
        return bytes(await content.read(0, content.size))

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        """One extended attribute."""
        return await self._attributes.get(self.core.nodes.at(ino), name)

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set one."""
        await self._attributes.set(self.core.nodes.at(ino), name, value, flags)

    async def listxattr(self, ino: int) -> Sequence[bytes]:
        """The names of all."""
        return await self._attributes.names(self.core.nodes.at(ino))

    async def removexattr(self, ino: int, name: bytes) -> None:
        """Remove one."""
        await self._attributes.set(self.core.nodes.at(ino), name, None, 0)

    async def statfs(self) -> Space:
        """How much room the leader's disk has; every node keeps everything."""
        now = self.core.service.clock()
        if self._space is None or now - self._space[0] > _STATUS_S:
            status = await self.core.service.ask(GetStatus(), Status)
            total, free = status.bytes_total, status.bytes_free
            space = Space(4096, total, free, _FILES_TOTAL, _FILES_TOTAL - status.blobs)
            self._space = (now, space)
        return self._space[1]

    def remember(self, ino: int, count: int = 1) -> None:
        """The kernel was told of `ino` `count` more times."""
        self.core.nodes.at(ino).lookups += count

    def forget(self, ino: int, count: int) -> None:
        """The kernel dropped `count` of its lookups of `ino`."""
        node = self.core.nodes.get(ino)
        if node is not None:
            node.lookups = max(0, node.lookups - count)
            self.core.nodes.tidy(node)

    def valid_s(self, ino: int) -> float:
        """Seconds for which what was just said of `ino` may be kept without asking again."""
        node = self.core.nodes.get(ino)
        if node is None:
            return 0.0
        if node.own:
            return _OWN_VALID_S
        fresh = self.core.headers.fresh(node.file)
        return 0.0 if fresh is None else self.core.service.remaining_s()

    def streamed(self, ino: int) -> bool:
        """Files of a tree have offsets, all of them."""
        del ino
        return False

    # handles

    async def open(self, ino: int, flags: int) -> int:
        """Open a file."""
        return (await self._handles.open(self.core.nodes.at(ino), flags)).number

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        """Up to `size` bytes from `offset`."""
        return await self._handles.read(self._handles.at(handle), offset, size)

    async def write(self, handle: int, offset: int, data: Buffer) -> int:
        """Write all of `data`."""
        return await self._handles.write(self._handles.at(handle), offset, data)

    async def flush(self, handle: int) -> None:
        """A descriptor is closed: `Handles.leave`."""
        await self._handles.leave(self._handles.at(handle))

    async def fsync(self, handle: int) -> None:
        """Make what was written durable."""
        await self._handles.flush(self._handles.at(handle))

    async def fsyncdir(self, directory: int) -> None:
        """Make every name created in `directory` durable."""
        await self.flushes.flush_names(self.core.nodes.at(directory))

    async def release(self, handle: int) -> None:
        """Close a handle, and drop the flocks that were taken through it."""
        opened = self._handles.at(handle)
        self._handles.release(opened)
        for owner in opened.flocks:
            await self._locks.drop(opened.node.file, owner, flock=True)

    # locks

    async def getlock(self, handle: int, lock: Lock) -> Lock | None:
        """A lock that stands in the way of `lock`, or None."""
        return await self._locks.get(self._handles.at(handle).node.file, lock)

    async def setlock(self, handle: int, lock: Lock, *, wait: bool) -> None:
        """Take or give back a lock; what was written under it is durable before it is free."""
        opened = self._handles.at(handle)
        if lock.kind is LockKind.UNLOCK:
            await self._handles.flush(opened)
        elif lock.flock:
            opened.flocks.add(lock.owner)
        await self._locks.set(opened.node.file, lock, wait=wait)
