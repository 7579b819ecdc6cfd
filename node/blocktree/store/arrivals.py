"""Raft messages that came in: an `Append` is held back until the blobs of its entries are here.

Holding a message back is, to the core, a slow network: always safe. And what the core has not seen
it cannot acknowledge, vote by, or lead with. So an entry is never in a log without its blobs, and
no leader can be elected on an entry whose blobs only a dead node had.

Invariants
- Appends of one sender reach the core in the order they came; other messages overtake them.
- A sender's line is at most `LINE_MESSAGES_MAX` messages and `LINE_BYTES_MAX` bytes; what does not
  fit is dropped and the leader sends it again.
- Before an entry reaches the core, its blobs are pinned.

One exception: a blob that nobody has any more must not keep new nodes out for ever. If all others
have said so, again and again, an entry that is committed already is let in without it; it is named,
and looked for from then on (`backfill`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocktree.fault import Fault
from blocktree.names import Digest, Path
from blocktree.raft import Append, Entry, Message, NodeId
from blocktree.store.blobs import BlobFetcher, Fetched
from blocktree.store.staging import Staging

log = logging.getLogger(__name__)

LINE_MESSAGES_MAX = 128
LINE_BYTES_MAX = 32 << 20
_FORWARDED_SECONDS = 0.2  # a blob the leader has forwarded is here within this
_RETRY_SECONDS = 0.2
_TRIES_MAX = 25
_LOST_TRIES = 5  # one who fetches it himself has it by then


@dataclass(slots=True)
class _Held:
    message: Append
    blobs: dict[Digest, int]  # and the last entry that names it
    size: int


class _Line:
    def __init__(self, sender: NodeId) -> None:
        self.sender = sender
        self.queue: deque[_Held] = deque()
        self.size = 0
        self.task: asyncio.Task[None] | None = None


class Arrivals:
    """The door of the core.

    Args:
        receive: hands a message to the core.
        blobs_of: the blobs that an entry introduces.
        sources: the nodes worth asking for blobs of entries of this sender, the sender first.
    """

    def __init__(
        self,
        staging: Staging,
        fetcher: BlobFetcher,
        *,
        receive: Callable[[NodeId, Message], None],
        blobs_of: Callable[[Entry], Sequence[Digest]],
        sources: Callable[[NodeId], Sequence[Path]],
    ) -> None:
        self._staging = staging
        self._fetcher = fetcher
        self._receive = receive
        self._blobs_of = blobs_of
        self._sources = sources
        self._lines: dict[NodeId, _Line] = {}

    @property
    def held(self) -> int:
        """Messages that wait for blobs."""
        return sum(len(line.queue) for line in self._lines.values())

    def take(self, sender: NodeId, message: Message) -> None:
        """A message came."""
        if not isinstance(message, Append) or not message.entries:
            self._receive(sender, message)
            return
        by_entry = [(entry.index, self._blobs_of(entry)) for entry in message.entries]
        wanted = {digest: index for index, digests in by_entry for digest in digests}
        line = self._lines.get(sender)
        if line is None and not (wanted and self._staging.missing(wanted)):
            self._let_in(sender, message)
            return
        size = sum(len(entry.payload) for entry in message.entries)
        if line is None:
            line = self._lines[sender] = _Line(sender)
        if len(line.queue) >= LINE_MESSAGES_MAX or line.size + size > LINE_BYTES_MAX:
            return
        line.queue.append(_Held(message, wanted, size))
        line.size += size
        if line.task is None:
            line.task = asyncio.ensure_future(self._work(line))

    async def stop(self) -> None:
        """Drop what is held."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _let_in(self, sender: NodeId, message: Append) -> None:
        for entry in message.entries:
            self._staging.pin(entry.index, self._blobs_of(entry))
        self._receive(sender, message)

    async def _work(self, line: _Line) -> None:
        try:
            while line.queue:
                held = line.queue[0]
                if not await self._complete(line.sender, held):
                    log.warning("entries dropped: nobody has their blobs just now")
                    return
                line.queue.popleft()
                line.size -= held.size
                self._let_in(line.sender, held.message)
        finally:
            del self._lines[line.sender]

    async def _complete(self, sender: NodeId, held: _Held) -> bool:
        """Get the blobs here: wait for the forwarded ones, then ask for them."""
        blobs, lost = held.blobs, 0
        missing = self._staging.missing(blobs)
        if missing:
            missing = await self._staging.arrive(missing, _FORWARDED_SECONDS)
        for _ in range(_TRIES_MAX):
            if not missing:
                return True
            wanted = {digest: blobs[digest] for digest in missing}
            try:
                fetched = await self._fetcher.fetch(wanted, self._sources(sender))
            except Fault as fault:
                log.warning("blobs of an entry: %s", fault)
                fetched = Fetched(missing, silent=True)
            self._staging.told_gone(fetched.gone)
            missing = fetched.left
            decided = all(blobs[digest] <= held.message.commit for digest in missing)
            lost = lost + 1 if missing and decided and not fetched.silent else 0
            if lost == _LOST_TRIES:
                log.error("%d blobs of decided entries are on no node", len(missing))
                return True
            if missing:
                await asyncio.sleep(_RETRY_SECONDS)
        return not missing
