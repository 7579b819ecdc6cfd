"""Segments and identities as the vectors in tests/vectors/segment pin them, failures included."""

from collections.abc import Callable
from pathlib import Path

import pytest

import vector
from blocktree.disk import Batch, Disk, MemoryIndex, SimulatedFiles
from blocktree.disk.segment import segment_name
from blocktree.names import Digest
from blocktree.raft import Entry, EntryKind, HardState, NodeId
from blocktree.wire import encode
from disk.rig import KEEPER, SMALL, blob_of, entry_of, fault_of, mark_of, open_disk
from vector import Vector

BLOBS = [blob_of(b"sector %d " % n * 20) for n in range(3)]
Make = Callable[[], tuple[bytes, bytes]]


def stem(path: Path) -> str:
    return path.stem


def written() -> SimulatedFiles:
    """Every kind of record but MOVED_ENTRY, each step synced."""
    files = SimulatedFiles()
    disk = open_disk(files, MemoryIndex())
    disk.append(Batch(hard_state=HardState(1, NodeId("ab")), blobs=BLOBS[:2], stamp=1_700_000_000))
    disk.sync()
    members = Entry(1, 2, EntryKind.MEMBERS, encode(mark_of(0).membership))
    disk.append(Batch(entries=[entry_of(1), members, entry_of(3)]))
    disk.sync()
    disk.append(Batch(blobs=BLOBS[2:], kept=True, entries=[entry_of(3, 2, b"other")]))
    disk.sync()
    disk.delete_blobs([BLOBS[0][0]])
    disk.sync()
    return files


def whole() -> tuple[bytes, bytes]:
    return pair(written())


def pair(files: SimulatedFiles) -> tuple[bytes, bytes]:
    return files.contents("identity"), files.contents(segment_name(1))


def moved() -> tuple[bytes, bytes]:
    """The second segment of a disk whose first was reclaimed: the log is in MOVED_ENTRY records."""
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(blobs=[blob_of(bytes(7000))], entries=[entry_of(1), entry_of(2)]))
    disk.append(Batch(blobs=[blob_of(bytes(3000))]))
    disk.delete_blobs([blob_of(bytes(7000))[0], blob_of(bytes(3000))[0]])
    while not disk.reclaim(1 << 20).idle:
        pass
    disk.checkpoint({}, mark_of(0))
    return files.contents("identity"), files.contents(segment_name(2))


def changed(at: int, value: int) -> Make:
    def make() -> tuple[bytes, bytes]:
        identity, segment = whole()
        raw = bytearray(segment)
        raw[at] ^= value
        return identity, bytes(raw)

    return make


def cut(size: int) -> Make:
    return lambda: (whole()[0], whole()[1][:size])


def unfinished() -> tuple[bytes, bytes]:
    """The last two records in one unsynced write whose first block never got there."""
    files = written()
    disk = open_disk(files, MemoryIndex())
    disk.append(Batch(entries=[entry_of(4, 2, bytes(range(256)) * 4), entry_of(5, 2)]))
    first = len(whole()[1]) // 512 + 1
    identity, segment = pair(files.crash(lambda _, block: block != first, whole_size=True))
    return identity, segment[: len(pair(files)[1])]


def filled() -> tuple[bytes, bytes]:
    """Zeros behind the end, for appends that never came."""
    identity, segment = whole()
    return identity, segment + bytes(700)


def other_identity() -> tuple[bytes, bytes]:
    identity, segment = whole()
    raw = bytearray(identity)
    raw[70] ^= 1
    return bytes(raw), segment


def elsewhere() -> tuple[bytes, bytes]:
    """Sound records, 64 bytes from where they belong."""
    identity, segment = whole()
    return identity, segment[:64] + segment


CASES: dict[str, tuple[int, Make]] = {
    "every-kind": (1, whole),
    "moved": (2, moved),
    "one-byte": (1, cut(1)),
    "torn-head": (1, cut(len(whole()[1]) - 130)),
    "torn-payload": (1, cut(len(whole()[1]) - 3)),
    "torn-block": (1, unfinished),
    "filled": (1, filled),
    "damaged-middle": (1, changed(1300, 4)),
    "damaged-deletion": (1, changed(-2, 1)),
    "damaged-last-entry": (1, lambda: (whole()[0], changed(1345, 1)()[1][:1347])),
    "damaged-blob": (1, changed(600, 1)),
    "damaged-first": (1, changed(2, 1)),
    "wrong-place": (1, elsewhere),
    "damaged-identity": (1, other_identity),
}


def read(number: int, identity: bytes, segment: bytes) -> tuple[str, dict[str, str]]:
    """What opening finds, in words."""
    files = SimulatedFiles({"identity": identity, segment_name(number): segment})
    index = MemoryIndex()

    def attempt() -> Disk:
        return Disk.open(files, index, SMALL, KEEPER, clock=lambda: 0.0, dice=bytes)

    fault = fault_of(attempt)
    if fault is not None:
        return fault.kind.name.lower(), {"at": fault.path, "says": fault.what}
    disk = attempt()
    log = [
        f"{entry.index}/{entry.term}/{entry.kind.name}"
        for n in range(disk.log.first_index, disk.log.last_index + 1)
        for entry in disk.log.entries(n, n + 1, 0)
    ]
    known = [Digest(digest) for digest, _ in BLOBS]
    here = [str(n) for n, digest in enumerate(known) if not disk.missing([digest])]
    state = disk.saved().hard_state
    size = len(files.contents(segment_name(number))) if segment_name(number) in files.names() else 0
    found = {
        "vote": f"{state.term} {state.vote or '-'}",
        "log": " ".join(log) or "-",
        "blobs": " ".join(here) or "-",
        "end": str(size),
    }
    return "ok", found


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_was_pinned(case: str, *, rewrite: bool) -> None:
    number, make = CASES[case]
    values = make()
    verdict, found = read(number, *values)
    made = Vector({"expect": verdict, "segment": str(number), **found}, list(values))
    vector.pin("segment", case, made, rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((vector.FOLDER / "segment").glob("*.txt")), ids=stem)
def test_a_pinned_segment_reads_as_it_says(path: Path) -> None:
    pinned = vector.load(path)
    verdict, found = read(int(pinned.headers["segment"]), *pinned.values)
    assert {"expect": verdict, "segment": pinned.headers["segment"], **found} == pinned.headers
