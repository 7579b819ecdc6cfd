"""The leader sends blobs on to its followers as soon as they arrive, ahead of the entry.

What does not fit into a follower's bounded queue is dropped: the follower fetches it when the entry
comes. So a slow follower costs the others nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from blocktree.actors import Runtime
from blocktree.disk.batch import Buffer
from blocktree.fault import Fault
from blocktree.names import Address, Digest, Path
from blocktree.store.between import RAFT_ACTOR, HoldBlobs
from blocktree.wire import Body

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 16 << 20  # to one follower
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
        message = HoldBlobs(tuple(digests), tuple(len(part) for part in parts), body)
        for path in self._followers():
            lane = self._lanes.get(path) or self._lanes.setdefault(path, _Lane(path))
            if not lane.size and self._runtime.post(lane.to, message):
                continue
            if lane.size + len(body) > QUEUE_BYTES_MAX:
                self.dropped += 1
                continue
            lane.queue.append(message)
            lane.size += len(body)
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
