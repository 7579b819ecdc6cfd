"""The chain of entries: each is sealed for readers and names the hash of the one before."""

from hashlib import sha256

from bt import ccm, messages
from bt.hkdf import hkdf

_PURPOSE = b"blocktree reading 1\0"
_START = bytes(32)


class Chain:
    """The entries of one boot under one reading secret.

    Args:
        device: the device id.
        secret: the reading secret of `epoch`.
        boot: the number of this boot, saved before.
    """

    def __init__(self, device, secret, epoch, boot):
        self.device = device
        self.boot = boot
        self.next = 0
        self.head = _START
        self.rekey(device, secret, epoch)

    def rekey(self, device, secret, epoch):
        """Seal what comes next under another secret, or for another device id."""
        self.device = device
        self.epoch = epoch
        purpose = _PURPOSE + epoch.to_bytes(2, "big") + self.boot.to_bytes(4, "big")
        okm = hkdf(device, secret, purpose, 29)
        self._key, self._iv = okm[:16], okm[16:]

    def add(self, *event):
        """Seal the next entry; gives (seq, its canonical bytes)."""
        seq, prev = self.next, self.head
        place = self.epoch.to_bytes(2, "big") + self.boot.to_bytes(4, "big")
        place += seq.to_bytes(4, "big")
        aad = _PURPOSE + self.device + place + prev
        plain = messages.encode(*event)
        sealed = ccm.seal(self._key, ccm.nonce_of(self._iv, seq), aad, plain)
        entry = messages.encode(messages.ENTRY, self.epoch, self.boot, seq, prev, sealed)
        self.next = seq + 1
        self.head = sha256(entry).digest()
        return seq, entry


def checkpoint_message(device, boot, seq, head, time):
    """What a checkpoint signs; `time` in ms since 1970 or None."""
    place = boot.to_bytes(4, "big") + seq.to_bytes(4, "big")
    return b"blocktree checkpoint 1\0" + device + place + head + (time or 0).to_bytes(8, "big")
