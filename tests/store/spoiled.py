"""Disks of stopped nodes, spoiled: one bit in a place of a given kind."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path as File

import lmdb

from blocktree.disk import Disk, Space
from blocktree.disk.files import OsFiles
from blocktree.disk.scan import Found, walk
from blocktree.disk.segment import HEAD_SIZE, Head, key_of, segment_number
from blocktree.fault import Fault
from blocktree.names import Digest
from blocktree.wire import decode
from store.world import World


def pull_plug(place: World, name: str) -> "World":
    """Remember what the node's disk holds just now, as a power cut would leave it."""
    shutil.rmtree(place.root / f"{name}.cut", ignore_errors=True)
    shutil.copytree(place.root / name, place.root / f"{name}.cut")
    return place


async def lose_power(place: World, name: str) -> File:
    """Stop a node as a power cut does: nothing is written on the way out; its directory."""
    pull_plug(place, name)
    await place.crash(name)
    shutil.rmtree(place.root / name)
    (place.root / f"{name}.cut").rename(place.root / name)
    return place.root / name


def heads(root: File) -> Iterator[tuple[File, Head]]:
    """Every sound record of a node's segments, with its file."""
    folder = root / "log"
    disk = identity_of(folder)
    files = OsFiles(folder)
    try:
        for path in sorted(folder.glob("segment-*")):
            number = segment_number(path.name)
            assert number is not None
            file = files.open(path.name)
            for item in walk(file, number, key_of(disk), size=file.size()):
                if isinstance(item, Found):
                    yield path, item.head
    finally:
        files.close()


def identity_of(folder: File) -> bytes:
    from blocktree.disk.identity import Identity  # noqa: PLC0415

    return decode((folder / "identity").read_bytes()[HEAD_SIZE:], Identity).disk


def flip(path: File, offset: int, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bit]))


def flip_record(root: File, choose: Callable[[Head], bool], at: int = HEAD_SIZE) -> Head:
    """Flip a bit of the first record that `choose` likes, `at` bytes behind its begin."""
    for path, head in heads(root):
        if choose(head):
            flip(path, head.offset + at)
            return head
    raise AssertionError("no such record")


def flip_row(root: File, space: Space, key: bytes, at: int) -> None:
    """Flip a bit of a value in the index's file."""
    with (
        lmdb.open(str(root / "index"), max_dbs=len(Space)) as index,
        index.begin(write=True) as change,
    ):
        table = index.open_db(space.name.lower().encode(), change)
        row = bytearray(change.get(key, db=table) or b"")
        row[at] ^= 1
        change.put(key, bytes(row), db=table)


def is_sound(disk: Disk, digest: Digest) -> bool:
    try:
        disk.read_blob(digest, verify=True)
    except Fault:
        return False
    return True
