"""Measure header commits beside etcd: three servers each on loopback, fsync on, the same disk.

One operation of ours is a header with its content durable on a quorum of three nodes: inline up to
2 KiB, else one blob that rides along; signed, checked, encrypted on every link, committed by the
library that mounts use. One of etcd's is a Put of as many bytes, in plaintext. Contents are made
before the clock starts. CPU is that of the three servers, per operation. Rounds of the two
alternate, because disks drift.

    tools/bench_commit.py [--seconds 3] [--rounds 3] [--sizes 256,4096] [--at-once 1,16] [--json]
"""

import argparse
import asyncio
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path as File

from commit_peers import NODES, READY_SECONDS, Etcd, Operation, free_port, stop_all

from blocktree.actors import Address, Runtime
from blocktree.caps import KeyRing
from blocktree.fault import Fault
from blocktree.files.cache import SectorCache
from blocktree.files.client import SectorService
from blocktree.files.commit import Commits, NewVersion
from blocktree.files.headers import HeaderCache
from blocktree.files.joint import Joint
from blocktree.files.trust import Trust
from blocktree.files.upload import Batch, Uploads
from blocktree.keys import (
    MemberKind,
    NewTree,
    new_ticket,
    new_tree,
    process_credential,
)
from blocktree.link import Links, Side
from blocktree.names import ROOT_FILE, Path, join, new_file
from blocktree.sectors.genesis import found_tree
from blocktree.sectors.header import Cipher, FileKind, Header
from blocktree.sectors.sector import SectorCipher
from blocktree.store.folder import NodeFolder, Settings
from blocktree.store.messages import STORE_ACTOR, GetStatus, Role, Status
from blocktree.wire import encode

INLINE_MAX = 2048
_PUBLIC = KeyRing((bytes(32),))  # nothing is sealed with it


@dataclass(frozen=True)
class Row:
    who: str
    size: int
    at_once: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of all servers, for one operation


def cpu_seconds(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """User and system time of these processes so far."""
    ticks = 0
    for process in processes:
        fields = File(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(processes: Sequence[subprocess.Popen[bytes]]) -> list[float]:
    page = os.sysconf("SC_PAGE_SIZE")
    return [
        int(File(f"/proc/{p.pid}/statm").read_text().split()[1]) * page / 2**20 for p in processes
    ]


@dataclass(frozen=True)
class Load:
    """What is asked of a side in one round."""

    size: int
    at_once: int
    seconds: float

    @property
    def most(self) -> int:
        """More operations than can be done in the time, but what memory holds."""
        return int(self.seconds * min(12_000, 400e6 / self.size))


async def measure(who: str, side: "Ours | Etcd", load: Load) -> Row:
    """Keep `at_once` operations running for some seconds."""
    operation = await side.prepare(load.size, load.most)
    gc.collect()
    gc.freeze()  # what was prepared, for either side, is not looked through while the clock runs
    numbers = iter(range(load.most))
    times: list[float] = []
    end = time.perf_counter() + load.seconds

    async def lane() -> None:
        for number in numbers:
            before = time.perf_counter()
            await operation(number)
            now = time.perf_counter()
            times.append(now - before)
            if now > end:
                return

    cpu, start = cpu_seconds(side.servers), time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(load.at_once)))
    took, used = time.perf_counter() - start, cpu_seconds(side.servers) - cpu
    gc.unfreeze()  # or what of it is in cycles would stay for ever
    ranked = sorted(times)
    return Row(
        who,
        load.size,
        load.at_once,
        len(times) / took,
        ranked[len(ranked) // 2] * 1e3,
        ranked[int(len(ranked) * 0.99)] * 1e3,
        used / len(times) * 1e6,
    )


# Ours


class Ours:
    """Three nodes of a new tree, and a client."""

    def __init__(self, root: File) -> None:
        self.root = root
        self.servers: list[subprocess.Popen[bytes]] = []
        now = int(time.time())
        self.tree: NewTree = new_tree(
            "home", "ann", now=now, passphrase="bench", draw=os.urandom, cost=4
        )
        self.ports: dict[Path, int] = {}
        self.leader = Path("/")
        self.now = now

    async def start(self) -> None:
        for number in range(NODES):
            self._start_node(f"pi-{number + 1}")
        credential = process_credential(self.tree.user, "laptop", now=self.now, draw=os.urandom)
        side = Side(credential, lambda _: None)
        self.links = Links(
            side, sources=[lambda path: [f"127.0.0.1:{self.ports[path]}"]], dice=lambda: 0.5
        )
        self.runtime = Runtime(credential.path, self.links)
        self.commits = self._client()
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if await self._is_ready():
                return
            await asyncio.sleep(0.1)
        raise SystemExit("our nodes did not come up")

    async def stop(self) -> None:
        await self.runtime.close()
        await self.links.close()
        stop_all(self.servers)

    async def prepare(self, size: int, count: int) -> Operation:
        """Make `count` new files of `size` bytes."""
        versions = []
        for number in range(count):
            versions.append([self._version(size)])
            if number % 100 == 0:  # links must not fall silent
                await asyncio.sleep(0)

        async def operation(number: int) -> None:
            await self.commits.commit(versions[number])

        return operation

    def _client(self) -> Joint:
        """What a mount commits by, without leases: nothing is read again."""
        service = SectorService(self.runtime, lambda: list(self.ports), b"", time.monotonic)
        trust = Trust(service, self.tree.tree)
        headers = HeaderCache(service, trust)
        uploads = Uploads(service, SectorCache(1 << 20), ThreadPoolExecutor(1))
        return Joint(Commits(service, self.tree.user, headers, trust, uploads).commit)

    def _version(self, size: int) -> NewVersion:
        content, file = os.urandom(size), new_file(time.time_ns(), os.urandom)
        inline = size <= INLINE_MAX
        batch = Batch(SectorCipher(file, Cipher.PLAIN, _PUBLIC), [(0, content)])
        batch.seal()
        batch.contents = []
        header = Header(
            file=file,
            kind=FileKind.FILE,
            version=1,
            size=size,
            sector_size=64 << 10,
            cipher=Cipher.PLAIN,
            epoch=1,
            root=b"" if inline else batch.digests[0],
            inline=bytes(batch.body) if inline else b"",
            mode=0o644,
            uid=0,
            gid=0,
            mtime_ns=0,
            ctime_ns=0,
            links=1,
            parent=ROOT_FILE,
            previous=b"",
            access=b"",
            attributes=b"",
            past_keys=b"",
            writer=self.tree.user.principal,
        )
        if inline:
            return NewVersion(file, None, header)
        return NewVersion(file, None, header, [batch], batch.digests)

    def _start_node(self, name: str) -> None:
        path = join(Path(f"/{self.tree.tree}"), name)
        first = not self.ports
        genesis = found_tree(
            self.tree.owner,
            self.tree.user.key.principal,
            self.tree.members,
            uid=0,
            gid=0,
            time_ns=time.time_ns(),
            draw=os.urandom,
        )
        ticket = new_ticket(
            self.tree.owner,
            MemberKind.NODE,
            path,
            now=self.now,
            draw=os.urandom,
            addresses=tuple(f"127.0.0.1:{port}" for port in self.ports.values()),
            genesis=encode(genesis) if first else b"",
        )
        port = free_port()
        NodeFolder(self.root / name).invite(ticket, Settings("127.0.0.1", port, discover=False))
        self.ports[path] = port
        log = (self.root / f"{name}.log").open("wb")
        command = [sys.executable, "-m", "blocktree.node", str(self.root / name)]
        self.servers.append(subprocess.Popen(command, stderr=log, stdout=log))

    async def _is_ready(self) -> bool:
        for path in self.ports:
            try:
                status = await self.runtime.ask(
                    Address(path, STORE_ACTOR), GetStatus(), Status, timeout=1
                )
            except Fault:
                return False
            if status.role is Role.LEADER:
                self.leader = path
                return sum(peer.voter for peer in status.peers) == NODES - 1
        return False


# The table


def best(rows: Sequence[Row]) -> Row:
    """The median round of one case."""
    first = rows[0]

    def middle(name: str) -> float:
        return statistics.median(getattr(row, name) for row in rows)

    return Row(
        first.who,
        first.size,
        first.at_once,
        *(middle(name) for name in ("per_second", "p50_ms", "p99_ms", "cpu_us")),
    )


def cases(arguments: argparse.Namespace) -> Iterator[tuple[int, int]]:
    for size in arguments.sizes:
        for at_once in arguments.at_once:
            yield size, at_once


async def run(arguments: argparse.Namespace) -> list[tuple[Row, Row | None]]:
    """Start both sides, measure every case, stop them."""
    root = File(tempfile.mkdtemp(prefix="bench-commit-", dir=arguments.directory))
    sides: dict[str, Ours | Etcd] = {"blocktree": Ours(root)}
    if shutil.which("etcd") and not arguments.alone:
        sides["etcd"] = Etcd(root)
    try:
        for side in sides.values():
            await side.start()
        return [await compare(sides, arguments, *case) for case in cases(arguments)]
    finally:
        if not arguments.json:
            for who, side in sides.items():
                print(f"resident MiB, {who}:", [round(r) for r in resident_mib(side.servers)])
        for side in sides.values():
            await side.stop()
        if not arguments.keep:
            shutil.rmtree(root, ignore_errors=True)


async def compare(
    sides: "dict[str, Ours | Etcd]", arguments: argparse.Namespace, size: int, at_once: int
) -> tuple[Row, Row | None]:
    """One case: rounds of the sides in turn."""
    rounds: dict[str, list[Row]] = {}
    for _ in range(arguments.rounds):
        for who, side in sides.items():
            row = await measure(who, side, Load(size, at_once, arguments.seconds))
            rounds.setdefault(who, []).append(row)
    found = best(rounds["blocktree"]), best(rounds["etcd"]) if "etcd" in rounds else None
    if not arguments.json:
        show(*found)
    return found


def show(ours: Row, etcd: Row | None) -> None:
    for row in (ours, etcd):
        if row is not None:
            print(
                f"{row.size:>6} B x{row.at_once:<3} {row.who:<10} {row.per_second:>8.0f}/s"
                f"  p50 {row.p50_ms:7.2f} ms  p99 {row.p99_ms:7.2f} ms  {row.cpu_us:7.0f} us CPU"
            )
    if etcd is not None:
        print(
            f"{'':15}ratio      {ours.per_second / etcd.per_second:>8.2f}"
            f"    p50 {ours.p50_ms / etcd.p50_ms:7.2f}     p99 {ours.p99_ms / etcd.p99_ms:7.2f}"
            f"     {ours.cpu_us / etcd.cpu_us:7.2f}",
            flush=True,
        )


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=numbers, default=[256, 4096, 65536])
    parser.add_argument("--at-once", type=numbers, default=[1, 16, 64])
    parser.add_argument(
        "--directory", help="where the disks are; the temporary directory if left out"
    )
    parser.add_argument("--alone", action="store_true", help="without etcd")
    parser.add_argument("--keep", action="store_true", help="keep the directory and its logs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(run(arguments))
    if arguments.json:
        table = [
            {"blocktree": asdict(ours), "etcd": asdict(etcd) if etcd else None}
            for ours, etcd in found
        ]
        print(json.dumps({"schema": 1, "cases": table}))


if __name__ == "__main__":
    main()
