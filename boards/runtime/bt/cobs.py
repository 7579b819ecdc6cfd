"""Frames on a serial line: zero, COBS(packet, CRC-32), zero.

COBS (Cheshire and Baker, 1999) takes the zeros out of a packet, so that a zero ends a frame
wherever one starts to listen: after noise, reading goes on behind the next zero.
"""

from binascii import crc32

PACKET_MAX = 248
_PIECE_MAX = PACKET_MAX + 4 + 1  # CRC, and one byte of COBS


def encode(packet):
    """The bytes that go out for a packet of 1 … 248 bytes."""
    return b"\0" + stuff(packet + (crc32(packet) & 0xFFFFFFFF).to_bytes(4, "big")) + b"\0"


def stuff(data):
    """COBS: no zeros, one byte longer for each 254."""
    out = bytearray()
    for run in bytes(data).split(b"\0"):
        at = 0
        while len(run) - at >= 254:
            out.append(255)
            out.extend(run[at : at + 254])
            at += 254
        out.append(len(run) - at + 1)
        out.extend(run[at:])
    return bytes(out)


def unstuff(piece):
    """What `stuff` was given, or None if no COBS gives these bytes."""
    out = bytearray()
    at = 0
    while at < len(piece):
        code = piece[at]
        end = at + code
        if not code or end > len(piece):
            return None
        out.extend(piece[at + 1 : end])
        at = end
        if code < 255 and at < len(piece):
            out.append(0)
    return bytes(out)


class Deframer:
    """Cuts what comes in at zeros; holds at most one frame, drops and counts what is none."""

    def __init__(self):
        self.drops = 0
        self._piece = bytearray()
        self._long = False

    def waiting(self):
        """What came since the last zero."""
        return self._piece

    def receive(self, data):
        """The packets that are complete with `data`."""
        packets = []
        while True:
            end = data.find(b"\0")
            self._collect(data if end < 0 else data[:end])
            if end < 0:
                return packets
            packet = self._finish()
            if packet:
                packets.append(packet)
            data = data[end + 1 :]

    def _collect(self, data):
        if self._long or len(self._piece) + len(data) > _PIECE_MAX:
            self._long = True
            self._piece = bytearray()
        else:
            self._piece.extend(data)

    def _finish(self):
        piece, self._piece = self._piece, bytearray()
        if self._long:
            self._long = False
            self.drops += 1
            return None
        if not piece:
            return None
        data = unstuff(piece)
        if data and len(data) > 4:
            packet, check = data[:-4], data[-4:]
            if (crc32(packet) & 0xFFFFFFFF).to_bytes(4, "big") == check:
                return packet
        self.drops += 1
        return None
