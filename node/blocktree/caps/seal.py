"""Sealing a key to a principal: HPKE (RFC 9180), P-256, HKDF-SHA256, AES-256-GCM, base mode.

The file id and key epoch are HPKE's `info`, so a sealed key cannot be moved to another directory or
epoch. Base mode does not say who sealed; the signature over the access that holds it does.
"""

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blocktree.fault import Fault, Kind
from blocktree.keys import Key, Principal
from blocktree.names import FileId

KEY_BYTES: Final = 32
SEALED_KEY_BYTES: Final = 65 + KEY_BYTES + 16
_SUITE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_CONTEXT: Final = b"blocktree read cap 1\0"


def seal_key(secret: bytes, principal: Principal, file: FileId, epoch: int) -> bytes:
    """Seal a 32-byte key of `file` in `epoch` so that `principal` alone can open it: 113 bytes."""
    assert len(secret) == KEY_BYTES
    return _SUITE.encrypt(secret, principal.public, _purpose(file, epoch))


def open_key(sealed: bytes, key: Key, file: FileId, epoch: int) -> bytes:
    """Open what `seal_key` gave.

    Raises:
        Fault: DENIED if it was sealed to another principal, file or epoch, or altered.
    """
    try:
        secret = _SUITE.decrypt(sealed, key.private, _purpose(file, epoch))
    except (InvalidTag, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise Fault(Kind.DENIED, "this key does not open the read cap", path=file.hex())
    return secret


def _purpose(file: FileId, epoch: int) -> bytes:
    return _CONTEXT + file + struct.pack("!I", epoch)
