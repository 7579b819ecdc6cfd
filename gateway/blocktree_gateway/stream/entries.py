"""One entry of a device's chain: its hash, its seal, and the signature over it."""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blocktree.fault import Fault, Kind
from blocktree.keys import Principal
from blocktree.wire import Record, encode
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.messages import (
    Checkpoint,
    Clock,
    Entry,
    Lost,
    Note,
    Place,
    Reading,
    Start,
)

FIRST_PREV: Final = bytes(32)
_READING: Final = b"blocktree reading 1\0"
_CHECKPOINT: Final = b"blocktree checkpoint 1\0"
Content = Start | Reading | Clock | Lost | Note


@dataclass(frozen=True, slots=True)
class Reader:
    """Who can open a device's entries.

    Args:
        device: the device's id.
        secrets: reading secrets by epoch.
        principal: the device's key.
    """

    device: bytes
    secrets: dict[int, bytes]
    principal: Principal

    def open(self, entry: Entry) -> Content:
        """What an entry says.

        Raises:
            Fault: DAMAGED if it is not what the device sealed; DENIED without its secret.
        """
        secret = self.secrets.get(entry.epoch)
        if secret is None:
            what = f"there is no reading secret of epoch {entry.epoch} here"
            raise Fault(Kind.DENIED, what, path=place_text(entry.place))
        try:
            plaintext = open_entry(entry, self.device, secret)
            content = decode_message(plaintext)
        except (Fault, InvalidTag, ValueError):
            content = None
        if not isinstance(content, Content):
            what = "is not what the device made: it was altered on its way or where it is kept"
            raise Fault(Kind.DAMAGED, what, path=place_text(entry.place)) from None
        return content

    def check_signature(self, checkpoint: Checkpoint) -> None:
        """See that the device signed a checkpoint.

        Raises:
            Fault: DAMAGED.
        """
        try:
            self.principal.verify(checkpoint.signature, signed_bytes(checkpoint, self.device))
        except Fault:
            what = "the checkpoint is not signed by the device"
            raise Fault(Kind.DAMAGED, what, path=place_text(checkpoint.place)) from None


def entry_hash(entry: Entry) -> bytes:
    """What the next entry's `prev` has to be."""
    return hashlib.sha256(encode(entry)).digest()


def seal_entry(  # noqa: PLR0917 - the parts of an entry
    content: Record, device: bytes, secret: bytes, epoch: int, place: Place, prev: bytes
) -> Entry:
    """What a device makes of a reading."""
    bare = Entry(epoch, *place, prev, b"")
    cipher, nonce = _cipher(bare, device, secret)
    sealed = cipher.encrypt(nonce, encode(content), _bound(bare, device))
    return Entry(epoch, *place, prev, sealed)


def open_entry(entry: Entry, device: bytes, secret: bytes) -> bytes:
    """The plaintext of an entry.

    Raises:
        InvalidTag: it is not what the device sealed.
    """
    cipher, nonce = _cipher(entry, device, secret)
    return cipher.decrypt(nonce, entry.sealed, _bound(entry, device))


def signed_bytes(checkpoint: Checkpoint, device: bytes) -> bytes:
    """What a checkpoint signs."""
    return b"".join(
        (
            _CHECKPOINT,
            device,
            checkpoint.boot.to_bytes(4),
            checkpoint.seq.to_bytes(4),
            checkpoint.head,
            (checkpoint.time_ms or 0).to_bytes(8),
        )
    )


def place_text(place: Place) -> str:
    """A place for people: `boot 3 seq 118`."""
    return f"boot {place[0]} seq {place[1]}"


def _cipher(entry: Entry, device: bytes, secret: bytes) -> tuple[AESCCM, bytes]:
    purpose = _READING + entry.epoch.to_bytes(2) + entry.boot.to_bytes(4)
    okm = HKDF(hashes.SHA256(), 29, device, purpose).derive(secret)
    nonce = (int.from_bytes(okm[16:]) ^ entry.seq).to_bytes(13)
    return AESCCM(okm[:16], tag_length=8), nonce


def _bound(entry: Entry, device: bytes) -> bytes:
    place = entry.epoch.to_bytes(2) + entry.boot.to_bytes(4) + entry.seq.to_bytes(4)
    return _READING + device + place + entry.prev
