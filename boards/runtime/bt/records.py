"""The keys of one session, and its sealed records: counters out, a replay window in."""

from bt import ccm
from bt.fault import Fault
from bt.hkdf import hkdf, hmac
from bt.packets import CABLE, DATA, SERVE
from bt.window import Window

UDP_WINDOW = 64
FAILED_MAX = 1 << 20
COUNTER_MAX = 0xFFFFFFFF
_PURPOSE = b"blocktree device 1\0"
_HEAD = 9


def secret_for(purpose, link_secret, setup_secret):
    """The secret that a handshake of this purpose rests on."""
    if purpose == SERVE:
        return link_secret
    return bytes(32) if purpose == CABLE else setup_secret


class Keys:
    """key_d, key_g, iv_d, iv_g and sid of one handshake."""

    def __init__(self, secret, nonce_d, nonce_g, purpose, epoch, hint):
        purpose = _PURPOSE + bytes([purpose]) + epoch.to_bytes(2, "big") + hint
        okm = hkdf(nonce_d + nonce_g, secret, purpose, 62)
        self.key_d, self.key_g = okm[:16], okm[16:32]
        self.iv_d, self.iv_g = okm[32:45], okm[45:58]
        self.sid = okm[58:]

    def confirm(self, head):
        """The tag of CONFIRM behind `head`."""
        return ccm.seal(self.key_d, self.iv_d, head, b"")

    def ready(self, head):
        """The tag of READY behind `head`."""
        return ccm.seal(self.key_g, self.iv_g, head, b"")


class Records:
    """DATA packets of the device's side; `width` is the replay window's (0: strict)."""

    def __init__(self, keys, width):
        self._keys = keys
        self._window = Window(width)
        self.sent = 0
        self.failed = 0

    def seal(self, letter):
        """The packet of the next counter."""
        self.sent += 1
        head = bytes([DATA]) + self._keys.sid + self.sent.to_bytes(4, "big")
        keys = self._keys
        return head + ccm.seal(keys.key_d, ccm.nonce_of(keys.iv_d, self.sent), head, letter)

    def open(self, packet):
        """The letter in a packet, or None if it is old, another's or does not open."""
        if len(packet) < _HEAD + 4 + ccm.TAG or packet[1:5] != self._keys.sid:
            return None
        counter = int.from_bytes(packet[5:9], "big")
        if not self._window.fresh(counter):
            return None
        keys = self._keys
        nonce = ccm.nonce_of(keys.iv_g, counter)
        try:
            letter = ccm.open(keys.key_g, nonce, packet[:_HEAD], packet[_HEAD:])
        except Fault:
            self.failed += 1
            return None
        self._window.take(counter)
        return letter

    def spent(self):
        """Whether the session has to end for the sake of its keys."""
        return self.failed >= FAILED_MAX or self.sent >= COUNTER_MAX


class Plain:
    """DATA packets inside TLS, which does the sealing."""

    def seal(self, letter):
        """The letter behind its type."""
        return bytes([DATA]) + letter

    def open(self, packet):
        """The letter."""
        return packet[1:] if len(packet) >= 5 else None

    def spent(self):
        """Never: TLS looks after its own keys."""
        return False


def refusal_tag(link_secret, nonce, kind, sentence):
    """What a gateway that knows the device puts into REFUSE."""
    said = b"blocktree refuse 1\0" + nonce + bytes([kind]) + sentence.encode()
    return hmac(link_secret, said)[:8]
