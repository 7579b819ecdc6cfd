"""Measure durable blob writes of the disk beside plain LMDB and SQLite, then restarts and reads.

Every line writes the same blobs in groups, one durable commit a group; ours includes the checkpoint
that each 64 MiB need. "bare" is `writev` and `fdatasync` alone: what nothing can go below. CPU time
is of this process, kernel included. Medians of three rounds, fresh files for each; `--json` prints
it for programs.
"""

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import lmdb

from blocktree.disk import Batch, Disk, Keeper, Limits, LmdbIndex, OsFiles
from blocktree.names import Digest, PrincipalId, TreeId, digest_of
from blocktree.raft import Entry, EntryKind, Membership, SnapshotMark

KEEPER = Keeper(TreeId("bt1" + "a" * 52), PrincipalId(b"n" * 32))
LIMITS = Limits(reserve=0)
MARK = SnapshotMark(0, 0, Membership(()))
CHECKPOINT_BYTES = 64 << 20
ROUNDS = 3
Blob = tuple[Digest, bytes]
System = Callable[[Path], Callable[[Sequence[Blob]], None]]
Times = tuple[float, float]


@dataclass(frozen=True)
class Row:
    what: str
    cpu_us: float  # per blob
    per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mib", type=int, default=64, help="written for each line")
    parser.add_argument("--restart-mib", type=int, default=1024, help="held when restarting")
    parser.add_argument("--directory", type=Path, help="where to write; default: temporary")
    options = parser.parse_args()
    writes = [
        row
        for size in (4096, 65_568)
        for group in (16, 64)
        for row in compare(size, group, options.mib << 20, options.directory)
    ]
    restarts = list(restart(options.restart_mib << 20, options.directory))
    if options.json:
        rows = {"writes": [asdict(row) for row in writes], "restarts": dict(restarts)}
        print(json.dumps({"schema": 1, **rows}, indent=2))
        return
    print(f"{'':46}{'CPU µs/blob':>12}{'blobs/s':>10}")
    for row in writes:
        print(f"{row.what:46}{row.cpu_us:12.1f}{row.per_second:10.0f}")
    print(f"\n{options.restart_mib} MiB of 64 KiB blobs, one entry for 16")
    for what, value in restarts:
        print(f"{what:46}{value:12.3f}")


def compare(size: int, group: int, total: int, parent: Path | None) -> Iterator[Row]:
    blobs = [fresh_blob(size) for _ in range(min(total // size, 20_000))]
    groups = [blobs[at : at + group] for at in range(0, len(blobs), group)]
    systems: dict[str, System] = {
        "bare": bare,
        "ours": ours,
        "ours, with 16 entries a group": ours_with_entries,
        "lmdb": plain_lmdb,
        "sqlite, 4 KiB pages": lambda path: sqlite(path, 4096),
        "sqlite, 64 KiB pages": lambda path: sqlite(path, 65_536),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in systems}
    for _ in range(ROUNDS):  # interleaved: what else the machine does hits all alike
        for name, system in systems.items():
            times[name].append(spent(system, groups, parent))
    for name, rounds in times.items():
        cpu = statistics.median(cpu for cpu, _ in rounds) / len(blobs)
        clock = statistics.median(clock for _, clock in rounds) / len(blobs)
        yield Row(f"{name}: {size >> 10} KiB, {group} a commit", cpu * 1e6, 1 / clock)


def spent(system: System, groups: Sequence[Sequence[Blob]], parent: Path | None) -> Times:
    """CPU and clock seconds for all groups."""
    with folder(parent) as path:
        put = system(path)
        cpu, clock = time.process_time(), time.perf_counter()
        for some in groups:
            put(some)
        return time.process_time() - cpu, time.perf_counter() - clock


def fresh_blob(size: int) -> Blob:
    payload = os.urandom(size)
    return digest_of(payload), payload


@contextmanager
def folder(parent: Path | None) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bench-disk-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def new_disk(path: Path) -> Disk:
    return Disk.open(OsFiles(path), LmdbIndex(path / "index"), LIMITS, KEEPER)


def bare(path: Path) -> Callable[[Sequence[Blob]], None]:
    number = os.open(path / "bare", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def put(blobs: Sequence[Blob]) -> None:
        os.writev(number, [blob for _, blob in blobs])
        os.fdatasync(number)

    return put


def ours(path: Path) -> Callable[[Sequence[Blob]], None]:
    disk = new_disk(path)

    def put(blobs: Sequence[Blob]) -> None:
        disk.append(Batch(blobs=blobs))
        disk.sync()
        if disk.uncheckpointed > CHECKPOINT_BYTES:
            disk.checkpoint({}, MARK)

    return put


def ours_with_entries(path: Path) -> Callable[[Sequence[Blob]], None]:
    disk = new_disk(path)
    payload = bytes(400)
    index = 0

    def put(blobs: Sequence[Blob]) -> None:
        nonlocal index
        entries = [Entry(1, index + n, EntryKind.NORMAL, payload) for n in range(1, 17)]
        index += 16
        disk.append(Batch(blobs=blobs, entries=entries))
        disk.sync()
        if disk.uncheckpointed > CHECKPOINT_BYTES:
            disk.checkpoint({}, MARK)

    return put


def plain_lmdb(path: Path) -> Callable[[Sequence[Blob]], None]:
    environment = lmdb.open(str(path / "lmdb"), map_size=1 << 34)

    def put(blobs: Sequence[Blob]) -> None:
        with environment.begin(write=True) as transaction:
            for digest, blob in blobs:
                transaction.put(digest, blob)

    return put


def sqlite(path: Path, page: int) -> Callable[[Sequence[Blob]], None]:
    database = sqlite3.connect(path / "sqlite")
    database.execute(f"pragma page_size={page}")
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=full")
    database.execute("create table blobs (digest blob primary key, blob blob) without rowid")

    def put(blobs: Sequence[Blob]) -> None:
        database.executemany("insert into blobs values (?, ?)", blobs)
        database.commit()

    return put


def restart(total: int, parent: Path | None) -> Iterator[tuple[str, float]]:
    payload = bytes(400)
    digests: list[Digest] = []
    with folder(parent) as path:
        disk = new_disk(path)
        groups = total // (16 * 65_568)
        tail = max(1, groups // 16)
        for at in range(groups):
            blobs = [fresh_blob(65_568) for _ in range(16)]
            digests += [digest for digest, _ in blobs]
            disk.append(Batch(blobs=blobs, entries=[Entry(1, at + 1, EntryKind.NORMAL, payload)]))
            if at == groups - tail:
                disk.checkpoint({}, MARK)
        disk.sync()
        behind = disk.uncheckpointed / (1 << 20)
        disk.close()
        yield f"restart, {behind:.0f} MiB behind (s)", timed(lambda: new_disk(path).close())
        disk = new_disk(path)
        cpu = timed(lambda: [disk.read_blob(digest) for digest in digests[::7]])
        yield "read 64 KiB (µs)", cpu / len(digests[::7]) * 1e6
        yield "checkpoint of what is behind (s)", timed(lambda: disk.checkpoint({}, MARK))
        disk.close()
        yield "restart, nothing behind (s)", timed(lambda: new_disk(path).close())
        yield "rebuild from the segments alone (s)", timed(lambda: rebuild(path))


def rebuild(path: Path) -> None:
    index = LmdbIndex(path / "index", anew=True)
    Disk.rebuild(OsFiles(path), index, LIMITS, KEEPER).close()


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
