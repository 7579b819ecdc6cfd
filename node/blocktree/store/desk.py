"""Actor `store`: what clients ask of a node, each question sent to the part that answers it.

Only members are answered, except for `Join` and `GetStatus`. Only the leader answers what must be
decided; any node serves blobs, members and its own status.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from blocktree.actors import Actor, Call, plays, receives
from blocktree.keys import Identity
from blocktree.store.contracts import STORE
from blocktree.store.messages import (
    Alive,
    Blobs,
    Commit,
    Committed,
    GetBlobs,
    GetHeaders,
    GetHistory,
    GetLock,
    GetMembers,
    GetStatus,
    Headers,
    History,
    InTheWay,
    Join,
    Joined,
    KeepAlive,
    Lock,
    Locked,
    Members,
    PutBlobs,
    Remove,
    Removed,
    Status,
    Stored,
    Unlock,
)
from blocktree.store.reads import confirm
from blocktree.store.scrub_messages import Scrub, Scrubbing
from blocktree.wire import encode

if TYPE_CHECKING:
    from blocktree.store.service import SectorStore

_T = TypeVar("_T")


def _later(answer: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
    """Answer when it is ready; the mailbox goes on."""
    return asyncio.ensure_future(answer)


@plays(STORE.role("node"))
class StoreActor(Actor):
    """The door for clients."""

    def __init__(self, service: "SectorStore") -> None:
        self._service = service

    @receives
    def put(self, message: PutBlobs, call: Call) -> "asyncio.Task[Stored]":
        """Upload."""
        self._member(call)
        return _later(self._service.commits.put(message))

    @receives
    def commit(self, message: Commit, call: Call) -> "Awaitable[Committed]":
        """Change headers."""
        return self._service.commits.commit(message, call, self._member(call))

    @receives
    def headers(self, message: GetHeaders, call: Call) -> "asyncio.Task[Headers]":
        """Read headers."""
        self._member(call)
        return _later(self._service.reads.headers(message, call))

    @receives
    def blobs(self, message: GetBlobs, call: Call) -> "asyncio.Task[Blobs]":
        """Read blobs."""
        self._member(call)
        return _later(self._service.replica.reader.serve(message.digests))

    @receives
    def keep_alive(self, message: KeepAlive, call: Call) -> "asyncio.Task[Alive]":
        """Keep a session."""
        self._member(call)
        return _later(self._service.sessions.keep_alive(message, call))

    @receives
    def lock(self, message: Lock, call: Call) -> "asyncio.Task[Locked]":
        """Take a lock."""
        self._member(call)
        return _later(self._service.sessions.lock(message))

    @receives
    def unlock(self, message: Unlock, call: Call) -> "asyncio.Task[Locked]":
        """Free a lock."""
        self._member(call)
        return _later(self._service.sessions.unlock(message))

    @receives
    def probe(self, message: GetLock, call: Call) -> "asyncio.Task[InTheWay]":
        """Ask about a lock."""
        self._member(call)
        return _later(self._service.sessions.probe(message))

    @receives
    def history(self, message: GetHistory, call: Call) -> "asyncio.Task[History]":
        """Read past versions."""
        self._member(call)
        return _later(self._history(message))

    @receives
    def join(self, message: Join, call: Call) -> "asyncio.Task[Joined]":
        """Come to belong."""
        return _later(self._service.members.join(message, call))

    @receives
    def remove(self, message: Remove, call: Call) -> "asyncio.Task[Removed]":
        """Withdraw a belonging."""
        return _later(self._service.members.remove(message, self._member(call)))

    @receives
    def members(self, message: GetMembers, call: Call) -> Members:
        """Read who belongs."""
        self._member(call)
        roster = self._service.replica.tree.roster
        fresh = message.known != roster.index
        if not fresh:
            return Members((), roster.index)
        members = tuple(encode(member) for member in roster.members())
        gone = [item.member for item in roster.everybody().values() if item.removed]
        return Members(members, roster.index, tuple(map(encode, gone)))

    @receives
    def status(self, message: GetStatus, call: Call) -> Status:
        """Ask how this node is."""
        del message, call
        return self._service.status()

    @receives
    def scrub(self, message: Scrub, call: Call) -> Scrubbing:
        """Ask how the scrub goes, or have it done now."""
        self._member(call)
        scrubber = self._service.chores.scrubber
        if message.begin:
            scrubber.begin()
        return scrubber.report()

    async def _history(self, message: GetHistory) -> History:
        self._service.leading()
        await confirm(self._service.replica.driver)
        tree = self._service.replica.tree
        return History(tree.history(message.file, message.below, message.count))

    def _member(self, call: Call) -> Identity:
        """The sender, if it belongs."""
        return self._service.member(call)
