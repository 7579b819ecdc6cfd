"""One mutual-TLS connection between two processes, and the frames on it.

Invariants
  - Frames leave in the order of `send`, and many of one loop turn leave in one write. Items of one
    `Bundle` that are gathered in a row leave in one frame, in their place among the others.
  - Nothing is delivered before both ends have proved who they are (`opening`), nor after the close.
  - Bytes waiting to be written are bounded (`Limits.write_max`: `send` answers BUSY), and so are
    bytes received but not yet worked off (`Limits.inbound_max`: the link is not read meanwhile).
  - A peer that says nothing for `Limits.silent_ticks` ticks is given up. Ticks are counted, not
    read off a clock, so that a machine which slept does not accuse its peers.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.link.beat import Beats
from blocktree.link.frames import Bundle, Failure, Lane
from blocktree.link.limits import BULK_LIMITS, CONTROL_LIMITS
from blocktree.wire import BODY_MAX, HEAD_MAX, Body, FrameReader, decode, encode, encode_frame

log = logging.getLogger(__name__)

_JOIN_MAX = 64 << 10  # pieces below this are copied into one write, larger ones go by themselves
_SLICE_BYTES = 128 << 10  # of a large piece, for one write
_FLUSH_BYTES = 256 << 10  # of pending pieces: do not wait for the end of the loop turn
_BUNDLE_MAX = 256  # items in one frame
_FRAME_COST = 1024  # bytes a frame is counted for beside its own: empty ones are bounded, too
_HELLO_MAX = 48 << 10  # five certificates of at most 8 KiB, and the rest
_STILL_HERE = b"".join(encode_frame(b""))

OnFrame = Callable[["Link", bytes, Body], None]
OnClose = Callable[["Link", Fault], None]
OnPause = Callable[[], None]


def again(fault: Fault) -> Fault:
    """A fresh copy: a raised exception keeps the traceback of each place it went through."""
    return Fault(fault.kind, fault.what, path=fault.path, next_step=fault.next_step)


def _refuse_frame(_link: "Link", _head: bytes, _body: Body) -> None:
    raise Fault(Kind.CONTRACT, "nobody receives frames on this link")


def _ignore_close(_link: "Link", _fault: Fault) -> None:
    pass


def _ignore_pause() -> None:
    pass


class Opening(Protocol):
    """What leads a new connection to the point where its peer is known (`opening`)."""

    def began(self, link: "Link") -> None:
        """TLS is up."""

    def failed(self, cause: Exception) -> None:
        """The connection ended before it was opened."""


class Link(asyncio.BufferedProtocol):
    """One connection; made by `dial` and `Listener`, open once `peer` is known.

    Set `on_frame` and `on_close` in the callback that hands the link over: the first frames may
    already be waiting. `on_pause` is told when all frames that came together are delivered. None of
    them may raise.
    """

    peer: Identity
    instance: bytes  # of the peer's process
    lane: Lane

    def __init__(self, opening: Opening) -> None:
        self.on_frame: OnFrame = _refuse_frame
        self.on_close: OnClose = _ignore_close
        self.on_pause: OnPause = _ignore_pause
        self.dialled = False  # whether this side made the connection
        self.closed: Fault | None = None
        self._opening = opening
        self._limits = CONTROL_LIMITS
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport  # from `connection_made` on
        self._connected = False
        self._gone = self._loop.create_future()  # done when the connection is really closed
        self._reader = FrameReader(head_max=_HELLO_MAX, body_max=_HELLO_MAX, buffer_bytes=4 << 10)
        self._open = False
        self._pending: list[Body] = []
        self._bundle: Bundle | None = None  # that `_items` are of
        self._items: list[bytes] = []  # behind what is pending
        self._pending_bytes = self._pending_frames = 0  # with the items
        self._flush_planned = False
        self._prompt = False  # whether the next frame leaves at once
        self._crowded = False  # whether several frames left together the last time
        self._delivering = False
        self._writable = True
        self._waiting: list[asyncio.Future[None]] = []  # in drain
        self._inbound = 0  # bytes delivered and not yet released
        self._reading = True
        self._heard = self._spoke = True
        self._silent = 0
        self._beats: Beats | None = None  # once open

    def __repr__(self) -> str:
        who = self.peer.path if self._open else "nobody yet"
        return f"<Link to {who}{' closed' if self.closed else ''}>"

    # ---- what its owner calls

    def opened(self, peer: Identity, instance: bytes, lane: Lane) -> None:
        """The peer has proved who it is: from now on frames are delivered to `on_frame`."""
        assert not self._open
        self.peer, self.instance, self.lane = peer, instance, lane
        self._open = True
        self._limits = BULK_LIMITS if lane is Lane.BULK else CONTROL_LIMITS
        self._transport.set_write_buffer_limits(high=self._limits.write_high)
        self._reader.widen(HEAD_MAX, BODY_MAX, self._limits.buffer_bytes)
        self._beats = Beats(self._limits.tick_s, self._tick)

    def send(self, head: bytes, body: Body = b"") -> None:
        """Queue one frame; it leaves in this turn of the event loop or at its end.

        Frames of one turn leave together. One that answers what was just received does not wait
        for others, unless there were others the last time.

        Raises:
            Fault: the link's closing fault if it is closed, TOO_LARGE for a frame over its limits,
                BUSY if more than `Limits.write_max` bytes wait already.
        """
        if self.closed is not None or not self._writable:
            self._check_room()
        if self._items:
            self._tie()
        self._pending += encode_frame(head, body)
        self._queued(len(head) + len(body) + 8)

    def gather(self, bundle: Bundle, item: bytes) -> None:
        """Queue a small item; those of one bundle that follow each other leave in one frame.

        Args:
            bundle: what makes up the frame; compared by identity.
            item: at most a few KiB, for a frame holds up to 256 of them.

        Raises:
            Fault: as `send`.
        """
        if self.closed is not None or not self._writable:
            self._check_room()
        items = self._items
        if items and bundle is self._bundle and len(items) < _BUNDLE_MAX:  # its frame leaves anyway
            items.append(item)
            self._pending_bytes += len(item)
            if self._pending_bytes >= _FLUSH_BYTES:
                self._write_pending()
            return
        self._tie()
        self._bundle = bundle
        self._items.append(item)
        self._queued(len(item))

    @property
    def certificate(self) -> bytes:
        """The certificate (DER) that the peer showed in the TLS handshake."""
        tls = self._transport.get_extra_info("ssl_object")
        return cast("ssl.SSLObject", tls).getpeercert(binary_form=True) or b""

    @property
    def protocol(self) -> str:
        """The application protocol agreed on in the TLS handshake, or ""."""
        tls = self._transport.get_extra_info("ssl_object")
        return cast("ssl.SSLObject", tls).selected_alpn_protocol() or ""

    @property
    def backlog(self) -> int:
        """Bytes that wait to be written."""
        return self._pending_bytes + self._transport.get_write_buffer_size()

    @property
    def congested(self) -> bool:
        """Whether `drain` would wait."""
        return not self._writable

    async def drain(self) -> None:
        """Wait until fewer than `Limits.write_high` bytes wait to be written.

        Raises:
            Fault: the link's closing fault if it closes meanwhile.
        """
        if self.closed is not None:
            raise again(self.closed)
        if self._writable:
            return
        room = self._loop.create_future()
        self._waiting.append(room)
        await room

    def hold(self, size: int) -> None:
        """Count `size` more delivered bytes as not yet worked off, until they are released."""
        self._inbound += size + _FRAME_COST
        if self._reading and self._inbound > self._limits.inbound_max:
            self._reading = False
            self._transport.pause_reading()

    def release(self, size: int) -> None:
        """Say that a delivered frame of `size` bytes (head and body) has been worked off."""
        self._inbound -= size + _FRAME_COST
        assert self._inbound >= 0, "a frame was released twice"
        if not self._reading and self._inbound <= self._limits.inbound_max // 2:
            self._reading = True
            if self.closed is None:
                self._transport.resume_reading()

    def close(self, why: Fault | None = None) -> None:
        """Send what is queued, tell the peer why, and close; `on_close` runs within this call."""
        if self.closed is not None:
            return
        reason = why or Fault(Kind.STOPPED, "the link was closed")
        if self._connected:
            self._tie()
            self._pending += encode_frame(b"", encode(Failure.of(reason)))
            self._write_pending()
            self._transport.close()
        self._end(reason)

    def abort(self, why: Fault) -> None:
        """Close at once, without a good-bye."""
        if self._connected:
            self._transport.abort()
        self._end(why)

    async def gone(self, timeout_s: float) -> None:
        """After `close`: wait until the connection is closed on both sides, or make it so."""
        if self._connected:
            await asyncio.wait([self._gone], timeout=timeout_s)
            self._transport.abort()

    # ---- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is up; the hello comes next."""
        self._transport = cast("asyncio.Transport", transport)
        self._connected = True
        if self.closed is not None:  # given up during the TLS handshake
            self._transport.abort()
            return
        self._opening.began(self)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the transport puts what it received."""
        return self._reader.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Deliver the frames that are now whole."""
        self._heard = True
        if self.closed is not None:
            return
        self._delivering = True
        self._prompt = False
        try:
            for head, body in self._reader.buffer_updated(nbytes):
                if head:
                    self.hold(len(head) + len(body))
                    self.on_frame(self, head, body)
                elif len(body):
                    self._leave(decode(body, Failure).fault())
                if self._ended():
                    return
        except Fault as fault:
            self.close(fault)
        except Exception:  # one bad frame must not take the event loop's other links with it
            log.exception("a frame from %r broke its receiver", self)
            self.close(Fault(Kind.FAILED, "a frame broke its receiver"))
        finally:
            self._delivering = False
            self.on_pause()
            if (self._pending or self._items) and not self._ended():
                self._write_pending()
            self._prompt = not self._crowded

    def eof_received(self) -> bool:
        """The peer said no more; close too."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._gone.set_result(None)
        what = "the connection was lost" + (f": {exc}" if exc else "")
        self._end(Fault(Kind.UNREACHABLE, what), exc)

    def pause_writing(self) -> None:
        """Too much waits to be written."""
        self._writable = False

    def resume_writing(self) -> None:
        """There is room again."""
        self._writable = True
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.done():
                room.set_result(None)

    # ---- inside

    def _ended(self) -> bool:
        return self.closed is not None

    def _check_room(self) -> None:
        if self.closed is not None:
            raise again(self.closed)
        if self.backlog > self._limits.write_max:
            raise Fault(Kind.BUSY, "too much waits to be sent", path=self.peer.path)

    def _queued(self, size: int) -> None:
        """Something waits: see to it that it leaves."""
        if self._prompt:  # nothing was sent since the peer was last heard
            self._prompt = False
            self._write_pending()
            return
        self._pending_frames += 1
        self._pending_bytes += size
        if not self._flush_planned and not self._delivering:
            self._flush_planned = True
            self._loop.call_soon(self._flush)
        if self._pending_bytes >= _FLUSH_BYTES:
            self._write_pending()

    def _tie(self) -> None:
        """What was gathered becomes a frame."""
        if self._items:
            assert self._bundle is not None
            items, self._items = self._items, []
            self._pending += encode_frame(self._bundle.head(items))

    def _flush(self) -> None:
        """The end of a turn in which something was sent."""
        self._flush_planned = False
        if (self._pending or self._items) and self.closed is None:
            self._write_pending()

    def _write_pending(self) -> None:
        """Everything pending: small pieces joined into one write, large ones not copied."""
        self._crowded = self._pending_frames > 1 or len(self._items) > 1
        self._tie()
        pieces, self._pending = self._pending, []
        self._pending_bytes = self._pending_frames = 0
        self._spoke = True
        small: list[Body] = []
        for piece in pieces:
            if len(piece) < _JOIN_MAX:
                small.append(piece)
                continue
            if small:
                self._transport.write(b"".join(small))
                small = []
            self._write_large(memoryview(piece))
        if small:
            self._transport.write(b"".join(small))

    def _write_large(self, piece: memoryview) -> None:
        """In slices, so that the buffers between TLS and socket stay small: a fifth less CPU."""
        for start in range(0, len(piece), _SLICE_BYTES):
            self._transport.write(piece[start : start + _SLICE_BYTES])

    def _tick(self) -> None:
        if not self._spoke:
            self._transport.write(_STILL_HERE)
        self._silent = 0 if self._heard or not self._reading else self._silent + 1
        self._heard = self._spoke = False
        self._reader.rest()
        if self._silent >= self._limits.silent_ticks:
            silence = f"it said nothing for {self._silent * self._limits.tick_s:g} seconds"
            self.abort(Fault(Kind.UNREACHABLE, silence))  # it would not answer a good-bye

    def _leave(self, fault: Fault) -> None:
        """The peer said good-bye."""
        self._transport.close()
        self._end(fault)

    def _end(self, fault: Fault, cause: Exception | None = None) -> None:
        """Whatever ended it, this runs once."""
        if self.closed is not None:
            return
        self.closed = fault
        if self._beats is not None:
            self._beats.stop()
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.done():
                room.set_exception(again(fault))
        if self._open:
            self.on_close(self, fault.at(self.peer.path))
        else:
            self._opening.failed(cause or fault)
        self.on_frame, self.on_close = _refuse_frame, _ignore_close
