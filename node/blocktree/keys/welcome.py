"""How another person comes to belong: a request that shows a key, a welcome that certifies it.

The key is made on the machine of who asks and stays there; neither string is a secret. Both are
base64url of their bytes and four bytes of their SHA-256, behind a mark; `SPEC.md` states them.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import MemberKind
from blocktree.keys.chain import Identity, read_chain
from blocktree.keys.member import ADDRESS_BYTES_MAX, ADDRESSES_MAX
from blocktree.keys.principal import Principal
from blocktree.wire import Record, decode, encode, record

REQUEST: Final = "btq1"
WELCOME: Final = "btw1"
TEXT_MAX: Final = 16 << 10
_CHECK_BYTES: Final = 4


@record(0x0105)
@dataclass(frozen=True, slots=True)
class Welcome(Record):
    """What a new person is told: who he is, and where the tree's nodes listen.

    Raises:
        Fault: MALFORMED for more addresses than there may be.
    """

    chain: tuple[bytes, ...]
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        long = any(len(address) > ADDRESS_BYTES_MAX for address in self.addresses)
        if long or len(self.addresses) > ADDRESSES_MAX:
            raise Fault(Kind.MALFORMED, "a welcome with too many or too long addresses")

    @property
    def identity(self) -> Identity:
        """Whom it welcomes. Raises as `read_chain`."""
        return read_chain(self.chain)


def encode_request(principal: Principal) -> str:
    """The string with which somebody asks to belong."""
    return _wrap(REQUEST, principal.spki)


def decode_request(text: str) -> Principal:
    """The key in a request.

    Raises:
        Fault: MALFORMED for something else or a typing error.
    """
    return Principal.load(_unwrap(REQUEST, text, "request"))


def encode_welcome(welcome: Welcome) -> str:
    """The string that answers a request."""
    return _wrap(WELCOME, encode(welcome))


def decode_welcome(text: str) -> Welcome:
    """What a welcome says; its chain holds, and names a user.

    Raises:
        Fault: MALFORMED for something else or a typing error; as `read_chain`.
    """
    welcome = decode(_unwrap(WELCOME, text, "welcome"), Welcome)
    if welcome.identity.kind is not MemberKind.USER:
        raise Fault(Kind.MALFORMED, "a welcome for something else than a person")
    return welcome


def _wrap(mark: str, data: bytes) -> str:
    whole = data + hashlib.sha256(data).digest()[:_CHECK_BYTES]
    return mark + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _unwrap(mark: str, text: str, what: str) -> bytes:
    word = "".join(text.split()) if len(text) <= TEXT_MAX else ""
    if not word.startswith(mark):
        raise Fault(Kind.MALFORMED, f"not a {what}: it does not start with {mark}")
    letters = word.removeprefix(mark)
    try:
        padded = letters + "=" * (-len(letters) % 4)
        whole = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    data = whole[:-_CHECK_BYTES]
    if not data or _wrap(mark, data) != word:
        step = "copy it again, whole"
        raise Fault(Kind.MALFORMED, f"the {what} is mistyped or cut short", next_step=step)
    return data
