"""What goes into a disk and what it says of itself: batches, limits, damage, statistics."""

from collections.abc import Sequence
from dataclasses import dataclass

from blocktree.names import Buffer, Digest, PrincipalId, TreeId
from blocktree.raft import Entry, HardState
from blocktree.wire import Record, record


@dataclass(frozen=True, slots=True)
class Keeper:
    """Whose disk it is: a directory of another tree or another process is refused."""

    tree: TreeId
    node: PrincipalId


@dataclass(frozen=True, slots=True)
class Batch:
    """What one `append` writes, in this order: hard state, blobs, entries.

    Attributes:
        blobs: (name, bytes) pairs. The caller has verified the digests. A blob that is already
            here is not written again, one that was found damaged is.
        entries: consecutive; they replace whatever the log holds from entries[0].index on.
        stamp: when the blobs were staged, in seconds since 1970; see `Disk.staged`.
        kept: whether the blobs are known to be referenced, so that they are never listed as staged.
    """

    hard_state: HardState | None = None
    blobs: Sequence[tuple[Digest, Buffer]] = ()
    entries: Sequence[Entry] = ()
    stamp: int = 0
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes.

    Attributes:
        segment: a segment is closed before it grows over this.
        batch: the most that one `append` takes.
        reserve: free space below which blobs are refused; entries are refused below a quarter of
            it; hard states, deletions and reclaiming may use all of it.
        log_cache: payload of recent entries kept in memory.
        reclaim_below: segments with a smaller share of live bytes than this are copied out.
    """

    segment: int = 64 << 20
    batch: int = 32 << 20
    reserve: int = 128 << 20
    log_cache: int = 2 << 20
    reclaim_below: float = 0.6


@record(0x0602)
@dataclass(frozen=True, slots=True)
class Damage(Record):
    """A place of the log that was acknowledged and cannot be read any more.

    A process that has this may not vote nor acknowledge entries until the group has given it a
    snapshot or its log again (`Disk.repaired`): what it promised may be gone.

    Attributes:
        segment, offset: where. Segment 0 is the index: the state machine's table is lost.
        certain: False if it could also be a write that was never acknowledged, torn by the device.
        log_from: entries from this index on may be missing, or be some that were replaced.
        table_lost: the state machine's table is gone, too.
    """

    segment: int
    offset: int
    certain: bool
    log_from: int
    table_lost: bool = False


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What one call of `Disk.reclaim` did; `idle` means that no segment is worth copying now.

    Attributes:
        moved: bytes copied to the end of the stream.
        scanned: bytes of segments looked at.
        waiting: segments that the next checkpoint removes.
    """

    moved: int
    scanned: int
    waiting: int
    idle: bool


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one call of `Disk.scrub` read; go on from `after`, None at the end of a round.

    `places` says for people where each of the `damaged` lies.
    """

    after: Digest | None
    blobs: int
    size: int
    damaged: tuple[Digest, ...]
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScrubbedLog:
    """What one call of `Disk.scrub_log` read; go on from `next`, None at the end of the log."""

    next: int | None
    entries: int
    size: int
    damaged: tuple[int, ...]
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes in bytes, latencies in seconds over the last 1,024 syncs.

    `live` and `dead` add up to the size of all segments. `uncheckpointed` is what a restart has to
    replay: call `checkpoint` when it grows over a few segments.
    """

    segments: int
    live: int
    dead: int
    free: int
    index: int
    uncheckpointed: int
    damaged_blobs: int
    log_first: int
    log_last: int
    syncs: int
    sync_p50: float
    sync_p99: float
