"""Who wants to be told when an actor goes, or its process.

A watcher is told `Down` once the actor was stopped or given up, and when the link to its process is
lost: what is beyond it cannot be told apart from gone. It may hear of one end twice, and watches
again if it wants to know more. A restart after a crash is no end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from blocktree.actors.actor import Call
from blocktree.fault import Fault, Kind
from blocktree.link import Link
from blocktree.names import Address
from blocktree.wire import Record, record

WATCHES_MAX = 4096


@record(0x0B31)
@dataclass(frozen=True, slots=True)
class Watch(Record):
    """Tell the sender when the actor that this is asked of goes; every actor takes it."""


@record(0x0B32)
@dataclass(frozen=True, slots=True)
class Down(Record):
    """An actor that the receiver watched is gone, or cannot be reached any more."""

    address: str  # `PROCESS#ACTOR`
    why: str


Tell = Callable[[Address, Link | None, Down], None]


class Watches:
    """The watches of one process, in both directions. `tell` delivers a `Down`, or drops it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._of: dict[str, dict[Address, Link | None]] = {}  # actors here, to who watches them
        self._over: dict[Link, set[tuple[Address, Address]]] = {}  # watchers here, and whom

    def add(self, actor: str, call: Call) -> None:
        """Somebody watches an actor of this process.

        Raises:
            Fault: BUSY if too many do.
        """
        watchers = self._of.setdefault(actor, {})
        if len(watchers) >= WATCHES_MAX:
            raise Fault(Kind.BUSY, "too many watch it already")
        watchers[call.sender] = call.link

    def over(self, link: Link, watcher: Address, target: Address) -> None:
        """An actor of this process watches one beyond a link."""
        pairs = self._over.setdefault(link, set())
        if len(pairs) >= WATCHES_MAX:
            raise Fault(Kind.BUSY, "too much is watched over this link", path=str(target))
        pairs.add((watcher, target))

    def end(self, link: Link, watcher: Address, target: Address) -> None:
        """It is watched no more."""
        self._over.get(link, set()).discard((watcher, target))

    def gone(self, address: Address, why: str) -> None:
        """An actor of this process is no more."""
        for watcher, link in self._of.pop(address.actor, {}).items():
            self._tell(watcher, link, Down(str(address), why))

    def lost(self, link: Link, why: str) -> None:
        """A link is no more: who watched over it is told, who watched from beyond it forgotten."""
        for watcher, target in self._over.pop(link, ()):
            self._tell(watcher, None, Down(str(target), why))
        for watchers in self._of.values():
            for watcher in [each for each, over in watchers.items() if over is link]:
                del watchers[watcher]
