"""Frames come out whole however the stream is cut, and no length claim costs memory."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.wire import HEAD_MAX, FrameReader, encode_frame


def feed(reader: FrameReader, stream: bytes, step: int) -> Iterator[tuple[bytes, bytes]]:
    while stream:
        room = reader.get_buffer()
        count = min(len(room), step, len(stream))
        room[:count] = stream[:count]
        stream = stream[count:]
        for head, body in reader.buffer_updated(count):
            yield head, bytes(body)


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([0, 1, 300, 400_000])), max_size=8),
    st.sampled_from([1 << 10, 70_000, 1 << 20]),
)
def test_frames_survive_any_cut(shapes: list[tuple[bytes, int]], step: int) -> None:
    frames = [(head, bytes([len(head)]) * size) for head, size in shapes]
    stream = b"".join(bytes(part) for head, body in frames for part in encode_frame(head, body))
    assert list(feed(FrameReader(), stream, step)) == frames


def test_one_byte_at_a_time() -> None:
    stream = b"".join(map(bytes, encode_frame(b"head", b"body"))) * 3
    assert list(feed(FrameReader(), stream, 1)) == [(b"head", b"body")] * 3


def test_a_length_over_the_limit_is_refused_before_any_memory_is_taken() -> None:
    with pytest.raises(Fault) as caught:
        list(feed(FrameReader(), b"\xff" * 8, 8))
    assert caught.value.kind is Kind.MALFORMED


def test_a_head_over_the_limit_is_not_sent() -> None:
    with pytest.raises(Fault) as caught:
        encode_frame(bytes(HEAD_MAX + 1))
    assert caught.value.kind is Kind.TOO_LARGE
