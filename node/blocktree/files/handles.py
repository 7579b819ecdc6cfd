"""Open files: reading with read-ahead, writing with write-back and back-pressure, closing."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.files.content import Content
from blocktree.files.core import Core
from blocktree.files.flush import Flushes
from blocktree.files.nodes import Node, closed
from blocktree.files.prefetch import ReadAhead
from blocktree.names import Buffer
from blocktree.sectors.header import FileKind

COMMIT_BYTES = 32 << 20  # written to one file before it is committed without being asked
_WAIT_S = 1.0
_ANSWERED_S = 0.01  # after which the kernel has what was just answered
_WAITS_MAX = 120
_SIZE_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Handle:
    """One open file."""

    number: int
    node: Node
    flags: int
    ahead: ReadAhead
    flocks: set[int]  # owners that took a flock through it


class Handles:
    """All open files of a volume."""

    def __init__(self, core: Core, flushes: Flushes, *, fast_close: bool = False) -> None:
        self._core = core
        self._flushes = flushes
        self._fast_close = fast_close
        self._open: dict[int, Handle] = {}
        self._numbers = itertools.count(1)
        self.stale: Callable[[Node], None] | None = None  # the kernel appended elsewhere

    def at(self, number: int) -> Handle:
        """The handle with this number.

        Raises:
            Fault: USAGE if there is none.
        """
        handle = self._open.get(number)
        if handle is None:
            raise Fault(Kind.USAGE, "that file is not open")
        return handle

    async def open(self, node: Node, flags: int) -> Handle:
        """Open a file; O_TRUNC empties it.

        Raises:
            Fault: IS_DIRECTORY, or USAGE for a link.
        """
        if node.kind is FileKind.DIRECTORY:
            raise Fault(Kind.IS_DIRECTORY, "is a directory")
        if node.kind is not FileKind.FILE:
            raise Fault(Kind.USAGE, "not a file")
        node.opens += 1
        try:
            content = await self._core.opened.content(node)
            if flags & os.O_TRUNC and content.size:
                async with content.lock:
                    await content.truncate(0)
                self._touch(node)
        except BaseException:
            closed(node)
            raise
        return self.opened(node, flags)

    def opened(self, node: Node, flags: int) -> Handle:
        """A handle on a node whose `opens` counts it already."""
        handle = Handle(next(self._numbers), node, flags, ReadAhead(), set())
        self._open[handle.number] = handle
        return handle

    async def read(self, handle: Handle, offset: int, size: int) -> Buffer:
        """Up to `size` bytes from `offset`."""
        content = await self._core.opened.content(handle.node)
        window = handle.ahead.saw(offset, size, content.sector_size)
        if window is not None and content.base.tree.count > 1:
            await content.prefetch(*window)
        return await content.read(offset, size)

    async def write(self, handle: Handle, offset: int, data: Buffer) -> int:
        """Write all of `data`.

        Raises:
            Fault: TOO_LARGE past the largest file, NO_SPACE if nothing can be committed.
        """
        node = handle.node
        if offset + len(data) > _SIZE_MAX:
            raise Fault(Kind.TOO_LARGE, "past the end of the largest file")
        if node.gone and self._core.engine.leftovers.over:
            raise Fault(Kind.NO_SPACE, "too much is written to removed files that are still open")
        if self._core.engine.budget.over and not node.gone:
            await self._relieve()
        if handle.flags & os.O_APPEND:
            node.appending += 1
            try:
                content = await self._append(node, offset, data)
            finally:
                node.appending -= 1
        else:
            content = await self._core.opened.content(node)
            async with content.lock:
                await content.write(offset, data)
                self._send_ahead(content)
        self._touch(node)
        if len(content.sent) * content.sector_size >= COMMIT_BYTES:
            self._flushes.launch(node)
        return len(data)

    async def _append(self, node: Node, offset: int, data: Buffer) -> Content:
        """Write at the end, under an exclusive lease: nobody else can move the end meanwhile."""
        core = self._core
        while True:
            content = await core.opened.content(node, exclusive=True)
            async with content.lock:
                if not node.own and core.headers.fresh(node.file, exclusive=True) is None:
                    continue  # recalled before we had the lock: look for the new end
                end = content.size
                node.appended |= node.born
                await content.write(end, data)
                self._send_ahead(content)
            if end != offset and self.stale is not None:  # after the kernel has this answer
                asyncio.get_running_loop().call_later(_ANSWERED_S, self.stale, node)
            return content

    async def flush(self, handle: Handle) -> None:
        """Make everything written to the file durable."""
        if handle.node.changed:
            await self._flushes.flush(handle.node)

    async def leave(self, handle: Handle) -> None:
        """close(2): durable when this returns, unless closing is fast.

        Then a new file's commit has begun, but is not waited for. Its name is promised under an
        exclusive lease, so whoever asks for it elsewhere has it committed first (`recalls`).
        Nothing is promised while commits fall behind or are refused: a close then waits, and tells.
        """
        node = handle.node
        if self._fast_close and node.born and not node.gone and not self._flushes.behind:
            self._flushes.launch(node)
        else:
            await self.flush(handle)

    def release(self, handle: Handle) -> None:
        """Close the handle."""
        node = handle.node
        del self._open[handle.number]
        closed(node)
        self._flushes.launch(node)
        self._core.nodes.tidy(node)

    def _send_ahead(self, content: Content) -> None:
        """Put whole sectors on their way while the writer goes on."""
        each = content.per_batch
        if len(content.dirty) < each:
            return
        full = content.full()
        ready = len(full) // each * each
        if ready:
            content.send(full[:ready], put=True)

    def _touch(self, node: Node) -> None:
        now = self._core.now_ns()
        node.meta["mtime_ns"] = now
        node.meta["ctime_ns"] = now

    async def _relieve(self) -> None:
        """Wait until what is written and not committed is below its bound."""
        budget = self._core.engine.budget
        for _ in range(_WAITS_MAX):
            if not budget.over:
                return
            for other in self._core.nodes:
                if other.content is not None and (other.content.dirty or other.content.sent):
                    self._flushes.launch(other)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(budget.room(), _WAIT_S)
        raise Fault(Kind.NO_QUORUM, "nothing that was written could be committed in two minutes")
