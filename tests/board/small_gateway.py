"""A gateway in one thread for tests of the runtime: the other half of the page, over any line.

It keeps what the device says, checks every entry as a reader would, and does nothing by itself.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2

import board.peer as p
from board.lines import Line

Message = list[Any]


@dataclass
class Owner:
    """What a device is adopted with."""

    link: bytes = field(default_factory=lambda: os.urandom(32))
    reading: bytes = field(default_factory=lambda: os.urandom(32))
    epoch: int = 1
    device: bytes = b""


class TlsKeys(p.SessionKeys):
    """Inside TLS nothing is sealed again."""

    @classmethod
    def made(cls) -> "TlsKeys":
        return cls(b"", b"", b"", b"", b"")

    def from_gateway(self, counter: int, letter: bytes) -> bytes:
        return b"\5" + letter

    def open_device(self, packet: bytes) -> bytes:
        return packet[1:]


class SmallGateway:
    """One side of one session at a time."""

    def __init__(self, line: Line, owner: Owner, setup: bytes = b"") -> None:
        self.line = line
        self.owner = owner
        self.setup = setup
        self.keys: p.SessionKeys | None = None
        self.said: list[Message] = []
        self.entries: dict[tuple[int, int], tuple[bytes, Message]] = {}
        self.checkpoints: list[Message] = []
        self.keeping = True
        self.refuse_with: tuple[int, str] | None = None
        self.hellos = 0
        self._nonce_g = b""
        self._counter = self._number = self._taken = self._acked = 0

    def connect(self, purpose: int = 0, seconds: float = 15.0) -> None:
        """Wait for HELLO, and go through the handshake."""
        self.keys = None
        self.until(lambda: self.keys is not None, seconds, purpose)

    def connect_tls(self, seconds: float = 15.0) -> None:
        """Begin without a handshake, once the line stands."""
        self.keys = TlsKeys.made()
        self._counter = self._number = self._taken = self._acked = 0
        self.wait(0x0C01, seconds)

    def until(self, held: Callable[[], bool], seconds: float = 15.0, purpose: int = 0) -> None:
        """Serve until a condition holds."""
        end = time.monotonic() + seconds
        while not held():
            left = end - time.monotonic()
            assert left > 0, f"nothing came of it; said: {self.said[-5:]}"
            packet = self.line.receive(min(left, 0.2))
            if packet:
                self._take(packet, purpose)

    def tell(self, *message: Any, seconds: float = 15.0) -> None:
        """Send a message and wait until it is acknowledged."""
        self._number += 1
        end = time.monotonic() + seconds
        while self._acked < self._number:
            assert time.monotonic() < end, f"{message} was not acknowledged"
            self._letter(self._number, cbor2.dumps(list(message)))
            packet = self.line.receive(0.4)
            while packet:
                self._take(packet, 0)
                packet = None if self._acked >= self._number else self.line.receive(0.05)

    def wait(self, code: int, seconds: float = 15.0) -> Message:
        """The next message of a code; those before it stay in `said`."""
        self.until(lambda: any(m[0] == code for m in self.said), seconds)
        found = next(m for m in self.said if m[0] == code)
        self.said.remove(found)
        return found

    def command(self, name: str, *arguments: Any) -> tuple[int, list[Any]]:
        """(kind, result) of a command."""
        number = os.urandom(8)
        self.tell(0x0C20, number, name, cbor2.dumps(list(arguments)))
        answer = self.wait(0x0C21)
        assert answer[1] == number
        return answer[2], cbor2.loads(answer[3])

    def push(self, kind: int, name: str, data: bytes) -> Message:
        """Send a file; gives Taken."""
        digest = hashlib.sha256(data).digest()
        owner = self.owner
        proof = p.vouch(owner.device, owner.reading, owner.epoch, digest)
        self.tell(0x0C30, kind, name, len(data), digest, proof if kind == 1 else bytes(16))
        self.wait(0x0C31)
        for at in range(0, len(data), 192):
            self.tell(0x0C32, at, data[at : at + 192])
        return self.wait(0x0C33)

    def readings(self) -> list[Message]:
        """The readings so far, in the order of their places."""
        events = [event for _place, (_entry, event) in sorted(self.entries.items())]
        return [event for event in events if event[0] == 0x0C51]

    def _take(self, packet: bytes, purpose: int) -> None:
        if packet[0] == 1 and packet[2] == purpose:
            self._hello(packet, purpose)
        elif packet[0] == 3:
            self._confirm(packet)
        elif packet[0] == 5 and self.keys and packet[1:].startswith(self.keys.sid):
            self._data(self.keys.open_device(packet))

    def _hello(self, packet: bytes, purpose: int) -> None:
        self.hellos += 1
        nonce_d = packet[13:29]
        if self.refuse_with:
            self.line.send(p.refuse(self.owner.link, nonce_d, *self.refuse_with))
            return
        self._nonce_g = os.urandom(16)
        self.line.send(p.welcome(nonce_d, self._nonce_g, 0))

    def _confirm(self, packet: bytes) -> None:
        hint, epoch, purpose = packet[1:9], int.from_bytes(packet[9:11]), packet[11]
        nonce_d, nonce_g = packet[12:28], packet[28:44]
        if nonce_g != self._nonce_g:
            return
        secret = (self.owner.link, self.setup, bytes(32))[purpose]
        keys = p.SessionKeys.derived(secret, nonce_d, nonce_g, purpose, epoch, hint)
        if keys.confirm(packet[:44]) != packet:
            return
        if self.keys != keys:
            self.keys = keys
            self._counter = self._number = self._taken = self._acked = 0
        self.line.send(keys.ready(nonce_d))

    def _letter(self, number: int, message: bytes) -> None:
        assert self.keys is not None
        self._counter += 1
        letter = number.to_bytes(2) + self._taken.to_bytes(2) + message
        self.line.send(self.keys.from_gateway(self._counter, letter))

    def _data(self, letter: bytes) -> None:
        number, ack = int.from_bytes(letter[:2]), int.from_bytes(letter[2:4])
        self._acked = max(self._acked, ack)
        if not number:
            return
        if number == self._taken + 1:
            self._taken = number
            self._message(letter[4:])
        self._letter(0, b"")

    def _message(self, data: bytes) -> None:
        message = cbor2.loads(data)
        if message[0] == 0x0C10:
            self._entry(data, message)
        elif message[0] == 0x0C11:
            self.checkpoints.append(message)
        elif message[0] == 0x0C05:
            self._number += 1
            told = [0x0C06, message[1], time.time_ns() // 1_000_000]
            self._letter(self._number, cbor2.dumps(told))
        else:
            self.said.append(message)

    def _entry(self, data: bytes, message: Message) -> None:
        _code, epoch, boot, seq, prev, sealed = message
        about = b"blocktree reading 1\0" + epoch.to_bytes(2) + boot.to_bytes(4)
        okm = p.derive(self.owner.device, self.owner.reading, about, 29)
        place = epoch.to_bytes(2) + boot.to_bytes(4) + seq.to_bytes(4)
        aad = b"blocktree reading 1\0" + self.owner.device + place + prev
        event = cbor2.loads(p.unseal(okm[:16], p.counted(okm[16:], seq), aad, sealed))
        self.entries[boot, seq] = data, event

    def keep(self) -> None:
        """Tell the device that all it sent is safe."""
        boot, seq = max(self.entries)
        self.tell(0x0C12, boot, seq)
