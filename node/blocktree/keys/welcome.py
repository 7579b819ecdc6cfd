"""How another person comes to belong: a request that shows a key, a welcome that certifies it.

The key is made on the machine of who asks and stays there; neither word is a secret.
"""

from dataclasses import dataclass
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import MemberKind
from blocktree.keys.chain import Identity, read_chain
from blocktree.keys.member import too_much
from blocktree.keys.principal import Principal
from blocktree.keys.word import unwrap, wrap
from blocktree.wire import Record, decode, encode, record

REQUEST: Final = "btq1"
WELCOME: Final = "btw1"
_RETRY = "copy it again, whole"


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
        if too_much(self.addresses):
            raise Fault(Kind.MALFORMED, "a welcome with too many or too long addresses")

    @property
    def identity(self) -> Identity:
        """Whom it welcomes. Raises as `read_chain`."""
        return read_chain(self.chain)


def encode_request(principal: Principal) -> str:
    """The string with which somebody asks to belong."""
    return wrap(REQUEST, principal.spki)


def decode_request(text: str) -> Principal:
    """The key in a request.

    Raises:
        Fault: MALFORMED for something else or a typing error.
    """
    return Principal.load(unwrap(REQUEST, text, "request", _RETRY))


def encode_welcome(welcome: Welcome) -> str:
    """The string that answers a request."""
    return wrap(WELCOME, encode(welcome))


def decode_welcome(text: str) -> Welcome:
    """What a welcome says; its chain holds, and names a user.

    Raises:
        Fault: MALFORMED for something else or a typing error; as `read_chain`.
    """
    welcome = decode(unwrap(WELCOME, text, "welcome", _RETRY), Welcome)
    if welcome.identity.kind is not MemberKind.USER:
        raise Fault(Kind.MALFORMED, "a welcome for something else than a person")
    return welcome
