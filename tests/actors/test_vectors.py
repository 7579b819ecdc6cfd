"""The heads of messages between processes, pinned in `tests/vectors/message`."""

from pathlib import Path

import pytest

from blocktree.actors import Done
from blocktree.actors.remote import (
    Form,
    PathRoute,
    Route,
    Tells,
    encode_head,
    encode_message,
    encode_route,
    split_head,
)
from blocktree.fault import Fault, Kind
from blocktree.link import Failure
from blocktree.wire import Record, decode, decode_each, encode
from vector import FOLDER, Vector, load, pin, verdict

ROUTE = encode_route("store", "files")
PATH_ROUTE = encode_route("", "files", "/bt1x/sensors/attic", 17)
FULL = Failure.of(Fault(Kind.NO_SPACE, "the disk is full"))
CASES = {
    "tell": ("ok", encode_message(Form.TELL, 0, ROUTE, Done())),
    "tell-from-nobody": ("ok", encode_message(Form.TELL, 0, encode_route("store", ""), Done())),
    "tells": ("ok", Tells(ROUTE).head([encode(Done()), encode(FULL)])),
    "tells-of-one": ("ok", Tells(ROUTE).head([encode(Done())])),
    "tells-not-an-array": ("malformed", encode_head(Form.TELLS, 0, ROUTE) + b"\xa0"),
    "tells-cut-short": ("malformed", Tells(ROUTE).head([encode(Done()), encode(Done())])[:-1]),
    "tells-one-is-no-record": ("malformed", Tells(ROUTE).head([encode(Done()), b"\xf6"])),
    "ask": ("ok", encode_message(Form.ASK, 0xDEADBEEF, ROUTE, Done())),
    "tell-a-path": ("ok", encode_message(Form.TELL, 0, PATH_ROUTE, Done())),
    "answer": ("ok", encode_message(Form.ANSWER, 0xDEADBEEF, b"", Done())),
    "refusal": ("ok", encode_message(Form.REFUSAL, 0xDEADBEEF, b"", FULL)),
    "unknown-form": ("malformed", b"\x05" + encode_message(Form.TELL, 0, ROUTE, Done())[1:]),
    "too-short": ("malformed", b"\0" * 6),
    "route-over-the-end": ("malformed", b"\0" * 5 + b"\0\x09" + ROUTE[:8]),
    "route-too-long": ("malformed", b"\0" * 5 + b"\x04\x01" + bytes(1025)),
    "route-not-a-record": ("malformed", b"\0" * 5 + b"\0\x01\xff"),
    "message-missing": ("malformed", encode_message(Form.TELL, 0, ROUTE, Done())[:-4]),
}


def read(head: bytes) -> Record | list[Record | Fault]:
    form, _number, route, data = split_head(head)
    if form not in set(Form):
        raise Fault(Kind.MALFORMED, "no such form")
    if route:
        assert isinstance(decode(route, Record), Route | PathRoute)
    if form != Form.TELLS:
        return decode(data, Record)
    messages = decode_each(data)
    for message in messages:
        if isinstance(message, Fault):
            raise message
    return messages


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    expect, head = CASES[name]
    pin("message", name, Vector({"expect": expect}, [head]), rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((FOLDER / "message").glob("*.txt")), ids=lambda p: p.stem)
def test_vectors_are_read_as_they_expect(path: Path) -> None:
    vector = load(path)
    assert verdict(lambda: read(vector.values[0])) == vector.headers["expect"]
