"""A credential sealed with a passphrase: how the owner's key rests on the owner's machine.

scrypt (RFC 7914) makes the key, AES-256-GCM seals. A checksum over the whole tells a damaged file
from a wrong passphrase.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from blocktree.fault import Fault, Kind
from blocktree.keys.credential import Credential
from blocktree.keys.principal import Draw
from blocktree.wire import Record, decode, encode, record

COST: Final = 16  # log2 of scrypt's N: 64 MiB and a fifth of a second on a laptop
COST_MAX: Final = 18  # a file cannot make us take more than 256 MiB
_SALT_BYTES: Final = 16
_SALTS_KEY_IS_USED_ONCE: Final = bytes(12)


@record(0x0104)
@dataclass(frozen=True, slots=True)
class SealedCredential(Record):
    """A credential that only its passphrase opens."""

    cost: int  # log2 of scrypt's N; r = 8, p = 1
    salt: bytes  # 16 bytes
    sealed: bytes  # AES-256-GCM
    check: bytes  # the first 8 bytes of SHA-256 over salt and sealed


def seal_credential(
    credential: Credential, passphrase: str, draw: Draw, *, cost: int = COST
) -> bytes:
    """Bytes for `open_credential`, safe to rest on a disk as far as the passphrase is good.

    Raises:
        Fault: USAGE for an empty passphrase.
    """
    if not passphrase:
        raise Fault(Kind.USAGE, "the passphrase is empty")
    salt = draw(_SALT_BYTES)
    # The nonce may be constant: the random salt makes a key that seals this one message.
    cipher = AESGCM(_stretch(passphrase, salt, cost))
    sealed = cipher.encrypt(_SALTS_KEY_IS_USED_ONCE, credential.save(), salt)
    return encode(SealedCredential(cost, salt, sealed, _check(salt, sealed)))


def open_credential(data: bytes, passphrase: str) -> Credential:
    """Open what `seal_credential` gave.

    Raises:
        Fault: DENIED for a wrong passphrase; DAMAGED if the bytes were altered; MALFORMED if they
            are something else.
    """
    box = decode(data, SealedCredential)
    if not 1 <= box.cost <= COST_MAX or len(box.salt) != _SALT_BYTES:
        raise Fault(Kind.MALFORMED, "not a sealed credential: its scrypt settings are out of range")
    if _check(box.salt, box.sealed) != box.check:
        raise Fault(Kind.DAMAGED, "the sealed key was altered or cut short")
    try:
        cipher = AESGCM(_stretch(passphrase, box.salt, box.cost))
        saved = cipher.decrypt(_SALTS_KEY_IS_USED_ONCE, box.sealed, box.salt)
    except InvalidTag:
        raise Fault(
            Kind.DENIED, "the passphrase is wrong", next_step="try again; it cannot be reset"
        ) from None
    return Credential.load(saved)


def _stretch(passphrase: str, salt: bytes, cost: int) -> bytes:
    # NFC: two keyboards may spell the same letter differently (RFC 8265, OpaqueString).
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=32, n=1 << cost, r=8, p=1).derive(text)


def _check(salt: bytes, sealed: bytes) -> bytes:
    return hashlib.sha256(salt + sealed).digest()[:8]
