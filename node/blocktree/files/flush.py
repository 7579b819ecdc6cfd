"""Makes what was written durable: contents, changed attributes, and files made here.

A file made here is committed together with its name, so creating, writing and closing a small file
is one transaction. Files of one directory that are flushed at the same time share a transaction.

Invariant: whatever is taken for a commit (`freeze`, `meta`) is settled when it succeeded and given
back when it did not; nothing written is ever dropped because a commit failed.
"""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.files.answers import given_up, settle
from blocktree.files.client import as_fault
from blocktree.files.commit import NewVersion
from blocktree.files.content import Content, Frozen
from blocktree.files.core import Core, until_agreed
from blocktree.files.nodes import Node, gone, hold
from blocktree.sectors.directory import DirEntry
from blocktree.sectors.header import Header
from blocktree.sectors.inline import seal_inline
from blocktree.sectors.sector import NONCE_BYTES

log = logging.getLogger(__name__)

BIRTHS_MAX = 48  # files in one transaction
BEHIND_MAX = 256  # files whose close did not wait, that are not committed


@dataclass(slots=True)
class Part:
    """One file's share of a commit under way."""

    node: Node
    version: NewVersion
    frozen: Frozen | None
    meta: Mapping[str, Any]


class Flushes:
    """Commits nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._births: dict[int, dict[Node, asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused = False  # the last commit in the background failed

    @property
    def behind(self) -> bool:
        """Whether nothing more may be promised: the background does not keep up, or was refused."""
        return self._refused or len(self._tasks) >= BEHIND_MAX

    async def flush(self, node: Node) -> None:
        """Return when everything written to the node before this call is durable.

        Raises:
            Fault: as `Commits.commit`; what was written is kept and can be flushed again.
        """
        if node.born and node.place is None:
            return  # a directory or link that `make` is about to commit itself
        if node.born:
            await self._be_born(node)
        if node.changed and not node.born:
            await until_agreed(lambda: self._save(node))

    async def flush_names(self, directory: Node) -> None:
        """The same for every file made in a directory."""
        for node in list(directory.unborn.values()):
            if node.born:
                await self._be_born(node)

    def launch(self, node: Node) -> None:
        """Flush in the background; a failure is met again by the next flush."""
        if node.tasks or not node.changed:
            return
        node.tasks += 1
        task = asyncio.get_running_loop().create_task(self._background(node))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what runs in the background."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _background(self, node: Node) -> None:
        try:
            await self.flush(node)
            self._refused = False
        except Fault as fault:
            self._refused = True
            log.warning("not committed yet: %s", fault)
            await asyncio.sleep(1)  # then whoever is over the budget tries again
        finally:
            node.tasks -= 1
            self._core.nodes.tidy(node)

    async def _save(self, node: Node) -> None:
        async with node.lock:
            if not node.changed or node.born:
                return
            header = await self._core.opened.header(node)
            if node.gone:
                return
            part = await self.prepare(node, header)
            await self.commit([part], [])

    # one file's part

    async def prepare(self, node: Node, header: Header, **fields: Any) -> Part:
        """A file's part in a transaction, with all that is written to it; its lock is held.

        `fields` are further header fields to set. Prepared in a `gathering`, then committed.
        """
        old = None if node.born else self._core.opened.signed(node)
        if old is not None and old.header is not header:
            raise Fault(Kind.CONFLICT, "the file was changed meanwhile")
        meta, node.meta = node.meta, {}
        part = Part(node, NewVersion(node.file, old, None), None, meta)
        try:
            parts: dict[str, Any] = {}
            content = node.content
            if content is not None and (content.changed or node.born):
                async with content.lock:
                    part.frozen = await content.freeze()
                parts = await self._content(content, part.frozen, part.version)
            part.version.header = replace(header, **{**parts, **meta, **fields})
        except BaseException:
            self.give_back(part)
            raise
        return part

    @contextmanager
    def gathering(self) -> Iterator[list[Part]]:
        """Parts of a transaction that are prepared in the body: given back if that fails."""
        parts: list[Part] = []
        try:
            yield parts
        except BaseException:
            for part in parts:
                self.give_back(part)
            raise

    def give_back(self, part: Part) -> None:
        """The part is not committed: all of it is still to be."""
        part.node.meta = {**part.meta, **part.node.meta}
        if part.frozen is not None and part.node.content is not None:
            part.node.content.thaw()

    async def commit(self, parts: Sequence[Part], others: Sequence[NewVersion]) -> list[Header]:
        """Commit parts of files together with other versions; the headers of those come back.

        Raises:
            Fault: as `Commits.commit`.
        """
        try:
            signed = await self._core.commits.commit([*(p.version for p in parts), *others])
        except BaseException:
            for part in parts:
                self.give_back(part)
            raise
        for part, one in zip(parts, signed, strict=False):
            if one is None:
                continue
            node = part.node
            if part.frozen is not None and node.content is not None and node.cipher is not None:
                node.content.settle(part.frozen, one.header, node.cipher)
            self._core.opened.settle(node, one.header)
        return [one.header for one in signed[len(parts) :] if one is not None]

    async def _content(
        self, content: Content, frozen: Frozen, version: NewVersion
    ) -> dict[str, Any]:
        cipher, engine = content.cipher, self._core.engine
        fields: dict[str, Any] = {"size": frozen.size, "epoch": cipher.epoch}
        if frozen.inline is not None:
            sealed = seal_inline(cipher, frozen.inline, os.urandom(NONCE_BYTES))
            return {**fields, "root": b"", "inline": sealed}
        count = -(-frozen.size // content.sector_size)
        batches = list(dict.fromkeys(sent.batch for sent in frozen.sent.values()))
        await engine.uploads.sealed(batches)
        written = {index: sent.digest for index, sent in frozen.sent.items() if index < count}
        tree = content.base.tree
        keep = min(frozen.keep, tree.count)
        update = await engine.trees.update(tree, keep, written, count, content.peers)
        version.batches, version.sectors = batches, list(written.values())
        version.pages = update.made
        return {**fields, "root": update.tree.root, "inline": b""}

    # files made here

    async def _be_born(self, node: Node) -> None:
        """Have a file made here committed with its name, together with others that wait."""
        assert node.place is not None
        directory = node.place[0]
        waiting = self._births.get(directory.ino)
        if waiting is None:
            waiting = self._births[directory.ino] = {}
            task = asyncio.get_running_loop().create_task(self._deliver(directory, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if node not in waiting:
            waiting[node] = asyncio.get_running_loop().create_future()
        await asyncio.shield(waiting[node])

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
            del self._births[directory.ino]

    async def _bear(self, directory: Node, some: Mapping[Node, asyncio.Future[None]]) -> None:
        core = self._core
        async with AsyncExitStack() as stack:
            await hold(stack, [directory, *some])
            if directory.gone:
                for node, answer in some.items():
                    self._refuse(directory, node, answer, "its directory was removed meanwhile")
                return
            edit = await core.directories.edit(directory)
            with self.gathering() as parts:
                for node, answer in some.items():
                    if not node.born or node.gone or node.place is None:
                        continue
                    name = node.place[1]
                    taken = await core.directories.find(edit, name)
                    if taken is not None:
                        self._meet(directory, node, answer, taken)
                        continue
                    assert node.last is not None
                    parts.append(await self.prepare(node, node.last))
                    entry = DirEntry(name, node.file, node.kind, node.key, node.epoch)
                    await core.directories.add(edit, entry)
                if not parts:
                    return
                version = await core.directories.prepare(edit, core.now_ns())
            headers = await self.commit(parts, [version])
            core.directories.settle(edit, headers[0])
            for part in parts:
                self._is_born(directory, part.node)

    def _meet(
        self, directory: Node, node: Node, answer: asyncio.Future[None], taken: DirEntry
    ) -> None:
        """The name is there: made by an attempt whose outcome was not heard of, or by others."""
        if taken.file == node.file:
            self._is_born(directory, node)
        else:
            what = f"{taken.name!r} was made by somebody else meanwhile"
            self._refuse(directory, node, answer, what)

    def _refuse(self, directory: Node, node: Node, answer: asyncio.Future[None], what: str) -> None:
        """The lease that let us promise the name was lost, and the promise cannot be kept."""
        if node.place is None:
            return
        directory.unborn.pop(node.place[1], None)
        gone(node)
        if not answer.done():
            answer.set_exception(Fault(Kind.EXISTS, what))
            answer.exception()

    def _is_born(self, directory: Node, node: Node) -> None:
        assert node.place is not None
        directory.unborn.pop(node.place[1], None)
        node.born, node.place = False, None
