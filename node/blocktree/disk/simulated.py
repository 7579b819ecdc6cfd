"""Files in memory that crash: unsynced writes tear at 512 bytes, calls fail on order.

What a crash leaves is the worst that POSIX allows, not what one file system does: any subset of the
512-byte blocks written since the last sync, any beginning of the names changed since the last
directory sync. What a sync failed to write is taken for written, as Linux does: it can be read, and
no later sync makes it durable, until it is written again.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from blocktree.names import Buffer

BLOCK = 512
FREE = 1 << 40

Before = Callable[[str, str], None]  # (verb, file name); raises OSError to make the call fail
Survives = Callable[[str, int], bool]  # (file name, block number) of what was not synced


class Dice(Protocol):
    """Where randomness comes from; `random.Random` fits."""

    def random(self) -> float:
        """0 ≤ x < 1."""

    def randint(self, a: int, b: int, /) -> int:
        """A whole number a ≤ n ≤ b."""


class SimulatedFile:
    """One file; every open of it is the same object."""

    def __init__(self, directory: "SimulatedFiles", name: str, contents: bytes = b"") -> None:
        self._directory = directory
        self.name = name
        self.contents = bytearray(contents)
        self.synced = len(contents)
        self.filled = 0  # zeros up to here, if it is behind the end
        self.cut = b""  # durable bytes that a truncation took away, until the next sync
        self.lost: tuple[int, int] | None = None  # from and to where a sync failed to write

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write; a part of it if the disk gets full."""
        self._directory.enter("append", self.name)
        room = self._directory.free()
        for buffer in buffers:
            self.contents += memoryview(buffer)[:room]
            room -= len(buffer)
            if room < 0:
                raise OSError(errno.ENOSPC, "the simulated disk is full")

    def fill(self, offset: int, size: int) -> None:
        """Remember: what matters is what a crash may leave."""
        self._directory.enter("fill", self.name)
        self.filled = offset + size

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes."""
        self._directory.enter("read", self.name)
        return bytes(self.contents[offset : offset + size])

    def sync(self) -> None:
        """What is here now survives, unless the disk lies."""
        try:
            self._directory.enter("sync", self.name)
        except OSError:
            if self.durable < len(self.contents):
                self.lost = self.durable, len(self.contents)
            raise
        if not self._directory.lies:
            self.synced, self.cut = len(self.contents), b""

    def rewrite(self, offset: int, size: int) -> None:
        """What was lost waits for a sync again; before that it may tear."""
        self._directory.enter("rewrite", self.name)
        if self.lost is not None and offset <= self.lost[0] and self.lost[1] <= offset + size:
            self.synced, self.lost = self.durable, None

    def forget(self, offset: int, size: int) -> None:
        """Nothing: only what is durable may be forgotten."""
        assert offset + size <= self.synced

    @property
    def durable(self) -> int:
        """Everything before this survives."""
        return self.synced if self.lost is None else min(self.synced, self.lost[0])

    def evict(self, survives: Survives) -> None:
        """The kernel drops what it takes for written: from here on the device's is read."""
        if self.lost is not None:
            low, high = self.lost
            kept = self._left(low, high, survives)
            self.contents[low:high] = kept.ljust(high - low, b"\0")
            self.synced, self.lost = self.durable, None

    def truncate(self, size: int) -> None:
        """Cut; before the next sync a crash may bring back the durable part, and zeros."""
        self._directory.enter("truncate", self.name)
        zeros = bytes(max(0, self.filled - max(size, self.synced)))
        if size < self.synced or zeros:
            self.cut = bytes(self.contents[size : self.synced]) + zeros + self.cut
            self.synced = min(size, self.synced)
        self.filled = 0
        if self.lost is not None:
            self.lost = (self.lost[0], min(size, self.lost[1])) if self.lost[0] < size else None
        del self.contents[size:]

    def size(self) -> int:
        """The bytes in it now."""
        return len(self.contents)

    def torn(self, survives: Survives, *, whole_size: bool) -> bytes:
        """What a crash leaves: blocks that do not survive are zeros, or missing at the end.

        With `whole_size` so are those that were filled.
        """
        if self.cut and survives(self.name, -1):
            return bytes(self.contents[: self.synced]) + self.cut
        left = bytearray(self.contents[: self.synced])
        if self.lost is not None:
            low, high = self.lost[0], min(self.lost[1], self.synced)
            left[low:high] = self._left(low, high, survives).ljust(high - low, b"\0")
        left += self._left(self.synced, len(self.contents), survives)
        size = max(len(self.contents), self.filled) if whole_size else 0
        return bytes(left.ljust(size, b"\0"))

    def _left(self, begin: int, end: int, survives: Survives) -> bytes:
        """What the device has of these bytes, up to its last block of them."""
        left = bytearray()
        for block in range(begin // BLOCK, -(-end // BLOCK)):
            if survives(self.name, block):
                low = max(begin, block * BLOCK)
                left.extend(bytes(low - begin - len(left)))
                left += self.contents[low : min(end, (block + 1) * BLOCK)]
        return bytes(left)


class SimulatedFiles:
    """A directory in memory.

    Attributes:
        before: called before every operation; what it raises is what the operation raises.
        capacity: bytes that all files together may have.
        lies: syncs say that they succeeded and do nothing.
    """

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self._names = {n: SimulatedFile(self, n, c) for n, c in (contents or {}).items()}
        self._durable = dict(self._names)
        self._pending: list[tuple[str, SimulatedFile | None]] = []
        self.before: Before | None = None
        self.capacity = FREE
        self.lies = False

    def enter(self, verb: str, name: str) -> None:
        """Let `before` know, or fail."""
        if self.before is not None:
            self.before(verb, name)

    def create(self, name: str) -> SimulatedFile:
        """A new, empty file."""
        self.enter("create", name)
        if name in self._names:
            raise FileExistsError(name)
        file = SimulatedFile(self, name)
        self._set(name, file)
        return file

    def open(self, name: str) -> SimulatedFile:
        """An existing file."""
        self.enter("open", name)
        if name not in self._names:
            raise FileNotFoundError(name)
        return self._names[name]

    def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old`: one step, also for a crash."""
        self.enter("rename", old)
        file = self._names.pop(old)
        file.name = new
        self._names[new] = file
        self._pending.append((old + "\0" + new, file))

    def remove(self, name: str) -> None:
        """Take the name away."""
        self.enter("remove", name)
        if name not in self._names:
            raise FileNotFoundError(name)
        self._set(name, None)

    def size(self, name: str) -> int:
        """The bytes of an existing file."""
        return len(self._names[name].contents)

    def names(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._names)

    def sync_directory(self) -> None:
        """Make names durable."""
        self.enter("sync_directory", "")
        if not self.lies:
            self._durable, self._pending = dict(self._names), []

    def free(self) -> int:
        """What the capacity leaves."""
        return self.capacity - sum(len(file.contents) for file in self._names.values())

    def close(self) -> None:
        """There is no lock: the simulator runs one process on a directory."""

    def _set(self, name: str, file: SimulatedFile | None) -> None:
        _name(self._names, name, file)
        self._pending.append((name, file))

    @property
    def pending_names(self) -> int:
        """How many names changed since the last directory sync."""
        return len(self._pending)

    def crash(
        self, survives: Survives, *, names_kept: int | None = None, whole_size: bool = False
    ) -> Self:
        """What is left when the power fails now; this object is not changed.

        Args:
            survives: whether a block that was not synced got to the disk; block -1 asks whether a
                truncation that was not synced is undone.
            names_kept: how many of the unsynced changes of names got there; None: all.
            whole_size: whether files have their size though blocks of them are lost.
        """
        names = dict(self._durable)
        for name, file in self._pending[:names_kept]:
            old, _, new = name.partition("\0")
            if new:
                names.pop(old, None)
            _name(names, new or old, file)
        left = {n: f.torn(survives, whole_size=whole_size) for n, f in names.items()}
        twin = type(self)(left)
        twin.capacity = self.capacity
        return twin

    def crash_by(self, dice: Dice) -> Self:
        """A crash of a random kind: usually a prefix, sometimes with holes."""
        share = dice.random() if dice.random() < 0.5 else 1.0
        until = {n: dice.randint(0, len(f.contents) // BLOCK + 1) for n, f in self._names.items()}

        def survives(name: str, block: int) -> bool:
            return block < until.get(name, 0) and dice.random() < share

        kept = dice.randint(0, len(self._pending))
        return self.crash(survives, names_kept=kept, whole_size=dice.random() < 0.3)

    def evict(self, survives: Survives) -> None:
        """The kernel needs memory: what it failed to write is read as the device has it."""
        for file in self._names.values():
            file.evict(survives)

    def unsynced(self) -> tuple[int, int]:
        """From the lowest to the highest byte that is not durable, over all files."""
        files = [f for f in self._names.values() if f.durable < len(f.contents)]
        low = min((f.durable for f in files), default=0)
        return low, max((len(f.contents) for f in files), default=low)

    def state(self) -> tuple[object, ...]:
        """What changes whenever a crash could leave something else."""
        files = [
            (n, f.synced, len(f.contents), f.filled, len(f.cut), f.lost)
            for n, f in self._names.items()
        ]
        return (*files, len(self._pending))

    def everything(self) -> dict[str, bytes]:
        """The bytes of all files, as if all were synced."""
        return {name: bytes(file.contents) for name, file in self._names.items()}

    def contents(self, name: str) -> bytes:
        """The bytes of a file."""
        return bytes(self._names[name].contents)

    def settle(self) -> None:
        """A disk that lied writes what it held back."""
        for file in self._names.values():
            file.synced, file.cut, file.lost = len(file.contents), b"", None
        self._durable, self._pending = dict(self._names), []

    def scribble(self, name: str, offset: int, content: bytes) -> None:
        """Let a write that was meant for another place land here, inside of the file."""
        file = self._names[name].contents
        content = content[: max(0, len(file) - offset)]
        file[offset : offset + len(content)] = content

    def flip(self, name: str, offset: int, mask: int = 1) -> None:
        """Let bits of a byte rot."""
        self._names[name].contents[offset] ^= mask


def _name(names: dict[str, SimulatedFile], name: str, file: SimulatedFile | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file
