"""Key rings: the keys of one file, one for each epoch, so that old sectors stay readable.

A header carries the earlier keys sealed under the present one (`past_keys`): who can open the
present key has them all; who knows only earlier keys learns nothing of later ones.
"""

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blocktree.caps.access import EPOCH_MAX
from blocktree.caps.seal import KEY_BYTES
from blocktree.fault import Fault, Kind
from blocktree.keys import Draw
from blocktree.names import FileId

_CONTEXT: Final = b"blocktree past keys 1\0"
_DERIVED_KEY_IS_USED_ONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """The keys of one file, that of epoch 1 first. A secret; never printed."""

    keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        assert 1 <= len(self.keys) <= EPOCH_MAX
        assert all(len(key) == KEY_BYTES for key in self.keys)

    @classmethod
    def start(cls, draw: Draw) -> "KeyRing":
        """A ring with one new key: epoch 1."""
        return cls((draw(KEY_BYTES),))

    @property
    def epoch(self) -> int:
        """The present epoch, 1 …: what is written now is sealed with its key."""
        return len(self.keys)

    @property
    def current(self) -> bytes:
        """The key of the present epoch, 32 bytes."""
        return self.keys[-1]

    def key(self, epoch: int) -> bytes:
        """The key of an epoch.

        Raises:
            Fault: DENIED if the ring does not reach so far: it is of an earlier time.
        """
        if not 1 <= epoch <= len(self.keys):
            raise Fault(Kind.DENIED, f"no key for epoch {epoch}, this ring ends at {self.epoch}")
        return self.keys[epoch - 1]

    def advance(self, draw: Draw) -> "KeyRing":
        """Begin a new epoch with a new key.

        Raises:
            Fault: TOO_LARGE after 256 epochs; the file must then be written anew.
        """
        if len(self.keys) == EPOCH_MAX:
            raise Fault(Kind.TOO_LARGE, f"{EPOCH_MAX} key epochs", next_step="copy the directory")
        return KeyRing((*self.keys, draw(KEY_BYTES)))

    def seal_past(self, file: FileId) -> bytes:
        """The earlier keys, sealed under the present one, for the header; b"" in epoch 1."""
        if self.epoch == 1:
            return b""
        # The derived key belongs to this file and epoch, whose past never changes: one message.
        return _cipher(self.current, file, self.epoch).encrypt(
            _DERIVED_KEY_IS_USED_ONCE, b"".join(self.keys[:-1]), None
        )

    def __repr__(self) -> str:
        return f"KeyRing(epoch {self.epoch})"


def open_ring(current: bytes, epoch: int, past: bytes, file: FileId) -> KeyRing:
    """The whole ring of `file`, from its present key and the sealed past in its header.

    Raises:
        Fault: DAMAGED if they do not belong together; MALFORMED for lengths that cannot be.
    """
    if len(current) != KEY_BYTES or not 1 <= epoch <= EPOCH_MAX:
        raise Fault(Kind.MALFORMED, f"no key ring of epoch {epoch}")
    if len(past) != (0 if epoch == 1 else (epoch - 1) * KEY_BYTES + 16):
        raise Fault(Kind.MALFORMED, "the past keys are not of this epoch", path=file.hex())
    if epoch == 1:
        return KeyRing((current,))
    try:
        plain = _cipher(current, file, epoch).decrypt(_DERIVED_KEY_IS_USED_ONCE, past, None)
    except InvalidTag:
        raise Fault(
            Kind.DAMAGED, "the past keys do not open with the present key", path=file.hex()
        ) from None
    keys = [plain[at : at + KEY_BYTES] for at in range(0, len(plain), KEY_BYTES)]
    return KeyRing((*keys, current))


def _cipher(current: bytes, file: FileId, epoch: int) -> AESGCM:
    purpose = _CONTEXT + file + struct.pack("!I", epoch)
    return AESGCM(HKDF(hashes.SHA256(), KEY_BYTES, None, purpose).derive(current))
