"""Moving names: rename in all its forms, and hard links."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.files.commit import NewVersion
from blocktree.files.core import Core, until_agreed
from blocktree.files.directories import Edit
from blocktree.files.flush import Flushes
from blocktree.files.names import NameOperations
from blocktree.files.nodes import Node, arriving, entry_of, hold
from blocktree.files.parts import Part
from blocktree.files.volume import RenameFlag
from blocktree.names import ROOT_FILE, FileId
from blocktree.sectors.header import FileKind

DEPTH_MAX = 64

Name = tuple[Node, bytes]  # a directory, and a name in it
Wanted = tuple[Name, Name, RenameFlag]  # from, to
Find = Callable[[Node, bytes], Awaitable[Node | None]]


@dataclass(frozen=True, slots=True)
class Rename:
    """A name that moves, and what it replaces."""

    source: Name
    target: Name
    moved: Node
    replaced: Node | None

    @property
    def touched(self) -> tuple[Node, ...]:
        """The nodes that it changes, beside directories."""
        return (self.moved,) if self.replaced is None else (self.moved, self.replaced)


class Moves:
    """Rename and link."""

    def __init__(self, core: Core, flushes: Flushes, names: NameOperations) -> None:
        self._core = core
        self._flushes = flushes
        self._names = names

    async def rename(self, source: Name, target: Name, flags: RenameFlag) -> None:
        """Let the node named `source` (directory, name) be named `target`.

        Raises:
            Fault: NOT_FOUND, EXISTS (NOREPLACE), IS_DIRECTORY, NOT_DIRECTORY, NOT_EMPTY; USAGE for
                a directory into itself.
        """
        if flags & RenameFlag.EXCHANGE:
            await until_agreed(lambda: self._try_exchange(source, target))
        else:
            await self.rename_together([(source, target, flags)])

    async def rename_together(self, wanted: Sequence[Wanted]) -> None:
        """Several renames, each after the one before it, in one transaction: all of them or none.

        Raises:
            Fault: as `rename`; USAGE if a file is moved and replaced, or moved twice.
        """

        async def attempt() -> None:
            for source, target, _ in wanted:
                await self._flushes.store(source[0], target[0])
            renames = await self._plan(wanted, self._settled)
            if not renames:
                return  # two names of one file: POSIX says that nothing happens
            touched = [node for one in renames for node in one.touched]
            async with AsyncExitStack() as stack:
                nodes = [one.source[0] for one in renames] + [one.target[0] for one in renames]
                await hold(stack, [*nodes, *touched])
                again = await self._plan(wanted, self._names.find)
                if again != renames or any(node.born for node in touched):
                    raise Fault(Kind.CONFLICT, "the names changed meanwhile")
                for one in renames:
                    stack.enter_context(arriving(*one.target))
                await self._move(renames)

        await until_agreed(attempt)

    async def _plan(self, wanted: Sequence[Wanted], find: Find) -> list[Rename]:
        """What is moved and what is replaced, as each rename finds it."""
        said: dict[tuple[Node, bytes], Node | None] = {}
        renames = []
        for source, target, flags in wanted:
            moved = said[source] if source in said else await find(*source)
            if moved is None:
                raise Fault(Kind.NOT_FOUND, "no such file or directory")
            replaced = said[target] if target in said else await find(*target)
            if replaced is not None and flags & RenameFlag.NOREPLACE:
                raise Fault(Kind.EXISTS, "the name is taken")
            if replaced is not moved:
                said[source], said[target] = None, moved
                renames.append(Rename(source, target, moved, replaced))
        if len(renames) > 1:
            touched = [node for one in renames for node in one.touched]
            touched += {name[0] for one in renames for name in (one.source, one.target)}
            if len(set(touched)) != len(touched):
                raise Fault(Kind.USAGE, "one file is moved, replaced or changed twice")
        return renames

    async def link(self, node: Node, directory: Node, name: bytes) -> None:
        """Give a file one more name.

        Raises:
            Fault: IS_DIRECTORY, EXISTS, NOT_FOUND for a file without a name.
        """
        if node.kind is FileKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "a directory has one name")

        async def attempt() -> None:
            await self._flushes.store(directory, node)
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
                await core.directories.add(edit, entry_of(node, name))
                version = await core.directories.prepare(edit, core.now_ns())
                fields = {"links": header.links + 1, "ctime_ns": core.now_ns(), "parent": parent}
                part = await self._core.parts.prepare(node, header, **fields)
                headers = await self._core.parts.commit([part], [version])
                core.directories.settle(edit, headers[0])

        await until_agreed(attempt)

    async def _settled(self, directory: Node, name: bytes) -> Node | None:
        """The node of that name, committed."""
        node = await self._names.find(directory, name)
        if node is not None:
            await self._flushes.store(node)
        return node

    async def _move(self, renames: Sequence[Rename]) -> None:
        edits: dict[Node, Edit] = {}
        gone: list[Node] = []
        with self._core.parts.gathering() as parts:
            for one in renames:
                await self._change_names(edits, one)
                if one.replaced is not None:
                    parts.append(await self._names.less(one.replaced))
                    gone += [one.replaced] if parts[-1].version.header is None else []
                if one.source[0] is not one.target[0]:
                    parts.append(await self._reparent(one.moved, one.target[0].file))
            versions = await self._versions(list(edits.values()))
        await self._commit(parts, list(edits.values()), versions)
        for node in gone:
            self._names.lost(node)

    async def _change_names(self, edits: dict[Node, Edit], one: Rename) -> None:
        """Take a name away and give another; a directory takes its `..` link along."""
        directories = self._core.directories
        if one.moved.kind is FileKind.DIRECTORY:
            await self._check_circle(one.moved, one.target[0])
        if one.replaced is not None:
            _check_kinds(one.moved, one.replaced)
        for directory in (one.source[0], one.target[0]):
            if directory not in edits:
                edits[directory] = await directories.edit(directory)
        source, target = edits[one.source[0]], edits[one.target[0]]
        entry = entry_of(one.moved, one.target[1])
        await directories.remove(source, one.source[1], one.moved)
        if one.replaced is None:
            await directories.add_unless_taken(target, entry)
        else:
            await directories.replace(target, entry, one.replaced)
        if one.moved.kind is FileKind.DIRECTORY:
            directories.count_directory(source, -1)
            directories.count_directory(target, 1)
            if one.replaced is not None:
                directories.count_directory(target, -1)

    async def _try_exchange(self, source: Name, target: Name) -> None:
        await self._flushes.store(source[0], target[0])
        first, second = await self._settled(*source), await self._settled(*target)
        if first is None or second is None:
            raise Fault(Kind.NOT_FOUND, "no such file or directory")
        async with AsyncExitStack() as stack:
            await hold(stack, [source[0], target[0], first, second])
            now = await self._names.find(*source), await self._names.find(*target)
            if now != (first, second) or first.born or second.born:
                raise Fault(Kind.CONFLICT, "the names changed meanwhile")
            stack.enter_context(arriving(*target))
            await self._exchange(source, target, first, second)

    async def _exchange(self, source: Name, target: Name, first: Node, second: Node) -> None:
        core = self._core
        if first is second:
            return
        for node, directory in ((first, target[0]), (second, source[0])):
            if node.kind is FileKind.DIRECTORY:
                await self._check_circle(node, directory)
        edits = await self._edits(source[0], target[0])
        await core.directories.replace(edits[0], entry_of(second, source[1]), first)
        await core.directories.replace(edits[-1], entry_of(first, target[1]), second)
        for node, more in ((first, 1), (second, -1)):
            if node.kind is FileKind.DIRECTORY:
                core.directories.count_directory(edits[0], -more)
                core.directories.count_directory(edits[-1], more)
        with self._core.parts.gathering() as parts:
            if source[0] is not target[0]:
                parts.append(await self._reparent(first, target[0].file))
                parts.append(await self._reparent(second, source[0].file))
            versions = await self._versions(edits)
        await self._commit(parts, edits, versions)

    async def _edits(self, first: Node, second: Node) -> list[Edit]:
        edits = [await self._core.directories.edit(first)]
        if second is not first:
            edits.append(await self._core.directories.edit(second))
        return edits

    async def _versions(self, edits: Sequence[Edit]) -> list[NewVersion]:
        now = self._core.now_ns()
        return [await self._core.directories.prepare(edit, now) for edit in edits]

    async def _commit(
        self, parts: Sequence[Part], edits: Sequence[Edit], versions: Sequence[NewVersion]
    ) -> None:
        headers = await self._core.parts.commit(parts, versions)
        for edit, header in zip(edits, headers, strict=True):
            self._core.directories.settle(edit, header)

    async def _reparent(self, node: Node, parent: FileId) -> Part:
        header = await self._core.opened.header(node)
        now = self._core.now_ns()
        keeps = node.kind is not FileKind.DIRECTORY and header.links > 1
        new_parent = header.parent if keeps else parent
        return await self._core.parts.prepare(node, header, parent=new_parent, ctime_ns=now)

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


def _check_kinds(moved: Node, replaced: Node) -> None:
    """A directory replaces only a directory, anything else only what is none."""
    if replaced.kind is FileKind.DIRECTORY:
        if moved.kind is not FileKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "the target is a directory")
    elif moved.kind is FileKind.DIRECTORY:
        raise Fault(Kind.NOT_DIRECTORY, "the target is not a directory")
