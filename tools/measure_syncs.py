#!/usr/bin/env python3
"""What a small durable append costs a disk: time, writes, bytes and flushes of the device.

    tools/measure_syncs.py [--dir DIR] [--times 300] [--json]

Two ways to append to a file and sync it: where zeros were written before (as nodes do, see
`disk/stream.py`), and at the end of a file that grows. What the device did is read from
`/sys/dev/block`; others that use it meanwhile are counted, too. Run it on a memory card's file
system to learn what that does; on this machine's a file with ext4 does as well:

    truncate -s 1G card.img && mkfs.ext4 card.img && mount card.img /mnt
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from blocktree.disk import Batch, Disk, Keeper, Limits, MemoryIndex, OsFiles
from blocktree.raft import Entry, EntryKind

SIZES = (300, 1_500, 5_000, 20_000)
KEEPER = Keeper("bt1home", bytes(32))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one append with its sync."""

    way: str
    size: int
    ms: float
    writes: float
    kib: float
    flushes: float


class Device:
    """Counts what the block device below a directory did (Documentation/block/stat.rst)."""

    def __init__(self, directory: Path) -> None:
        number = directory.stat().st_dev
        self._path = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")

    def counts(self) -> tuple[int, int, int]:
        """Writes, sectors of 512 bytes written, flushes."""
        if not self._path.exists():
            return 0, 0, 0
        fields = [int(field) for field in self._path.read_text().split()]
        return fields[4], fields[6], fields[15] if len(fields) > 15 else 0


class Growing:
    """A file that grows with each append."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "growing", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def append(self, payload: bytes) -> None:
        """Append and sync."""
        os.write(self._fd, payload)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Ours:
    """A node's disk, which appends an entry."""

    def __init__(self, directory: Path) -> None:
        files = OsFiles(directory)
        self._disk = Disk.open(files, MemoryIndex(), Limits(), KEEPER)
        self._next = 1

    def append(self, payload: bytes) -> None:
        """Append and sync."""
        entry = Entry(self._next, 1, EntryKind.NORMAL, payload)
        self._disk.append(Batch(entries=[entry]))
        self._disk.sync()
        self._next += 1

    def close(self) -> None:
        """Close the disk."""
        self._disk.close()


def measure(way: str, subject: Ours | Growing, size: int, times: int, device: Device) -> Cost:
    """Append so often, and look what the device did."""
    payload = os.urandom(size)
    subject.append(payload)
    os.sync()
    before, took = device.counts(), list[float]()
    for _ in range(times):
        begin = time.perf_counter()
        subject.append(payload)
        took.append(time.perf_counter() - begin)
    writes, sectors, flushes = (b - a for a, b in zip(before, device.counts(), strict=True))
    each = partial(round, ndigits=2)
    median = round(statistics.median(took) * 1e3, 3)
    return Cost(
        way, size, median, each(writes / times), each(sectors / 2 / times), each(flushes / times)
    )


def main(arguments: list[str]) -> int:
    """Measure all sizes both ways, and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where (default: here)")
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix=".measure-syncs-", dir=options.dir) as name:
        directory = Path(name)
        device = Device(directory)
        for size in SIZES:
            for way, made in (("ours", Ours), ("growing", Growing)):
                folder = directory / f"{way}-{size}"
                folder.mkdir()
                subject = made(folder)
                costs.append(measure(way, subject, size, options.times, device))
                subject.close()
    if options.json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return 0
    print("bytes    way         ms   writes     KiB  flushes")
    for cost in costs:
        print(
            f"{cost.size:<8,} {cost.way:<8} {cost.ms:>5.2f} {cost.writes:>8.2f}"
            f" {cost.kib:>7.1f} {cost.flushes:>8.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
