"""What pairing is made of: the setup code on a label, and new keys sealed for a device.

Both are pinned by `tests/vectors/device_setup` and `device_rekey`.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blocktree.fault import Fault, Kind

SETUP_BYTES: Final = 16
EPOCH_MAX: Final = 65535
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_CHARACTERS: Final = 28
_REKEY: Final = b"blocktree rekey 1\0"
_APP: Final = b"blocktree app 1\0"
_SAME_KEY: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What a rotation brings; a scalar of zeros keeps the device's key."""

    link: bytes
    reading: bytes
    scalar: bytes = _SAME_KEY


def write_code(secret: bytes) -> str:
    """The setup code of a setup secret: `BT1-VDWJ-…`, seven groups of four."""
    assert len(secret) == SETUP_BYTES
    number = int.from_bytes(secret + hashlib.sha256(secret).digest()[:1]) << 4
    text = "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_CHARACTERS)))
    groups = [text[at : at + 4] for at in range(0, _CHARACTERS, 4)]
    return "-".join(["BT1", *groups])


def read_code(text: str) -> bytes:
    """The setup secret that a person typed or scanned.

    Raises:
        Fault: USAGE if it is no code, or mistyped; nothing is sent then.
    """
    plain = text.upper().replace(" ", "").replace("-", "")
    plain = plain.replace("O", "0").replace("I", "1").replace("L", "1")
    plain = plain.removeprefix("BT1")
    step = "read it again from the label: BT1-XXXX-… in seven groups of four"
    if len(plain) != _CHARACTERS or any(letter not in _ALPHABET for letter in plain):
        raise Fault(Kind.USAGE, "that is no setup code", next_step=step)
    number = 0
    for letter in plain:
        number = number << 5 | _ALPHABET.index(letter)
    whole = (number >> 4).to_bytes(SETUP_BYTES + 1)
    secret, check = whole[:SETUP_BYTES], whole[SETUP_BYTES:]
    if number & 15 or hashlib.sha256(secret).digest()[:1] != check:
        raise Fault(Kind.USAGE, "the setup code is mistyped", next_step=step)
    return secret


def seal_rekey(device: bytes, reading_secret: bytes, epoch: int, keys: NewKeys) -> bytes:
    """New keys that only the device can open, with the reading secret that it has now."""
    cipher, nonce, bound = _cipher(device, reading_secret, epoch)
    return cipher.encrypt(nonce, keys.link + keys.reading + keys.scalar, bound)


def open_rekey(device: bytes, reading_secret: bytes, epoch: int, sealed: bytes) -> NewKeys:
    """Open what `seal_rekey` gave.

    Raises:
        Fault: DAMAGED.
    """
    cipher, nonce, bound = _cipher(device, reading_secret, epoch)
    try:
        plain = cipher.decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError):
        raise Fault(Kind.DAMAGED, "the new keys do not open") from None
    return NewKeys(plain[:32], plain[32:64], plain[64:])


def vouch(device: bytes, reading_secret: bytes, epoch: int, digest: bytes) -> bytes:
    """The proof of an app by its SHA-256: that who holds the reading secret offers it here."""
    key = HKDF(hashes.SHA256(), 32, device, _APP + epoch.to_bytes(2)).derive(reading_secret)
    return hmac.digest(key, _APP + digest, "sha256")[:16]


def fingerprint(device: bytes) -> str:
    """A device's id for people, the same on both sides: `3f2a 90c1 77de 0b14`."""
    text = device[:8].hex()
    return " ".join(text[at : at + 4] for at in range(0, 16, 4))


def _cipher(device: bytes, reading_secret: bytes, epoch: int) -> tuple[AESCCM, bytes, bytes]:
    number = epoch.to_bytes(2)
    okm = HKDF(hashes.SHA256(), 29, device, _REKEY + number).derive(reading_secret)
    return AESCCM(okm[:16], tag_length=8), okm[16:], device + number
