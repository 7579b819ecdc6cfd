"""A volume in memory: small, complete, and shared by several mounts that see each other's changes.

Each `MemoryVolume` is one mount's door to a `MemoryTree`. A change through one door invalidates,
and waits for, the others, as the filesystem service does before it acknowledges a recall.
"""

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.files.volume import (
    ROOT_INO,
    Attributes,
    Changes,
    Entry,
    Invalidate,
    Lock,
    NodeKind,
    Permissions,
    RenameFlag,
    Renaming,
    Space,
)
from blocktree.names import Buffer
from mount.memory_locks import MemoryLocks

VALID_SECONDS = 1.0
XATTR_MAX = 65536


@dataclass
class Node:
    """A file, directory or symbolic link. A directory's names are in order of their cookies."""

    ino: int
    kind: NodeKind
    mode: int
    uid: int
    gid: int
    links: int = 1
    content: bytearray = field(default_factory=bytearray)
    names: dict[bytes, tuple[int, "Node"]] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0

    def attributes(self) -> Attributes:
        size = len(self.content) or (4096 if self.kind is NodeKind.DIRECTORY else 0)
        return Attributes(
            self.ino,
            self.kind,
            self.mode,
            self.links,
            self.uid,
            self.gid,
            size,
            -(-size // 512),
            self.atime_ns,
            self.mtime_ns,
            self.ctime_ns,
        )

    def touch(self) -> None:
        self.mtime_ns = self.ctime_ns = time.time_ns()


class MemoryTree:
    """What all doors share."""

    def __init__(self) -> None:
        self.inos = itertools.count(ROOT_INO)
        self.cookies = itertools.count(1)
        self.handles = itertools.count(1)
        self.locks = MemoryLocks()
        self.doors: list[MemoryVolume] = []
        self.nodes: dict[int, Node] = {}
        self.root = self.make(NodeKind.DIRECTORY, Permissions(0o755, os.getuid(), os.getgid()))
        self.root.links = 2

    def make(self, kind: NodeKind, permissions: Permissions) -> Node:
        node = Node(next(self.inos), kind, permissions.mode, permissions.uid, permissions.gid)
        node.touch()
        node.atime_ns = node.mtime_ns
        self.nodes[node.ino] = node
        return node


class MemoryVolume:
    """One door; fulfils `blocktree.files.volume.Volume`."""

    def __init__(self, tree: MemoryTree) -> None:
        self.tree = tree
        self.lookups: dict[int, int] = {}
        self.handles: dict[int, tuple[Node, int, set[int]]] = {}
        self.dirty: set[int] = set()
        self.invalidate: Invalidate | None = None
        tree.doors.append(self)

    def _node(self, ino: int) -> Node:
        try:
            return self.tree.nodes[ino]
        except KeyError:
            raise Fault(Kind.NOT_FOUND, "no such inode") from None

    def _directory(self, ino: int) -> Node:
        node = self._node(ino)
        if node.kind is not NodeKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "not a directory")
        return node

    def _child(self, directory: int, name: bytes) -> Node:
        try:
            return self._directory(directory).names[name][1]
        except KeyError:
            raise Fault(Kind.NOT_FOUND, "no such name") from None

    async def _told(self, *changes: tuple[int, bytes | None]) -> None:
        """Let the other doors forget what changed."""
        for door in self.tree.doors:
            if door is not self and door.invalidate is not None:
                for ino, name in changes:
                    await door.invalidate(ino, name)

    def _counted(self, node: Node) -> Attributes:
        self.remember(node.ino)
        return node.attributes()

    def _insert(self, directory: Node, name: bytes, node: Node) -> None:
        if directory.links == 0:
            raise Fault(Kind.NOT_FOUND, "the directory was removed")
        if name in directory.names:
            raise Fault(Kind.EXISTS, "the name is taken")
        directory.names[name] = (next(self.tree.cookies), node)
        directory.touch()

    async def lookup(self, directory: int, name: bytes) -> Attributes:
        return self._counted(self._child(directory, name))

    async def readdir(
        self, directory: int, after: int, count: int, *, attributes: bool = False
    ) -> Sequence[Entry]:
        names = self._directory(directory).names.items()
        behind = ((cookie, name, node) for name, (cookie, node) in names if cookie > after)
        return [
            Entry(cookie, name, node.ino, node.kind, node.attributes() if attributes else None)
            for cookie, name, node in itertools.islice(behind, count)
        ]

    async def create(
        self, directory: int, name: bytes, permissions: Permissions, flags: int
    ) -> tuple[Attributes, int]:
        parent = self._directory(directory)
        if name in parent.names and not flags & os.O_EXCL:
            node = parent.names[name][1]
        else:
            node = self.tree.make(NodeKind.FILE, permissions)
            self._insert(parent, name, node)
            await self._told((directory, name), (directory, None))
        return self._counted(node), await self.open(node.ino, flags)

    async def mkdir(self, directory: int, name: bytes, permissions: Permissions) -> Attributes:
        node = self.tree.make(NodeKind.DIRECTORY, permissions)
        node.links = 2
        parent = self._directory(directory)
        self._insert(parent, name, node)
        parent.links += 1
        await self._told((directory, name), (directory, None))
        return self._counted(node)

    async def symlink(
        self, directory: int, name: bytes, target: bytes, permissions: Permissions
    ) -> Attributes:
        node = self.tree.make(NodeKind.SYMLINK, permissions)
        node.content[:] = target
        self._insert(self._directory(directory), name, node)
        await self._told((directory, name), (directory, None))
        return self._counted(node)

    async def link(self, ino: int, directory: int, name: bytes) -> Attributes:
        node = self._node(ino)
        self._insert(self._directory(directory), name, node)
        node.links += 1
        node.ctime_ns = time.time_ns()
        await self._told((directory, name), (directory, None), (ino, None))
        return self._counted(node)

    async def unlink(self, directory: int, name: bytes) -> None:
        node = self._child(directory, name)
        if node.kind is NodeKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "a directory")
        self._remove(self._directory(directory), name)
        await self._told((directory, name), (directory, None), (node.ino, None))

    async def rmdir(self, directory: int, name: bytes) -> None:
        node = self._directory(self._child(directory, name).ino)
        if node.names:
            raise Fault(Kind.NOT_EMPTY, "not empty")
        self._remove(self._directory(directory), name)
        await self._told((directory, name), (directory, None))

    def _remove(self, parent: Node, name: bytes) -> None:
        _, node = parent.names.pop(name)
        parent.touch()
        if node.kind is NodeKind.DIRECTORY:
            parent.links -= 1
            node.links = 0
        else:
            node.links -= 1
            node.ctime_ns = time.time_ns()
        self._bury(node)

    def _bury(self, node: Node) -> None:
        """Free what has neither a name, nor a reference, nor an open handle at any door."""
        if node.links or any(node.ino in door.lookups for door in self.tree.doors):
            return
        opened = (kept for door in self.tree.doors for kept, _, _ in door.handles.values())
        if node.ino != ROOT_INO and not any(kept is node for kept in opened):
            self.tree.nodes.pop(node.ino, None)

    async def rename_together(self, renames: Sequence[Renaming]) -> None:
        for one in renames:
            await self.rename(one.directory, one.name, one.to, one.new_name, one.flags)

    async def rename(
        self, directory: int, name: bytes, new_directory: int, new_name: bytes, flags: RenameFlag
    ) -> None:
        source, target = self._directory(directory), self._directory(new_directory)
        node = self._child(directory, name)
        old = target.names.get(new_name, (0, None))[1]
        if flags is RenameFlag.EXCHANGE:
            other = self._child(new_directory, new_name)
            self._put(source, name, other, node)
            self._put(target, new_name, node, other)
        elif old is not node:
            if old is not None:
                self._may_replace(node, old, flags)
                self._remove(target, new_name)
            del source.names[name]
            self._insert(target, new_name, node)
            moved = int(node.kind is NodeKind.DIRECTORY)
            source.links -= moved
            target.links += moved
        source.touch()
        node.ctime_ns = time.time_ns()
        changes = [(directory, name), (new_directory, new_name), (directory, None)]
        await self._told(*changes, (new_directory, None))

    def _put(self, directory: Node, name: bytes, node: Node, was: Node) -> None:
        directory.names[name] = (directory.names[name][0], node)
        directory.links += int(node.kind is NodeKind.DIRECTORY) - int(
            was.kind is NodeKind.DIRECTORY
        )
        directory.touch()

    def _may_replace(self, node: Node, old: Node, flags: RenameFlag) -> None:
        if flags is RenameFlag.NOREPLACE:
            raise Fault(Kind.EXISTS, "the name is taken")
        if old.kind is NodeKind.DIRECTORY and node.kind is not NodeKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "a directory")
        if node.kind is NodeKind.DIRECTORY and old.kind is not NodeKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "not a directory")
        if old.names:
            raise Fault(Kind.NOT_EMPTY, "not empty")

    async def getattr(self, ino: int) -> Attributes:
        return self._node(ino).attributes()

    async def setattr(self, ino: int, changes: Changes, handle: int | None = None) -> Attributes:
        node = self.handles[handle][0] if handle in self.handles else self._node(ino)
        if changes.size is not None:
            self._resize(node, changes.size)
            node.touch()
        for part in ("mode", "uid", "gid", "atime_ns", "mtime_ns"):
            value = getattr(changes, part)
            if value is not None:
                setattr(node, part, value)
        node.ctime_ns = time.time_ns()
        await self._told((ino, None))
        return node.attributes()

    def _resize(self, node: Node, size: int) -> None:
        del node.content[size:]
        node.content.extend(bytes(size - len(node.content)))

    async def readlink(self, ino: int) -> bytes:
        return bytes(self._node(ino).content)

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        try:
            return self._node(ino).xattrs[name]
        except KeyError:
            raise Fault(Kind.NOT_FOUND, "no such attribute") from None

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        xattrs = self._node(ino).xattrs
        if flags == 1 and name in xattrs:
            raise Fault(Kind.EXISTS, "the attribute is there")
        if flags == 2 and name not in xattrs:
            raise Fault(Kind.NOT_FOUND, "no such attribute")
        if len(value) > XATTR_MAX:
            raise Fault(Kind.TOO_LARGE, "too large an attribute")
        xattrs[name] = value
        self._node(ino).ctime_ns = time.time_ns()

    async def listxattr(self, ino: int) -> Sequence[bytes]:
        return list(self._node(ino).xattrs)

    async def removexattr(self, ino: int, name: bytes) -> None:
        await self.getxattr(ino, name)
        del self._node(ino).xattrs[name]

    async def statfs(self) -> Space:
        return Space(4096, 1 << 40, 1 << 39, 1 << 20, 1 << 19)

    def remember(self, ino: int, count: int = 1) -> None:
        self.lookups[ino] = self.lookups.get(ino, 0) + count

    def forget(self, ino: int, count: int) -> None:
        self.lookups[ino] = self.lookups.get(ino, 0) - count
        if self.lookups[ino] <= 0:
            del self.lookups[ino]
            if ino in self.tree.nodes:
                self._bury(self.tree.nodes[ino])

    def valid_s(self, ino: int) -> float:
        return VALID_SECONDS

    def streamed(self, ino: int) -> bool:
        return False

    async def open(self, ino: int, flags: int) -> int:
        node = self._node(ino)
        if node.kind is NodeKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "a directory")
        handle = next(self.tree.handles)
        self.handles[handle] = (node, flags, set())
        if flags & os.O_TRUNC and node.content:
            node.content.clear()
            node.touch()
            await self._told((ino, None))
        return handle

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        with memoryview(self.handles[handle][0].content) as content:
            return bytes(content[offset : offset + size])

    async def write(self, handle: int, offset: int, data: Buffer) -> int:
        node, flags, _ = self.handles[handle]
        if flags & os.O_APPEND:
            offset = len(node.content)
        if offset > len(node.content):
            self._resize(node, offset)
        node.content[offset : offset + len(data)] = data
        node.touch()
        self.dirty.add(node.ino)
        return len(data)

    async def flush(self, handle: int) -> None:
        """The others hear of writes now.

        A write under way has its pages locked at its own mount, so two of them that waited for each
        other's invalidation would wait for ever.
        """
        ino = self.handles[handle][0].ino
        if ino in self.dirty:
            self.dirty.discard(ino)
            await self._told((ino, None))

    async def fsync(self, handle: int) -> None:
        await self.flush(handle)

    async def fsyncdir(self, directory: int) -> None:
        self._directory(directory)

    async def release(self, handle: int) -> None:
        node, _, owners = self.handles.pop(handle)
        for owner in owners:
            self.tree.locks.drop(node.ino, owner, flock=True)
        self._bury(node)

    async def getlock(self, handle: int, lock: Lock) -> Lock | None:
        return self.tree.locks.conflict(self.handles[handle][0].ino, lock)

    async def setlock(self, handle: int, lock: Lock, *, wait: bool) -> None:
        node, _, owners = self.handles[handle]
        await self.tree.locks.set(node.ino, lock, wait=wait)
        if lock.flock:
            owners.add(lock.owner)

    def on_invalidate(self, invalidate: Invalidate) -> None:
        self.invalidate = invalidate

    async def sync(self) -> None:
        return

    async def close(self) -> None:
        self.tree.doors.remove(self)
