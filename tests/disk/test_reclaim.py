"""Space comes back a bounded step at a time, under readers, and nothing live is lost."""

import contextlib
import errno
import threading
from pathlib import Path

import pytest

from blocktree.disk import Batch, Disk, Limits, LmdbIndex, MemoryIndex, OsFiles, SimulatedFiles
from blocktree.disk.segment import segment_name
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from disk.rig import KEEPER, SMALL, blob_of, entry_of, log_of, mark_of, open_disk, rebuild_disk

LIMITS = Limits(segment=1 << 16, batch=1 << 16, reserve=0)


def fill(disk: Disk, count: int) -> list[tuple[Digest, bytes]]:
    blobs = [blob_of(b"%06d" % n * 300) for n in range(count)]
    for at, blob in enumerate(blobs):
        disk.append(Batch(blobs=[blob], entries=[entry_of(at + 1)], kept=at % 2 == 0, stamp=at))
    disk.checkpoint({}, mark_of(count))
    return blobs


def drain(disk: Disk, budget: int) -> int:
    steps = 0
    while not (done := disk.reclaim(budget)).idle:
        assert done.moved + done.scanned <= budget + 8192
        steps += 1
    return steps


def test_mostly_dead_segments_are_copied_out_and_removed() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 400)
    disk.compact(mark_of(390))
    live = blobs[::5]
    disk.delete_blobs(dict(blobs).keys() - dict(live).keys())
    before = disk.stats()
    assert drain(disk, 30_000) > 10
    waiting = disk.reclaim(1).waiting
    assert waiting > 5
    assert disk.stats().segments > before.segments
    disk.checkpoint({}, mark_of(400))
    after = disk.stats()
    assert after.segments < before.segments / 2
    assert after.live == before.live
    assert after.dead < after.live
    for here in (disk, open_disk(files, index, LIMITS), rebuild_disk(files, MemoryIndex(), LIMITS)):
        for digest, payload in live:
            assert here.read_blob(digest, verify=True) == payload
        assert here.missing(digest for digest, _ in blobs) == [
            digest for digest, _ in blobs if digest not in dict(live)
        ]
        assert log_of(here) == (391, tuple(entry_of(n) for n in range(391, 401)))
        assert here.stats().live == before.live


def test_live_entries_of_an_old_segment_are_moved_too() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 200)
    disk.delete_blobs([digest for digest, _ in blobs])
    drain(disk, 1 << 20)
    disk.checkpoint({}, mark_of(200))
    assert "segment-00000001" not in files.names()
    expected = 1, tuple(entry_of(n) for n in range(1, 201))
    for here in (disk, open_disk(files, index, LIMITS), rebuild_disk(files, MemoryIndex(), LIMITS)):
        assert log_of(here) == expected
        assert here.damage is None


def test_staged_stays_staged_and_kept_stays_kept_when_moved() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 100)
    disk.delete_blobs([digest for digest, _ in blobs[:80]])
    drain(disk, 1 << 20)
    staged = sorted(digest for digest, _ in blobs[81::2])
    for here in (disk, open_disk(files, index, LIMITS)):
        assert sorted(here.staged(before=1000)) == staged
        assert here.staged(before=82) == [blobs[81][0]]


def test_a_damaged_blob_keeps_its_segment_until_it_is_repaired() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 100)
    bad, other = blobs[3], blobs[4]
    disk.compact(mark_of(100))
    disk.delete_blobs([digest for digest, _ in blobs if digest not in (bad[0], other[0])])
    name = "segment-00000001"
    files.flip(name, files.contents(name).index(bad[1]) + 1)
    drain(disk, 1 << 20)
    assert disk.missing([bad[0], other[0]]) == [bad[0]]
    disk.checkpoint({}, mark_of(100))
    drain(disk, 1 << 20)
    disk.append(Batch(blobs=[bad]))
    disk.checkpoint({}, mark_of(100))
    drain(disk, 1 << 20)
    disk.checkpoint({}, mark_of(100))
    assert name not in files.names()
    assert disk.read_blob(bad[0], verify=True) == bad[1]
    assert disk.read_blob(other[0], verify=True) == other[1]


def test_copies_do_not_outlive_a_read_that_failed() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    dead = blob_of(b"dead" * 900)
    disk.append(Batch(entries=[entry_of(1, payload=bytes(3000))]))
    disk.append(Batch(blobs=[dead], entries=[entry_of(2, payload=bytes(900))]))
    disk.append(Batch(entries=[entry_of(3, payload=bytes(900))]))  # begins the second segment
    disk.delete_blobs([dead[0]])
    reads = 0

    def before(verb: str, name: str) -> None:
        nonlocal reads
        if (verb, name) == ("read", segment_name(1)):
            reads += 1
            if reads == 2:
                raise OSError(errno.EIO, "the device failed")

    files.before = before
    disk.reclaim(100_000)
    assert reads == 2
    files.before = None
    new = (entry_of(1, 2, b"new"), entry_of(2, 2, b"newer"))
    disk.append(Batch(entries=new))
    disk.sync()
    for _ in range(2):
        disk.reclaim(100_000)
        disk.checkpoint({}, disk.saved().mark)
    for again in (disk, open_disk(files, index), rebuild_disk(files, MemoryIndex())):
        assert log_of(again) == (1, new)
        assert again.missing([dead[0]]) == [dead[0]]


def test_a_segment_that_could_not_be_read_takes_no_deletion_with_it() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blob, cold = blob_of(b"blob" * 500), blob_of(b"cold" * 1500)
    disk.append(Batch(blobs=[blob, cold]))  # fills the first segment, which stays
    disk.append(Batch(blobs=[blob_of(b"filler")]))
    disk.delete_blobs([blob[0], blob_of(b"filler")[0]])
    disk.append(Batch(blobs=[blob_of(b"warm" * 2000)]))
    files.before = refuse_reads
    disk.reclaim(100_000)
    files.before = None
    for _ in range(2):
        disk.reclaim(100_000)
        disk.checkpoint({}, disk.saved().mark)
    assert rebuild_disk(files, MemoryIndex()).missing([blob[0], cold[0]]) == [blob[0]]


@pytest.mark.parametrize("how", ["read", "scrub", "reclaim"])
def test_a_device_that_failed_once_has_lost_no_blob(how: str) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blob, dead = blob_of(b"blob" * 500), blob_of(b"dead" * 1100)
    disk.append(Batch(blobs=[blob, dead]))
    disk.append(Batch(blobs=[blob_of(b"next" * 1000)]))
    disk.delete_blobs([dead[0]])
    disk.checkpoint({}, disk.saved().mark)
    disk.reclaim(4096)  # has read the head of the blob by now

    files.before = refuse_reads
    with contextlib.suppress(Fault):
        match how:
            case "read":
                disk.read_blob(blob[0])
            case "scrub":
                disk.scrub(None, 100_000)
            case _:
                disk.reclaim(100_000)
    assert disk.missing([blob[0]]) == [blob[0]]
    assert disk.stats().damaged_blobs > 0
    for _ in range(2):
        disk.checkpoint({}, disk.saved().mark)
    files.before = None
    assert open_disk(files, index.copy()).read_blob(blob[0], verify=True) == blob[1]
    assert disk.read_blob(blob[0], verify=True) == blob[1]
    assert disk.missing([blob[0]]) == []
    for _ in range(2):
        disk.reclaim(100_000)
        disk.checkpoint({}, disk.saved().mark)
    assert open_disk(files, index).read_blob(blob[0], verify=True) == blob[1]


@pytest.mark.parametrize("budget", [0, 1])
def test_what_a_device_failed_to_read_is_tried_again_an_hour_later(budget: int) -> None:
    """The walk itself fails, or only the read of a blob that it met."""
    now = [0.0]
    files = SimulatedFiles()
    disk = Disk.open(files, MemoryIndex(), SMALL, KEEPER, clock=lambda: now[0])
    blob, dead = blob_of(b"blob" * 500), blob_of(b"dead" * 1100)
    disk.append(Batch(blobs=[blob, dead]))
    disk.append(Batch(blobs=[blob_of(b"next" * 1000)]))
    disk.delete_blobs([dead[0]])
    disk.reclaim(budget)
    reads: list[str] = []

    def fail(verb: str, name: str) -> None:
        if (verb, name) == ("read", segment_name(1)):
            reads.append(name)
            raise OSError(errno.EIO, "the device failed")

    files.before = fail
    for now[0], count in ((0.0, 1), (3599.0, 1), (3600.0, 2), (7199.0, 2)):
        assert disk.reclaim(100_000).idle
        assert len(reads) == count
    files.before, now[0] = None, 7200.0
    assert disk.reclaim(100_000).waiting == 1
    disk.checkpoint({}, disk.saved().mark)
    assert segment_name(1) not in files.names()
    assert disk.read_blob(blob[0], verify=True) == blob[1]


def refuse_reads(verb: str, _name: str) -> None:
    if verb == "read":
        raise OSError(errno.EIO, "the device failed")


def test_readers_never_fail_while_segments_are_moved_and_removed(tmp_path: Path) -> None:
    disk = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"), LIMITS)
    blobs = fill(disk, 200)
    live = blobs[::4]
    failures: list[BaseException] = []
    reads = 0
    stop = threading.Event()

    def read() -> None:
        nonlocal reads
        while not stop.is_set():
            try:
                for digest, payload in live:
                    assert disk.read_blob(digest, verify=True) == payload
                    disk.log.entries(196, 201, 1000)
                    reads += 1
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for reader in readers:
        reader.start()
    disk.delete_blobs([d for d, _ in blobs if d not in dict(live)])
    disk.compact(mark_of(190))
    for turn in range(12):
        drain(disk, 1 << 20)
        disk.checkpoint({}, mark_of(200))
        some = [blob_of(b"%d-%d" % (turn, n) * 400) for n in range(30)]
        disk.append(Batch(blobs=some))
        disk.delete_blobs([digest for digest, _ in some])
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert reads > 100
    disk.close()


def test_a_checkpoint_that_finds_no_room_first_removes_what_was_emptied() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 200)
    disk.compact(mark_of(200))
    disk.delete_blobs([digest for digest, _ in blobs])
    drain(disk, 1 << 20)
    before = len(files.names())

    def full() -> None:
        if len(files.names()) == before and index.on_commit is full:
            index.on_commit = None
            raise Fault(Kind.NO_SPACE, "no room")

    index.on_commit = full
    disk.checkpoint({b"a": b"1"}, mark_of(200))
    assert len(files.names()) < before - 3
    assert open_disk(files, index, LIMITS).table_get(b"a") == b"1"


def test_blobs_can_be_deleted_when_there_is_no_room_to_say_so() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    blobs = fill(disk, 200)
    disk.compact(mark_of(200))
    files.capacity = sum(map(len, files.everything().values()))
    disk.delete_blobs([digest for digest, _ in blobs])
    drain(disk, 1 << 20)
    disk.checkpoint({}, mark_of(200))
    assert disk.free > 200_000
    for here in (disk, open_disk(files, index, LIMITS)):
        assert len(here.missing(digest for digest, _ in blobs)) == 200
        assert here.stats().live == 0


def test_statistics_add_up() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, LIMITS)
    fill(disk, 50)
    stats = disk.stats()
    sizes = [len(c) for n, c in files.everything().items() if n.startswith("segment")]
    assert stats.live + stats.dead == sum(sizes)
    assert stats.segments == len(sizes)
    assert stats.uncheckpointed == 0
    assert (stats.log_first, stats.log_last) == (1, 50)
    assert stats.syncs == len(sizes)
    disk.append(Batch(entries=[entry_of(51)]))
    assert disk.stats().uncheckpointed == 64 + len(b"payload")
