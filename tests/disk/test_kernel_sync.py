"""Syncs by the kernel's asynchronous I/O, where it has that."""

import contextlib
import errno
import os
import select
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from blocktree.disk import Batch, Disk, KernelSync, LmdbIndex, OsFiles, files
from blocktree.disk.stream import Stream
from blocktree.fault import Kind
from disk.rig import blob_of, entry_of, fault_of, open_disk


@pytest.fixture
def kernel() -> Iterator[KernelSync]:
    made = KernelSync.open()
    if made is None:
        pytest.skip("this kernel cannot sync by itself")
    yield made
    made.close()


def wait(kernel: KernelSync) -> int | None:
    assert select.select([kernel.descriptor], [], [], 30)[0]
    return kernel.take()


def test_a_file_is_synced_again_and_again(kernel: KernelSync, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for number in range(20):
            file.write(bytes([number]) * 5000)
            assert kernel.submit(file.fileno())
            assert wait(kernel) == 0
    assert kernel.take() is None


def test_what_cannot_be_synced_is_told(kernel: KernelSync) -> None:
    reading, writing = os.pipe()
    try:
        assert not kernel.submit(writing) or wait(kernel) == errno.EINVAL
    finally:
        os.close(reading)
        os.close(writing)


def test_closing_waits_for_what_is_under_way(tmp_path: Path) -> None:
    made = KernelSync.open()
    if made is None:
        pytest.skip("this kernel cannot sync by itself")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        assert made.submit(file.fileno())
        made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"))
    yield made
    made.close()


def descriptors(below: Path) -> dict[int, str]:
    """Those of this process whose file lies there."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list descriptors")
    found: dict[int, str] = {}
    for number in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            path = number.readlink()
            if path.is_relative_to(below):
                found[int(number.name)] = path.name
    return found


def test_two_that_sync_beside_each_other_are_both_told_of_an_error(
    disk: Disk, tmp_path: Path
) -> None:
    """Linux tells once for each open file description: each has its own, which has its own offset.

    By hand, with a loop device that had no room: of 300 failed syncs by two at once one was told
    that all is well in all 300 with one description, in none with two.
    """
    disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    disk.append(Batch(entries=[entry_of(2)]))
    here = descriptors(tmp_path)
    found = disk.begin_sync()
    assert found is not None
    (other,) = (n for n, name in here.items() if name == here[found] and n != found)
    assert os.path.samestat(os.fstat(found), os.fstat(other))
    os.lseek(found, 7, os.SEEK_SET)
    assert os.lseek(other, 0, os.SEEK_CUR) == 0
    os.fdatasync(found)
    disk.end_sync(0)
    assert disk.unsynced == 0


def test_only_the_active_segment_has_a_descriptor_more(disk: Disk, tmp_path: Path) -> None:
    for number in range(100):
        disk.append(Batch(blobs=[blob_of(b"%4d" % number * 1500)]))
    names = descriptors(tmp_path).values()
    count = Counter(name for name in names if name.startswith("segment-"))
    assert count.pop(max(count)) == 2
    assert set(count.values()) == {1}
    assert len(list(tmp_path.iterdir())) > 100


def test_without_a_second_descriptor_a_thread_syncs(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_inside(path: str, *more: int, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *more, dir_fd=dir_fd)

    real = os.open
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", only_inside)
        disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    disk.append(Batch(entries=[entry_of(2)]))
    assert disk.begin_sync() is None
    disk.sync()
    assert disk.unsynced == 0


def test_a_sync_that_another_thread_saw_fail_acknowledges_nothing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.append(Batch(entries=[entry_of(1)]))
    disk.sync()
    disk.append(Batch(entries=[entry_of(2)]))
    if disk.begin_sync() is None:
        pytest.skip("this system cannot sync beside the disk")
    monkeypatch.setattr(files, "_sync_contents", fail)
    for sync in (disk.sync, partial(disk.end_sync, 0)):
        fault = fault_of(sync)
        assert fault is not None
        assert fault.kind is Kind.FAILED
    assert disk.unsynced > 0


def test_a_segment_that_begins_as_a_sync_ends_has_nothing_synced(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk's thread may leave the segment while the loop ends the sync of it."""
    disk.append(Batch(entries=[entry_of(1, payload=b"1" * 4000)]))
    disk.sync()
    disk.append(Batch(entries=[entry_of(2)]))
    if disk.begin_sync() is None:
        pytest.skip("this system cannot sync beside the disk")
    large = entry_of(3, payload=b"3" * 5000)
    chore = threading.Thread(target=disk.append, args=[Batch(entries=[large])])
    settled = Stream._settled

    def late(stream: Stream, end: int) -> None:
        if not chore.ident:
            chore.start()
            chore.join(0.2)
        settled(stream, end)

    monkeypatch.setattr(Stream, "_settled", late)
    disk.end_sync(0)
    chore.join()
    assert disk.unsynced > 5000
