"""Directory buckets, positions of names and hash trees, pinned by vectors."""

from dataclasses import replace

import pytest

import vector
from blocktree.names import Digest, FileId, digest_of
from blocktree.sectors import bucket
from blocktree.sectors.bucket import DirEntry
from blocktree.sectors.directory import Directory
from blocktree.sectors.header import INLINE_MAX, FileKind
from blocktree.sectors.pages import Tree, check_page, update

KEY = bytes(range(32))
ENTRY = DirEntry(b"photo.jpeg", FileId(bytes([7] * 16)), FileKind.FILE, bytes([9] * 32), 1)
LINK = replace(ENTRY, name=b"\xff\x01 odd", kind=FileKind.SYMLINK, epoch=256)
LONG = replace(ENTRY, name=b"n" * 255, kind=FileKind.DIRECTORY)
ONE = bucket.pack(ENTRY)


def _named(name: bytes) -> bytes:
    return bytes([len(name)]) + ONE[1 : bucket.ENTRY_HEAD_BYTES] + name


BUCKETS: dict[str, tuple[str, bytes]] = {
    "empty": ("ok", b""),
    "padding_only": ("ok", bytes(64)),
    "one_entry": ("ok", ONE),
    "padded": ("ok", bucket.pad(ONE, 64, INLINE_MAX)),
    "three_entries": ("ok", ONE + bucket.pack(LINK) + bucket.pack(LONG)),
    "entry_cut_in_its_head": ("malformed", ONE[:20]),
    "entry_cut_in_its_name": ("malformed", ONE[:-1]),
    "kind_unknown": ("malformed", ONE[:1] + b"\x09" + ONE[2:]),
    "a_name_twice": ("malformed", ONE + ONE),
    "name_with_a_slash": ("malformed", _named(b"a/b")),
    "name_with_a_nul": ("malformed", _named(b"a\0b")),
    "name_dot": ("malformed", _named(b".")),
    "name_dot_dot": ("malformed", _named(b"..")),
    "something_behind": ("malformed", ONE + bytes(9) + b"\x01"),
}
NAMES = (b"photo.jpeg", b"a", b"\xff", b"n" * 255)
COUNTS = (2, 3, 4, 5, 100, 1000)


@pytest.mark.parametrize("name", BUCKETS)
def test_the_bucket_vector_is_what_we_write(name: str, *, rewrite: bool) -> None:
    expect, padded = BUCKETS[name]
    headers = {"expect": expect, "values": "bucket"}
    vector.pin("directory", name, vector.Vector(headers, [padded]), rewrite=rewrite)


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_judged_as_its_vector_says(name: str) -> None:
    pinned = vector.load(vector.FOLDER / "directory" / f"{name}.txt")
    padded = pinned.values[0] if pinned.values else b""
    assert vector.verdict(lambda: bucket.load(padded)) == pinned.headers["expect"]
    if pinned.headers["expect"] == "ok":
        content = bucket.load(padded)
        assert b"".join(map(bucket.pack, bucket.unpack(content))) == content
        assert set(padded[len(content) :]) <= {0}


def test_the_place_of_a_name_is_pinned(*, rewrite: bool) -> None:
    headers = {"expect": "ok", "values": "directory key, then for each name: name, position u64"}
    for number, name in enumerate(NAMES, 1):
        sectors = []
        for count in COUNTS:
            directory = Directory(KEY, (count - 1) * 2048 + 1) if count > 1 else Directory(KEY)
            assert directory.count == count
            sectors.append(f"{count}:{directory.sector_of(name)}")
        headers[f"sectors {number}"] = " ".join(sectors)
    positions = [Directory(KEY)._position(name).to_bytes(8) for name in NAMES]
    values = [KEY, *(part for pair in zip(NAMES, positions, strict=True) for part in pair)]
    vector.pin("directory", "positions", vector.Vector(headers, values), rewrite=rewrite)


def _sector(number: int) -> Digest:
    return digest_of(b"sector %d" % number)


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 16384, 16385])
@pytest.mark.parametrize("step", [1, 50])
def test_the_root_of_a_tree_is_pinned(count: int, step: int, *, rewrite: bool) -> None:
    done = update(Tree(), {n: _sector(n) for n in range(0, count, step)}, count, {})
    headers = {
        "expect": "ok",
        "sectors": str(count),
        "why": f"sector n is a hole unless n is a multiple of {step}, else SHA-256('sector n')",
        "pages": str(len(done.made)),
        "values": "root",
    }
    made = vector.Vector(headers, [done.tree.root])
    vector.pin("page", f"root_of_{count}_every_{step}", made, rewrite=rewrite)


PAGES: dict[str, tuple[str, bytes]] = {
    "one_slot": ("ok", _sector(0)),
    "full": ("ok", b"".join(map(_sector, range(128)))),
    "hole_before_a_sector": ("ok", bytes(32) + _sector(1)),
    "empty": ("damaged", b""),
    "trailing_hole": ("damaged", _sector(0) + bytes(32)),
    "holes_only": ("damaged", bytes(4096)),
    "odd_length": ("damaged", _sector(0) + b"x"),
    "too_long": ("damaged", b"".join(map(_sector, range(129)))),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_judged_as_its_vector_says(name: str, *, rewrite: bool) -> None:
    expect, page = PAGES[name]
    made = vector.Vector({"expect": expect, "values": "page"}, [page])
    vector.pin("page", name, made, rewrite=rewrite)
    pinned = vector.load(vector.FOLDER / "page" / f"{name}.txt")
    page = pinned.values[0] if pinned.values else b""
    verdict = vector.verdict(lambda: check_page(digest_of(page), page))
    assert verdict == pinned.headers["expect"]
