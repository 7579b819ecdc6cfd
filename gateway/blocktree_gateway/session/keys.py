"""Keys of a session, and the records sealed under them (AES-CCM-16-64-128, COSE algorithm 10)."""

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES: Final = 16
HINT_BYTES: Final = 8
TAG_BYTES: Final = 8
SID_BYTES: Final = 4
COUNTER_MAX: Final = 0xFFFFFFFF
WINDOW: Final = 64  # of counters that may come late over UDP
BARE_SECRET: Final = bytes(32)  # who holds the cable needs none
NO_HINT: Final = bytes(HINT_BYTES)
_SESSION: Final = b"blocktree device 1\0"
_SETUP: Final = b"blocktree setup 1\0"


@unique
class Purpose(IntEnum):
    """What a session is for."""

    SERVE = 0
    PAIR_BY_CODE = 1
    PAIR_BY_CABLE = 2


@dataclass(frozen=True, slots=True)
class Side:
    """The key and first nonce of one direction."""

    key: bytes
    iv: bytes

    def cipher(self) -> AESCCM:
        """The cipher of this direction."""
        return AESCCM(self.key, tag_length=TAG_BYTES)

    def nonce(self, counter: int) -> bytes:
        """The nonce of a counter."""
        return nonce_of(self.iv, counter)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Everything that one handshake derives."""

    device: Side
    gateway: Side
    sid: bytes


def nonce_of(iv: bytes, counter: int) -> bytes:
    """The first nonce XOR the counter, as 13-byte integers."""
    return (int.from_bytes(iv) ^ counter).to_bytes(13)


def derive(  # noqa: PLR0917 - what goes into the derivation, in the order of SPEC.md
    secret: bytes, nonce_d: bytes, nonce_g: bytes, purpose: Purpose, epoch: int, hint: bytes
) -> SessionKeys:
    """Keys from a secret and both sides' nonces."""
    purposed = _SESSION + bytes([purpose]) + epoch.to_bytes(2) + hint
    okm = HKDF(hashes.SHA256(), 62, nonce_d + nonce_g, purposed).derive(secret)
    return SessionKeys(Side(okm[:16], okm[32:45]), Side(okm[16:32], okm[45:58]), okm[58:62])


def setup_hint(setup_secret: bytes) -> bytes:
    """What a device with this setup secret calls itself before it is paired."""
    return hashlib.sha256(_SETUP + setup_secret).digest()[:HINT_BYTES]


def seal_nothing(side: Side, packet: bytes) -> bytes:
    """The tag that proves a key: the sealed empty plaintext under counter 0."""
    return side.cipher().encrypt(side.nonce(0), b"", packet)


def opens_nothing(side: Side, packet: bytes, tag: bytes) -> bool:
    """Whether a tag of `seal_nothing` is good."""
    return hmac.compare_digest(seal_nothing(side, packet), tag)


class Sealer:
    """Seals the records of one direction under counters that start at 1."""

    def __init__(self, side: Side) -> None:
        self._cipher = side.cipher()
        self._iv = int.from_bytes(side.iv)
        self.counter = 0

    @property
    def spent(self) -> bool:
        """Whether the session has to end: no counter may be used twice."""
        return self.counter >= COUNTER_MAX

    def seal(self, head: bytes, plaintext: bytes) -> bytes:
        """A whole packet: `head`, the counter, and the plaintext sealed under both."""
        assert not self.spent
        self.counter += 1
        aad = head + self.counter.to_bytes(4)
        nonce = (self._iv ^ self.counter).to_bytes(13)
        return aad + self._cipher.encrypt(nonce, plaintext, aad)


class Opener:
    """Opens the records of the other direction, each counter once.

    Args:
        side: the other side's key.
        window: how far below the highest counter a late one may be; 0 takes rising ones only.
    """

    def __init__(self, side: Side, window: int) -> None:
        self._cipher = side.cipher()
        self._iv = int.from_bytes(side.iv)
        self._window = Window(window)
        self.failures = 0

    def open(self, packet: bytes, head_bytes: int) -> tuple[bytes, bool] | None:
        """The plaintext, and whether its counter is the highest so far; None if it is no good."""
        aad, sealed = packet[: head_bytes + 4], packet[head_bytes + 4 :]
        counter = int.from_bytes(aad[head_bytes:])
        if not self._window.fits(counter):
            return None
        try:
            plaintext = self._cipher.decrypt((self._iv ^ counter).to_bytes(13), sealed, aad)
        except (InvalidTag, ValueError):
            self.failures += 1
            return None
        newest = counter > self._window.highest
        self._window.take(counter)
        return plaintext, newest


class Window:
    """Which counters were taken: each may be taken once (RFC 6479 tells why a window)."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._seen = 0  # bit n: highest - n was taken
        self.highest = 0

    def fits(self, counter: int) -> bool:
        """Whether this counter may be taken now."""
        if counter > self.highest:
            return True
        behind = self.highest - counter
        return counter > 0 and behind < self._width and not self._seen >> behind & 1

    def take(self, counter: int) -> None:
        """It was taken."""
        assert self.fits(counter)
        if counter > self.highest:
            shift = min(counter - self.highest, WINDOW)
            self._seen = (self._seen << shift | 1) & ((1 << WINDOW) - 1)
            self.highest = counter
        else:
            self._seen |= 1 << (self.highest - counter)
