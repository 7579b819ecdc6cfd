"""Has what was made here committed together with its name.

So creating, writing and closing a small file is one transaction. What is made in one directory and
flushed at the same time shares a transaction; a directory that was made here, too, joins the
transaction of the first thing in it.

Invariants
- A name is promised (`Node.unborn`) until it is committed or refused; a promise is refused only if
  the name was taken by somebody else, after the lease that allowed the promise was lost.
- A directory is in the store no later than what is in it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise

from blocktree.fault import Fault, Kind
from blocktree.files.answers import given_up, settle
from blocktree.files.client import as_fault
from blocktree.files.core import Core, until_agreed
from blocktree.files.directories import Edit
from blocktree.files.nodes import Node, entry_of, gone, hold
from blocktree.files.parts import Part
from blocktree.sectors.directory import DirEntry
from blocktree.sectors.header import FileKind

BIRTHS_MAX = 48  # made in one directory, in one transaction

Answers = Mapping[Node, "asyncio.Future[None]"]


class Births:
    """Commits nodes that are `born` here and not in the store.

    Args:
        whole: files come with their content, even if others have to wait for it: they were closed,
            and whoever looks their names up is to find it.
    """

    def __init__(self, core: Core, *, whole: bool) -> None:
        self._core = core
        self._whole = whole
        self._waiting: dict[int, dict[Node, asyncio.Future[None]]] = {}  # by directory
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, node: Node) -> "asyncio.Future[None]":
        """Have a node committed with its name, and others that wait for the same directory.

        The future is done when it is. It fails with EXISTS if the promise could not be kept, and
        as `Commits.commit`; the node is then as before.
        """
        assert node.place is not None
        directory = node.place[0]
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(directory.ino)
        if waiting is None:
            waiting = self._waiting[directory.ino] = {}
            task = loop.create_task(self._deliver(directory, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if node not in waiting:
            waiting[node] = loop.create_future()
        return asyncio.shield(waiting[node])

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _deliver(self, directory: Node, waiting: dict[Node, asyncio.Future[None]]) -> None:
        directory.tasks += 1
        try:
            while waiting:
                some = {node: waiting.pop(node) for node in list(waiting)[:BIRTHS_MAX]}
                fault: Fault | None = given_up()
                try:
                    await until_agreed(lambda: self._bear(directory, some))  # noqa: B023
                    fault = None
                except Exception as cause:
                    fault = as_fault(cause)
                finally:
                    settle(some.values(), fault)
        finally:
            directory.tasks -= 1
            del self._waiting[directory.ino]

    async def _bear(self, directory: Node, some: Answers) -> None:
        """One transaction: `some`, the directory, and those above it that are not in the store."""
        core = self._core
        line = _line(directory)
        async with AsyncExitStack() as stack:
            await hold(stack, [*line, *some])
            if _line(directory) != line:
                raise Fault(Kind.CONFLICT, "a directory was committed meanwhile")
            if any(above.gone for above in line):
                for node, answer in some.items():
                    self._refuse(node, answer, "its directory was removed meanwhile")
                return
            with core.parts.gathering() as parts:
                edits = [await self._enter(directory, some, parts)]
                if not parts:
                    return
                for below, above in pairwise(line):
                    edits.append(await self._climb(below, above))
                for edit in edits:
                    version = await core.directories.prepare(edit, None)
                    parts.append(core.parts.without_content(edit.node, version))
            await core.parts.commit(parts, [])
            for edit in edits:
                assert edit.node.last is not None
                core.directories.settle(edit, edit.node.last)
            for part in parts:
                if part.node.born:
                    self._is_born(part.node)

    async def _enter(self, directory: Node, some: Answers, parts: list[Part]) -> Edit:
        """The directory with the names of `some` in it; their parts are added."""
        core = self._core
        edit = await core.directories.edit(directory)
        for node, answer in some.items():
            if not node.born or node.gone or node.place is None:
                continue
            taken = await core.directories.find(edit, node.place[1])
            if taken is not None:
                self._meet(node, answer, taken)
                continue
            assert node.last is not None
            whole = self._whole or node.appended
            parts.append(await core.parts.first(node, node.last, whole=whole))
            await self._add(edit, node)
        return edit

    async def _climb(self, below: Node, above: Node) -> Edit:
        """The directory above one that was made here, with that one's name in it.

        Raises:
            Fault: CONFLICT if the name is there by now; it is settled whose it is.
        """
        assert below.place is not None
        edit = await self._core.directories.edit(above)
        taken = await self._core.directories.find(edit, below.place[1])
        if taken is not None:
            self._meet(below, None, taken)
            raise Fault(Kind.CONFLICT, "the directory's name is there by now")
        await self._add(edit, below)
        return edit

    async def _add(self, edit: Edit, node: Node) -> None:
        assert node.place is not None
        await self._core.directories.add(edit, entry_of(node, node.place[1]))
        if node.kind is FileKind.DIRECTORY:
            self._core.directories.count_directory(edit, 1)

    def _meet(self, node: Node, answer: "asyncio.Future[None] | None", taken: DirEntry) -> None:
        """The name is there: made by an attempt whose outcome was not heard of, or by others."""
        if taken.file == node.file:
            self._is_born(node)
        else:
            self._refuse(node, answer, f"{taken.name!r} was made by somebody else meanwhile")

    def _refuse(self, node: Node, answer: "asyncio.Future[None] | None", what: str) -> None:
        """The lease that let us promise the name was lost, and the promise cannot be kept.

        Directories in it go with it; files in it stay until somebody flushes them, and is told.
        """
        if node.place is None:
            return
        for below in list(node.unborn.values()):
            if below.kind is FileKind.DIRECTORY:
                self._refuse(below, None, what)
        directory, name = node.place
        directory.unborn.pop(name, None)
        gone(node)
        if answer is not None and not answer.done():
            answer.set_exception(Fault(Kind.EXISTS, what))
            answer.exception()

    def _is_born(self, node: Node) -> None:
        assert node.place is not None
        directory, name = node.place
        directory.unborn.pop(name, None)
        node.born, node.place = False, None


def _line(directory: Node) -> Sequence[Node]:
    """The directory, and those above it up to the first that is in the store."""
    line = [directory]
    while line[-1].place is not None:
        line.append(line[-1].place[0])
    return line
