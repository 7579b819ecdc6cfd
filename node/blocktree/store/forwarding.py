"""The leader sends blobs on to its followers as soon as they arrive, ahead of the entry.

A stream goes through all nodes in a chain, as in GFS (Ghemawat et al., SOSP 2003): the leader sends
it to the first follower that takes it at once, and that one sends it on. So no node sends more than
it receives. Small blobs go to each follower directly, since an entry is likely to wait for them.

What does not fit into a follower's bounded queue is dropped: the follower fetches it when the entry
comes. So a slow follower, or one that breaks the chain, costs the others no more than that.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from blocktree.actors import Runtime
from blocktree.fault import Fault
from blocktree.names import Address, Buffer, Digest, Path
from blocktree.store.between import RAFT_ACTOR, HoldBlobs
from blocktree.wire import Body

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 16 << 20  # to one follower
CHAIN_BYTES = 256 << 10  # from here on, not sending it twice is worth one hop more
_TELL_SECONDS = 5.0


class _Lane:
    """What waits for one follower, and the task that sends it."""

    def __init__(self, to: Path) -> None:
        self.to = Address(to, RAFT_ACTOR)
        self.queue: deque[HoldBlobs] = deque()
        self.size = 0
        self.task: asyncio.Task[None] | None = None


class Forwarder:
    """Sends blobs to followers.

    Args:
        followers: the paths of the other nodes of the group.
    """

    def __init__(self, runtime: Runtime, followers: Callable[[], Iterable[Path]]) -> None:
        self._runtime = runtime
        self._followers = followers
        self._lanes: dict[Path, _Lane] = {}
        self.dropped = 0  # messages that found no room

    def forward(self, digests: Sequence[Digest], parts: Sequence[Buffer], body: Body) -> None:
        """Send these blobs (`body` holds them one behind the other) to every follower."""
        message = HoldBlobs(tuple(digests), tuple(len(part) for part in parts), body=body)
        self._spread(message, list(self._followers()))

    def send_on(self, message: HoldBlobs) -> None:
        """Send what came here to the nodes behind this one in its chain."""
        known = set(self._followers())
        self._spread(
            replace(message, onward=()), [path for path in message.onward if path in known]
        )

    def _spread(self, message: HoldBlobs, paths: Sequence[Path]) -> None:
        chain = len(message.body) >= CHAIN_BYTES
        for number, path in enumerate(paths, 1):
            lane = self._lanes.get(path) or self._lanes.setdefault(path, _Lane(path))
            onward = tuple(paths[number:]) if chain else ()
            first = replace(message, onward=onward) if onward else message
            if not lane.size and self._runtime.post(lane.to, first):
                if onward:
                    return
                continue
            self._queue(lane, message)

    def _queue(self, lane: _Lane, message: HoldBlobs) -> None:
        size = len(message.body)
        if lane.size + size > QUEUE_BYTES_MAX:
            self.dropped += 1
            return
        lane.queue.append(message)
        lane.size += size
        if lane.task is None:
            lane.task = asyncio.ensure_future(self._send(lane))

    async def stop(self) -> None:
        """Drop what waits."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, lane: _Lane) -> None:
        try:
            while lane.queue:
                message = lane.queue[0]
                await self._runtime.tell(lane.to, message, timeout=_TELL_SECONDS)
                lane.queue.popleft()
                lane.size -= len(message.body)
        except Fault as fault:
            log.info("blobs not forwarded to %s: %s", lane.to.process, fault)
            lane.queue.clear()
            lane.size = 0
        finally:
            lane.task = None
