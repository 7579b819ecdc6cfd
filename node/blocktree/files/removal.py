"""Removes many names of one directory in a few transactions: what `rm -r` is made of."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from blocktree.fault import Fault, Kind
from blocktree.files.core import Core, until_agreed
from blocktree.files.directories import Edit
from blocktree.files.names import NameOperations
from blocktree.files.nodes import Node, hold
from blocktree.files.parts import Part
from blocktree.sectors.header import FileKind

NAMES_MAX = 64  # in one transaction


class Removals:
    """Removes names together; `names` removes one."""

    def __init__(self, core: Core, names: NameOperations) -> None:
        self._core = core
        self._names = names

    async def remove(self, directory: Node, names: Iterable[bytes]) -> None:
        """Remove files, links and empty directories.

        Raises:
            Fault: NOT_FOUND, NOT_EMPTY: some of the others may be removed by then.
        """
        rest = list(dict.fromkeys(names))
        while rest:
            done = await until_agreed(partial(self._attempt, directory, rest))
            rest = [name for name in rest if name not in done]

    async def _attempt(self, directory: Node, names: Iterable[bytes]) -> Mapping[bytes, Node]:
        """Remove the first of these names; which they were."""
        some: dict[bytes, Node] = {}
        for name in names:
            node = await self._names.require(directory, name)
            if node not in some.values():  # a second link to a file is for the next transaction
                some[name] = node
            if len(some) == NAMES_MAX:
                break
        await self._remove(directory, some)
        return some

    async def _remove(self, directory: Node, some: Mapping[bytes, Node]) -> None:
        core = self._core
        async with AsyncExitStack() as stack:
            await hold(stack, [directory, *some.values()])
            edit = await core.directories.edit(directory)
            with self._core.parts.gathering() as parts:
                for name, node in some.items():
                    parts.extend(await self._part(edit, name, node))
                if not parts:
                    return
                version = await core.directories.prepare(edit, core.now_ns())
            headers = await self._core.parts.commit(parts, [version])
            core.directories.settle(edit, headers[0])
            for part in parts:
                if part.version.header is None:
                    self._names.lost(part.node)

    async def _part(self, edit: Edit, name: bytes, node: Node) -> list[Part]:
        """What one name adds to the transaction: nothing if it was never committed."""
        core, directory = self._core, edit.node
        if await self._names.find(directory, name) is not node:
            raise Fault(Kind.CONFLICT, "the name changed meanwhile")
        if node.born:
            self._names.unmake(directory, name, node)
            return []
        await core.directories.remove(edit, name, node)
        if node.kind is FileKind.DIRECTORY:
            core.directories.count_directory(edit, -1)
        return [await self._names.less(node)]
