"""Serving blobs to whoever asks, and fetching those that are missing here.

A blob proves itself: whatever came is hashed before it is stored, so it does not matter who sent
it. Reading runs on threads, and so does hashing that would take more than a millisecond. One answer
carries at most `ANSWER_BYTES`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from blocktree.actors import Lane, Runtime
from blocktree.disk import Disk
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Buffer, Digest, Path, digest_of
from blocktree.store.between import RAFT_ACTOR, NeedBlobs, NeededBlobs
from blocktree.store.host import Host
from blocktree.store.messages import GET_BLOBS_MAX, Blobs
from blocktree.store.staging import Staging
from blocktree.store.worker import Worker, run
from blocktree.wire import Body

log = logging.getLogger(__name__)

ANSWER_BYTES = 4 << 20
_ASK_SECONDS = 10.0
_ASK_DIGESTS = 256
_SAMPLE = bytes(64 << 10)
_AT_ONCE_SECONDS = 0.001  # hashing may hold the loop so long: a thread's turn takes as much of it
_AT_ONCE_MIN = 128 << 10
_AT_ONCE_MAX = 2 << 20


def split_blobs(lengths: Sequence[int], body: Body) -> list[memoryview]:
    """The blobs of a body, without copying.

    Raises:
        Fault: MALFORMED if lengths and body do not fit.
    """
    if any(length <= 0 for length in lengths) or sum(lengths) != len(body):
        raise Fault(Kind.MALFORMED, "the lengths of the blobs do not fit their bytes")
    whole = memoryview(body)
    parts = []
    start = 0
    for length in lengths:
        parts.append(whole[start : start + length])
        start += length
    return parts


def hash_all(parts: Sequence[Buffer]) -> list[Digest]:
    """The name of each blob, worked out here and now."""
    return [digest_of(part) for part in parts]


async def digests_of(host: Host, parts: Sequence[Buffer]) -> list[Digest]:
    """The name of each blob, on a thread if it is much."""
    if sum(map(len, parts)) <= host.hashed_at_once:
        return hash_all(parts)
    return await run(host.crew, lambda: hash_all(parts))


def hashed_in_a_millisecond() -> int:
    """Bytes that this machine hashes meanwhile: slow processors a tenth."""
    took = min(_seconds_for_sample() for _ in range(5))
    fits = int(len(_SAMPLE) * _AT_ONCE_SECONDS / took)
    return min(max(fits, _AT_ONCE_MIN), _AT_ONCE_MAX)


def _seconds_for_sample() -> float:
    begin = time.perf_counter()
    digest_of(_SAMPLE)
    return time.perf_counter() - begin


class BlobReader:
    """Reads blobs of this node for others.

    Args:
        worker: threads for reading and hashing.
        is_needed: whether a version refers to a blob, in the state of the entry that `known` says.
    """

    def __init__(
        self,
        disk: Disk,
        worker: Worker,
        is_needed: Callable[[Digest], bool],
        known: Callable[[], int],
    ) -> None:
        self._disk = disk
        self._worker = worker
        self._is_needed = is_needed
        self._known = known
        self.unreadable: Callable[[Sequence[Digest]], None] = lambda _: None  # told what it met

    async def serve(self, digests: Sequence[Digest]) -> Blobs:
        """Answer `GetBlobs`."""
        if len(digests) > GET_BLOBS_MAX:
            raise Fault(Kind.USAGE, f"asks for more than {GET_BLOBS_MAX} blobs")
        lengths, body, unreadable = await run(self._worker, lambda: self._read(digests))
        if unreadable:
            self.unreadable(unreadable)
        return Blobs(lengths, body)

    async def serve_node(self, message: NeedBlobs) -> NeededBlobs:
        """Answer `NeedBlobs`: a blob that nothing refers to is told as gone for good.

        Whoever asks believes it and never looks for the blob again, and so does everybody who asks
        him. So only who has applied what the asker goes by can say it: another may not know yet
        what needs the blob, like one that has just started or joined.
        """
        digests, indices = message.digests, message.indices
        if len(indices) != len(digests):
            raise Fault(Kind.MALFORMED, "as many indices as blobs have to be given")
        found = await self.serve(digests)
        known = self._known()
        lengths = tuple(
            -1 if length == 0 and index <= known and not self._is_needed(digest) else length
            for digest, index, length in zip(digests, indices, found.lengths, strict=False)
        )
        return NeededBlobs(lengths, found.body)

    def _read(self, digests: Sequence[Digest]) -> tuple[tuple[int, ...], bytes, list[Digest]]:
        parts: list[Buffer] = []
        unreadable: list[Digest] = []
        lengths: list[int] = []
        size = 0
        for digest in digests:
            try:
                blob: Buffer = self._disk.read_blob(digest)
            except Fault as fault:
                if fault.kind not in (Kind.NOT_FOUND, Kind.DAMAGED):
                    raise
                unreadable.append(digest)
                blob = b""
            if size and size + len(blob) > ANSWER_BYTES:
                break
            parts.append(blob)
            lengths.append(len(blob))
            size += len(blob)
        return tuple(lengths), b"".join(parts), unreadable


@dataclass(slots=True)
class Fetched:
    """What is still missing: what nobody had, and what somebody said is gone for good.

    `silent`: somebody did not answer who may have it.
    """

    left: list[Digest]
    gone: list[Digest] = field(default_factory=list)
    silent: bool = False


class BlobFetcher:
    """Gets missing blobs from other nodes of the group."""

    def __init__(self, runtime: Runtime, host: Host, staging: Staging) -> None:
        self._runtime = runtime
        self._host = host
        self._staging = staging

    async def fetch(self, wanted: Mapping[Digest, int], nodes: Sequence[Path]) -> Fetched:
        """Ask the nodes in turn for blobs, by the entry that names them; stage what they send.

        Who is asked later is not asked for what one of them says is gone for good.
        """
        fetched = Fetched(self._staging.missing(wanted))
        for node in nodes:
            if not fetched.left:
                break
            try:
                some = await self._fetch_from(node, fetched.left, wanted)
            except Fault as fault:
                log.info("no blobs from %s: %s", node, fault)
                fetched.silent = True
                continue
            fetched.left = some.left
            fetched.gone += some.gone
        return fetched

    async def _fetch_from(
        self, node: Path, digests: Sequence[Digest], indices: Mapping[Digest, int]
    ) -> Fetched:
        fetched = Fetched([])
        queue = list(digests)
        while queue:
            asked = tuple(queue[:_ASK_DIGESTS])
            answer = await self._runtime.ask(
                Address(node, RAFT_ACTOR),
                NeedBlobs(asked, tuple([indices[digest] for digest in asked])),
                NeededBlobs,
                lane=Lane.BULK,
                timeout=_ASK_SECONDS,
            )
            count = len(answer.lengths)
            if not 0 < count <= len(asked):
                raise Fault(Kind.CONTRACT, "an answer to nothing that was asked", path=str(node))
            await self._take(asked[:count], answer, fetched)
            queue = queue[count:]
        return fetched

    async def _take(self, asked: Sequence[Digest], answer: NeededBlobs, fetched: Fetched) -> None:
        here = [d for d, length in zip(asked, answer.lengths, strict=True) if length > 0]
        parts = split_blobs([length for length in answer.lengths if length > 0], answer.body)
        digests = await digests_of(self._host, parts)
        good = [(d, part) for d, part, want in zip(digests, parts, here, strict=True) if d == want]
        if good:
            await self._staging.add(good)
        got = {digest for digest, _ in good}
        for digest, length in zip(asked, answer.lengths, strict=True):
            if length < 0:
                fetched.gone.append(digest)
            elif digest not in got:
                fetched.left.append(digest)
