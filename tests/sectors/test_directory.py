"""Directories against the plainest model there is: a dict."""

import contextlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.sectors import bucket
from blocktree.sectors.bucket import DirEntry, entry_size
from blocktree.sectors.directory import BUCKET_LOAD, Directory, bucket_count
from blocktree.sectors.header import DIRECTORY_SECTOR_BYTES, INLINE_MAX, FileKind

KEY = bytes(range(32))


def entry(name: bytes, file: int = 1) -> DirEntry:
    return DirEntry(name, FileId(file.to_bytes(16)), FileKind.FILE, bytes(31) + b"k", 1)


class Kept:
    """A directory as it is stored, opened anew for each use, so that nothing stays loaded."""

    def __init__(self) -> None:
        self.size = 0
        self.inline = b""
        self.sectors: dict[int, bytes] = {}
        self.written = 0
        self.loaded = 0

    def open(self) -> Directory:
        return Directory(KEY, self.size, self.inline)

    def load(self, directory: Directory, sectors: Iterable[int]) -> None:
        for sector in sectors:
            self.loaded += 1
            directory.load(sector, self.sectors.get(sector, b""))

    def save(self, directory: Directory) -> None:
        change = directory.change()
        self.size, self.inline = change.load, change.inline
        self.sectors = {n: c for n, c in self.sectors.items() if n < change.count}
        for sector, content in change.sectors.items():
            self.written += 1
            self.sectors.pop(sector, None)
            if content is not None:
                assert len(content) <= DIRECTORY_SECTOR_BYTES
                self.sectors[sector] = content

    def add(self, name: bytes, file: int = 1) -> None:
        directory = self.open()
        self.load(directory, directory.needed(name, entry_size(name)))
        directory.add(entry(name, file))
        self.save(directory)

    def remove(self, name: bytes) -> DirEntry:
        directory = self.open()
        self.load(directory, directory.needed(name, -entry_size(name)))
        gone = directory.remove(name)
        self.save(directory)
        return gone

    def lookup(self, name: bytes) -> DirEntry | None:
        directory = self.open()
        self.load(directory, directory.needed(name))
        return directory.lookup(name)

    def list(self) -> list[DirEntry]:
        cookie, entries = 0, []
        directory = self.open()
        while (sector := directory.next_sector(cookie)) is not None:
            if directory.count:
                self.load(directory, [sector])
            some, cookie = directory.entries(cookie)
            entries += [entry for _, entry in some]
        return entries


def test_a_small_directory_is_all_in_its_header() -> None:
    kept = Kept()
    for number in range(10):
        kept.add(b"file-%d" % number, number)
    assert not kept.sectors
    assert kept.size == 10 * entry_size(b"file-0") == 600
    assert len(kept.inline) == 640, "padded, so that lengths of names do not show"
    assert kept.lookup(b"file-7") == entry(b"file-7", 7)
    assert kept.lookup(b"file-17") is None


def test_ten_thousand_names_cost_one_bucket_each_to_add_look_up_and_remove() -> None:
    kept = Kept()
    names = [b"IMG_%05d.jpeg" % n for n in range(10_000)]
    for number, name in enumerate(names):
        kept.add(name, number)
    assert kept.written < 1.12 * len(names)
    assert len(kept.sectors) == bucket_count(kept.size) == 333
    assert max(map(len, kept.sectors.values())) <= 3 * BUCKET_LOAD
    kept.loaded = 0
    assert all(kept.lookup(name) == entry(name, n) for n, name in enumerate(names))
    assert kept.loaded == len(names)
    assert sorted(e.name for e in kept.list()) == names
    kept.written = 0
    for name in names:
        assert kept.remove(name).name == name
    assert kept.written < 1.12 * len(names)
    assert (kept.size, kept.inline, kept.sectors) == (0, b"", {})


def test_names_as_long_as_they_may_be_fit() -> None:
    kept = Kept()
    dice = random.Random(1)
    names = {dice.randbytes(255).translate(_NO_SLASH) for _ in range(3000)}
    for name in names:
        kept.add(name)
    assert {e.name for e in kept.list()} == names


_NO_SLASH = bytes(1 if byte in (0, 47) else byte for byte in range(256))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=500), st.booleans())
def test_any_order_of_adding_and_removing_leaves_what_a_dict_would_hold(
    edits: list[tuple[int, bool]], full: bool
) -> None:
    kept, model = Kept(), dict[bytes, int]()
    if full:
        for n in range(60):
            kept.add(b"%d-xxxx" % n, n)
            model[b"%d-xxxx" % n] = n
    for number, adds in edits:
        name = b"%d-xxxx" % number
        if adds and name not in model:
            kept.add(name, number)
            model[name] = number
        elif not adds and name in model:
            assert kept.remove(name) == entry(name, model.pop(name))
        assert kept.lookup(name) == (entry(name, model[name]) if name in model else None)
    assert {e.name: int.from_bytes(e.file) for e in kept.list()} == model
    assert kept.size == sum(map(entry_size, model))


def test_listing_neither_repeats_nor_skips_what_stays_while_others_come_and_go() -> None:
    kept = Kept()
    staying = {b"stays-%d" % n for n in range(500)}
    for name in staying:
        kept.add(name)
    dice, seen, cookie, come = random.Random(7), list[bytes](), 0, 0
    while True:
        directory = kept.open()
        sector = directory.next_sector(cookie)
        if sector is None:
            break
        if directory.count:
            kept.load(directory, [sector])
        entries, end = directory.entries(cookie)
        taken = entries[: dice.randint(1, 9)]
        cookie = end if len(taken) == len(entries) else taken[-1][0]
        seen += [e.name for _, e in taken if e.name in staying]
        for _ in range(dice.randint(0, 25)):
            kept.add(b"comes-%d" % come)
            come += 1
        if come > 1000:
            while come:
                come -= 1
                kept.remove(b"comes-%d" % come)
    assert len(seen) == len(staying)
    assert set(seen) == staying


def test_cookies_leave_room_for_dot_and_dotdot_and_fit_a_signed_offset() -> None:
    kept = Kept()
    for n in range(300):
        kept.add(b"%d" % n)
    directory = kept.open()
    kept.load(directory, range(directory.count))
    cookie = 0
    while directory.next_sector(cookie) is not None:
        entries, cookie = directory.entries(cookie)
        assert all(16 <= own < 1 << 63 for own, _ in entries)


def test_a_name_can_come_to_mean_another_file() -> None:
    kept = Kept()
    for n in range(100):
        kept.add(b"%d" % n, n)
    directory = kept.open()
    kept.load(directory, directory.needed(b"50"))
    assert directory.replace(entry(b"50", 5000)) == entry(b"50", 50)
    kept.save(directory)
    assert kept.lookup(b"50") == entry(b"50", 5000)
    with pytest.raises(Fault) as caught:
        Directory(KEY).replace(entry(b"50"))
    assert caught.value.kind is Kind.NOT_FOUND


def test_a_fork_does_not_show_in_the_original() -> None:
    first = Directory(KEY)
    first.add(entry(b"a"))
    second = first.fork()
    second.add(entry(b"b"))
    assert first.lookup(b"b") is None
    assert second.lookup(b"a") == entry(b"a")


def test_a_name_is_added_once_and_removed_once() -> None:
    directory = Directory(KEY)
    directory.add(entry(b"a"))
    with pytest.raises(Fault) as caught:
        directory.add(entry(b"a"))
    assert caught.value.kind is Kind.EXISTS
    directory.remove(b"a")
    with pytest.raises(Fault) as caught:
        directory.remove(b"a")
    assert caught.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"x" * 256])
def test_a_name_that_cannot_be_is_refused(name: bytes) -> None:
    with pytest.raises(Fault) as caught:
        Directory(KEY).add(entry(name))
    assert caught.value.kind is Kind.USAGE


def test_every_other_byte_may_be_in_a_name() -> None:
    directory = Directory(KEY)
    for byte in set(range(1, 256)) - {ord("/"), ord(".")}:
        name = bytes([byte])
        directory.add(entry(name))
        directory.remove(name)
    directory.add(entry(b"..."))


def test_names_chosen_to_fall_into_one_bucket_get_a_fault() -> None:
    directory = Directory(KEY, INLINE_MAX + 54 * 1000)
    for sector in range(directory.count):
        directory.load(sector, b"")
    names = (name for n in range(1 << 20) if directory.sector_of(name := b"%d" % n) == 3)

    def fill() -> None:
        for name in names:
            directory.size -= entry_size(name)  # as if as much was removed elsewhere
            directory.add(entry(name))

    with pytest.raises(Fault) as caught:
        fill()
    assert caught.value.kind is Kind.TOO_LARGE


def test_an_entry_in_a_wrong_bucket_does_not_confuse_a_listing() -> None:
    kept = Kept()
    names = {b"%d" % n for n in range(100)}
    for name in names:
        kept.add(name)
    directory = kept.open()
    stray = next(name for n in range(999) if directory.sector_of(name := b"stray-%d" % n) == 1)
    kept.sectors[0] = bucket.load(kept.sectors[0]) + bucket.pack(entry(stray))
    assert [e.name for e in kept.list() if e.name not in names] == []
    assert {e.name for e in kept.list()} == names


@given(st.binary(max_size=300))
def test_a_damaged_bucket_is_a_fault_or_holds_entries(padded: bytes) -> None:
    with contextlib.suppress(Fault):
        content = bucket.load(padded)
        assert b"".join(map(bucket.pack, bucket.unpack(content))) == content


@pytest.mark.parametrize(
    "padded",
    [
        bucket.pack(entry(b"a")) * 2,
        bucket.pack(entry(b"a/b")),
        bucket.pack(entry(b"a\0b")),
        bucket.pack(entry(b"..")),
        bucket.pack(entry(b"abc"))[:-1],
        bucket.pack(entry(b"abc")) + b"\0\0x",
        bucket.pack(entry(b"abc"))[:1] + b"\x09" + bucket.pack(entry(b"abc"))[2:],
    ],
)
def test_a_bucket_that_we_would_not_write_is_malformed(padded: bytes) -> None:
    with pytest.raises(Fault) as caught:
        bucket.load(padded)
    assert caught.value.kind is Kind.MALFORMED


def test_an_inline_directory_is_as_large_as_its_header_says() -> None:
    with pytest.raises(Fault) as caught:
        Directory(KEY, 100, bucket.pack(entry(b"a")))
    assert caught.value.kind is Kind.MALFORMED


def test_the_entries_beside_a_name_are_of_its_bucket_and_begin_behind_it() -> None:
    names = [b"n%d" % number for number in range(400)]
    kept = Kept()
    for number, name in enumerate(names):
        kept.add(name, number)
    directory = kept.open()
    assert directory.count > 2
    kept.load(directory, range(directory.count))
    for name in names[::17]:
        bucket_of = directory.sector_of(name)
        fellows = [other for other in names if directory.sector_of(other) == bucket_of]
        everybody = directory.beside(name, 1000)
        assert {each.name for each in everybody} == set(fellows) - {name}
        assert directory.beside(name, 3) == everybody[:3]
        assert directory.beside(name, 0) == []
    small = Directory(KEY)
    for name in (b"a", b"b", b"c", b"d"):
        small.add(entry(name))
    assert [each.name for each in small.beside(b"c", 9)] == [b"d", b"a", b"b"]
    assert [each.name for each in small.beside(b"gone", 2)] == [b"a", b"b"]
