"""A stream does not stay in memory once it is durable; what is small does."""

import mmap
from collections.abc import Iterator
from ctypes import CDLL, byref, c_char, c_size_t, c_ubyte, create_string_buffer
from pathlib import Path

import pytest

from blocktree.disk import Batch, Disk, Limits, LmdbIndex, OsFiles
from disk.rig import blob_of, entry_of, open_disk

LIMITS = Limits(segment=64 << 20, batch=16 << 20, reserve=0, log_cache=512)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = open_disk(OsFiles(tmp_path), LmdbIndex(tmp_path / "index"), LIMITS)
    yield made
    made.close()


def resident(file: Path) -> int:
    """The bytes of a file that the kernel has in memory (mincore)."""
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        pages = (len(mapped) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        found = create_string_buffer(pages)
        start = c_char.from_buffer(mapped)
        arguments = byref(start)
        assert CDLL(None).mincore(arguments, c_size_t(len(mapped)), found) == 0
        del start, arguments
        return sum(bit & 1 for bit in (c_ubyte * pages).from_buffer(found)) * mmap.PAGESIZE


def segment_of(directory: Path) -> Path:
    return max(
        (path for path in directory.iterdir() if path.is_file()), key=lambda p: p.stat().st_size
    )


def test_a_stream_is_not_kept_in_memory(disk: Disk, tmp_path: Path) -> None:
    blobs = [blob_of(bytes([number]) * (1 << 20)) for number in range(12)]
    for start in range(0, 12, 4):
        disk.append(Batch(blobs=blobs[start : start + 4]))
        disk.sync()
    assert resident(segment_of(tmp_path)) < 6 << 20  # pages across the edges of pieces may stay
    for digest, content in blobs:
        assert disk.read_blob(digest, verify=True) == content


def test_entries_and_small_files_are(disk: Disk, tmp_path: Path) -> None:
    for number in range(1, 20):
        entries = [entry_of(number, payload=bytes(50_000))]
        disk.append(Batch(blobs=[blob_of(b"%d" % number * 10_000)], entries=entries))
        disk.sync()
    segment = segment_of(tmp_path)
    assert resident(segment) >= segment.stat().st_size
