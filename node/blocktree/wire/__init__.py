"""Canonical CBOR records and the frames that carry them on a link.

`SPEC.md` states the bytes; `tests/vectors/record` and `tests/vectors/frame` pin them.
"""

from blocktree.wire.cbor import Body
from blocktree.wire.frame import BODY_MAX, HEAD_MAX, FrameReader, encode_frame
from blocktree.wire.making import maker
from blocktree.wire.record import (
    Opaque,
    Record,
    body_field,
    body_of,
    carries_body,
    decode,
    decode_any,
    decode_each,
    encode,
    record,
    with_body,
)

__all__ = [
    "BODY_MAX",
    "HEAD_MAX",
    "Body",
    "FrameReader",
    "Opaque",
    "Record",
    "body_field",
    "body_of",
    "carries_body",
    "decode",
    "decode_any",
    "decode_each",
    "encode",
    "encode_frame",
    "maker",
    "record",
    "with_body",
]
