"""How two processes prove to each other who they are: TLS 1.3 both ways, then one hello each way.

OpenSSL has already checked that the peer holds the key of its certificate and that the chain ends
in this tree's root. The hello brings the whole chain, which our own check reads by the rules of
paths (`keys.check_chain`), says which path was dialled, and lets either side refuse in a sentence.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Identity, check_chain
from blocktree.link.endpoint import split_endpoint
from blocktree.link.frames import ALPN, INSTANCE_BYTES, VERSION, Hello, Lane
from blocktree.link.link import Link
from blocktree.link.secure import connect, secured
from blocktree.link.tls import client_context, connection_fault, server_context
from blocktree.names import Path
from blocktree.wire import Body, decode, encode

TLS_TIMEOUT_S = 5.0
HELLO_TIMEOUT_S = 5.0
SHUTDOWN_TIMEOUT_S = 2.0
Admit = Callable[[Identity], None]
OnOpen = Callable[[Link], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Side:
    """What this process shows to every peer and asks of it.

    Args:
        credential: who this process is.
        admit: raises `Fault` DENIED for who does not belong to the tree (any more).
        now: seconds since 1970, for the validity of certificates.
        instance: tells this run of the process from others under the same path.
    """

    credential: Credential
    admit: Admit
    now: Callable[[], float] = time.time
    instance: bytes = field(default_factory=lambda: secrets.token_bytes(INSTANCE_BYTES))
    client: ssl.SSLContext = field(init=False, repr=False)
    server: ssl.SSLContext = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "client", client_context(self.credential))
        object.__setattr__(self, "server", server_context(self.credential))

    def hello(self, path: str, lane: Lane) -> bytes:
        """Our hello, encoded."""
        who = self.credential
        return encode(Hello(VERSION, who.tree, path, lane, self.instance, tuple(who.chain)))

    def check(self, link: Link, hello: Hello) -> Identity:
        """Who the peer is, once everything about it is in order.

        Raises:
            Fault: UNSUPPORTED (version), WRONG_TREE, DENIED, EXPIRED or MALFORMED.
        """
        if link.protocol != ALPN or hello.version != VERSION:
            raise Fault(
                Kind.UNSUPPORTED,
                f"the peer speaks version {hello.version} of the link protocol, not {VERSION}",
                next_step="install the same version of blocktree on both",
            )
        tree = self.credential.tree
        if hello.tree != tree:
            raise Fault(Kind.WRONG_TREE, f"the peer belongs to tree {hello.tree}, not to {tree}")
        if len(hello.instance) != INSTANCE_BYTES or not hello.chain:
            raise Fault(Kind.MALFORMED, "a hello without instance or chain")
        if hello.chain[0] != link.certificate:
            raise Fault(Kind.DENIED, "the hello names another certificate than the TLS handshake")
        identity = check_chain(hello.chain, tree, int(self.now()))
        self.admit(identity)
        return identity


class Answering:
    """The answering side of one connection."""

    def __init__(self, side: Side, on_open: OnOpen, settled: asyncio.Future[None]) -> None:
        self._side = side
        self._on_open = on_open
        self._settled = settled  # done when the link is open, or failed
        self._late: asyncio.TimerHandle | None = None

    def began(self, link: Link) -> None:
        """Wait for the hello, not for long."""
        link.on_frame = self._hello
        slow = Fault(Kind.UNREACHABLE, f"no hello within {HELLO_TIMEOUT_S:g} seconds")
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(HELLO_TIMEOUT_S, link.close, slow)

    def failed(self, cause: Exception) -> None:
        """The peer left, or was refused."""
        self._stop_waiting()
        if not self._settled.done():
            self._settled.set_exception(cause)

    def _hello(self, link: Link, head: bytes, _body: Body) -> None:
        self._stop_waiting()
        hello = decode(head, Hello)
        identity = self._side.check(link, hello)
        here = self._side.credential.path
        if hello.path not in ("", here):
            raise Fault(Kind.NOT_FOUND, f"this is {here}, not {hello.path}", path=hello.path)
        link.send(self._side.hello(here, hello.lane))
        link.opened(identity, hello.instance, hello.lane)
        if self._settled.done():  # whoever listened is gone
            raise Fault(Kind.STOPPED, "the process is shutting down")
        _hand_over(link, self._on_open, self._settled, None)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()


class Calling:
    """The dialling side of one connection."""

    def __init__(self, side: Side, expect: Path | None, lane: Lane, on_open: OnOpen) -> None:
        self._side = side
        self._expect = expect
        self._lane = lane
        self._on_open = on_open
        self.done: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def began(self, link: Link) -> None:
        """Introduce ourselves."""
        link.dialled = True
        link.on_frame = self._answer
        link.send(self._side.hello(self._expect or "", self._lane))

    def failed(self, cause: Exception) -> None:
        """It was refused, here or there, or the connection broke."""
        if not self.done.done():
            self.done.set_exception(cause)

    def abandon(self, link: Link) -> None:
        """Nobody waits any more: if it did not open, it must not open later."""
        if self.done.done() and not self.done.cancelled() and self.done.exception() is None:
            return
        self.done.cancel()
        link.abort(Fault(Kind.CANCELLED, "no longer needed"))

    def _answer(self, link: Link, head: bytes, _body: Body) -> None:
        hello = decode(head, Hello)
        identity = self._side.check(link, hello)
        if self._expect is not None and identity.path != self._expect:
            raise Fault(Kind.NOT_FOUND, f"{identity.path} answers there, not {self._expect}").at(
                self._expect
            )
        if hello.lane is not self._lane:
            raise Fault(Kind.CONTRACT, "the answer is for another lane")
        if hello.instance == self._side.instance:
            raise Fault(Kind.USAGE, "this address is our own", path=identity.path)
        link.opened(identity, hello.instance, hello.lane)
        if self.done.done():  # the caller gave up meanwhile
            raise Fault(Kind.CANCELLED, "no longer needed")
        _hand_over(link, self._on_open, self.done, link)


def _hand_over(link: Link, on_open: OnOpen, waiting: asyncio.Future[_T], outcome: _T) -> None:
    """Give an open link to its owner, who may refuse it, and the outcome to whoever waits."""
    try:
        on_open(link)
    except Fault as fault:
        waiting.set_exception(fault)
        raise
    waiting.set_result(outcome)


async def dial(
    address: str,
    side: Side,
    on_open: OnOpen,
    *,
    expect: Path | None = None,
    lane: Lane = Lane.CONTROL,
    timeout_s: float = TLS_TIMEOUT_S,
) -> Link:
    """Connect to `host:port` and return the open link.

    `on_open` runs before any frame is delivered; it sets `on_frame` and `on_close`.

    Raises:
        Fault: UNREACHABLE (nothing listens, no answer, not TLS), WRONG_TREE, DENIED, EXPIRED (a
            clock is wrong), NOT_FOUND (another path answers there), UNSUPPORTED, USAGE (address).
    """
    host, port = split_endpoint(address)
    calling = Calling(side, expect, lane, on_open)
    link = Link(calling)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await connect(host, port)
            await secured(
                connection, side.client, link, answers=False, shutdown_s=SHUTDOWN_TIMEOUT_S
            )
            return await calling.done
    except (Fault, OSError) as cause:
        raise connection_fault(cause, address) from None
    finally:
        calling.abandon(link)
