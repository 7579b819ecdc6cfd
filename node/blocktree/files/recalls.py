"""Actor `files`: gives leases back when the leader calls them, after all who rely on them know.

Invariant: when `Recalled` is sent, no header of these files is used without asking, nothing the
kernel was told of them is believed, and every name that was promised and every byte that was
appended under an exclusive lease is committed (or its time was up: then the service refuses a name
that somebody else took).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable

from blocktree.actors import Actor, Call, plays, receives
from blocktree.fault import Fault
from blocktree.files.core import Core
from blocktree.files.flush import Flushes
from blocktree.files.nodes import Node
from blocktree.files.volume import Invalidate
from blocktree.store.contracts import LEASES
from blocktree.store.messages import Recall, Recalled

log = logging.getLogger(__name__)

_PROMISED_S = 4.0  # for committing promised names; the leader waits five seconds
TOLD_MAX = 1 << 15  # names of one directory that the kernel may remember


@plays(LEASES.role("holder"))
class Recalls(Actor):
    """Answers `Recall` for one volume."""

    def __init__(self, core: Core, flushes: Flushes) -> None:
        self._core = core
        self._flushes = flushes
        self.invalidate: Invalidate | None = None
        self.count = 0
        self._forgetting: set[asyncio.Future[None]] = set()

    @receives
    def recall(self, message: Recall, call: Call) -> Awaitable[Recalled]:
        """Give leases back; several recalls are worked on at once."""
        del call
        return asyncio.ensure_future(self._recall(message))

    async def _recall(self, message: Recall) -> Recalled:
        core = self._core
        if message.session != core.service.session:
            return Recalled()
        self.count += 1
        nodes = [node for file in message.files if (node := core.nodes.of(file)) is not None]
        promised = [node for node in nodes if node.unborn]
        held = [node for node in nodes if core.headers.exclusive(node.file)]
        core.headers.recalled(message.files, message.grant)
        if promised or held:
            await self._keep_promises(promised, held)
        for node in nodes:
            await self._tell(node)
        return Recalled()

    def stale(self, node: Node) -> None:
        """The kernel cached something of the node at a wrong place: have it forget, soon."""
        if self.invalidate is not None and node.lookups:
            task = asyncio.ensure_future(self.invalidate(node.ino, None))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def _keep_promises(self, directories: list[Node], held: list[Node]) -> None:
        try:
            async with asyncio.timeout(_PROMISED_S):
                for directory in directories:
                    await self._flushes.flush_names(directory)
                for node in held:
                    if node.content is not None:
                        async with node.content.lock:  # whoever appends just now is let finish
                            pass
                    await self._flushes.flush(node)
        except (Fault, TimeoutError) as cause:
            log.warning("names made here could not be committed when asked for: %s", cause)

    async def _tell(self, node: Node) -> None:
        if self.invalidate is None:
            return
        now = time.monotonic()
        told, node.told = node.told, {}
        for name, until in told.items():
            if until > now:
                await self.invalidate(node.ino, name)
        if node.lookups:
            if node.appending:  # its page is locked until the lease that this recall is about comes
                self.stale(node)
            else:
                await self.invalidate(node.ino, None)


def tell(node: Node, name: bytes, valid_s: float) -> None:
    """The kernel is told what `name` means in a directory, for so long."""
    told = node.told
    now = time.monotonic()
    if len(told) >= TOLD_MAX:
        for old in [old for old, until in told.items() if until <= now]:
            del told[old]
    told[name] = now + valid_s
