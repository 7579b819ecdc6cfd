"""Sealed sectors: what of a file's content leaves the process that wrote it.

A sector blob is `epoch u32 | nonce 12 | ciphertext and tag`, bound to its file and index. The nonce
is random, also before plain content, so no two blobs are alike and each belongs to one file.
Content inside a header is sealed in the same way, under an index that no sector has.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.names import Buffer, FileId
from blocktree.sectors.header import Cipher

NONCE_BYTES = 12
TAG_BYTES = 16
FILE_BYTES = 16
_EPOCH_BYTES = 4
PREFIX_BYTES = _EPOCH_BYTES + NONCE_BYTES  # before the content, sealed or plain
OVERHEAD_MAX = PREFIX_BYTES + TAG_BYTES  # what sealing adds to content

INLINE_INDEX = (1 << 64) - 1  # stands for the sector index of content in the header
ATTRIBUTES_INDEX = (1 << 64) - 2  # and of the extended attributes

_Aead = AESGCM | ChaCha20Poly1305
_CIPHERS: Final[dict[Cipher, type[AESGCM] | type[ChaCha20Poly1305]]] = {
    Cipher.AES_256_GCM: AESGCM,
    Cipher.CHACHA20_POLY1305: ChaCha20Poly1305,
}


class SectorCipher:
    """Seals with the present key of a file's ring and opens with any of them.

    Nonces are drawn by the caller: 12 fresh random bytes for each call of `seal`. With random
    nonces one key is good for 2**32 sectors (NIST SP 800-38D section 8.3), 256 TiB in sectors of
    64 KiB. Methods may be called from several threads at a time.
    """

    __slots__ = ("_aeads", "_prefix", "_ring", "_tag", "cipher", "epoch", "file")

    def __init__(self, file: FileId, cipher: Cipher, ring: KeyRing) -> None:
        assert len(file) == FILE_BYTES
        self.file: Final = file
        self.cipher: Final = cipher
        self.epoch: Final = ring.epoch
        self._ring = ring
        self._aeads: dict[int, _Aead] = {}
        self._prefix = ring.epoch.to_bytes(_EPOCH_BYTES)
        self._tag = 0 if cipher is Cipher.PLAIN else TAG_BYTES

    def sealed_size(self, content_size: int) -> int:
        """The size of the blob for a sector with this much content."""
        return PREFIX_BYTES + content_size + self._tag

    def seal(self, index: int, content: Buffer, nonce: bytes) -> bytearray:
        """The blob of sector `index`. The same arguments give the same bytes."""
        blob = bytearray(self.sealed_size(len(content)))
        self.seal_into(index, content, nonce, memoryview(blob))
        return blob

    def seal_into(self, index: int, content: Buffer, nonce: bytes, blob: memoryview) -> None:
        """As `seal`, into a writable buffer of exactly `sealed_size` bytes."""
        assert len(blob) == self.sealed_size(len(content)), "the buffer is of the blob's size"
        assert len(nonce) == NONCE_BYTES
        blob[:PREFIX_BYTES] = self._prefix + nonce
        if self.cipher is Cipher.PLAIN:
            blob[PREFIX_BYTES:] = content
        else:
            aead = self._aead(self.epoch)
            aead.encrypt_into(nonce, content, self._bound(index, self.epoch), blob[PREFIX_BYTES:])

    def open(self, index: int, blob: Buffer) -> bytes:
        """The content of sector `index`.

        Raises:
            Fault: DAMAGED if the blob is not that sector of this file, or was altered; DENIED if
                it was sealed in an epoch whose key is not at hand.
        """
        view = memoryview(blob)
        if len(view) < PREFIX_BYTES + self._tag:
            raise Fault(Kind.DAMAGED, "a sealed sector that is too short", path=self.file.hex())
        if self.cipher is Cipher.PLAIN:
            return bytes(view[PREFIX_BYTES:])
        epoch = int.from_bytes(view[:_EPOCH_BYTES])
        nonce, bound = view[_EPOCH_BYTES:PREFIX_BYTES], self._bound(index, epoch)
        try:
            return self._aead(epoch).decrypt(nonce, view[PREFIX_BYTES:], bound)
        except InvalidTag:
            raise Fault(Kind.DAMAGED, "a sector that does not open", path=self.file.hex()) from None

    def _bound(self, index: int, epoch: int) -> bytes:
        """What a sealed sector is bound to: moved to another place, it does not open."""
        return self.file + index.to_bytes(8) + epoch.to_bytes(_EPOCH_BYTES)

    def _aead(self, epoch: int) -> _Aead:
        aead = self._aeads.get(epoch)
        if aead is None:
            try:
                key = self._ring.key(epoch)
            except Fault as fault:
                raise fault.at(self.file.hex()) from None
            aead = self._aeads[epoch] = _CIPHERS[self.cipher](key)
        return aead


def nonce_of(blob: Buffer) -> bytes:
    """The nonce of a blob: with it the same content seals to the same bytes again."""
    return bytes(blob[_EPOCH_BYTES:PREFIX_BYTES])


def epoch_of(blob: Buffer) -> int:
    """The key epoch of a blob."""
    return int.from_bytes(blob[:_EPOCH_BYTES])
