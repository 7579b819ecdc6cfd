"""What is written is read back, now and after a restart."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocktree.disk import (
    Batch,
    Disk,
    Files,
    Index,
    Keeper,
    Limits,
    LmdbIndex,
    MemoryIndex,
    OsFiles,
    SimulatedFiles,
)
from blocktree.fault import Fault, Kind
from blocktree.names import PrincipalId, TreeId
from blocktree.raft import HardState, NodeId
from disk.rig import KEEPER, SMALL, Run, blob_of, check, entry_of, log_of, mark_of, open_disk

Reopen = Callable[[], Disk]


@pytest.fixture(params=["memory", "real"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the same disk again, each time as after a restart of the process."""
    memory = SimulatedFiles(), MemoryIndex()
    opened: list[Disk] = []

    def reopen() -> Disk:
        files: Files
        index: Index
        if request.param == "memory":
            files, index = memory
        else:
            if opened:
                opened.pop().close()
            files, index = OsFiles(tmp_path), LmdbIndex(tmp_path / "index")
        opened.append(open_disk(files, index))
        return opened[-1]

    yield reopen
    if opened:
        opened[-1].close()


def both(disk: Disk, reopen: Reopen) -> Iterator[Disk]:
    """The disk as it is, then as it is after a restart."""
    yield disk
    yield reopen()


def test_blobs_entries_and_votes_survive_a_restart(reopen: Reopen) -> None:
    disk = reopen()
    blobs = [blob_of(b"x" * size) for size in (0, 1, 1024, 1025, 4096)]
    entries = [entry_of(1), entry_of(2, 1, b"p" * 3000)]
    state = HardState(3, NodeId("ab"))
    disk.append(Batch(hard_state=state, blobs=blobs, entries=entries))
    disk.sync()
    for here in both(disk, reopen):
        assert [bytes(here.read_blob(d, verify=True)) for d, _ in blobs] == [b for _, b in blobs]
        assert log_of(here) == (1, tuple(entries))
        assert here.saved().hard_state == state


def test_new_entries_replace_old_ones_from_their_index_on(reopen: Reopen) -> None:
    disk = reopen()
    disk.append(Batch(entries=[entry_of(i) for i in (1, 2, 3, 4)]))
    disk.append(Batch(entries=[entry_of(2, 2, b"other")]))
    disk.sync()
    for here in both(disk, reopen):
        assert log_of(here) == (1, (entry_of(1), entry_of(2, 2, b"other")))
        assert here.log.term(2) == 2
        with pytest.raises(Fault, match="not in the log"):
            here.log.entries(3, 4, 100)


def test_a_checkpoint_holds_the_table_and_where_everything_lies(reopen: Reopen) -> None:
    disk = reopen()
    digest, blob = blob_of(b"blob")
    disk.append(Batch(blobs=[(digest, blob)], entries=[entry_of(1), entry_of(2)]))
    disk.checkpoint({b"a": b"1", b"b": b"2"}, mark_of(1))
    disk.checkpoint({b"a": None, b"c": b"3"}, mark_of(2))
    for here in both(disk, reopen):
        assert here.table_get(b"a") is None
        assert here.table_items(b"") == [(b"b", b"2"), (b"c", b"3")]
        assert here.table_items(b"", after=b"b", limit=1) == [(b"c", b"3")]
        assert here.saved().mark == mark_of(2)
        assert log_of(here) == (1, (entry_of(1), entry_of(2)))
        assert here.read_blob(digest) == blob


def test_the_log_is_dropped_up_to_a_checkpoint_but_not_beyond(reopen: Reopen) -> None:
    disk = reopen()
    disk.append(Batch(entries=[entry_of(i) for i in range(1, 6)]))
    disk.checkpoint({}, mark_of(3))
    with pytest.raises(Fault, match="needed"):
        disk.compact(mark_of(4))
    disk.compact(mark_of(3))
    disk.sync()
    for here in both(disk, reopen):
        assert (here.log.first_index, here.log.last_index) == (4, 5)
        assert here.log.term(3) == 1


def test_deleted_blobs_are_gone_and_may_come_back(reopen: Reopen) -> None:
    disk = reopen()
    (one, first), (two, second) = blob_of(b"one"), blob_of(b"two")
    disk.append(Batch(blobs=[(one, first), (two, second)]))
    disk.checkpoint({}, mark_of(0))
    disk.delete_blobs([one, two])
    disk.append(Batch(blobs=[(two, second)]))
    disk.sync()
    for here in both(disk, reopen):
        assert here.missing([one, two]) == [one]
        with pytest.raises(Fault) as caught:
            here.read_blob(one)
        assert caught.value.kind is Kind.NOT_FOUND
        assert here.read_blob(two) == second


def test_blobs_are_staged_until_something_refers_to_them(reopen: Reopen) -> None:
    disk = reopen()
    blobs = [blob_of(b"%d" % n) for n in range(4)]
    disk.append(Batch(blobs=blobs[:2], stamp=100))
    disk.checkpoint({}, mark_of(0))
    disk.append(Batch(blobs=blobs[2:], stamp=200))
    disk.keep([blobs[0][0], blobs[2][0]])
    disk.checkpoint({}, mark_of(0))
    for here in both(disk, reopen):
        assert here.staged(before=150) == [blobs[1][0]]
        assert sorted(here.staged(before=201)) == sorted([blobs[1][0], blobs[3][0]])


def test_a_blob_put_again_counts_as_staged_again_but_is_written_once(reopen: Reopen) -> None:
    disk = reopen()
    digest, blob = blob_of(b"b" * 500)
    disk.append(Batch(blobs=[(digest, blob)], stamp=100))
    disk.checkpoint({}, mark_of(0))
    size = disk.stats().live
    disk.append(Batch(blobs=[(digest, blob), (digest, blob)], stamp=300))
    assert disk.staged(before=200) == []
    assert disk.stats().live == size
    disk.checkpoint({}, mark_of(0))
    assert reopen().staged(before=400) == [digest]


def test_a_kept_blob_that_is_put_again_stays_kept(reopen: Reopen) -> None:
    disk = reopen()
    digest, blob = blob_of(b"b" * 500)
    disk.append(Batch(blobs=[(digest, blob)], stamp=100, kept=True))
    disk.checkpoint({}, mark_of(0))
    disk.append(Batch(blobs=[(digest, blob)], stamp=300))
    assert disk.staged(before=400) == []


def test_a_blob_that_was_dropped_put_again_and_kept_is_kept(reopen: Reopen) -> None:
    disk = reopen()
    digest, blob = blob_of(b"b" * 500)
    disk.append(Batch(blobs=[(digest, blob)], stamp=100))
    disk.checkpoint({}, mark_of(0))
    disk.delete_blobs([digest])
    disk.append(Batch(blobs=[(digest, blob)], stamp=300))
    disk.keep([digest])
    for here in both(disk, reopen):
        here.checkpoint({}, mark_of(0))
        assert here.staged(before=400) == []


def test_a_restored_snapshot_replaces_table_and_log(reopen: Reopen) -> None:
    disk = reopen()
    disk.append(Batch(entries=[entry_of(1), entry_of(2)]))
    disk.checkpoint({b"old": b"1"}, mark_of(1))
    mark = mark_of(50, 7)
    assert disk.begin_restore(mark) == b""
    disk.add_restore([(b"a", b"1"), (b"b", b"2")])
    disk = reopen()
    assert disk.table_get(b"old") == b"1"
    assert disk.begin_restore(mark) == b"b"
    disk.add_restore([(b"c", b"3")])
    disk.finish_restore(mark)
    disk.append(Batch(entries=[entry_of(51, 7)]))
    disk.sync()
    for here in both(disk, reopen):
        assert here.table_items(b"") == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
        assert here.saved().mark == mark
        assert log_of(here) == (51, (entry_of(51, 7),))


def test_another_snapshot_starts_from_nothing(reopen: Reopen) -> None:
    disk = reopen()
    disk.begin_restore(mark_of(5))
    disk.add_restore([(b"a", b"1")])
    assert disk.begin_restore(mark_of(6)) == b""
    with pytest.raises(Fault, match="another snapshot"):
        disk.finish_restore(mark_of(5))
    disk.finish_restore(mark_of(6))
    assert disk.table_items(b"") == []


def test_a_snapshot_does_not_move(reopen: Reopen) -> None:
    disk = reopen()
    disk.checkpoint({b"%03d" % n: b"old" for n in range(300)}, mark_of(0))
    snapshot = disk.snapshot()
    disk.checkpoint({b"%03d" % n: b"new" for n in range(400)}, mark_of(0))
    assert snapshot.mark == mark_of(0)
    pairs = list(snapshot.items(limit=100))
    while more := snapshot.items(pairs[-1][0], limit=100):
        pairs += more
    assert pairs == [(b"%03d" % n, b"old") for n in range(300)]
    snapshot.close()


def test_a_long_run_over_many_segments_ends_in_the_truth(reopen: Reopen) -> None:
    disk = reopen()
    run = Run(disk, seed=3)
    for _ in range(400):
        run.step()
    run.sync()
    check(run.disk, run.truth)
    assert disk.stats().segments > 3
    again = reopen()
    check(again, run.truth)
    assert dict(again.table_items(b"")) == run.truth.table


@pytest.mark.parametrize(
    ("keeper", "kind"),
    [
        (Keeper(TreeId("bt1" + "b" * 52), KEEPER.node), Kind.WRONG_TREE),
        (Keeper(KEEPER.tree, PrincipalId(b"m" * 32)), Kind.DENIED),
    ],
)
def test_anothers_directory_is_refused(keeper: Keeper, kind: Kind) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    open_disk(files, index)
    with pytest.raises(Fault) as caught:
        Disk.open(files, index, SMALL, keeper)
    assert caught.value.kind is kind


def test_entries_that_leave_a_gap_are_refused(reopen: Reopen) -> None:
    disk = reopen()
    with pytest.raises(Fault) as caught:
        disk.append(Batch(entries=[entry_of(2)]))
    assert caught.value.kind is Kind.USAGE
    disk.append(Batch(entries=[entry_of(1)]))
    assert log_of(disk) == (1, (entry_of(1),))


def test_a_batch_that_is_too_large_is_refused_whole(reopen: Reopen) -> None:
    disk = reopen()
    with pytest.raises(Fault) as caught:
        disk.append(Batch(blobs=[blob_of(bytes(70_000))], entries=[entry_of(1)]))
    assert caught.value.kind is Kind.TOO_LARGE
    assert disk.log.last_index == 0


def test_zeros_lie_behind_the_end_of_the_active_segment_alone(tmp_path: Path) -> None:
    def reopen() -> Disk:
        return open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"))

    def sizes() -> list[int]:
        return [path.stat().st_size for path in sorted(tmp_path.glob("segment-*"))]

    disk = reopen()
    disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    size = disk.stats().live + disk.stats().dead
    assert sizes()[0] > size
    disk.close()
    disk = reopen()
    assert sizes() == [size]
    index = 2
    while len(sizes()) < 2:
        disk.append(Batch(entries=[entry_of(index, payload=bytes(1000))]))
        index += 1
    first = disk.stats().live + disk.stats().dead
    disk.sync()
    disk.close()
    disk = reopen()
    assert disk.log.last_index == index - 1
    assert sum(sizes()) == disk.stats().live + disk.stats().dead == first
    disk.close()


def test_a_large_append_is_not_written_twice(tmp_path: Path) -> None:
    disk = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"), Limits())
    disk.append(Batch(blobs=[blob_of(bytes(1 << 20))]))
    size = disk.stats().live + disk.stats().dead
    assert (tmp_path / "segment-00000001").stat().st_size == size
    disk.close()
