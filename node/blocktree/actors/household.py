"""Which actors of a process belong together, and who is told when one goes."""

import asyncio
import logging
from typing import TYPE_CHECKING

from blocktree.actors.actor import Call
from blocktree.actors.supervision import ChildLostError, Family
from blocktree.actors.watches import Down, Watch, Watches
from blocktree.fault import Fault
from blocktree.link import Lane, Link
from blocktree.names import Address

if TYPE_CHECKING:
    from blocktree.actors.runtime import Runtime

log = logging.getLogger(__name__)


class Household:
    """The children, parents and watchers among the actors of one runtime."""

    def __init__(self, runtime: "Runtime") -> None:
        self.family = Family()
        self.watches = Watches(self._tell)
        self._runtime = runtime
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for those that were given up."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def before_restart(self, name: str) -> None:
        """Stop the children of an actor, the youngest first."""
        for child in self.family.children(name):
            await self._runtime.stop(child, "its parent ended")

    def gave_up(self, name: str, cause: BaseException) -> None:
        """Stop an actor that crashed too often, and let its parent crash for it."""
        log.error("actor %s#%s is given up", self._runtime.here, name)
        why = f"it crashed too often: {type(cause).__name__}"
        parent = self.family.parent(name)
        task = asyncio.ensure_future(self._runtime.stop(name, why))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        above = None if parent is None else self._runtime.find(parent)
        if above is not None:
            above.fail(ChildLostError(name))

    async def watch(self, watcher: Address, target: Address, timeout: float) -> None:
        """As `Runtime.watch`."""
        runtime = self._runtime
        if target.process == runtime.here:
            if runtime.find(target.actor) is not None:
                self.watches.add(target.actor, Call(watcher))
            else:
                self._tell(watcher, None, Down(str(target), "no such actor runs there"))
            return
        try:
            link = await runtime.outward().link(target.process, Lane.CONTROL, None, timeout)
            self.watches.over(link, watcher, target)
            try:
                await runtime.ask(target, Watch(), sender=watcher, via=link, timeout=timeout)
            except Fault:
                self.watches.end(link, watcher, target)
                raise
        except Fault as fault:
            self._tell(watcher, None, Down(str(target), fault.what))

    def _tell(self, watcher: Address, link: Link | None, down: Down) -> None:
        if link is not None:
            self._runtime.post(watcher, down, via=link)
        elif (cell := self._runtime.find(watcher.actor)) is not None:
            # Also when the mailbox is full: watches are bounded.
            cell.mailbox.put((down, self._runtime.call_of(None), None))
