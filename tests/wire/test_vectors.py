"""The bytes of frames and records, pinned in `tests/vectors/frame` and `tests/vectors/record`.

The record of the vectors is 0x7f21: integer, bytes, text, bool, real, list of integers, and an
integer or null that may be absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cbor2
import pytest

from blocktree.wire import FrameReader, Record, decode, encode, encode_frame, record
from vector import FOLDER, Vector, load, pin, verdict

LIMIT = 1 << 16  # of head and of body, in the vectors


@record(0x7F21)
@dataclass(frozen=True, slots=True)
class Sample(Record):
    number: int
    raw: bytes
    text: str
    flag: bool
    real: float
    numbers: tuple[int, ...]
    maybe: int | None = None


def sample(number: int = 0, raw: bytes = b"", text: str = "", maybe: int | None = None) -> bytes:
    return encode(Sample(number, raw, text, True, 0.5, (), maybe))  # noqa: FBT003


PLAIN = [0x7F21, 0, b"", "", True, 0.5, [], None]
RECORDS = {
    "zero": sample(),
    "integer-23": sample(23),
    "integer-24": sample(24),
    "integer-65536": sample(65_536),
    "integer-largest": sample((1 << 64) - 1),
    "integer-smallest": sample(-(1 << 63)),
    "text-and-bytes": sample(1, bytes(300), "Grüße, 世界 🌳", 5),
    "list-long": encode(Sample(0, b"", "", False, -0.0, tuple(range(30)))),  # noqa: FBT003
    "last-field-absent": cbor2.dumps(PLAIN[:-1]),
    "BAD-field-missing": cbor2.dumps(PLAIN[:-2]),
    "BAD-field-too-many": cbor2.dumps([*PLAIN, 1]),
    "BAD-code-unknown": cbor2.dumps([0x7EEE]),
    "BAD-not-an-array": cbor2.dumps(7),
    "BAD-empty": b"",
    "BAD-trailing-byte": sample() + b"\0",
    "BAD-cut": sample(1, b"abc")[:-1],
    "BAD-integer-over-long": sample(5).replace(b"\x21\x05", b"\x21\x18\x05"),
    "BAD-length-over-long": sample().replace(b"\x40", b"\x58\x00", 1),
    "BAD-array-indefinite": b"\x9f" + sample()[1:] + b"\xff",
    "BAD-real-short": sample().replace(cbor2.dumps(0.5), b"\xf9\x38\x00"),
    "BAD-bool-for-integer": cbor2.dumps([0x7F21, True, *PLAIN[2:]]),
    "BAD-bytes-for-text": cbor2.dumps([*PLAIN[:3], b"", *PLAIN[4:]]),
    "BAD-text-not-utf-8": sample().replace(b"\x40\x60", b"\x40\x61\xff"),
    "BAD-bignum": cbor2.dumps([0x7F21, 1 << 64, *PLAIN[2:]]),
    "BAD-integer-below-smallest": cbor2.dumps([0x7F21, -(1 << 63) - 1, *PLAIN[2:]]),
    "BAD-tag": cbor2.dumps([0x7F21, cbor2.CBORTag(99, 0), *PLAIN[2:]]),
    "BAD-map": cbor2.dumps({1: 2}),
    "BAD-deep": b"\x81" * 40 + b"\0",
}

Frames = Sequence[tuple[bytes, bytes]]
FRAMES: dict[str, Frames] = {
    "empty": [(b"", b"")],
    "head-only": [(b"head", b"")],
    "body-only": [(b"", b"body")],
    "head-and-body": [(b"head", b"body")],
    "three": [(b"a", b""), (b"", b""), (b"bc", bytes(300))],
}
BAD_FRAMES = {
    "BAD-head-too-large": (LIMIT + 1).to_bytes(4) + bytes(4),
    "BAD-body-too-large": bytes(4) + (LIMIT + 1).to_bytes(4),
    "BAD-lengths-all-ones": b"\xff" * 8,
}


def stream(frames: Frames) -> bytes:
    return b"".join(bytes(part) for head, body in frames for part in encode_frame(head, body))


def cut(data: bytes) -> Frames:
    reader = FrameReader(LIMIT, LIMIT)
    frames = []
    while data:
        room = reader.get_buffer()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        frames += [(head, bytes(body)) for head, body in reader.buffer_updated(count)]
    return frames


def expectation(name: str) -> str:
    return "malformed" if name.startswith("BAD-") else "ok"


@pytest.mark.parametrize("name", RECORDS)
def test_record_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    made = Vector({"expect": expectation(name), "code": "0x7f21"}, [RECORDS[name]])
    pin("record", name.lower(), made, rewrite=rewrite)


@pytest.mark.parametrize("name", [*FRAMES, *BAD_FRAMES])
def test_frame_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    frames = FRAMES.get(name, ())
    headers = {
        "expect": expectation(name),
        "limit": str(LIMIT),
        "frames": ", ".join(f"{len(head)} + {len(body)}" for head, body in frames) or "none",
    }
    parts = [part for frame in frames for part in frame if part]
    made = Vector(headers, [BAD_FRAMES.get(name, stream(frames)), *parts])
    pin("frame", name.lower(), made, rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((FOLDER / "record").glob("*.txt")), ids=lambda p: p.stem)
def test_record_vectors_are_read_as_they_expect(path: Path) -> None:
    vector = load(path)
    data = b"".join(vector.values)
    assert verdict(lambda: decode(data, Sample)) == vector.headers["expect"]
    if vector.headers["expect"] == "ok" and "absent" not in str(path):
        assert encode(decode(data, Sample)) == data


@pytest.mark.parametrize("path", sorted((FOLDER / "frame").glob("*.txt")), ids=lambda p: p.stem)
def test_frame_vectors_are_read_as_they_expect(path: Path) -> None:
    vector = load(path)
    data, *parts = vector.values
    assert verdict(lambda: cut(data)) == vector.headers["expect"]
    if vector.headers["expect"] == "ok":
        frames = cut(data)
        sizes = ", ".join(f"{len(head)} + {len(body)}" for head, body in frames)
        assert sizes == vector.headers["frames"]
        assert [part for frame in frames for part in frame if part] == parts
