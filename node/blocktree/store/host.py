"""What a sector service runs on: everything that a simulated world replaces."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from blocktree.disk import Disk, KernelSync
from blocktree.raft import Config, Dice
from blocktree.store.clock import boot_clock
from blocktree.store.worker import Worker

# A quiet node wakes half as often as every 100 ms; three beats make the shortest election.
_CONFIG = Config(heartbeat_ticks=4, hold_bytes_max=32 << 10)


@dataclass(frozen=True, slots=True)
class Host:
    """Disk, threads, clocks, dice and limits.

    Args:
        disk: opened; only `worker` calls it, but for what it allows to any thread.
        worker: one thread, in order.
        crew: threads for hashing, signatures and reading.
        clock: seconds that only go forward and count time asleep.
        now_ns: nanoseconds since 1970.
        reserve: free bytes below which blobs are refused (`disk.Limits.reserve`).
        staged_max: bytes of blobs that may wait for their commit.
        hashed_at_once: bytes of blobs that are hashed on the loop; more goes to `crew`.
        kernel: syncs without a thread, where the kernel can; None: `worker` does it.
        log_kept: applied entries kept for followers that lag.
    """

    disk: Disk
    worker: Worker
    crew: Worker
    config: Config = _CONFIG
    dice: Dice = field(default_factory=random.Random)
    clock: Callable[[], float] = boot_clock
    now_ns: Callable[[], int] = time.time_ns
    reserve: int = 128 << 20
    staged_max: int = 4 << 30
    hashed_at_once: int = 384 << 10
    kernel: KernelSync | None = None
    log_kept: int = 10_000

    def now(self) -> float:
        """Seconds since 1970."""
        return self.now_ns() / 1e9
