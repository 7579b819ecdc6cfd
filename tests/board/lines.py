"""Lines to a device: a pseudo-terminal or a UDP port of this machine."""

import os
import pty
import select
import socket
import ssl
import time
from typing import Any, Protocol

import board.peer as p


class Line(Protocol):
    """What packets travel on; `receive` gives up after `seconds` with None."""

    @property
    def settings(self) -> dict[str, Any]: ...
    def send(self, packet: bytes) -> None: ...
    def receive(self, seconds: float) -> bytes | None: ...
    def close(self) -> None: ...


class SerialLine:
    """A pseudo-terminal; the device opens its other end."""

    def __init__(self) -> None:
        self._here, self._there = pty.openpty()
        self.settings: dict[str, Any] = {"kind": "serial", "path": os.ttyname(self._there)}
        self._held = b""
        self._closed = False

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
        if not self._closed:
            os.close(self._here)
            os.close(self._there)
        self._closed = True

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
        here = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.settings: dict[str, Any] = {"kind": "udp", "gateways": [here], "broadcast": False}
        self.loss = loss
        self._sent = 0
        self.peer: tuple[str, int] | None = None

    def send(self, packet: bytes) -> None:
        self._sent += 1
        if self.peer and not (self.loss and self._sent % self.loss == 0):
            self._socket.sendto(packet, self.peer)

    def receive(self, seconds: float) -> bytes | None:
        self._socket.settimeout(max(seconds, 0.001))
        try:
            packet, self.peer = self._socket.recvfrom(2048)
        except TimeoutError:
            return None
        return packet

    def close(self) -> None:
        self._socket.close()


class TlsLine:
    """A TLS port; one device at a time."""

    def __init__(self, context: ssl.SSLContext, path: str) -> None:
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        gateways = [f"{path} 127.0.0.1 {port}"]
        self.settings: dict[str, Any] = {"kind": "tls", "gateways": gateways}
        self._socket: ssl.SSLSocket | None = None
        self.failures: list[str] = []

    def send(self, packet: bytes) -> None:
        if self._socket is not None:
            self._socket.sendall(len(packet).to_bytes(2) + packet)

    def receive(self, seconds: float) -> bytes | None:
        try:
            if self._socket is None:
                self._accept(seconds)
            return self._read(seconds)
        except TimeoutError:
            return None

    def hang_up(self) -> None:
        """End the connection; the device dials again."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def close(self) -> None:
        self.hang_up()
        self._server.close()

    def _accept(self, seconds: float) -> None:
        self._server.settimeout(max(seconds, 0.01))
        plain, _ = self._server.accept()
        plain.settimeout(10)
        try:
            self._socket = self._context.wrap_socket(plain, server_side=True)
        except OSError as cause:
            self.failures.append(str(cause))
            plain.close()

    def _read(self, seconds: float) -> bytes | None:
        if self._socket is None:
            return None
        self._socket.settimeout(max(seconds, 0.01))
        head = self._exactly(2)
        self._socket.settimeout(5)
        return self._exactly(int.from_bytes(head))

    def _exactly(self, size: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                self.hang_up()
                raise TimeoutError
            data += piece
        return data
