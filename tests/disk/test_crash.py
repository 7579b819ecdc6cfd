"""Whatever a run did when the power went: what it had acknowledged is there, nothing wrong is.

The run's I/O is cut before every operation; of what was not synced then, every beginning in steps
of 512 bytes survives, and random subsets of blocks, with and without the names changed meanwhile.
"""

import errno
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from blocktree.disk import Batch, Disk, MemoryIndex, SimulatedFiles
from blocktree.disk.index import Space
from blocktree.disk.segment import segment_name
from blocktree.disk.simulated import BLOCK, FREE
from blocktree.fault import Fault, Kind
from disk.rig import (
    KEEPER,
    SMALL,
    BusyRun,
    Run,
    blob_of,
    check,
    entry_of,
    fault_of,
    log_of,
    mark_of,
    open_disk,
    rebuild_disk,
)


def before_block(cut: int) -> Callable[[str, int], bool]:
    return lambda _, block: block < cut


class Cut:
    """Crashes the run's files before each operation and looks at what a restart finds."""

    def __init__(self, files: SimulatedFiles, index: MemoryIndex, run: Run, seed: int) -> None:
        self.files = files
        self.index = index
        self.run = run
        self.dice = random.Random(seed)
        self.images = 0
        self._seen: tuple[object, ...] = ()

    def before(self, verb: str, _name: str) -> None:
        if verb not in {"read", "open"}:
            self.look()

    def look(self) -> None:
        state = self.files.state()
        if state == self._seen:
            return
        self._seen = state
        for image in self._images():
            self.images += 1
            index = self.index.copy()
            disk = open_disk(image, index)
            check(disk, self.run.truth)
            assert dict(disk.table_items(b"")) in self.run.truth.tables
            if self.images % 10 == 0:
                self._go_on(image, index)

    def _images(self) -> Iterator[SimulatedFiles]:
        low, high = self.files.unsynced()
        for cut in range(low // BLOCK, high // BLOCK + 2):
            yield self.files.crash(before_block(cut))
            if cut % 4 == 0:
                yield self.files.crash(before_block(cut), whole_size=True)
        for kept in range(self.files.pending_names + 1):
            yield self.files.crash(lambda *_: True, names_kept=kept)
        for _ in range(3):
            yield self.files.crash_by(self.dice)

    def _go_on(self, image: SimulatedFiles, index: MemoryIndex) -> None:
        """A disk that crashed takes more, and crashes again."""
        disk = open_disk(image, index)
        last = disk.log.last_index
        again = open_disk(image.crash(lambda *_: False), index.copy())
        assert again.log.last_index == last  # opening made the tail durable
        blob = blob_of(b"later" * 300)
        disk.append(Batch(blobs=[blob], entries=[entry_of(last + 1, 99)]))
        disk.sync()
        disk.append(Batch(blobs=[blob_of(b"never" * 300)], entries=[entry_of(last + 1, 100)]))
        again = open_disk(image.crash_by(self.dice), index)
        assert again.log.term(last + 1) in (99, 100)
        assert again.read_blob(blob[0], verify=True) == blob[1]


@pytest.mark.parametrize("kind", [Run, BusyRun])
@pytest.mark.parametrize("seed", range(4))
def test_every_cut_of_a_run_leaves_what_was_acknowledged(seed: int, kind: type[Run]) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    run = kind(open_disk(files, index), seed)
    cut = Cut(files, index, run, seed)
    files.before = cut.before
    index.on_commit = cut.look
    for _ in range(70):
        run.step()
    assert cut.images > 500


def test_the_very_first_start_may_be_cut_anywhere() -> None:
    images: list[tuple[SimulatedFiles, MemoryIndex]] = []
    files, index = SimulatedFiles(), MemoryIndex()

    def before(_verb: str, _name: str) -> None:
        images.extend(
            (files.crash(before_block(cut), names_kept=kept), index.copy())
            for kept in range(files.pending_names + 1)
            for cut in (0, 1)
        )

    files.before = before
    disk = Disk.open(files, index, SMALL, KEEPER)
    disk.append(Batch(entries=[entry_of(1)]))
    assert len(images) > 6
    for image, known in images:
        Disk.open(image, known, SMALL, KEEPER)


def test_what_a_busy_disk_knows_is_what_it_finds_after_a_restart() -> None:
    refused = 0
    for seed in range(20):
        files, index = SimulatedFiles(), MemoryIndex()
        run, luck = BusyRun(open_disk(files, index), seed), random.Random(seed)

        def crowded(luck: random.Random = luck) -> None:
            if luck.random() < 0.4:
                raise Fault(Kind.NO_SPACE, "the disk is full")

        index.on_commit = crowded
        for _ in range(200):
            run.step()
        run.sync()
        run.end()
        refused += run.refused
        index.on_commit = None
        now, after = run.disk, open_disk(SimulatedFiles(files.everything()), index.copy())
        check(after, run.truth)
        assert sorted(after.staged(1 << 31)) == sorted(now.staged(1 << 31))
        assert after.stats().live == now.stats().live
        for disk in (now, after):
            disk.checkpoint({}, run.truth.mark)
        assert len(index.items(Space.LOG, b"", b"", 1 << 20)) == len(run.truth.log[1])
        assert after.digests(limit=1 << 20) == now.digests(limit=1 << 20)
    assert refused > 20


@pytest.mark.parametrize("seed", range(8))
def test_the_index_can_be_made_anew_from_the_segments_alone(seed: int) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), seed)
    for _ in range(300):
        run.step()
    run.sync()
    before = run.disk.stats()
    disk = rebuild_disk(SimulatedFiles(files.everything()), MemoryIndex())
    compacted = run.truth.log[0] > 1
    assert (disk.damage is not None) == compacted
    if disk.damage is not None:
        assert disk.damage.segment == 0
        disk.repaired()
    check(disk, run.truth)
    gone = set(run.truth.every) - set(run.truth.blobs)
    assert set(disk.missing(gone)) == gone
    after = disk.stats()
    assert (after.live, after.dead) == (before.live, before.dead)
    assert disk.saved().mark.index == run.truth.log[0] - 1


def test_a_rebuild_may_be_cut_and_started_again() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), 5)
    for _ in range(100):
        run.step()
    run.sync()
    anew = MemoryIndex()
    rebuild_disk(files, anew)
    anew.commit({}, clear=[])
    disk = rebuild_disk(files, anew)
    if disk.damage:
        disk.repaired()
    check(disk, run.truth)


def test_leftovers_of_removed_segments_are_taken_away() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), 2)
    for _ in range(60):
        run.append()
        run.sync()
    run.disk.delete_blobs(list(run.truth.blobs))
    run.truth.blobs.clear()
    run.truth.floor.clear()
    run.checkpoint()
    while not run.disk.reclaim(1 << 20).idle:
        pass
    before = files.names()

    def refuse(verb: str, _name: str) -> None:
        if verb == "remove":
            raise OSError("no")

    files.before = refuse
    run.checkpoint()
    files.before = None
    assert files.names() == before
    check(open_disk(files, index), run.truth)
    assert len(files.names()) < len(before)


def test_a_rebuild_does_not_bring_back_entries_whose_replacement_was_reclaimed() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    cold = blob_of(b"cold" * 1000)
    disk.append(Batch(blobs=[cold], entries=[entry_of(n) for n in range(1, 10)]))
    fillers = [blob_of(b"%d" % n * 4500) for n in range(3)]
    disk.append(Batch(blobs=fillers[:1]))
    disk.append(Batch(entries=[entry_of(4, 2, b"replaces 4 to 9")]))
    disk.append(Batch(blobs=fillers[1:2]))
    disk.delete_blobs([digest for digest, _ in fillers[:2]])
    for _ in range(3):
        while not disk.reclaim(1 << 20).idle:
            pass
        disk.checkpoint({}, mark_of(0))
    assert segment_name(1) in files.names()
    assert segment_name(2) not in files.names()
    expected = log_of(disk)
    assert expected[1][-1].payload == b"replaces 4 to 9"
    assert log_of(rebuild_disk(files, MemoryIndex())) == expected


def test_a_rebuild_keeps_a_blob_that_came_back_before_its_deletion_was_moved() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blob, cold = blob_of(b"blob" * 500), blob_of(b"cold" * 1200)
    filler = blob_of(b"filler" * 1000)
    disk.append(Batch(blobs=[blob, cold]))  # fills segment 1, which stays
    disk.append(Batch(blobs=[filler]))
    disk.delete_blobs([blob[0], filler[0]])  # in segment 2, which is reclaimed
    disk.append(Batch(blobs=[blob, blob_of(b"warm" * 1000)]))
    while not disk.reclaim(1 << 20).idle:
        pass
    disk.checkpoint({}, mark_of(0))
    assert segment_name(1) in files.names()
    assert segment_name(2) not in files.names()
    assert rebuild_disk(files, MemoryIndex()).missing([blob[0], cold[0]]) == []
    disk.delete_blobs([blob[0]])
    assert rebuild_disk(files, MemoryIndex()).missing([blob[0], cold[0]]) == [blob[0]]


def test_a_rebuild_after_a_restored_snapshot_has_nothing_of_the_old_log() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(n) for n in range(1, 9)]))
    disk.begin_restore(mark_of(5, 7))
    disk.finish_restore(mark_of(5, 7))
    for disk in (rebuild_disk(files, MemoryIndex()), open_disk(files, index)):
        assert log_of(disk) == (6, ())
        assert disk.log.term(5) == 7


@pytest.mark.parametrize("segment", [8192, 400])
@pytest.mark.parametrize(("room", "entries"), [(True, 0), (True, 1), (False, 1)])
def test_a_restore_that_a_crash_cut_short_leaves_nothing_of_the_old_log_either(
    segment: int, room: bool, entries: int
) -> None:
    """The index has it, the record for a rebuild was not written: the next start writes it."""
    limits = replace(SMALL, segment=segment)
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index, limits)
    disk.append(Batch(entries=[entry_of(n) for n in range(1, 6)]))  # 4 was replaced elsewhere
    disk.begin_restore(mark_of(4, 2))

    def fail(*_: str) -> None:
        raise OSError(errno.EIO, "the device failed")

    index.on_commit = lambda: setattr(files, "before", fail)
    assert fault_of(lambda: disk.finish_restore(mark_of(4, 2))) is not None
    index.on_commit = files.before = None

    if not room:
        files.capacity = sum(map(len, files.everything().values()))
        open_disk(files, index, limits)
    disk = open_disk(files, index, limits)
    assert log_of(disk) == (5, ())
    files.capacity = FREE
    if entries:
        disk.append(Batch(entries=[entry_of(5, 2)]))
        disk.sync()
    again = rebuild_disk(files.crash(lambda *_: False), MemoryIndex(), limits)
    assert log_of(again) == log_of(disk) == (5, (entry_of(5, 2),) * entries)
    assert again.damage is not None
    assert again.damage.table_lost
