"""The gateway's half of the handshake: it keeps nothing until the device has proved its secret.

The gateway's nonce is a MAC of what the device said and from where, under a secret of the gateway's
own, so a HELLO costs one MAC and no memory, however many come. Only a CONFIRM that opens makes a
session, and each nonce makes one at most: no key is ever used from zero twice.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from blocktree_gateway.session.keys import (
    NONCE_BYTES,
    Purpose,
    SessionKeys,
    derive,
    opens_nothing,
    seal_nothing,
)
from blocktree_gateway.session.packets import (
    Confirm,
    Hello,
    Welcome,
    confirm_head,
    encode_welcome,
    ready_head,
)

SLOT_S: Final = 16
_SLOTS: Final = 2  # in which a nonce is good
MADE_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Entered:
    """A device has proved its secret."""

    keys: SessionKeys
    ready: bytes  # the READY to answer with


class Door:
    """Answers HELLO and CONFIRM.

    Args:
        secret: random bytes of this life of the gateway.
        tls_port: told in each WELCOME; 0: none.
    """

    def __init__(self, secret: bytes, tls_port: int = 0) -> None:
        self._secret = secret
        self.tls_port = tls_port
        self._made: dict[bytes, int] = {}  # nonce_g of each session, and its slot

    def welcome(self, hello: Hello, address: str, now: float) -> bytes:
        """The answer to a HELLO."""
        nonce = self._nonce(_slot(now), hello.purpose, hello.epoch, hello, address)
        return encode_welcome(Welcome(hello.nonce_d, nonce, self.tls_port))

    def confirm(self, confirm: Confirm, address: str, now: float, secret: bytes) -> Entered | None:
        """A new session, if the CONFIRM answers a fresh WELCOME of ours and proves `secret`."""
        slot = _slot(now)
        good = [
            each
            for each in range(slot, slot - _SLOTS, -1)
            if hmac.compare_digest(
                self._nonce(each, confirm.purpose, confirm.epoch, confirm, address),
                confirm.nonce_g,
            )
        ]
        if not good or confirm.nonce_g in self._made:
            return None
        c = confirm
        keys = derive(secret, c.nonce_d, c.nonce_g, c.purpose, c.epoch, c.hint)
        head = confirm_head(c.hint, c.epoch, c.purpose, c.nonce_d, c.nonce_g)
        if not opens_nothing(keys.device, head, c.tag):
            return None
        self._remember(confirm.nonce_g, slot)
        answer = ready_head(confirm.nonce_d)
        return Entered(keys, answer + seal_nothing(keys.gateway, answer))

    def _nonce(
        self, slot: int, purpose: Purpose, epoch: int, said: Hello | Confirm, address: str
    ) -> bytes:
        parts = slot.to_bytes(8) + bytes([purpose]) + epoch.to_bytes(2) + said.hint + said.nonce_d
        return hmac.digest(self._secret, parts + address.encode(), hashlib.sha256)[:NONCE_BYTES]

    def _remember(self, nonce_g: bytes, slot: int) -> None:
        for old in [nonce for nonce, made in self._made.items() if made < slot - _SLOTS]:
            del self._made[old]
        if len(self._made) >= MADE_MAX:  # forget nothing: nobody enters until slots have passed
            self._secret = hashlib.sha256(self._secret).digest()
            self._made.clear()
        self._made[nonce_g] = slot


def _slot(now: float) -> int:
    return int(now) // SLOT_S
