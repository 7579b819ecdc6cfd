"""The packets of a device link: written, and read strictly or dropped."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from blocktree.fault import Kind
from blocktree_gateway.session.keys import HINT_BYTES, NONCE_BYTES, SID_BYTES, TAG_BYTES, Purpose

VERSION: Final = 1
PACKET_BYTES_MAX: Final = 248
SENTENCE_BYTES_MAX: Final = 160
BOARD_BYTES_MAX: Final = 16
DATA_HEAD_BYTES: Final = 1 + SID_BYTES
PROBE_BYTES: Final = 45
_REFUSE: Final = b"blocktree refuse 1\0"


@unique
class PacketType(IntEnum):
    """The first byte of a packet."""

    HELLO = 1
    WELCOME = 2
    CONFIRM = 3
    READY = 4
    DATA = 5
    REFUSE = 6
    PROBE = 7


@dataclass(frozen=True, slots=True)
class Hello:
    """A device looks for its gateway, or for somebody who pairs it."""

    purpose: Purpose
    epoch: int
    hint: bytes
    nonce_d: bytes
    board: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """A gateway speaks for that hint."""

    nonce_d: bytes
    nonce_g: bytes
    tls_port: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """The device proves that it has the secret."""

    hint: bytes
    epoch: int
    purpose: Purpose
    nonce_d: bytes
    nonce_g: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """The gateway proves it too."""

    nonce_d: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """A gateway will not serve, and says why."""

    nonce_d: bytes
    kind: int
    tag: bytes
    sentence: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Please say hello."""

    purpose: Purpose
    hint: bytes


Packet = Hello | Welcome | Confirm | Ready | Refuse | Probe


def encode_hello(hello: Hello) -> bytes:
    """A HELLO."""
    head = bytes([PacketType.HELLO, VERSION, hello.purpose]) + hello.epoch.to_bytes(2)
    return head + hello.hint + hello.nonce_d + hello.board.encode()


def encode_welcome(welcome: Welcome) -> bytes:
    """A WELCOME."""
    head = bytes([PacketType.WELCOME, VERSION])
    return head + welcome.nonce_d + welcome.nonce_g + welcome.tls_port.to_bytes(2)


def confirm_head(
    hint: bytes, epoch: int, purpose: Purpose, nonce_d: bytes, nonce_g: bytes
) -> bytes:
    """What the tag of a CONFIRM proves: the packet before the tag."""
    head = bytes([PacketType.CONFIRM]) + hint + epoch.to_bytes(2) + bytes([purpose])
    return head + nonce_d + nonce_g


def ready_head(nonce_d: bytes) -> bytes:
    """What the tag of a READY proves: the packet before the tag."""
    return bytes([PacketType.READY]) + nonce_d


def encode_probe(purpose: Purpose, hint: bytes) -> bytes:
    """A PROBE, as long as the longest answer."""
    return (bytes([PacketType.PROBE, VERSION, purpose]) + hint).ljust(PROBE_BYTES, b"\0")


def encode_refuse(nonce_d: bytes, kind: Kind, sentence: str, secret: bytes | None) -> bytes:
    """A REFUSE, which the device believes if `secret` is its link secret."""
    text = sentence.encode()[:SENTENCE_BYTES_MAX].decode(errors="ignore").encode()
    tag = bytes(TAG_BYTES) if secret is None else refuse_tag(secret, nonce_d, kind, text)
    return bytes([PacketType.REFUSE]) + nonce_d + bytes([kind]) + tag + text


def refuse_tag(secret: bytes, nonce_d: bytes, kind: int, sentence: bytes) -> bytes:
    """The tag of a REFUSE."""
    signed = _REFUSE + nonce_d + bytes([kind]) + sentence
    return hmac.digest(secret, signed, hashlib.sha256)[:TAG_BYTES]


def read_packet(packet: bytes) -> Packet | None:
    """What a packet says, if it is anything but DATA; None if it is no packet at all."""
    read = _READERS.get(packet[0]) if 0 < len(packet) <= PACKET_BYTES_MAX else None
    if read is None:
        return None
    try:
        return read(packet)
    except (ValueError, IndexError):
        return None


def _read_hello(packet: bytes) -> Hello | None:
    body, board = packet[5 : 5 + HINT_BYTES + NONCE_BYTES], packet[29:]
    if packet[1] != VERSION or len(body) != 24 or len(board) > BOARD_BYTES_MAX:
        return None
    purpose, epoch = Purpose(packet[2]), int.from_bytes(packet[3:5])
    return Hello(purpose, epoch, body[:HINT_BYTES], body[HINT_BYTES:], board.decode())


def _read_welcome(packet: bytes) -> Welcome | None:
    if len(packet) != 36 or packet[1] != VERSION:
        return None
    return Welcome(packet[2:18], packet[18:34], int.from_bytes(packet[34:]))


def _read_confirm(packet: bytes) -> Confirm | None:
    if len(packet) != 52:
        return None
    return Confirm(
        packet[1:9],
        int.from_bytes(packet[9:11]),
        Purpose(packet[11]),
        packet[12:28],
        packet[28:44],
        packet[44:],
    )


def _read_ready(packet: bytes) -> Ready | None:
    return Ready(packet[1:17], packet[17:]) if len(packet) == 25 else None


def _read_refuse(packet: bytes) -> Refuse | None:
    if not 26 <= len(packet) <= 26 + SENTENCE_BYTES_MAX:
        return None
    return Refuse(packet[1:17], packet[17], packet[18:26], packet[26:].decode())


def _read_probe(packet: bytes) -> Probe | None:
    if len(packet) != PROBE_BYTES or packet[1] != VERSION or any(packet[11:]):
        return None
    return Probe(Purpose(packet[2]), packet[3:11])


_READERS: Final[dict[int, Callable[[bytes], Packet | None]]] = {
    PacketType.HELLO: _read_hello,
    PacketType.WELCOME: _read_welcome,
    PacketType.CONFIRM: _read_confirm,
    PacketType.READY: _read_ready,
    PacketType.REFUSE: _read_refuse,
    PacketType.PROBE: _read_probe,
}
