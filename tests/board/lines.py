"""Lines to a device: a pseudo-terminal or a UDP port of this machine."""

import os
import pty
import select
import socket
import time
from pathlib import Path

import board.peer as p


class SerialLine:
    """A pseudo-terminal; the device opens `path`."""

    def __init__(self) -> None:
        self._here, self._there = pty.openpty()
        self.path = Path(os.ttyname(self._there))
        self._held = b""

    def send(self, packet: bytes) -> None:
        os.write(self._here, p.framed(packet))

    def noise(self, data: bytes) -> None:
        os.write(self._here, data)

    def receive(self, seconds: float) -> bytes | None:
        end = time.monotonic() + seconds
        while True:
            piece, zero, rest = self._held.partition(b"\0")
            if zero:
                self._held = rest
                packet = self._open(piece)
                if packet:
                    return packet
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._here], [], [], left)[0]:
                return None
            self._held += os.read(self._here, 4096)

    def close(self) -> None:
        os.close(self._here)
        os.close(self._there)

    @staticmethod
    def _open(piece: bytes) -> bytes | None:
        out, at = bytearray(), 0
        while at < len(piece):
            end = at + piece[at]
            out += piece[at + 1 : end] + b"\0"
            at = end
        packet = bytes(out[:-5])
        return packet if p.framed(packet) == b"\0" + piece + b"\0" else None


class UdpLine:
    """A UDP port; the device is told its number. `loss`: each n-th packet that we send is lost."""

    def __init__(self, loss: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.loss = loss
        self._sent = 0
        self.peer: tuple[str, int] | None = None

    def send(self, packet: bytes) -> None:
        self._sent += 1
        if self.peer and not (self.loss and self._sent % self.loss == 0):
            self._socket.sendto(packet, self.peer)

    def receive(self, seconds: float) -> bytes | None:
        self._socket.settimeout(seconds)
        try:
            packet, self.peer = self._socket.recvfrom(2048)
        except TimeoutError:
            return None
        return packet

    def close(self) -> None:
        self._socket.close()
