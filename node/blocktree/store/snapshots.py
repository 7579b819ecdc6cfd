"""The state for a node that is too far behind the log: its table, fetched piece by piece.

The leader offers, the follower fetches at its own pace and resumes after an interruption with the
last key it has. Only the table travels here; it names every blob of the domain, and those that are
missing are fetched in the background (`backfill`), so the follower is back in the log at once.

That it acknowledges before it has the blobs breaks no promise: all entries that a snapshot covers
were committed, with their blobs, by a quorum without it, and it acknowledges newer ones only with
their blobs. A learner is not made a voter before its backfill is done (`membership`).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from blocktree.actors import Lane, Runtime
from blocktree.disk import Disk, Snapshot
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.raft import SnapshotMark
from blocktree.store.between import RAFT_ACTOR, GetSnapshot, SnapshotPiece
from blocktree.store.worker import Worker, run
from blocktree.wire import decode, encode

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
_PIECE_ROWS = 256
_KEEP_SECONDS = 60.0  # a snapshot that nobody fetches from is closed after this
_ASK_SECONDS = 20.0
_TRIES_MAX = 10
_RETRY_SECONDS = 0.5


class SnapshotSource:
    """Hands out the table as of a checkpoint; one snapshot is open at a time."""

    def __init__(self, disk: Disk, worker: Worker, crew: Worker) -> None:
        self._disk = disk
        self._worker = worker
        self._crew = crew
        self._open: Snapshot | None = None
        self._turn = asyncio.Lock()
        self._closing: asyncio.TimerHandle | None = None
        self.fetched = 0.0  # loop time of the last request

    async def serve(self, request: GetSnapshot) -> SnapshotPiece:
        """The next piece."""
        async with self._turn:
            self.fetched = asyncio.get_running_loop().time()
            self._plan_close()
            after = request.after
            snapshot = self._open
            fresh = snapshot is not None and snapshot.mark.index + 1 >= self._disk.log.first_index
            if snapshot is None or not (fresh or request.index == snapshot.mark.index):
                snapshot = await self._renew()
            if snapshot.mark.index != request.index:
                after = b""
            try:
                items, last = await run(self._crew, partial(_rows, snapshot, after))
            except Fault as fault:
                if fault.kind is not Kind.EXPIRED:
                    raise
                snapshot = await self._renew()
                items, last = await run(self._crew, partial(_rows, snapshot, b""))
            return SnapshotPiece(encode(snapshot.mark), items, last)

    async def stop(self) -> None:
        """Give the snapshot back."""
        if self._closing is not None:
            self._closing.cancel()
        async with self._turn:
            await self._close()

    async def _renew(self) -> Snapshot:
        await self._close()
        self._open = await run(self._worker, self._disk.snapshot)
        return self._open

    async def _close(self) -> None:
        snapshot, self._open = self._open, None
        if snapshot is not None:
            await run(self._worker, snapshot.close)

    def _plan_close(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(_KEEP_SECONDS, lambda: asyncio.ensure_future(self.stop()))


def _rows(snapshot: Snapshot, after: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    while size < PIECE_BYTES:
        chunk = snapshot.items(after, _PIECE_ROWS)
        for key, value in chunk:
            rows.append((key, value))
            size += len(key) + len(value)
            if size >= PIECE_BYTES:
                return tuple(rows), False
        if len(chunk) < _PIECE_ROWS:
            return tuple(rows), True
        after = chunk[-1][0]
    return tuple(rows), False


class SnapshotFetcher:
    """Receives a table from the leader into the disk's staged table.

    Args:
        staged: told when all pieces are here; the core then asks for it to be installed.
    """

    def __init__(
        self,
        runtime: Runtime,
        disk: Disk,
        worker: Worker,
        staged: Callable[[SnapshotMark], None],
    ) -> None:
        self._runtime = runtime
        self._disk = disk
        self._worker = worker
        self._staged = staged
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being received."""
        return self._task is not None

    def start(self, leader: Path) -> None:
        """Begin to fetch, unless that is going on."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._fetch(leader))

    async def stop(self) -> None:
        """Interrupt; what has arrived is kept and resumed from."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _fetch(self, leader: Path) -> None:
        try:
            for _ in range(_TRIES_MAX):
                try:
                    mark = await self._receive(leader)
                except Fault as fault:
                    log.warning("the snapshot from %s: %s", leader, fault)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                self._staged(mark)
                return
        finally:
            self._task = None

    async def _receive(self, leader: Path) -> SnapshotMark:
        mark: SnapshotMark | None = None
        after = b""
        while True:
            piece = await self._runtime.ask(
                Address(leader, RAFT_ACTOR),
                GetSnapshot(mark.index if mark else 0, after),
                SnapshotPiece,
                lane=Lane.BULK,
                timeout=_ASK_SECONDS,
            )
            sent = decode(piece.mark, SnapshotMark)
            if sent != mark:
                mark = sent
                after = await run(self._worker, partial(self._disk.begin_restore, sent))
                if after:  # an earlier attempt came this far
                    continue
            if not piece.items and not piece.last:
                raise Fault(Kind.CONTRACT, "an empty piece that is not the last")
            if piece.items:
                items = piece.items
                await run(self._worker, partial(self._disk.add_restore, items))
                after = items[-1][0]
            if piece.last:
                return sent
