"""Reads everything that a node keeps, slowly and again and again, and has repaired what has rotted.

A round goes through the phases of `Phase`; it begins `ROUND_SECONDS` after the last one ended, or
when somebody asks. How far it is lies in a note of the node's table, so it goes on after a restart:
from where it stopped after an orderly one, and at most `NOTE_SECONDS` earlier after a crash.

What is found
- a blob that does not match its hash, or is gone: fetched from another node;
- an entry of the log that cannot be read: a checkpoint makes the log up to it superfluous;
- a row of the table that other nodes have differently: see `comparing`;
- an index that LMDB itself calls damaged: the node stops, and makes it anew at the next start.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from blocktree.disk import scrub_log
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.store.backfill import Backfill
from blocktree.store.checkpoints import Checkpoints
from blocktree.store.comparing import PREFIXES, Compared, Comparing, describe_row
from blocktree.store.owners import OWNER_PREFIX, SCRUB_KEY
from blocktree.store.replica import Replica
from blocktree.store.scrub_messages import Phase, Scrubbing
from blocktree.store.worker import run
from blocktree.wire import Record, decode, encode, record

log = logging.getLogger(__name__)

RATE = 1 << 20  # bytes a second in the background
FAST_RATE = 64 << 20  # when somebody waits for it
ROUND_SECONDS = 7 * 86400
FIRST_SECONDS = 3600  # a new node is left alone for so long
NOTE_SECONDS = 600
FINDINGS_MAX = 64
_STEP_BYTES = 1 << 20
_NAMES_ROWS = 512
_IDLE_SECONDS = 30.0
_PAUSE_SECONDS = 1.0  # after something went wrong, and while the node is busy with itself


@record(0x0931)
@dataclass(frozen=True, slots=True)
class ScrubNote(Record):
    """How far the round is, and how the last complete one ended."""

    phase: Phase = Phase.IDLE
    after: bytes = b""  # the last key of this phase that was read; for STATE behind its prefix
    bytes_read: int = 0
    blobs: int = 0
    entries: int = 0
    rows: int = 0
    found: int = 0
    began: int = 0  # before the first round: when this node was first started
    ended: int = 0
    findings: tuple[str, ...] = ()


class Scrubber:
    """The scrub of one node.

    Attributes:
        left: places that are damaged still, by what they are.
    """

    def __init__(self, replica: Replica, backfill: Backfill, checkpoints: Checkpoints) -> None:
        self._replica = replica
        self._backfill = backfill
        self._checkpoints = checkpoints
        self._comparing = Comparing(replica)
        self._note = self._load() or ScrubNote(began=int(replica.host.now()))
        self._written = replica.host.clock()
        self._fast = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._entries: set[int] = set()  # of the log, that cannot be read
        self._rows: set[bytes] = set()  # of the table, on which nodes differ

    def start(self) -> None:
        """Go on where the last run of this node stopped."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Stop, and leave a note for the checkpoint at the end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._save()

    def begin(self) -> None:
        """Somebody waits: begin a round, or hurry with the one under way."""
        if self._note.phase is Phase.IDLE:
            self._begin()
        self._fast = True
        self._news.set()

    @property
    def ended(self) -> int:
        """When the last complete round ended, seconds since 1970; 0: never."""
        return self._note.ended

    @property
    def found(self) -> int:
        """Damaged places that this round, or the last one, has found."""
        return self._note.found

    @property
    def left(self) -> int:
        """Places that are known to be damaged now."""
        return len(self._backfill.damaged) + len(self._entries) + len(self._rows)

    def report(self) -> Scrubbing:
        """How it goes."""
        note = self._note
        return Scrubbing(
            note.phase,
            note.bytes_read,
            max(note.bytes_read, self._replica.host.disk.stats().live),
            note.blobs,
            note.entries,
            note.rows,
            note.found,
            max(0, note.found - self.left),
            self.left,
            note.began,
            note.ended,
            note.findings,
        )

    # the round

    async def _run(self) -> None:
        while True:
            try:
                if not self._is_due():
                    await self._look_again()
                    await self._wait(_IDLE_SECONDS)
                elif self._replica.doubt.active or self._replica.driver.restoring:
                    await self._wait(_PAUSE_SECONDS)
                else:
                    await self._pace(await self._step())
            except Fault as fault:
                if fault.kind is Kind.DAMAGED and "index" in fault.what:
                    self._replica.broken(fault)
                    return
                log.warning("scrub: %s", fault)
                await self._wait(_PAUSE_SECONDS)
            except Exception:
                log.exception("scrub")
                await self._wait(_IDLE_SECONDS)

    async def _wait(self, seconds: float) -> None:
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _pace(self, size: int) -> None:
        """Keep to the rate."""
        if self._fast:
            await asyncio.sleep(size / FAST_RATE)
        else:
            await self._wait(size / RATE)

    def _is_due(self) -> bool:
        if self._note.phase is Phase.IDLE:
            note = self._note
            due = note.ended + ROUND_SECONDS if note.ended else note.began + FIRST_SECONDS
            if self._replica.host.now() < due:
                return False
            self._begin()
        return True

    def _begin(self) -> None:
        now, ended = int(self._replica.host.now()), self._note.ended
        self._note = ScrubNote(phase=Phase.CONTENT, began=now, ended=ended)

    async def _step(self) -> int:
        """Read a little; how many bytes."""
        match self._note.phase:
            case Phase.CONTENT:
                size = await self._content()
            case Phase.NAMES:
                size = await self._names()
            case Phase.LOG:
                size = await self._log()
            case Phase.STATE:
                size = await self._state()
            case Phase.IDLE:
                return 0
        if self._replica.host.clock() - self._written >= NOTE_SECONDS:
            self._save()
        return size

    def _advance(self, after: bytes | None, size: int, **counts: int) -> None:
        """So much more was read; at the end of the phase (None) go on with the next."""
        note = self._note
        more = {name: getattr(note, name) + count for name, count in counts.items()}
        phase, ended = note.phase, note.ended
        if after is None:
            phase = Phase((phase + 1) % len(Phase))
            if phase is Phase.IDLE:
                ended = int(self._replica.host.now())
        self._note = dataclasses.replace(
            note,
            phase=phase,
            after=after or b"",
            bytes_read=note.bytes_read + size,
            ended=ended,
            **more,
        )
        if after is None:
            self._save()
        if phase is Phase.IDLE:
            self._fast = False
            log.info("a scrub ended: %d places were damaged, %d are still", note.found, self.left)

    async def _content(self) -> int:
        after = Digest(self._note.after) if self._note.after else None
        host = self._replica.host
        done = await run(host.crew, partial(host.disk.scrub, after, _STEP_BYTES))
        for digest, where in zip(done.damaged, done.places, strict=True):
            self._find(f"the blob {digest.hex()}", where)
        await self._mend_blobs(done.damaged)
        self._advance(done.after, done.size, blobs=done.blobs)
        return done.size

    async def _names(self) -> int:
        """Blobs whose row in the index is lost are not among those that the disk knows."""
        host, overlay = self._replica.host, self._replica.tree.overlay
        rows = overlay.items(OWNER_PREFIX, self._note.after, _NAMES_ROWS)
        digests = [Digest(key[len(OWNER_PREFIX) :]) for key, _ in rows]
        missing = await run(host.crew, partial(host.disk.missing, digests))
        unknown = [d for d in missing if self._replica.tree.is_needed(d)]
        if self._backfill.missing >= 0:  # else they are being fetched anyway
            for digest in unknown:
                if digest not in self._backfill.damaged:
                    self._find(f"the blob {digest.hex()}", "it is not here, or cannot be read")
            await self._mend_blobs(unknown)
        size = sum(len(key) + len(value) for key, value in rows)
        self._advance(rows[-1][0] if len(rows) == _NAMES_ROWS else None, size)
        return size

    async def _mend_blobs(self, digests: Sequence[Digest]) -> None:
        """Fetch what is needed, drop what is not."""
        if digests:
            left = await self._backfill.mend(digests)
            log.warning(
                "%d of %d damaged blobs are repaired", len(digests) - len(left), len(digests)
            )

    async def _log(self) -> int:
        host = self._replica.host
        low = int.from_bytes(self._note.after) + 1
        done = await run(host.crew, partial(scrub_log, host.disk.log, low, _STEP_BYTES))
        for index, where in zip(done.damaged, done.places, strict=True):
            self._find(f"entry {index} of the log", where)
        self._entries.update(done.damaged)
        after = None if done.next is None else (done.next - 1).to_bytes(8)
        if after is None and self._entries:
            await self._drop_entries()
        self._advance(after, done.size, entries=done.entries)
        return done.size

    async def _drop_entries(self) -> None:
        """Applied entries are not needed: the state has what they did. Followers get that."""
        applied, low = self._replica.driver.applied, max(self._entries)
        if low < applied:
            await self._checkpoints.write(log_kept=0)
        first = self._replica.host.disk.log.first_index
        self._entries = {index for index in self._entries if index >= first}

    async def _state(self) -> int:
        place = self._note.after or PREFIXES[0]
        prefix, after = place[:1], place if len(place) > 1 else b""
        done = await self._comparing.step(prefix, after)
        await self._differing(done)
        then = done.after
        if then is None:
            turn = PREFIXES.index(prefix) + 1
            then = PREFIXES[turn] if turn < len(PREFIXES) else None
        self._advance(then, done.size, rows=done.rows)
        return done.size

    async def _look_again(self) -> None:
        if not self._replica.doubt.active:
            await self._differing(await self._comparing.again())

    async def _differing(self, done: Compared) -> None:
        """Tell of rows that other nodes have otherwise; fetch the blobs that they name."""
        for key in done.wrong:
            self._find(describe_row(key), "in the table")
        for key in set(done.doubtful) - self._rows:
            self._find(describe_row(key), "in the table; which node is right is not known")
        self._rows -= set(done.wrong)
        self._rows |= set(done.doubtful)
        named = [Digest(key[1:]) for key in done.wrong if key.startswith(OWNER_PREFIX)]
        needed = self._replica.tree.is_needed
        await self._mend_blobs([digest for digest in named if needed(digest)])

    # the note

    def _find(self, what: str, where: str) -> None:
        sentence = f"{what} is damaged: {where}"
        log.error("%s", sentence)
        findings = (*self._note.findings, sentence)[-FINDINGS_MAX:]
        self._note = dataclasses.replace(self._note, found=self._note.found + 1, findings=findings)

    def _load(self) -> ScrubNote | None:
        row = self._replica.tree.overlay.get(SCRUB_KEY)
        try:
            return None if row is None else decode(row, ScrubNote)
        except Fault as fault:
            log.warning("the note on the last scrub: %s", fault)
            return None

    def _save(self) -> None:
        self._replica.tree.overlay.put(SCRUB_KEY, encode(self._note))
        self._written = self._replica.host.clock()
