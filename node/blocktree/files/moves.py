"""Moving names: rename in all its forms, and hard links."""

from contextlib import AsyncExitStack

from blocktree.fault import Fault, Kind
from blocktree.files.core import Core, until_agreed
from blocktree.files.directories import Edit
from blocktree.files.flush import Flushes, Part
from blocktree.files.names import NameOperations
from blocktree.files.nodes import Node, arriving, hold
from blocktree.files.volume import RenameFlag
from blocktree.names import ROOT_FILE, FileId
from blocktree.sectors.directory import DirEntry
from blocktree.sectors.header import FileKind

DEPTH_MAX = 64


class Moves:
    """Rename and link."""

    def __init__(self, core: Core, flushes: Flushes, names: NameOperations) -> None:
        self._core = core
        self._flushes = flushes
        self._names = names

    async def rename(
        self, source: tuple[Node, bytes], target: tuple[Node, bytes], flags: RenameFlag
    ) -> None:
        """Let the node named `source` (directory, name) be named `target`.

        Raises:
            Fault: NOT_FOUND, EXISTS (NOREPLACE), IS_DIRECTORY, NOT_DIRECTORY, NOT_EMPTY; USAGE for
                a directory into itself.
        """

        async def attempt() -> None:
            moved = await self._settled(*source)
            assert moved is not None
            replaced = await self._settled(*target, needed=bool(flags & RenameFlag.EXCHANGE))
            if replaced is not None and flags & RenameFlag.NOREPLACE:
                raise Fault(Kind.EXISTS, "the name is taken")
            if replaced is moved and not flags & RenameFlag.EXCHANGE:
                return  # two names of one file: POSIX says that nothing happens
            async with AsyncExitStack() as stack:
                nodes = [source[0], target[0], moved]
                await hold(stack, nodes if replaced is None else [*nodes, replaced])
                if (
                    await self._names.find(*source) is not moved
                    or moved.born
                    or (replaced is not None and replaced.born)
                    or await self._names.find(*target) is not replaced
                ):
                    raise Fault(Kind.CONFLICT, "the names changed meanwhile")
                stack.enter_context(arriving(*target))
                if flags & RenameFlag.EXCHANGE:
                    assert replaced is not None
                    await self._exchange(source, target, moved, replaced)
                else:
                    await self._move(source, target, moved, replaced)

        await until_agreed(attempt)

    async def link(self, node: Node, directory: Node, name: bytes) -> None:
        """Give a file one more name.

        Raises:
            Fault: IS_DIRECTORY, EXISTS, NOT_FOUND for a file without a name.
        """
        if node.kind is FileKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "a directory has one name")

        async def attempt() -> None:
            if node.born:
                await self._flushes.flush(node)
            core = self._core
            async with AsyncExitStack() as stack:
                await hold(stack, [directory, node])
                if await self._names.find(directory, name) is not None:
                    raise Fault(Kind.EXISTS, "the name is taken")
                stack.enter_context(arriving(directory, name))
                header = await core.opened.header(node)
                if node.gone:
                    raise Fault(Kind.NOT_FOUND, "the file has no name any more")
                parent = await self._shared_parent(header.parent, directory)
                edit = await core.directories.edit(directory)
                await core.directories.add(edit, _entry(name, node))
                version = await core.directories.prepare(edit, core.now_ns())
                fields = {"links": header.links + 1, "ctime_ns": core.now_ns(), "parent": parent}
                part = await self._flushes.prepare(node, header, **fields)
                headers = await self._flushes.commit([part], [version])
                core.directories.settle(edit, headers[0])

        await until_agreed(attempt)

    async def _settled(self, directory: Node, name: bytes, *, needed: bool = True) -> Node | None:
        """The node of that name, committed."""
        node = await self._names.find(directory, name)
        if node is None:
            if needed:
                raise Fault(Kind.NOT_FOUND, "no such file or directory")
            return None
        if node.born:
            await self._flushes.flush(node)
        return node

    async def _move(
        self,
        source: tuple[Node, bytes],
        target: tuple[Node, bytes],
        moved: Node,
        replaced: Node | None,
    ) -> None:
        core = self._core
        if moved.kind is FileKind.DIRECTORY:
            await self._check_circle(moved, target[0])
        if replaced is not None:
            _check_kinds(moved, replaced)
        edits = await self._edits(source[0], target[0])
        await core.directories.remove(edits[0], source[1], moved)
        if replaced is None:
            await core.directories.add_unless_taken(edits[-1], _entry(target[1], moved))
        else:
            await core.directories.replace(edits[-1], _entry(target[1], moved), replaced)
        self._count(edits, moved, replaced)
        parts: list[Part] = []
        if replaced is not None:
            parts.append(await self._names.less(replaced))
        if source[0] is not target[0]:
            try:
                parts.append(await self._reparent(moved, target[0].file))
            except BaseException:
                for part in parts:
                    self._flushes.give_back(part)
                raise
        await self._commit(parts, edits)
        if replaced is not None and parts[0].version.header is None:
            self._names.lost(replaced)

    def _count(self, edits: list[Edit], moved: Node, replaced: Node | None) -> None:
        """A directory that moves takes its `..` link along; one that is replaced takes it away."""
        count = self._core.directories.count_directory
        if moved.kind is FileKind.DIRECTORY:
            count(edits[0], -1)
            count(edits[-1], 1)
            if replaced is not None:
                count(edits[-1], -1)

    async def _exchange(
        self, source: tuple[Node, bytes], target: tuple[Node, bytes], first: Node, second: Node
    ) -> None:
        core = self._core
        if first is second:
            return
        for node, directory in ((first, target[0]), (second, source[0])):
            if node.kind is FileKind.DIRECTORY:
                await self._check_circle(node, directory)
        edits = await self._edits(source[0], target[0])
        await core.directories.replace(edits[0], _entry(source[1], second), first)
        await core.directories.replace(edits[-1], _entry(target[1], first), second)
        for node, more in ((first, 1), (second, -1)):
            if node.kind is FileKind.DIRECTORY:
                core.directories.count_directory(edits[0], -more)
                core.directories.count_directory(edits[-1], more)
        parts: list[Part] = []
        if source[0] is not target[0]:
            parts.append(await self._reparent(first, target[0].file))
            try:
                parts.append(await self._reparent(second, source[0].file))
            except BaseException:
                self._flushes.give_back(parts[0])
                raise
        await self._commit(parts, edits)

    async def _edits(self, first: Node, second: Node) -> list[Edit]:
        edits = [await self._core.directories.edit(first)]
        if second is not first:
            edits.append(await self._core.directories.edit(second))
        return edits

    async def _commit(self, parts: list[Part], edits: list[Edit]) -> None:
        core = self._core
        now = core.now_ns()
        try:
            versions = [await core.directories.prepare(edit, now) for edit in edits]
        except BaseException:
            for part in parts:
                self._flushes.give_back(part)
            raise
        headers = await self._flushes.commit(parts, versions)
        for edit, header in zip(edits, headers, strict=True):
            core.directories.settle(edit, header)

    async def _reparent(self, node: Node, parent: FileId) -> Part:
        header = await self._core.opened.header(node)
        now = self._core.now_ns()
        keeps = node.kind is not FileKind.DIRECTORY and header.links > 1
        new_parent = header.parent if keeps else parent
        return await self._flushes.prepare(node, header, parent=new_parent, ctime_ns=now)

    async def _check_circle(self, moved: Node, directory: Node) -> None:
        """Refuse to move a directory below itself; the service checks it again."""
        if moved.file in await self._ancestors(directory.file):
            raise Fault(Kind.USAGE, "a directory cannot be moved into itself")

    async def _shared_parent(self, parent: FileId, directory: Node) -> FileId:
        """The lowest directory above both: its rights govern a file that has names in both."""
        if parent == directory.file:
            return parent
        above = await self._ancestors(parent)
        for ancestor in await self._ancestors(directory.file):
            if ancestor in above:
                return ancestor
        return ROOT_FILE

    async def _ancestors(self, file: FileId) -> list[FileId]:
        """A directory and all above it, lowest first."""
        found = [file]
        while found[-1] != ROOT_FILE and len(found) <= DEPTH_MAX:
            found.append((await self._core.headers.get(found[-1])).header.parent)
        return found


def _entry(name: bytes, node: Node) -> DirEntry:
    return DirEntry(name, node.file, node.kind, node.key, node.epoch)


def _check_kinds(moved: Node, replaced: Node) -> None:
    """A directory replaces only a directory, anything else only what is none."""
    if replaced.kind is FileKind.DIRECTORY:
        if moved.kind is not FileKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "the target is a directory")
    elif moved.kind is FileKind.DIRECTORY:
        raise Fault(Kind.NOT_DIRECTORY, "the target is not a directory")
