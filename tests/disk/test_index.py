"""One suite for both indexes: atomic commits, ordered reads, frozen views, growth."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocktree.disk import Index, LmdbIndex, MemoryIndex, Space
from blocktree.fault import Fault, Kind


@pytest.fixture(params=["memory", "lmdb"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    made: Index = MemoryIndex() if request.param == "memory" else LmdbIndex(tmp_path)
    yield made
    made.close()


def test_commits_put_and_delete(index: Index) -> None:
    index.commit({Space.BLOBS: {b"a": b"1", b"b": b"2"}, Space.TABLE: {b"a": b"3"}})
    index.commit({Space.BLOBS: {b"a": None, b"c": b"4", b"none": None}})
    assert index.get_many(Space.BLOBS, [b"a", b"b", b"c"]) == [None, b"2", b"4"]
    assert index.get(Space.TABLE, b"a") == b"3"


def test_spaces_are_cleared_before_they_are_filled(index: Index) -> None:
    index.commit({Space.TABLE: {b"a": b"1"}, Space.LOG: {b"a": b"1"}})
    index.commit({Space.TABLE: {b"b": b"2"}}, clear=[Space.TABLE])
    assert index.items(Space.TABLE, b"", b"", 10) == [(b"b", b"2")]
    assert index.get(Space.LOG, b"a") == b"1"


def test_items_come_in_order_by_prefix_and_in_pages(index: Index) -> None:
    keys = [b"a", b"b", b"b1", b"b2", b"b\xff", b"c"]
    index.commit({Space.TABLE: {key: key for key in keys}})
    assert [k for k, _ in index.items(Space.TABLE, b"b", b"", 10)] == keys[1:5]
    assert [k for k, _ in index.items(Space.TABLE, b"b", b"b1", 10)] == keys[3:5]
    assert [k for k, _ in index.items(Space.TABLE, b"", b"b", 2)] == keys[2:4]
    assert [k for k, _ in index.items(Space.TABLE, b"", b"b0", 2)] == keys[2:4]
    assert index.items(Space.TABLE, b"", b"c", 2) == []
    assert index.items(Space.TABLE, b"d", b"", 2) == []


def test_a_view_stays_as_it_was(index: Index) -> None:
    index.commit({Space.TABLE: {b"a": b"1"}})
    view = index.view()
    index.commit({Space.TABLE: {b"a": b"2", b"b": b"3"}})
    assert view.items(Space.TABLE, b"", b"", 10) == [(b"a", b"1")]
    view.close()


def test_the_map_grows_under_readers_and_gives_up_views(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=1 << 20)
    index.commit({Space.TABLE: {b"first": b"1"}})
    view = index.view()
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            if index.get(Space.TABLE, b"first") != b"1":
                wrong.append("first")
            time.sleep(0.0002)  # threads that only hand the interpreter on starve the writer

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    for batch in range(8):
        rows: dict[bytes, bytes | None] = {b"%d/%d" % (batch, n): bytes(1000) for n in range(500)}
        index.commit({Space.TABLE: rows})
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert index.size() > 3 << 20
    with pytest.raises(Fault) as caught:
        view.items(Space.TABLE, b"", b"", 10)
    assert caught.value.kind is Kind.EXPIRED
    index.close()
    again = LmdbIndex(tmp_path, map_size=1 << 20)
    assert again.get(Space.TABLE, b"7/499") == bytes(1000)
    again.close()


def test_a_closed_index_says_so(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path)
    index.close()
    with pytest.raises(Fault) as caught:
        index.get(Space.TABLE, b"a")
    assert caught.value.kind is Kind.STOPPED
