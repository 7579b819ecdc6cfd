"""The gateway's half of the device format, from its SPEC page, with `cryptography` alone.

Vectors are built with it, so they come from another hand than the runtime they check.
"""

import hashlib
import hmac
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(salt: bytes, secret: bytes, purpose: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt, purpose).derive(secret)


def seal(key: bytes, nonce: bytes, aad: bytes, plain: bytes) -> bytes:
    return AESCCM(key, tag_length=8).encrypt(nonce, plain, aad)


def unseal(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    return AESCCM(key, tag_length=8).decrypt(nonce, sealed, aad)


def counted(iv: bytes, count: int) -> bytes:
    return (int.from_bytes(iv) ^ count).to_bytes(13)


@dataclass(frozen=True)
class SessionKeys:
    """What both sides derive from one handshake."""

    key_d: bytes
    key_g: bytes
    iv_d: bytes
    iv_g: bytes
    sid: bytes

    @classmethod
    def derived(
        cls, secret: bytes, nonce_d: bytes, nonce_g: bytes, purpose: int, epoch: int, hint: bytes
    ) -> "SessionKeys":
        about = b"blocktree device 1\0" + bytes([purpose]) + epoch.to_bytes(2) + hint
        okm = derive(nonce_d + nonce_g, secret, about, 62)
        return cls(okm[:16], okm[16:32], okm[32:45], okm[45:58], okm[58:])

    def from_device(self, counter: int, letter: bytes) -> bytes:
        head = b"\5" + self.sid + counter.to_bytes(4)
        return head + seal(self.key_d, counted(self.iv_d, counter), head, letter)

    def from_gateway(self, counter: int, letter: bytes) -> bytes:
        head = b"\5" + self.sid + counter.to_bytes(4)
        return head + seal(self.key_g, counted(self.iv_g, counter), head, letter)

    def open_device(self, packet: bytes) -> bytes:
        counter = int.from_bytes(packet[5:9])
        return unseal(self.key_d, counted(self.iv_d, counter), packet[:9], packet[9:])

    def confirm(self, head: bytes) -> bytes:
        return head + seal(self.key_d, self.iv_d, head, b"")

    def ready(self, nonce_d: bytes) -> bytes:
        head = b"\4" + nonce_d
        return head + seal(self.key_g, self.iv_g, head, b"")


def hello(purpose: int, epoch: int, hint: bytes, nonce_d: bytes, board: str) -> bytes:
    return bytes([1, 1, purpose]) + epoch.to_bytes(2) + hint + nonce_d + board.encode()


def welcome(nonce_d: bytes, nonce_g: bytes, port: int) -> bytes:
    return b"\2\1" + nonce_d + nonce_g + port.to_bytes(2)


def confirm_head(hint: bytes, epoch: int, purpose: int, nonce_d: bytes, nonce_g: bytes) -> bytes:
    return b"\3" + hint + epoch.to_bytes(2) + bytes([purpose]) + nonce_d + nonce_g


def refuse(secret: bytes | None, nonce_d: bytes, kind: int, sentence: str) -> bytes:
    said = b"blocktree refuse 1\0" + nonce_d + bytes([kind]) + sentence.encode()
    tag = bytes(8) if secret is None else hmac.digest(secret, said, "sha256")[:8]
    return b"\6" + nonce_d + bytes([kind]) + tag + sentence.encode()


def setup_hint(secret: bytes) -> bytes:
    return hashlib.sha256(b"blocktree setup 1\0" + secret).digest()[:8]


def setup_code(secret: bytes) -> str:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    bits = int.from_bytes(secret + hashlib.sha256(secret).digest()[:1]) << 4
    letters = "".join(alphabet[bits >> 5 * i & 31] for i in reversed(range(28)))
    return "-".join(["BT1", *[letters[i : i + 4] for i in range(0, 28, 4)]])


def stuffed(data: bytes) -> bytes:
    """COBS for fewer than 254 bytes: each zero becomes the distance to the next."""
    assert len(data) < 254
    out, start = bytearray(), 0
    for at in [i for i, byte in enumerate(data) if not byte] + [len(data)]:
        out += bytes([at - start + 1]) + data[start:at]
        start = at + 1
    return bytes(out)


def framed(packet: bytes) -> bytes:
    return b"\0" + stuffed(packet + zlib.crc32(packet).to_bytes(4)) + b"\0"


def sealed_entry(
    device: bytes, reading: bytes, epoch: int, boot: int, seq: int, prev: bytes, plain: bytes
) -> bytes:
    """The `sealed` of an entry."""
    about = b"blocktree reading 1\0" + epoch.to_bytes(2) + boot.to_bytes(4)
    okm = derive(device, reading, about, 29)
    place = epoch.to_bytes(2) + boot.to_bytes(4) + seq.to_bytes(4)
    aad = b"blocktree reading 1\0" + device + place + prev
    return seal(okm[:16], counted(okm[16:], seq), aad, plain)


def checkpoint_message(device: bytes, boot: int, seq: int, head: bytes, time: int) -> bytes:
    place = boot.to_bytes(4) + seq.to_bytes(4)
    return b"blocktree checkpoint 1\0" + device + place + head + time.to_bytes(8)


def rekey(device: bytes, reading: bytes, epoch: int, plain: bytes) -> bytes:
    okm = derive(device, reading, b"blocktree rekey 1\0" + epoch.to_bytes(2), 29)
    return seal(okm[:16], okm[16:], device + epoch.to_bytes(2), plain)


def vouch(device: bytes, reading: bytes, epoch: int, digest: bytes) -> bytes:
    """The `proof` of an offered app."""
    purpose = b"blocktree app 1\0"
    key = derive(device, reading, purpose + epoch.to_bytes(2), 32)
    return hmac.digest(key, purpose + digest, "sha256")[:16]


def app_file(members: dict[str, bytes]) -> bytes:
    return b"".join(
        bytes([len(name)]) + name.encode() + len(content).to_bytes(4) + content
        for name, content in members.items()
    )
