"""Actor `raft`: where the nodes that keep one domain speak to each other.

An actor of its own, so that consensus never waits in the mailbox behind clients. Only nodes of the
same directory are heard; what they say about Raft is judged by the core.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache

from blocktree.actors import Actor, Call, plays, receives
from blocktree.fault import Fault, Kind
from blocktree.keys import MemberKind
from blocktree.names import parent
from blocktree.raft import Message, NodeId
from blocktree.store.between import (
    Clear,
    Cleared,
    GetRows,
    GetSnapshot,
    HoldBlobs,
    NeedBlobs,
    NeededBlobs,
    RaftMessages,
    Rows,
    SnapshotOffer,
    SnapshotPiece,
)
from blocktree.store.blobs import digests_of, hash_all, split_blobs
from blocktree.store.comparing import serve_rows
from blocktree.store.contracts import GROUP
from blocktree.store.replica import Replica
from blocktree.store.roster import node_id

HOLDING_MAX = 64 << 20  # bytes of forwarded blobs being hashed; more is dropped and fetched later


@plays(GROUP.role("node"))
class GroupActor(Actor):
    """The door between nodes."""

    def __init__(self, replica: Replica, clear: Callable[[NodeId], Awaitable[int]]) -> None:
        self._replica = replica
        self._take_out = clear
        self._holding = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @receives
    def raft(self, message: RaftMessages, call: Call) -> None:
        """Consensus."""
        sender = self._node(call)
        if message.to != self._replica.me:
            return  # meant for whoever had this path before, or will have it
        messages = [each for each in message.messages if isinstance(each, Message)]
        if len(messages) != len(message.messages):
            raise Fault(Kind.CONTRACT, "what is no Raft message", path=call.sender.process)
        if message.lengths:
            parts = split_blobs(message.lengths, message.body)
            self._replica.staging.add(list(zip(hash_all(parts), parts, strict=True)))
        self._replica.take(sender, call.sender.process, messages)

    @receives
    def hold(self, message: HoldBlobs, call: Call) -> None:
        """Blobs ahead of their entry, from the leader or from the node before in the chain."""
        self._node(call)
        if message.onward:
            self._replica.forwarder.send_on(message)
        size = len(message.body)
        if self._holding + size > HOLDING_MAX:
            return
        self._holding += size
        task = asyncio.ensure_future(self._hold(message))
        self._tasks.add(task)
        task.add_done_callback(self._held)

    @receives
    def need(self, message: NeedBlobs, call: Call) -> "asyncio.Task[NeededBlobs]":
        """Blobs that another replica misses."""
        self._node(call)
        return asyncio.ensure_future(self._replica.reader.serve_node(message))

    @receives
    def offer(self, message: SnapshotOffer, call: Call) -> None:
        """The leader says that this node is too far behind."""
        self._replica.offered(self._node(call), message)

    @receives
    def snapshot(self, message: GetSnapshot, call: Call) -> "asyncio.Task[SnapshotPiece]":
        """Another node is too far behind."""
        self._node(call)
        return asyncio.ensure_future(self._replica.source.serve(message))

    @receives
    def clear(self, message: Clear, call: Call) -> "asyncio.Task[Cleared]":
        """Another node's log is damaged."""
        del message
        return asyncio.ensure_future(self._clear(self._node(call)))

    @receives
    def rows(self, message: GetRows, call: Call) -> Rows:
        """Another node compares its table with ours."""
        self._node(call)
        return serve_rows(self._replica, message)

    async def stopped(self) -> None:
        """Drop what is being hashed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _node(self, call: Call) -> NodeId:
        """The sender, if it is a node that keeps the same domain."""
        peer = call.peer
        if peer is None or peer.kind is not MemberKind.NODE:
            raise Fault(Kind.DENIED, "only nodes speak here")
        if parent(peer.path) != parent(self._replica.runtime.here):
            raise Fault(Kind.DENIED, "keeps another directory", path=peer.path)
        self._replica.tree.roster.check(peer)
        return _node_id(peer.principal)

    async def _clear(self, node: NodeId) -> Cleared:
        return Cleared(await self._take_out(node))

    async def _hold(self, message: HoldBlobs) -> None:
        try:
            parts = split_blobs(message.lengths, message.body)
            digests = await digests_of(self._replica.host, parts)
            if tuple(digests) != message.digests:
                raise Fault(Kind.DAMAGED, "forwarded blobs that are not what they are called")
            await self._replica.staging.add(list(zip(digests, parts, strict=True)))
        finally:
            self._holding -= len(message.body)

    def _held(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # what was refused is fetched when its entry comes


_node_id = lru_cache(256)(node_id)
