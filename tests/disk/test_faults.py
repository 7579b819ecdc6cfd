"""A disk that is full or fails: said clearly, and nothing acknowledged is lost."""

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blocktree.disk import (
    Batch,
    Disk,
    Limits,
    LmdbIndex,
    MemoryIndex,
    OsFiles,
    SimulatedFiles,
    recovery,
)
from blocktree.disk.segment import segment_name
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.raft import Entry, HardState
from disk.rig import (
    KEEPER,
    ME,
    SMALL,
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


class Failing:
    """Makes the n-th operation that changes something fail."""

    def __init__(self, at: int, number: int) -> None:
        self.left = at
        self.number = number
        self.verb = ""

    def before(self, verb: str, _name: str) -> None:
        if verb in {"read", "open"}:
            return
        self.left -= 1
        if self.left == 0:
            self.verb = verb
            raise OSError(self.number, os.strerror(self.number))

    def commit(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.verb = "commit"
            kind = Kind.NO_SPACE if self.number == errno.ENOSPC else Kind.FAILED
            raise Fault(kind, "the index failed")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_of_any_operation_is_a_fault_and_costs_nothing_acknowledged(number: int) -> None:
    verbs: set[str] = set()
    for at in range(1, 130):
        files, index = SimulatedFiles(), MemoryIndex()
        run = Run(open_disk(files, index), 11)
        failing = Failing(at, number)
        files.before, index.on_commit = failing.before, failing.commit
        fault = None
        for _ in range(120):
            try:
                run.step()
            except Fault as caught:
                fault = caught
                break
        files.before = index.on_commit = None
        if not failing.verb:
            break
        verbs.add(failing.verb)
        if fault is None:
            # Removals are made up for at the next start; deleting never needs room.
            assert failing.verb in {"remove", "sync_directory", "append", "fill"}
            check(open_disk(files.crash_by(random.Random(at)), index), run.truth)
            continue
        fits = number == errno.ENOSPC and failing.verb in {"append", "fill", "create", "commit"}
        assert fault.kind is (Kind.NO_SPACE if fits else Kind.FAILED)
        if not fits and failing.verb != "create":
            with pytest.raises(Fault) as again:
                run.disk.sync()
            assert again.value is fault or again.value.kind is Kind.FAILED
        check(open_disk(files.crash_by(random.Random(at)), index), run.truth)
    assert verbs >= {"append", "fill", "sync", "create", "commit", "sync_directory"}


def test_after_a_failed_sync_every_call_gives_the_same_fault() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1)]))
    files.before = Failing(1, errno.EIO).before
    with pytest.raises(Fault) as first:
        disk.sync()
    files.before = None
    calls: list[Callable[[], object]] = [
        disk.sync,
        lambda: disk.append(Batch(entries=[entry_of(2)])),
        lambda: disk.checkpoint({}, mark_of(0)),
        lambda: disk.compact(mark_of(0)),
        lambda: disk.reclaim(1000),
        lambda: disk.begin_restore(mark_of(9)),
        disk.repaired,
    ]
    for call in calls:
        with pytest.raises(Fault) as caught:
            call()
        assert caught.value is first.value
    assert first.value.kind is Kind.FAILED


@pytest.mark.parametrize("then", ["nothing", "more is written", "the index is lost"])
def test_what_a_failed_sync_left_in_the_cache_is_durable_after_a_start(then: str) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    known = after_a_failed_sync(files, index)
    if then == "the index is lost":
        index = MemoryIndex()
    disk = open_disk(files, index)  # the same kernel, which takes all for written
    assert log_of(disk) == (1, known)  # so from here on the group is told that it is here
    if then == "more is written":
        known = (*known, entry_of(4))
        disk.append(Batch(entries=known[-1:]))
        disk.sync()
    again = open_disk(files.crash(lambda *_: False), index)
    assert log_of(again) == (1, known)
    assert again.damage is None


def test_starts_whose_syncs_fail_too_believe_nothing_that_is_not_written() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    known = after_a_failed_sync(files, index)
    for verb in ("sync", "rewrite", "sync"):
        files.before = fail_once(verb)
        assert fault_of(lambda: open_disk(files, index)) is not None
        files.before = None
    assert log_of(open_disk(files, index)) == (1, known)
    assert log_of(open_disk(files.crash(lambda *_: False), index)) == (1, known)


def test_what_the_kernel_drops_while_a_disk_is_opened_was_not_believed() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    known = after_a_failed_sync(files, index)
    files.before = lambda verb, _: files.evict(lambda *_: False) if verb == "rewrite" else None
    disk = open_disk(files, index)
    assert log_of(disk) == (1, known[:1])
    assert disk.damage is None
    assert log_of(open_disk(files.crash(lambda *_: False), index)) == (1, known[:1])


def after_a_failed_sync(files: SimulatedFiles, index: MemoryIndex) -> tuple[Entry, ...]:
    """Of these entries the first is durable; the others are only where a start can read them."""
    known = tuple(entry_of(at, payload=bytes([at]) * 700) for at in (1, 2, 3))
    disk = open_disk(files, index)
    disk.append(Batch(entries=known[:1]))
    disk.checkpoint({}, mark_of(0))
    disk.append(Batch(entries=known[1:]))
    files.before = fail_once("sync")
    assert fault_of(disk.sync) is not None
    files.before = None
    return known


def fail_once(what: str) -> Callable[[str, str], None]:
    left = [what]

    def before(verb: str, _name: str) -> None:
        if verb in left:
            left.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return before


def test_a_real_file_is_written_again_as_it_was(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    content = random.Random(1).randbytes((2 << 20) + 77)
    file = files.create("file")
    file.append([content])
    for offset, size in ((0, len(content)), (5, 1 << 20), (len(content), 0), (9, 10 << 20)):
        file.rewrite(offset, size)
    file.sync()
    assert file.size() == len(content)
    assert (tmp_path / "file").read_bytes() == content
    files.close()


def test_a_full_disk_refuses_blobs_first_then_entries_and_still_deletes() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    limits = Limits(segment=1 << 17, batch=1 << 17, reserve=40_000)
    disk = open_disk(files, index, limits)
    old = [blob_of(bytes([n]) * 3000) for n in range(30)]
    disk.append(Batch(blobs=old, entries=[entry_of(1)]))
    disk.sync()
    files.capacity = len(b"".join(files.everything().values())) + 30_000
    with pytest.raises(Fault) as caught:
        disk.append(Batch(blobs=[blob_of(b"new")]))
    assert caught.value.kind is Kind.NO_SPACE
    assert caught.value.next_step
    disk.append(Batch(entries=[entry_of(2)]))
    files.capacity -= 25_000
    with pytest.raises(Fault) as caught:
        disk.append(Batch(entries=[entry_of(3)]))
    assert caught.value.kind is Kind.NO_SPACE
    assert disk.read_blob(old[3][0]) == old[3][1]
    disk.delete_blobs([digest for digest, _ in old[:-1]])
    disk.sync()
    assert log_of(disk) == (1, (entry_of(1), entry_of(2)))


def test_deleting_and_reclaiming_makes_room_again() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    limits = Limits(segment=1 << 15, batch=1 << 15, reserve=20_000)
    disk = open_disk(files, index, limits)
    files.capacity = 300_000
    blobs: list[tuple[Digest, bytes]] = []
    fault = None
    while fault is None:
        blobs.append(blob_of(b"%06d" % len(blobs) * 400))
        fault = fault_of(lambda: disk.append(Batch(blobs=blobs[-1:])))
    assert fault.kind is Kind.NO_SPACE
    blobs.pop()
    disk.checkpoint({}, mark_of(0))
    disk.delete_blobs([digest for digest, _ in blobs[::2]])
    for _ in range(60):
        disk.reclaim(20_000)
        disk.checkpoint({}, mark_of(0))
    disk.append(Batch(blobs=[blob_of(b"new" * 1000)]))
    assert disk.stats().free > 90_000
    for digest, payload in blobs[1::2]:
        assert disk.read_blob(digest, verify=True) == payload


def test_what_a_full_disk_cut_off_is_not_read_back() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    size = len(files.contents("segment-00000001"))
    files.capacity = sum(map(len, files.everything().values())) + 2150  # less than the heads need
    with pytest.raises(Fault) as caught:
        disk.append(Batch(entries=[entry_of(2, 1, b"x" * 100), entry_of(3, 1, b"y" * 2000)]))
    assert caught.value.kind is Kind.NO_SPACE
    assert disk.log.last_index == 1
    assert len(files.contents("segment-00000001")) == size
    files.capacity = 1 << 30
    disk.append(Batch(entries=[entry_of(2, 2)]))
    disk.sync()
    assert log_of(open_disk(files, index)) == (1, (entry_of(1), entry_of(2, 2)))


@pytest.mark.parametrize("again", [0, 1])
def test_a_segment_begun_on_a_full_disk_does_not_cost_the_one_before(again: int) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    for at in range(1, 9):
        disk.append(Batch(entries=[entry_of(at, payload=bytes(700))]))
        disk.sync()

    def before(verb: str, name: str) -> None:
        if verb == "append" and name == "segment-00000002":
            raise OSError(errno.ENOSPC, "no space left")

    files.before = before
    fault = fault_of(lambda: disk.append(Batch(entries=[entry_of(9, payload=bytes(3000))])))
    assert fault is not None
    assert fault.kind is Kind.NO_SPACE
    disk.checkpoint({}, mark_of(4))
    for start in range(3):
        files = files.crash(lambda *_: True)
        disk = open_disk(files, index)
        last = disk.log.last_index
        assert last == 8 + start * again
        assert len(log_of(disk)[1]) == last
        if again:
            disk.append(Batch(entries=[entry_of(last + 1)]))
            disk.sync()


def refuse_segment(number: int) -> Callable[[str, str], None]:
    """A disk that is full at the very first write into this segment."""

    def before(verb: str, name: str) -> None:
        if verb == "append" and name == segment_name(number):
            raise OSError(errno.ENOSPC, "no space left")

    return before


def test_a_disk_that_was_full_at_its_very_first_write_is_not_damaged_later() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    files.before = refuse_segment(1)
    assert fault_of(lambda: disk.append(Batch(entries=[entry_of(1)]))) is not None
    disk.checkpoint({}, disk.saved().mark)
    for last in range(4):
        files = files.crash(lambda *_: True)
        disk = open_disk(files, index)
        assert disk.log.last_index == last
        disk.append(Batch(entries=[entry_of(last + 1)]))
        disk.sync()


def test_many_blobs_before_the_first_checkpoint_are_found_by_every_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_ROWS_MAX", 3)
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blobs = [blob_of(bytes([n]) * 900) for n in range(20)]
    disk.append(Batch(entries=[entry_of(1)]))
    for blob in blobs:
        disk.append(Batch(blobs=[blob]))
    disk.sync()
    disk.delete_blobs([blobs[5][0]])
    disk.sync()
    live = disk.stats().live
    for _ in range(3):
        disk = open_disk(files.crash(lambda *_: False), index)
        assert disk.missing([digest for digest, _ in blobs]) == [blobs[5][0]]
        assert disk.stats().live == live


def test_a_start_needs_no_room_for_a_segment_that_was_begun_on_a_full_disk() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1, payload=bytes(5000))]))
    files.before = refuse_segment(2)
    assert fault_of(lambda: disk.append(Batch(entries=[entry_of(2, payload=bytes(5000))])))
    disk.checkpoint({}, mark_of(1))

    def full() -> None:
        raise Fault(Kind.NO_SPACE, "the index has no room")

    files.before, index.on_commit = None, full
    for _ in range(2):
        files = files.crash(lambda *_: True)
        assert open_disk(files, index).log.last_index == 1


def test_the_vote_does_not_go_with_the_last_segment_that_says_it() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    vote = HardState(7, ME)
    disk.append(Batch(hard_state=vote))
    files.before = refuse_segment(2)
    assert fault_of(lambda: disk.append(Batch(entries=[entry_of(1, payload=bytes(9000))])))
    files.before = None
    disk.reclaim(100_000)
    disk.checkpoint({}, disk.saved().mark)
    for again in (open_disk(files, index), rebuild_disk(files, MemoryIndex())):
        assert again.saved().hard_state == vote
        assert again.damage is None


def test_a_lost_last_segment_does_not_cost_the_one_before() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    for at in range(1, 20):
        disk.append(Batch(entries=[entry_of(at, payload=bytes(700))]))
    disk.checkpoint({}, mark_of(19))
    contents = files.everything()
    assert "segment-00000002" in contents
    del contents["segment-00000002"]
    files = SimulatedFiles(contents)
    for _ in range(2):
        disk = open_disk(files, index, salvage=True)
        assert disk.damage is not None
        assert files.size("segment-00000001") == len(contents["segment-00000001"])


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    program = (
        "import sys\n"
        "from blocktree.disk import OsFiles\n"
        "from blocktree.fault import Fault\n"
        "try:\n    OsFiles(sys.argv[1])\nexcept Fault as fault:\n    print(fault.kind.name)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "BUSY\n"
    files.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    program = (
        "import sys, os, hashlib\n"
        "from blocktree.disk import *\n"
        "from blocktree.raft import *\n"
        "from disk.rig import *\n"
        "root = sys.argv[1]\n"
        "disk = open_disk(OsFiles(root), LmdbIndex(root + '/index'))\n"
        "for n in range(1, 100000):\n"
        "    disk.append(Batch(blobs=[blob_of(b'%d' % n * 500)], entries=[entry_of(n)]))\n"
        "    disk.sync()\n"
        "    if n % 7 == 0: disk.checkpoint({b'n': b'%d' % n}, mark_of(n))\n"
        "    print(n, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(60)]
        process.kill()
    last = int(lines[-1])
    disk = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"))
    assert disk.log.last_index >= last
    for n in range(1, last + 1):
        digest, payload = blob_of(b"%d" % n * 500)
        assert disk.read_blob(digest, verify=True) == payload
    assert int(disk.table_get(b"n") or b"0") == disk.saved().mark.index
    disk.close()


def test_an_unreadable_index_file_is_said_and_can_be_rebuilt(tmp_path: Path) -> None:
    disk = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"))
    digest, payload = blob_of(b"kept")
    disk.append(Batch(blobs=[(digest, payload)], entries=[entry_of(1)]))
    disk.checkpoint({}, mark_of(0))
    disk.close()
    (tmp_path / "index" / "data.mdb").write_bytes(b"rubbish" * 2000)
    with pytest.raises(Fault) as caught:
        LmdbIndex(tmp_path / "index")
    assert caught.value.kind is Kind.DAMAGED
    index = LmdbIndex(tmp_path / "index", anew=True)
    disk = Disk.rebuild(OsFiles(tmp_path), index, SMALL, KEEPER)
    assert disk.damage is None
    assert disk.read_blob(digest) == payload
    assert log_of(disk) == (1, (entry_of(1),))
    disk.close()


def test_bytes_that_the_index_knows_and_a_lying_disk_lost_are_noticed() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    files.lies = True
    disk.append(Batch(entries=[entry_of(2)]))
    disk.checkpoint({}, mark_of(1))
    with pytest.raises(Fault) as caught:
        open_disk(files.crash(lambda *_: False), index)
    assert caught.value.kind is Kind.DAMAGED
