"""Measure what our FUSE driver costs by itself: server CPU per operation, over a volume in memory.

CPU of the serving process, not wall time, so that a busy machine does not blur it. The memory
volume of the tests stands behind it and costs 1 to 3 µs of each figure. `--json` for programs.
"""

import argparse
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
MIB = 1 << 20
FILES = 2000
BIG = 256
PAGE_READS = 20_000


class Server:
    """The serving process, asked for its CPU time."""

    def __init__(self, point: Path) -> None:
        self.point = point
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "mount" / "serve.py"), str(point)],
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'node'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def cpu(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("cpu\n")
        self._process.stdin.flush()
        return float(self._answer())

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    best: dict[str, float] = {}
    for _ in range(options.rounds):
        point = Path(tempfile.mkdtemp(prefix="bench-driver-"))
        server = Server(point)
        try:
            for what, cost in costs(server):
                best[what] = min(cost, best.get(what, cost))
        finally:
            server.stop()
            point.rmdir()
    if options.json:
        print(json.dumps({"schema": 1, "cpu_us": best}, indent=2))
        return
    for what, cost in best.items():
        print(f"{what:24}{cost:10.1f} µs")


def costs(server: Server) -> list[tuple[str, float]]:
    """Every figure of one round, in µs of server CPU per unit."""
    place = server.point
    big, many = place / "big", place / "many"
    paths = [str(many / f"file-{number}") for number in range(FILES)]
    archive = packed(place.parent / f"{place.name}.tar")
    steps: list[tuple[str, int, Callable[[], None]]] = [
        ("write, MiB", BIG, lambda: write(big)),
        ("read, MiB", BIG, lambda: read(big, direct=False)),
        ("read O_DIRECT, MiB", BIG, lambda: read(big, direct=True)),
        ("read 4 KiB O_DIRECT", PAGE_READS, lambda: read_pages(big)),
        ("write 4 KiB", BIG * 256 // 4, lambda: write_pages(big)),
        ("create 4 KiB file", FILES, lambda: create(many, paths)),
        ("open+read+close", FILES, lambda: read_all(paths)),
        ("list with attributes", FILES, lambda: listed(many)),
        ("stat", FILES, lambda: looked_at(paths)),
        ("rename", FILES, lambda: renamed(paths)),
        ("tar x, file", FILES, lambda: unpacked(archive, place / "tar")),
        ("unlink", FILES, lambda: shutil.rmtree(many)),
    ]
    try:
        return [(what, spent(server, count, step)) for what, count, step in steps]
    finally:
        archive.unlink()


def spent(server: Server, count: int, step: Callable[[], None]) -> float:
    forget_cached(server.point)
    before = server.cpu()
    step()
    return (server.cpu() - before) / count * 1e6


def forget_cached(point: Path) -> None:
    """Names and attributes go after a second by themselves; pages and dentries at once, as root."""
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("2")
    for path in point.glob("big"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def write(path: Path) -> None:
    with path.open("wb", buffering=0) as f:
        for _ in range(BIG):
            f.write(bytes(MIB))


def write_pages(path: Path) -> None:
    with path.open("r+b", buffering=0) as f:
        for _ in range(BIG * 256 // 4):
            f.write(bytes(4096))


def read(path: Path, *, direct: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    with mmap.mmap(-1, MIB) as buffer:
        while os.readv(descriptor, [buffer]):
            pass
    os.close(descriptor)


def read_pages(path: Path) -> None:
    dice = random.Random(1)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as buffer:
        for _ in range(PAGE_READS):
            os.preadv(descriptor, [buffer], dice.randrange(BIG * 256) * 4096)
    os.close(descriptor)


def create(directory: Path, paths: list[str]) -> None:
    directory.mkdir()
    for path in paths:
        with open(path, "wb", buffering=0) as f:  # noqa: PTH123 - without pathlib's own cost
            f.write(bytes(4096))


def read_all(paths: list[str]) -> None:
    for path in paths:
        with open(path, "rb", buffering=0) as f:  # noqa: PTH123
            f.read(8192)


def listed(directory: Path) -> None:
    with os.scandir(directory) as entries:
        assert sum(entry.stat().st_size == 4096 for entry in entries) == FILES


def looked_at(paths: list[str]) -> None:
    for path in paths:
        os.stat(path)  # noqa: PTH116


def renamed(paths: list[str]) -> None:
    for path in paths:
        os.rename(path, path + ".new")  # noqa: PTH104


def packed(archive: Path) -> Path:
    with tempfile.TemporaryDirectory() as directory, tarfile.open(archive, "w") as tar:
        (Path(directory) / "f").write_bytes(bytes(4096))
        for number in range(FILES):
            tar.add(Path(directory) / "f", f"d{number % 50}/file-{number}")
    return archive


def unpacked(archive: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", target], check=True)


if __name__ == "__main__":
    main()
