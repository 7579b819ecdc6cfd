"""The frames of a link's own, pinned in `tests/vectors/link`."""

from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree.link import Failure, Hello, Lane
from blocktree.wire import FrameReader, Record, decode, encode, encode_frame
from vector import FOLDER, Vector, load, pin, verdict

TREE = "bt1" + "a" * 52
HELLO = Hello(1, TREE, f"/{TREE}/pi-1", Lane.BULK, bytes(range(8)), (b"leaf", b"root"))
DENIED = Fault(Kind.DENIED, "it was removed", path=f"/{TREE}/pi-1", next_step="bt node invite")
CASES: dict[str, tuple[str, bytes, bytes]] = {
    "hello": ("ok", encode(HELLO), b""),
    "hello-by-address": ("ok", encode(Hello(1, TREE, "", Lane.CONTROL, bytes(8), (b"x",))), b""),
    "hello-unknown-lane": ("malformed", encode(HELLO).replace(b"\x01\x48", b"\x07\x48"), b""),
    "hello-cut": ("malformed", encode(HELLO)[:-1], b""),
    "still-here": ("ok", b"", b""),
    "good-bye": ("ok", b"", encode(Failure.of(DENIED))),
    "good-bye-unknown-kind": ("ok", b"", encode(Failure(999, "something new"))),
    "good-bye-not-a-failure": ("malformed", b"", encode(HELLO)),
}


def read(stream: bytes) -> Record | None:
    reader = FrameReader()
    reader.get_buffer()[: len(stream)] = stream
    ((head, body),) = reader.buffer_updated(len(stream))
    if head:
        return decode(head, Hello)
    return decode(body, Failure) if len(body) else None


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    expect, head, body = CASES[name]
    made = Vector({"expect": expect}, [b"".join(map(bytes, encode_frame(head, body)))])
    pin("link", name, made, rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((FOLDER / "link").glob("*.txt")), ids=lambda p: p.stem)
def test_vectors_are_read_as_they_expect(path: Path) -> None:
    vector = load(path)
    assert verdict(lambda: read(vector.values[0])) == vector.headers["expect"]


def test_the_fault_of_a_good_bye_is_the_one_that_was_sent() -> None:
    vector = load(FOLDER / "link" / "good-bye.txt")
    failure = read(vector.values[0])
    assert isinstance(failure, Failure)
    assert str(failure.fault()) == str(DENIED)
    assert failure.fault().kind is Kind.DENIED
