"""Makes what was written durable: contents, changed attributes, and what was made here."""

import asyncio
import logging

from blocktree.fault import Fault, Kind
from blocktree.files.births import Births
from blocktree.files.core import Core, until_agreed
from blocktree.files.nodes import Node

log = logging.getLogger(__name__)

BEHIND_MAX = 256  # files whose close did not wait, that are not committed


class Flushes:
    """Commits nodes."""

    def __init__(self, core: Core, *, fast_close: bool = False) -> None:
        self._core = core
        self._births = Births(core, whole=fast_close)
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
            await self._births.of(node)
        if node.changed and not node.born:
            await until_agreed(lambda: self._save(node))

    async def store(self, *nodes: Node) -> None:
        """Flush those of the nodes that were made here and are not in the store."""
        for node in nodes:
            if node.born:
                await self.flush(node)

    async def flush_names(self, directory: Node) -> None:
        """Return when every name made in a directory is durable. Raises as `flush`."""
        made = [self._births.of(node) for node in directory.unborn.values() if node.born]
        for cause in await asyncio.gather(*made, return_exceptions=True):
            if cause is not None:
                raise cause

    async def flush_all(self) -> None:
        """Return when everything written before is durable.

        Raises:
            Fault: the first that something met; the rest was tried all the same, unless there is
                nobody to commit it.
        """
        faults: list[Fault] = []
        # What was made here comes first: it takes the times of its directory along.
        for node in sorted(self._core.nodes, key=lambda node: not node.born):
            try:
                if node.changed:
                    await self.flush(node)
            except Fault as fault:
                faults.append(fault)
                if fault.kind in (Kind.NO_QUORUM, Kind.UNREACHABLE):
                    break
        if faults:
            raise faults[0]

    def launch_old(self, age_ns: int) -> None:
        """Flush in the background what was written longer ago than that."""
        oldest = self._core.now_ns() - age_ns
        for node in self._core.nodes:
            waits = node.changed and not node.unborn  # what is made in it takes its times along
            if waits and int(node.meta.get("mtime_ns", 0)) < oldest:
                self.launch(node)

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
        await self._births.close()

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
            part = await self._core.parts.prepare(node, header)
            await self._core.parts.commit([part], [])
