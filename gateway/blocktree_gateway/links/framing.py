"""Frames on a serial line: `00`, COBS of packet and CRC-32, `00`.

COBS (Cheshire and Baker 1999) leaves no zero in a frame, so a reader that lost its way is back at
the next zero. Everything is bounded: after 4096 bytes without a zero only their number is kept.
"""

import zlib
from collections.abc import Iterator
from typing import Final

PACKET_BYTES_MAX: Final = 248
FRAME_BYTES_MAX: Final = 253  # between the zeros
_PACKET_BYTES_MIN: Final = 1
_SILENT_BYTES_MAX: Final = 4096


def encode_frame(packet: bytes) -> bytes:
    """One packet, ready for the line."""
    return b"\0" + encode_cobs(packet + zlib.crc32(packet).to_bytes(4)) + b"\0"


def encode_cobs(data: bytes) -> bytes:
    """Bytes without a zero in them."""
    out = bytearray()
    for part in data.split(b"\0"):
        at = 0
        while len(part) - at >= 254:
            out += b"\xff" + part[at : at + 254]
            at += 254
        out.append(len(part) - at + 1)
        out += part[at:]
    return bytes(out)


def decode_cobs(data: bytes) -> bytes | None:
    """What was encoded; None if it cannot have been."""
    out, at, size = bytearray(), 0, len(data)
    while at < size:
        code = data[at]
        end = at + code
        if code == 0 or end > size or 0 in data[at + 1 : end]:
            return None
        out += data[at + 1 : end]
        at = end
        if code != 0xFF and at < size:
            out.append(0)
    return bytes(out)


class Deframer:
    """Finds packets in what comes from a line."""

    def __init__(self) -> None:
        self.drops = 0
        self._piece = bytearray()

    def reset(self) -> None:
        """The line was unplugged: what was begun will not be finished."""
        self._piece.clear()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that these bytes complete."""
        *whole, rest = data.split(b"\0")
        for part in whole:
            packet = self._open(bytes(self._piece) + part if self._piece else part)
            self._piece.clear()
            if packet is not None:
                yield packet
        room = _SILENT_BYTES_MAX - len(self._piece)
        self._piece += rest[: max(0, room)]

    def _open(self, piece: bytes) -> bytes | None:
        if not piece:
            return None
        framed = decode_cobs(piece) if len(piece) <= FRAME_BYTES_MAX else None
        if framed is None or len(framed) < _PACKET_BYTES_MIN + 4:
            self.drops += 1
            return None
        packet, check = framed[:-4], framed[-4:]
        if zlib.crc32(packet).to_bytes(4) != check or len(packet) > PACKET_BYTES_MAX:
            self.drops += 1
            return None
        return packet
