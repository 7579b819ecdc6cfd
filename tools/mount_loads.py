"""What `bench_mount.py` does to a mounted directory: one load per process, one figure as JSON.

Runs in a process of its own, so that a mount that hangs can be given up.
"""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
PAGE = 4096
FILE_BYTES = 4096
TAR_SIZES = (0, 500, 2000, 6000, 20_000, 60_000)


def write(directory: Path, count: int) -> float:
    """MiB/s of one new file of `count` MiB in pieces of 1 MiB, fsync before close."""
    piece = random.Random(1).randbytes(MIB)
    begun = time.perf_counter()
    descriptor = os.open(directory / "big", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in range(count):
        os.write(descriptor, number.to_bytes(8, "big") + piece[8:])
    os.fsync(descriptor)
    os.close(descriptor)
    return count / (time.perf_counter() - begun)


def read(directory: Path, count: int) -> float:
    """MiB/s of reading it from start to end in pieces of 1 MiB."""
    buffer = memoryview(bytearray(MIB))
    begun = time.perf_counter()
    descriptor = os.open(directory / "big", os.O_RDONLY)
    for number in range(count):
        assert os.readv(descriptor, [buffer]) == MIB
        assert buffer[:8] == number.to_bytes(8, "big")
    os.close(descriptor)
    return count / (time.perf_counter() - begun)


def random_read(directory: Path, count: int) -> float:
    """Reads per second of 4 KiB at random places, one at a time."""
    descriptor = os.open(directory / "big", os.O_RDONLY)
    pages = os.fstat(descriptor).st_size // PAGE
    dice = random.Random(2)
    places = [dice.randrange(pages) * PAGE for _ in range(count)]
    begun = time.perf_counter()
    for place in places:
        assert len(os.pread(descriptor, PAGE, place)) == PAGE
    took = time.perf_counter() - begun
    os.close(descriptor)
    return count / took


def create(directory: Path, count: int) -> float:
    """New files of 4 KiB per second, each opened, written and closed, in one directory."""
    (directory / "many").mkdir()
    content = random.Random(3).randbytes(FILE_BYTES)
    begun = time.perf_counter()
    for number in range(count):
        with (directory / "many" / f"file-{number:06}").open("wb", buffering=0) as f:
            f.write(content)
    return count / (time.perf_counter() - begun)


def stat(directory: Path, count: int) -> float:
    """How many files that `create` made can be looked at per second."""
    paths = [str(directory / "many" / f"file-{number:06}") for number in range(count)]
    begun = time.perf_counter()
    for path in paths:
        assert os.stat(path).st_size == FILE_BYTES  # noqa: PTH116 - without pathlib's own cost
    return count / (time.perf_counter() - begun)


def untar(directory: Path, count: int) -> float:
    """Files per second of `tar x` of an archive of `count` small files in some directories."""
    archive = io.BytesIO()
    dice = random.Random(4)
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number in range(count):
            entry = tarfile.TarInfo(f"d{number % 20}/e{number % 7}/file-{number}")
            entry.size = dice.choice(TAR_SIZES)
            tar.addfile(entry, io.BytesIO(dice.randbytes(entry.size)))
    (directory / "tar").mkdir()
    begun = time.perf_counter()
    subprocess.run(
        ["tar", "xf", "-", "-C", str(directory / "tar")], input=archive.getvalue(), check=True
    )
    return count / (time.perf_counter() - begun)


LOADS: dict[str, Callable[[Path, int], float]] = {
    "write": write,
    "read": read,
    "random": random_read,
    "create": create,
    "stat": stat,
    "tar": untar,
}

if __name__ == "__main__":
    load, place, amount = sys.argv[1:]
    print(json.dumps(LOADS[load](Path(place), int(amount))))
