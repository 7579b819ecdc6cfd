"""The I/O of a real node, cut at every operation and inside operations, as a power cut would.

A node process with everything that belongs to it serves a client; what it does to its disk is
recorded. Each cut must open without damage and hold what had been acknowledged before; some of them
are started as whole nodes, and asked.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocktree.disk import Disk, Keeper, LmdbIndex, MemoryIndex, SimulatedFiles, Space
from blocktree.fault import Fault
from blocktree.keys import Credential
from blocktree.names import Digest, FileId, digest_of
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.table import header_key
from blocktree.store import messages as m
from blocktree.store.folder import NodeFolder, Settings
from disk.recorder import LIMITS, Operation, read_journal, replay
from store.world import (
    SMALL,
    Client,
    World,
    free_port,
    in_loop,
    make_genesis,
    make_ticket,
    until,
)

WRITES = 14  # in each of two lives
STARTED = 3  # cuts that are started as nodes
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told, and when."""

    at: int
    signed: SignedHeader
    blob: bytes


class Recorded(World):
    """One node, a process of its own that writes down what it does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, SMALL)
        self.journal = root / "journal"
        self.home = root / "pi-1"
        port = free_port()
        ticket = make_ticket("pi-1", genesis=make_genesis(self.tree))
        NodeFolder(self.home).invite(ticket, Settings("127.0.0.1", port, discover=False))
        self.ports[self.path("pi-1")] = port

    def live(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "disk.recorder", str(self.home), str(self.journal)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            stderr=subprocess.DEVNULL,
        )


async def write_some(ann: Client, dice: random.Random) -> list[Told]:
    told = []
    before: SignedHeader | None = None
    for number in range(WRITES):
        blob = dice.randbytes(dice.choice((700, 3000, 40_000)))
        file = FileId(dice.randbytes(16)) if before is None else before.header.file
        signed = await ann.write(file, before, blob=blob)
        told.append(Told(time.monotonic_ns(), signed, blob))
        before = signed if number % 3 else None
    return told


async def record(place: Recorded) -> list[Told]:
    """Two lives: one that ends in good order, with a checkpoint, and one that is killed."""
    dice = random.Random(5)
    told: list[Told] = []
    for last in (signal.SIGTERM, signal.SIGKILL):
        process = place.live()
        ann = await place.client(f"laptop-{last}")
        try:
            told += await write_some(ann, dice)
        finally:
            process.send_signal(last)
            await asyncio.to_thread(process.wait, 60)
            await ann.close()
            place.clients.remove(ann)
    return told


def images(
    files: SimulatedFiles, following: Operation, dice: random.Random
) -> Iterator[SimulatedFiles]:
    """What a power cut may leave before this operation, and in the middle of it."""
    yield files.crash(lambda *_: False, names_kept=0)
    yield files.crash(lambda *_: True)
    yield files.crash_by(dice)
    if following.verb == "append":
        half = SimulatedFiles(files.everything())
        for name in half.names():
            half.open(name).synced = files.open(name).synced
        cut = dice.randrange(len(following.content) + 1)
        half.open(following.name).append([following.content[:cut]])
        yield half.crash(lambda *_: True)
        yield half.crash_by(dice)


def agrees(disk: Disk, told: list[Told]) -> None:
    """Everything acknowledged is here: each blob, and each header in the table or the log."""
    assert disk.damage is None
    mark, log = disk.saved().mark.index, disk.log
    entries = log.entries(mark + 1, log.last_index + 1, 1 << 30) if log.last_index > mark else ()
    fresh = b"".join(entry.payload for entry in entries)
    newest = {each.signed.header.file: each for each in told}
    for each in newest.values():
        digest: Digest = digest_of(each.blob)
        assert disk.read_blob(digest, verify=True) == each.blob
        kept = disk.table_get(header_key(each.signed.header.file))
        assert kept == each.signed.encoded or each.signed.encoded in fresh


def put(image: SimulatedFiles, index: MemoryIndex, source: Path, target: Path) -> None:
    """Make an image a node's state directory."""
    target.mkdir()
    (target / "log").mkdir()
    for name, content in image.everything().items():
        (target / "log" / name).write_bytes(content)
    for name in ("credential", "settings.json", "ticket"):
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
    real = LmdbIndex(target / "index")
    real.commit({space: dict(index.items(space, b"", b"", 1 << 30)) for space in Space})
    real.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, list[Told]]:
    place = Recorded(tmp_path_factory.mktemp("recorded"))
    return place, asyncio.run(record(place))


def test_every_cut_of_a_real_nodes_io_opens_and_holds_what_was_acknowledged(
    recorded: tuple[Recorded, list[Told]],
) -> None:
    place, told = recorded
    operations = read_journal(place.journal)
    assert cut_everywhere(place, told, operations) > 400
    verbs = {operation.verb for operation in operations}
    assert verbs >= {"create", "append", "synced", "rename", "names", "commit"}


def test_a_node_that_does_not_sync_would_be_found_out(
    recorded: tuple[Recorded, list[Told]],
) -> None:
    place, told = recorded
    operations = [each for each in read_journal(place.journal) if each.verb != "synced"]
    with pytest.raises((AssertionError, Fault)):
        cut_everywhere(place, told, operations)


def cut_everywhere(place: Recorded, told: list[Told], operations: list[Operation]) -> int:
    """Look at what every cut leaves; how many images."""
    dice = random.Random(1)
    who = Credential.load((place.home / "credential").read_bytes())
    keeper = Keeper(who.tree, who.principal)
    files, index = SimulatedFiles(), MemoryIndex()
    seen = 0
    for operation in operations:
        known = [each for each in told if each.at < operation.began]
        for image in images(files, operation, dice):
            disk = Disk.open(image, index.copy(), LIMITS, keeper)
            agrees(disk, known)
            seen += 1
        apply(files, index, operation)
    return seen


def apply(files: SimulatedFiles, index: MemoryIndex, operation: Operation) -> None:
    if operation.verb == "commit":
        changes, clear = operation.content
        index.commit(
            {Space(space): pairs for space, pairs in changes.items()}, clear=list(map(Space, clear))
        )
    else:
        replay(files, operation)


@in_loop
async def test_a_cut_starts_as_a_node_that_answers_for_what_was_acknowledged(
    recorded: tuple[Recorded, list[Told]],
) -> None:
    place, told = recorded
    dice = random.Random(2)
    operations = read_journal(place.journal)
    low = next(n for n, each in enumerate(operations) if each.began > told[0].at)
    chosen = set(dice.sample(range(low, len(operations)), STARTED))
    files, index = SimulatedFiles(), MemoryIndex()
    for number, operation in enumerate(operations):
        if number in chosen:
            image = files.crash_by(dice)
            name = f"cut-{number}"
            put(image, index, place.home, place.root / name)
            node = await place.start(name)
            ann = await place.client(name)
            await until(place.leader)
            newest = {t.signed.header.file: t for t in told if t.at < operation.began}
            for each in newest.values():
                (found,) = (await ann.read(each.signed.header.file)).headers
                assert found == each.signed.encoded or each.signed.header.version < len(told)
                blobs = await ann.ask(m.GetBlobs((digest_of(each.blob),)), m.Blobs)
                assert bytes(blobs.body) == each.blob
            assert node.disk.damage is None
            await ann.close()
            place.clients.remove(ann)
            await place.crash(name)
        apply(files, index, operation)
