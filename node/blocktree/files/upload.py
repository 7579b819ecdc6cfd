"""Seals sectors in threads and puts them to the sector service ahead of the commit.

Sectors are sealed a batch at a time straight into the body of the message that carries them, so a
written byte is copied once here (by the cipher). A batch is kept until its commit: if the leader
that staged it is lost, it is sent again.

Invariants: at most `BATCHES_MAX` messages are under way; `Budget.held` counts every byte that is
written and not committed, and writers wait while it is over its bound.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from blocktree.files.cache import SectorCache, held_sector
from blocktree.files.client import SectorService
from blocktree.names import Buffer, Digest, digest_of
from blocktree.sectors.sector import NONCE_BYTES, SectorCipher
from blocktree.store.messages import PutBlobs, Stored

BATCH_BYTES = 2 << 20  # of content in one message
BATCHES_MAX = 6
DIRTY_BYTES_MAX = 96 << 20
_INLINE_BYTES = 96 << 10  # up to here, sealing on the loop costs less than a thread's turn


@dataclass(slots=True, eq=False)
class Sent:
    """One sealed sector between write and commit."""

    batch: "Batch"
    slot: int  # in its batch
    size: int  # bytes of content

    @property
    def digest(self) -> Digest:
        """Its blob's name, once the batch is sealed."""
        return self.batch.digests[self.slot]

    def content(self, cache: SectorCache) -> Buffer:
        """What was written."""
        batch = self.batch
        if batch.contents:
            return batch.contents[self.slot]
        held = cache.get(self.digest)
        if held is not None:
            return held.content
        start = sum(batch.lengths[: self.slot])
        blob = memoryview(batch.body)[start : start + batch.lengths[self.slot]]
        return batch.cipher.open(batch.indexes[self.slot], blob)


class Batch:
    """Sectors of one file that travel together.

    `contents` is emptied once they are sealed; the content is then in the cache or in `body`.
    """

    def __init__(self, cipher: SectorCipher, sectors: Sequence[tuple[int, Buffer]]) -> None:
        self.cipher = cipher
        self.indexes = [index for index, _ in sectors]
        self.contents: list[Buffer] = [content for _, content in sectors]
        self.lengths = tuple(cipher.sealed_size(len(content)) for content in self.contents)
        self.digests: list[Digest] = []
        self.nonces: list[bytes] = []
        self.body = bytearray()
        self.stored = False
        self.task_puts = False  # it is on its way to the service already
        self.task: asyncio.Task[None] | None = None  # seals, and puts if it was launched to
        self.sent = [Sent(self, slot, len(c)) for slot, c in enumerate(self.contents)]

    @property
    def size(self) -> int:
        """Bytes of `body`, once it is sealed."""
        return sum(self.lengths)

    @property
    def goes_ahead(self) -> bool:
        """Whether it does not ride along with its commit: it is at the service, or on its way."""
        return self.task_puts or self.stored

    def seal(self) -> None:
        """Fill `body`; runs in a thread."""
        body = bytearray(self.size)
        view, start = memoryview(body), 0
        digests, nonces = [], []
        for index, content, length in zip(self.indexes, self.contents, self.lengths, strict=True):
            blob = view[start : start + length]
            nonce = os.urandom(NONCE_BYTES)
            self.cipher.seal_into(index, content, nonce, blob)
            digests.append(digest_of(blob))
            nonces.append(nonce)
            start += length
        self.body, self.digests, self.nonces = body, digests, nonces


class Budget:
    """How much is written and not committed, over all files of a volume."""

    def __init__(self, bytes_max: int = DIRTY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self._room = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether writers have to wait."""
        return self.held > self.bytes_max

    def take(self, count: int) -> None:
        """`count` more bytes are held (fewer, if negative)."""
        self.held += count
        assert self.held >= 0
        if not self.over:
            self._room.set()

    async def room(self) -> None:
        """Wait until writers may go on."""
        while self.over:
            self._room.clear()
            await self._room.wait()


class Uploads:
    """Seals and puts batches.

    Args:
        service: where blobs go.
        cache: where content goes once it is sealed.
        threads: where sealing runs.
    """

    def __init__(self, service: SectorService, cache: SectorCache, threads: Executor) -> None:
        self._service = service
        self.cache = cache
        self._threads = threads
        self._slots = asyncio.Semaphore(BATCHES_MAX)

    def launch(self, batch: Batch, *, put: bool) -> None:
        """Begin to seal a batch, and to put it; `sealed` and `stored` wait for that.

        What is small and put by nobody is sealed when it is waited for: a task for it would cost
        turns of the loop, and more than the sealing.
        """
        if not put and batch.size <= _INLINE_BYTES:
            return
        work = self._put(batch) if put else self._seal(batch)
        batch.task_puts = put
        batch.task = asyncio.get_running_loop().create_task(work)
        batch.task.add_done_callback(_retrieved)

    async def sealed(self, batches: Iterable[Batch]) -> None:
        """Wait until every batch has its digests."""
        for batch in batches:
            await self._seal(batch)

    async def stored(self, batches: Iterable[Batch]) -> None:
        """Wait until the service has every batch; those that failed are tried again.

        Raises:
            Fault: as `SectorService.ask`; the batch is kept and can be tried again.
        """
        again = []
        for batch in batches:
            if batch.task is not None:
                await asyncio.wait([batch.task])
            if not batch.stored:
                self.launch(batch, put=True)
                again.append(batch)
        for batch in again:
            assert batch.task is not None
            await asyncio.shield(batch.task)

    async def put_loose(self, blobs: Sequence[Buffer]) -> None:
        """Put blobs that belong to no batch: hash pages."""
        some: list[Buffer] = []
        size = 0
        for blob in blobs:
            some.append(blob)
            size += len(blob)
            if size >= BATCH_BYTES:
                await self._send(some)
                some, size = [], 0
        if some:
            await self._send(some)

    async def _send(self, blobs: Sequence[Buffer]) -> None:
        async with self._slots:
            message = PutBlobs(tuple(map(len, blobs)), b"".join(blobs))
            await self._service.ask(message, Stored)

    async def _seal(self, batch: Batch) -> None:
        if batch.digests:
            return
        if batch.task is not None and batch.task is not asyncio.current_task():
            await asyncio.wait([batch.task])
            if batch.digests:
                return
        if batch.size <= _INLINE_BYTES:
            batch.seal()
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, batch.seal)
        for index, content, digest, nonce in zip(
            batch.indexes, batch.contents, batch.digests, batch.nonces, strict=True
        ):
            self.cache.put(digest, held_sector(batch.cipher, index, content, nonce))
        batch.contents = []
        batch.nonces = []

    async def _put(self, batch: Batch) -> None:
        async with self._slots:
            await self._seal(batch)
            if not batch.stored:
                await self._service.ask(PutBlobs(batch.lengths, batch.body), Stored)
                batch.stored = True


def _retrieved(task: asyncio.Task[None]) -> None:
    """A failure is met again by whoever commits."""
    if not task.cancelled():
        task.exception()
