"""Fetches blobs by hash from whoever has them: peers on the LAN first, then any storing node.

Wants that arrive together are asked together, about a megabyte to a message, a few messages at
once to each source. Every blob is checked against its hash off the event loop; a source that sent
wrong bytes is blamed in `Sources`, avoided from then on, and the blob is fetched from the next.

Invariants: a digest is in flight at most once, unless its source is later than it ever was, and
then at most once at each source; what is delivered hashes to the digest it was wanted by; a blob
fails only after every source that may hold it was asked.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.files.cache import Held, SectorCache
from blocktree.files.client import SectorService, as_fault
from blocktree.files.sources import CACHE_ACTOR, Source, Sources
from blocktree.names import Address, Buffer, Digest, Path, digest_of
from blocktree.store.messages import STORE_ACTOR, Blobs, GetBlobs
from blocktree.wire import Record

BATCH_BYTES = 1 << 20
BATCH_BLOBS = 256
IN_FLIGHT_MAX = 16  # messages, over all sources
_NODE_S = 5.0  # for an answer
_PEER_S = 2.0  # there are others to ask
_LATE_MIN_S = 1.0  # without an answer, before a batch is asked for elsewhere, too …
_LATE_TIMES = 4  # … or so many times what the source took on average
_INLINE_BYTES = 128 << 10  # a sealed sector: checking on the loop costs less than a thread's turn
_PAUSE_S = 0.05
_ROUNDS = 40  # over all nodes before a blob is given up


@dataclass(slots=True)
class Want:
    """One blob that somebody waits for.

    `open` turns the checked bytes into what the cache keeps; it runs in a thread.
    """

    digest: Digest
    size: int  # expected, for batching; a guess is fine
    open: Callable[[Buffer], Held]
    peers: Sequence[Path]
    answer: asyncio.Future[Held]
    asked: set[Source] = field(default_factory=set)
    rounds: int = 0


class Fetcher:
    """Gets blobs into the cache.

    Args:
        service: for its runtime and the nodes it knows.
        cache: where opened blobs are kept.
        sources: what is known of every peer and node as a sender.
        threads: where hashes are checked and sectors opened.
    """

    def __init__(
        self, service: SectorService, cache: SectorCache, sources: Sources, threads: Executor
    ) -> None:
        self._service = service
        self.cache = cache
        self.sources = sources
        self._threads = threads
        self._wanted: dict[Digest, Want] = {}  # in flight or waiting for the next batch
        self._waiting: list[Want] = []
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    def want(
        self,
        digest: Digest,
        size: int,
        opener: Callable[[Buffer], Held],
        peers: Sequence[Path] = (),
    ) -> asyncio.Future[Held]:
        """Ask for a blob that is not in the cache; the future is shared by all who want it.

        Whoever awaits it while others may too should shield it: cancelling it cancels for all.
        """
        known = self._wanted.get(digest)
        if known is not None:
            return known.answer
        loop = asyncio.get_running_loop()
        want = Want(digest, size, opener, peers, loop.create_future())
        want.answer.add_done_callback(_retrieved)
        self._wanted[digest] = want
        self._waiting.append(want)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._launch)
        return want.answer

    async def get(
        self,
        digest: Digest,
        size: int,
        opener: Callable[[Buffer], Held],
        peers: Sequence[Path] = (),
    ) -> Held:
        """One blob, from the cache or from afar.

        Raises:
            Fault: UNREACHABLE if nobody who may have it answers, NOT_FOUND if nobody has it.
        """
        held = self.cache.get(digest)
        if held is not None:
            return held
        return await asyncio.shield(self.want(digest, size, opener, peers))

    async def close(self) -> None:
        """Stop fetching; whoever waits is told STOPPED."""
        for task in list(self._tasks):
            task.cancel()
        for want in list(self._wanted.values()):
            self._fail(want, Fault(Kind.STOPPED, "the file system is closing"))

    def _launch(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        batches: dict[Source, list[Want]] = {}
        for want in waiting:
            source = self._choose(want)
            if source is None:
                self._later(want)
            else:
                batches.setdefault(source, []).append(want)
        for source, wants in batches.items():
            for batch in _cut(wants):
                source.ask(self._service.clock())
                self._spawn(self._ask(source, batch))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _choose(self, want: Want) -> Source | None:
        """The best source that was not yet asked in this round; None: all were."""
        peers = [self.sources.of(Address(path, CACHE_ACTOR)) for path in want.peers]
        now = self._service.clock()
        best = self.sources.best([p for p in peers if p not in want.asked], now, peer=True)
        if best is None:
            nodes = [self.sources.of(Address(p, STORE_ACTOR)) for p in self._service.nodes()]
            best = self.sources.best([n for n in nodes if n not in want.asked], now, peer=False)
        if best is not None:
            want.asked.add(best)
        return best

    def _later(self, want: Want) -> None:
        want.rounds += 1
        if want.rounds >= _ROUNDS:
            self._fail(want, Fault(Kind.UNREACHABLE, "no node that answers has this sector"))
            return
        want.asked.clear()
        want.peers = ()
        pause = _PAUSE_S * min(want.rounds, 20)
        asyncio.get_running_loop().call_later(pause, self._again, [want])

    def _again(self, wants: Iterable[Want]) -> None:
        self._waiting.extend(want for want in wants if not want.answer.done())
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._launch)

    async def _ask(self, source: Source, batch: list[Want]) -> None:
        clock, loop = self._service.clock, asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        unserved = batch
        try:
            async with self._slots:
                sent = clock()
                message = GetBlobs(tuple(want.digest for want in batch))
                limit = _PEER_S if source.address.actor == CACHE_ACTOR else _NODE_S
                late = max(_LATE_MIN_S, _LATE_TIMES * source.latency)
                timer = loop.call_later(late, self._late, source, batch)
                reply = await self._service.ask_at(source.address, message, timeout=limit)
            reply = _require_blobs(reply, len(batch))
            source.answered(clock() - sent, len(reply.body), sum(map(bool, reply.lengths)))
            unserved = await self._take(source, batch, reply)
        except Fault:
            source.failed(clock())
        except Exception as cause:
            unserved = []
            for want in batch:
                self._fail(want, as_fault(cause))
        finally:
            source.outstanding -= 1
            if timer is not None:
                timer.cancel()
            self._again(unserved)

    def _late(self, source: Source, batch: list[Want]) -> None:
        """A source says nothing: ask others for the same, as far as there are any."""
        source.late(self._service.clock())
        nodes = {self.sources.of(Address(p, STORE_ACTOR)) for p in self._service.nodes()}
        self._again(want for want in batch if not nodes <= want.asked)

    async def _take(self, source: Source, batch: list[Want], reply: Blobs) -> list[Want]:
        """Check and deliver; gives back what has to come from elsewhere."""
        if sum(reply.lengths) != len(reply.body):
            self.sources.blame(source, Fault(Kind.DAMAGED, "lengths that do not fit the body"))
            return batch
        for want in batch[len(reply.lengths) :]:
            want.asked.discard(source)  # it answered the first ones only: it may be asked again
        if not reply.lengths:
            return batch
        if len(reply.body) <= _INLINE_BYTES:
            results = _open_all(batch, reply)
        else:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._threads, _open_all, batch, reply)
        unserved = list(batch[len(reply.lengths) :])
        for want, result in zip(batch, results, strict=False):
            if isinstance(result, Held):
                self._deliver(want, result)
            elif result is None:
                unserved.append(want)  # not there
            elif result.kind is Kind.DAMAGED:
                self.sources.blame(source, result)
                unserved.append(want)
            else:
                self._fail(want, result)
        return unserved

    def _deliver(self, want: Want, held: Held) -> None:
        self._wanted.pop(want.digest, None)
        self.cache.put(want.digest, held)
        if not want.answer.done():
            want.answer.set_result(held)

    def _fail(self, want: Want, fault: Fault) -> None:
        self._wanted.pop(want.digest, None)
        if not want.answer.done():
            want.answer.set_exception(fault)


def _require_blobs(reply: Record, asked: int) -> Blobs:
    if not isinstance(reply, Blobs) or len(reply.lengths) > asked:
        raise Fault(Kind.CONTRACT, "a wrong answer to GetBlobs")
    return reply


def _retrieved(answer: asyncio.Future[Held]) -> None:
    """A failed prefetch that nobody awaits is no error."""
    if not answer.cancelled():
        answer.exception()


def _cut(wants: list[Want]) -> Iterable[list[Want]]:
    batch: list[Want] = []
    size = 0
    for want in wants:
        if batch and (size + want.size > BATCH_BYTES or len(batch) == BATCH_BLOBS):
            yield batch
            batch, size = [], 0
        batch.append(want)
        size += want.size
    if batch:
        yield batch


def _open_all(batch: Sequence[Want], reply: Blobs) -> list[Held | Fault | None]:
    """Check every blob and open it. DAMAGED blames the sender, another fault the file itself."""
    results: list[Held | Fault | None] = []
    body, start = memoryview(reply.body), 0
    for want, length in zip(batch, reply.lengths, strict=False):
        blob = body[start : start + length]
        start += length
        if not length:
            results.append(None)
        elif digest_of(blob) != want.digest:
            results.append(Fault(Kind.DAMAGED, "bytes that do not hash to what was asked for"))
        else:
            results.append(_open(want, blob))
    return results


def _open(want: Want, blob: memoryview) -> Held | Fault:
    try:
        return want.open(blob)
    except Fault as fault:  # its hash is right, so the writer of the file is at fault
        return Fault(Kind.FAILED, fault.what, path=fault.path)
