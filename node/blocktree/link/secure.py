"""TLS on a socket for a protocol that brings its own buffer, with little between the two.

`ssl.SSLObject` does the TLS, as in asyncio's own transport. That one is made for any protocol over
any transport, and takes 10 us more for a message in each direction: a commit of one small file is
six messages. Here what came is decrypted into the protocol's own buffer in the callback that reads
the socket, and what is written leaves with the call that writes it.

Invariants
- The protocol hears `connection_made` once TLS is up, then data, then `connection_lost`, once; or
  nothing, and `opened` has the error.
- What was written leaves in order: while some of it waits (`_unsent`), all goes behind it.
- Nothing is read while reading is paused, so whom nobody listens to fills his own buffers.
- After `close` what comes is thrown away until the peer closes, too: closing a socket with unread
  bytes resets the connection, and what was said last might be lost with it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol, cast
from weakref import WeakKeyDictionary

from blocktree.wire import Body

_READ_BYTES = 256 << 10
_PIECES_MAX = 64  # of a vectored write
_HIGH = 64 << 10
_received: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


class Receiver(Protocol):
    """As much of `asyncio.BufferedProtocol` as is used here."""

    def connection_made(self, transport: asyncio.BaseTransport, /) -> None:
        """TLS is up."""

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Where the next bytes go; not empty."""

    def buffer_updated(self, nbytes: int, /) -> None:
        """So many came."""

    def eof_received(self) -> bool | None:
        """The peer will say no more; the connection is closed now."""

    def pause_writing(self) -> None:
        """Too much is unsent."""

    def resume_writing(self) -> None:
        """There is room again."""

    def connection_lost(self, exc: Exception | None, /) -> None:
        """It is over."""


class SecureTransport(asyncio.Transport):
    """One connection, from the handshake to its end.

    Args:
        connection: connected and not blocking; closed by this from now on.
        answers: whether this is the server.
        shutdown_s: how long the peer may take to close after us.
    """

    def __init__(
        self,
        connection: socket.socket,
        context: ssl.SSLContext,
        protocol: Receiver,
        *,
        answers: bool,
        shutdown_s: float,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=answers)
        super().__init__({"socket": connection, "ssl_object": self._tls})
        self._loop = asyncio.get_running_loop()
        # What one read took is worked off in one go, so the connections of a loop share the memory.
        self._raw = _received.setdefault(self._loop, memoryview(bytearray(_READ_BYTES)))
        self._socket = connection
        self._protocol = protocol
        self._shutdown_s = shutdown_s
        self._step: Callable[[], None] = self._shake_hands  # when something came
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._high, self._low = _HIGH, _HIGH // 4
        self._full = False  # the protocol was told to pause
        self._paused = self._finished = self._closing = self._lost = False
        self._late: asyncio.TimerHandle | None = None
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(connection, self._readable)
        self._shake_hands()

    # ---- asyncio.Transport

    def write(self, data: Body) -> None:
        """Encrypt and send, now as far as the kernel takes it."""
        if self._closing:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as cause:
            self._end(cause)
            return
        self._push()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The protocol pauses above `high` bytes unsent, and goes on at `low`."""
        self._high = _HIGH if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._unsent_bytes

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        if not (self._paused or self._closing):
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume_reading(self) -> None:
        """Go on, first with what came already."""
        if self._paused and not self._closing:
            self._paused = False
            if not self._finished:
                self._loop.add_reader(self._socket, self._readable)
            self._loop.call_soon(self._go_on)

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the connection was lost."""
        return self._closing

    def close(self) -> None:
        """Send what waits and a good-bye, and wait for the peer's end, but not for long."""
        if self._closing:
            return
        if not self.opened.done():
            self._end(None)
            return
        self.resume_reading()
        self._closing, self._step = True, self._discard
        self._late = self._loop.call_later(self._shutdown_s, self.abort)
        with contextlib.suppress(ssl.SSLError):  # that the peer has not said good-bye yet
            self._tls.unwrap()
        self._push()
        self._part()

    def abort(self) -> None:
        """Close at once."""
        self._end(None)

    # ---- inside

    def _readable(self) -> None:
        try:
            size = self._socket.recv_into(self._raw)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as cause:
            self._end(cause)
            return
        if size:
            self._incoming.write(self._raw[:size])
        else:
            self._finished = True
            self._loop.remove_reader(self._socket)
            self._incoming.write_eof()
        self._step()

    def _go_on(self) -> None:
        if not self._paused:
            self._step()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
            return
        except ssl.SSLEOFError:
            self._end(ConnectionResetError("the peer left during the TLS handshake"))
            return
        except ssl.SSLError as cause:
            self._break(cause)
            return
        self._push()
        if self._lost or self.opened.done():  # or nobody waits any more
            self._end(None)
            return
        self._step = self._deliver
        self.opened.set_result(None)
        self._protocol.connection_made(self)
        self._go_on()

    def _deliver(self) -> None:
        """Decrypt what came into the protocol's buffer, until nothing is left of it."""
        incoming, protocol = self._incoming, self._protocol
        read = cast("Callable[[int, memoryview], int]", self._tls.read)
        ended, more = self._finished, True
        while more and not (self._paused or self._closing):
            room = protocol.get_buffer(-1)
            size, got = len(room), 0
            try:
                while more and got < size:
                    count = read(size - got, room[got:])
                    got += count
                    ended = ended or not count  # the peer said good-bye
                    # A read gives one record, or as much of it as fits: then there is more.
                    more = count > 0 and (incoming.pending > 0 or got == size)
            except ssl.SSLWantReadError:
                more = False
            except ssl.SSLEOFError:  # the peer left without one
                ended, more = True, False
            except ssl.SSLError as cause:
                self._break(cause)
                more = False
            if got:
                protocol.buffer_updated(got)
        if ended and not (self._paused or self._closing):
            protocol.eof_received()
            self.close()

    def _break(self, cause: ssl.SSLError) -> None:
        """TLS refuses the peer, or the peer us: say so to it, if it still listens."""
        self._push()
        self._end(cause)

    def _discard(self) -> None:
        self._incoming.read()
        self._part()

    def _part(self) -> None:
        """After `close`: when all is sent the peer hears our end; with his it is over."""
        if self._unsent or self._lost:
            return
        if self._finished:
            self._end(None)
        else:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def _push(self) -> None:
        """Send what TLS has made."""
        data = self._outgoing.read()
        if not data or self._lost:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as cause:
                self._end(cause)
                return
            if sent == len(data):
                return
            self._loop.add_writer(self._socket, self._writable)
        self._unsent.append(memoryview(data)[sent:])
        self._unsent_bytes += len(data) - sent
        if self._unsent_bytes > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        try:
            sent = self._socket.sendmsg(list(islice(self._unsent, _PIECES_MAX)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as cause:
            self._end(cause)
            return
        self._unsent_bytes -= sent
        while sent >= len(self._unsent[0]):
            sent -= len(self._unsent.popleft())
            if not self._unsent:
                break
        if self._unsent:
            self._unsent[0] = self._unsent[0][sent:]
        else:
            self._loop.remove_writer(self._socket)
        if self._full and self._unsent_bytes <= self._low:
            self._full = False
            self._protocol.resume_writing()
        if self._closing:
            self._part()

    def _end(self, cause: Exception | None) -> None:
        """It is over, for whatever reason; the protocol hears of it in the next turn."""
        if self._lost:
            return
        self._lost = self._closing = True
        if self._late is not None:
            self._late.cancel()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._unsent.clear()
        self._unsent_bytes = 0
        if self.opened.done() and not self.opened.cancelled():
            self._loop.call_soon(self._tell_lost, cause)
            return
        self._socket.close()
        if not self.opened.done():
            self.opened.set_exception(cause or ConnectionAbortedError("no longer needed"))
            self.opened.exception()  # seen: nobody may be waiting any more

    def _tell_lost(self, cause: Exception | None) -> None:
        try:
            self._protocol.connection_lost(cause)
        finally:
            self._socket.close()


async def secured(
    connection: socket.socket,
    context: ssl.SSLContext,
    protocol: Receiver,
    *,
    answers: bool,
    shutdown_s: float,
) -> None:
    """Have a connection speak TLS, until the protocol hears `connection_made`.

    Raises:
        OSError: `ssl.SSLError` among them; the connection is closed then, as when cancelled.
    """
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = SecureTransport(
        connection, context, protocol, answers=answers, shutdown_s=shutdown_s
    )
    try:
        await transport.opened
    except asyncio.CancelledError:
        transport.abort()
        raise


async def connect(host: str, port: int) -> socket.socket:
    """A connected socket that does not block, to the first address of `host` that answers.

    Raises:
        OSError: of the last address.
    """
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    cause: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, kind, number, _, place in places:
        try:
            connection = socket.socket(family, kind, number)
        except OSError as error:  # a family that this machine does not have
            cause = error
            continue
        connection.setblocking(False)  # noqa: FBT003 - its signature is not ours
        try:
            await loop.sock_connect(connection, place)
        except OSError as error:
            connection.close()
            cause = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise cause
