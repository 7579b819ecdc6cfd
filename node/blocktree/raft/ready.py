"""What the core hands to its driver, and what it needs from it: `Ready`, `Log`, `Saved`, `Config`.

The driver's loop (`SPEC.md`, section "driver"): do what `ready()` returns in the order of its
fields; when the saved part is durable call `saved(number)`; after applying call `applied(index)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from blocktree.raft.messages import Entry, HardState, Message, NodeId, SnapshotMark


class Log(Protocol):
    """The durable log as the driver keeps it; what was handed out but not saved may be missing.

    An empty log has `first_index` 1 and `last_index` 0. After a checkpoint or a restored snapshot
    at index i with nothing after it, `first_index` is i + 1 and `last_index` is i.
    """

    @property
    def first_index(self) -> int:
        """The oldest entry that is still here."""

    @property
    def last_index(self) -> int:
        """The newest entry."""

    def term(self, index: int) -> int:
        """The term of the entry at `index`, for first_index - 1 … last_index; 0 for index 0."""

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry]:
        """Entries low ≤ index < high in order, at least one, cut at `bytes_max` of payload."""


class Dice(Protocol):
    """Where randomness comes from; `random.Random` fits."""

    def randint(self, a: int, b: int, /) -> int:
        """A whole number a ≤ n ≤ b."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a process knows when it starts.

    `mark` is the point its state machine is at (applied = committed = mark.index); entries after
    it are in the log. A new tree's first node starts with itself as only voter at mark (0, 0); a
    process that joins starts with an empty membership and is told the rest by the leader.
    `in_doubt`: it may have forgotten what it promised (its log is damaged).
    """

    hard_state: HardState
    mark: SnapshotMark
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes and times. Ticks are the driver's (50 ms); all voters of a group must agree on them."""

    heartbeat_ticks: int = 2
    election_ticks_min: int = 12  # also: how long voters are loyal to a leader they heard
    election_ticks_max: int = 24
    calm_after_ticks: int = 40  # that nothing was asked of the leader
    calm_heartbeat_ticks: int = 20  # from then on
    lease_margin_ticks: int = 2  # for clocks that drift and ticks that are late
    append_bytes_max: int = 512 << 10  # payload in one message, unless one entry is larger
    append_entries_max: int = 1024
    inflight_messages_max: int = 64  # sent to one follower and not yet acknowledged
    inflight_bytes_max: int = 8 << 20
    uncommitted_bytes_max: int = 32 << 20  # proposed and not yet committed; then BUSY
    payload_bytes_max: int = 1 << 20
    tail_bytes_max: int = 8 << 20  # saved entries kept in memory for slow followers
    apply_bytes_max: int = 4 << 20  # handed out for applying at once
    hold_bytes_max: int = 0  # held back from whom no quorum needs (`reserve`); 0: nothing is
    reads_max: int = 8192  # waiting for a quorum round; then BUSY


@dataclass(frozen=True, slots=True)
class Ready:
    """Work for the driver. The order of the fields is the order of work.

    Save: `restore`, `hard_state` and `entries` become durable, in this order and after those of
    every earlier Ready; then call `saved(number)` (later is fine: the core goes on meanwhile).
    `entries` replace whatever the log holds from entries[0].index on. `send` may leave at once,
    before the save is done: the core itself holds back what depends on it.
    """

    number: int = 0  # for `saved`
    restore: SnapshotMark | None = None  # install the staged snapshot; it replaces state and log
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    send: tuple[tuple[NodeId, Message], ...] = ()
    apply: tuple[Entry, ...] = ()  # committed and durable here; then `applied(apply[-1].index)`
    reads: tuple[int, ...] = ()  # requests whose state is reached once `apply` is applied
    reads_failed: tuple[int, ...] = ()  # requests to answer with NOT_LEADER
    snapshots: tuple[NodeId, ...] = ()  # followers that need one: send yours, then report

    @property
    def must_save(self) -> bool:
        """Whether there is something to make durable (otherwise `saved` is not needed)."""
        return bool(self.entries) or self.hard_state is not None or self.restore is not None
