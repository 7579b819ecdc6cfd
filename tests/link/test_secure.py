"""TLS on sockets: what arrives, in which order, and how a connection ends, also with other ends."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from blocktree.link import Side
from blocktree.link.secure import SecureTransport, secured
from link.world import in_loop, make_side, until


class Tape:
    """A protocol that keeps all that it is told."""

    def __init__(self, room: int = 64 << 10) -> None:
        self.heard: list[str] = []
        self.data = bytearray()
        self.lost: list[Exception | None] = []
        self.react: Callable[[], None] = lambda: None  # to data
        self._buffer = memoryview(bytearray(room))
        self.transport: SecureTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, SecureTransport)
        self.transport = transport
        self.heard.append("made")

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self._buffer[:nbytes]
        self.react()

    def eof_received(self) -> bool | None:
        self.heard.append("eof")
        return None

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost")
        self.lost.append(exc)


def sockets() -> tuple[socket.socket, socket.socket]:
    both = socket.socketpair()
    for one in both:
        one.setblocking(False)  # noqa: FBT003 - its signature is not ours
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
    return both


async def shake(
    here: tuple[socket.socket, Tape, Side],
    far: tuple[socket.socket, Tape, Side],
    shutdown_s: float = 30,  # longer than a test may take: nothing here is to wait for it
) -> tuple[BaseException | None, BaseException | None]:
    """Both handshakes; how each ended."""
    one, other = await asyncio.gather(
        secured(here[0], here[2].client, here[1], answers=False, shutdown_s=shutdown_s),
        secured(far[0], far[2].server, far[1], answers=True, shutdown_s=shutdown_s),
        return_exceptions=True,
    )
    return one, other


@contextlib.asynccontextmanager
async def pair(room: int = 64 << 10, shutdown_s: float = 30) -> AsyncIterator[tuple[Tape, Tape]]:
    """Two ends that have proved themselves to each other."""
    here, far = Tape(room), Tape(room)
    ours, theirs = sockets()
    sides = make_side("pi-1"), make_side("pi-2")
    done = await shake((ours, here, sides[0]), (theirs, far, sides[1]), shutdown_s)
    assert done == (None, None)
    try:
        yield here, far
    finally:
        for end in here, far:
            end.transport.abort()
        await until(lambda: bool(here.lost and far.lost))
        assert here.heard[0] == far.heard[0] == "made"
        assert here.heard.count("lost") == far.heard.count("lost") == 1


@in_loop
@pytest.mark.parametrize("room", [100, 5000, 64 << 10])
async def test_what_is_written_arrives_in_order_whatever_the_buffer(room: int) -> None:
    parts = [os.urandom(size) for size in (1, 100, 17_000, 3, 300_000, 50)]
    async with pair(room) as (here, far):
        for part in parts:
            here.transport.write(part)
            far.transport.write(memoryview(part))
        await until(lambda: len(here.data) == len(far.data) == sum(map(len, parts)))
        assert here.data == far.data == b"".join(parts)


@in_loop
async def test_writing_pauses_above_the_limit_and_goes_on_below_it() -> None:
    async with pair() as (here, far):
        here.transport.set_write_buffer_limits(high=100_000)
        far.transport.pause_reading()
        for _ in range(40):
            here.transport.write(bytes(16_000))
        assert here.heard == ["made", "pause"]
        assert here.transport.get_write_buffer_size() > 100_000
        far.transport.resume_reading()
        await until(lambda: len(far.data) == 640_000)
        assert here.heard == ["made", "pause", "resume"]
        assert here.transport.get_write_buffer_size() == 0


@in_loop
async def test_what_is_written_later_leaves_later_though_there_is_room_by_then() -> None:
    async with pair() as (here, far):
        far.transport.pause_reading()
        here.transport.write(bytes(500_000))
        assert here.transport.get_write_buffer_size() > 0
        with contextlib.suppress(BlockingIOError):  # until the kernel's buffers are empty
            while True:
                far.transport._incoming.write(far.transport._socket.recv(1 << 20))
        here.transport.write(b"last")
        far.transport.resume_reading()
        await until(lambda: len(far.data) == 500_004)
        assert far.data.endswith(b"\0last")


@in_loop
async def test_a_paused_end_hears_nothing_and_then_everything() -> None:
    async with pair(room=1000) as (here, far):
        far.react = far.transport.pause_reading  # with most of it read from the socket already
        here.transport.write(bytes(range(256)) * 40)
        await until(lambda: bool(far.data))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(far.data) == 1000
        far.react = lambda: None
        far.transport.resume_reading()
        await until(lambda: len(far.data) == 10_240)
        assert far.data == bytes(range(256)) * 40


@in_loop
async def test_what_waits_is_sent_before_a_close_and_the_other_end_closes_too() -> None:
    async with pair() as (here, far):
        here.transport.write(bytes(500_000))
        here.transport.close()
        here.transport.write(b"too late")
        await until(lambda: bool(here.lost and far.lost))
        assert len(far.data) == 500_000
        assert far.heard == ["made", "eof", "lost"]
        assert here.lost == far.lost == [None]


@in_loop
async def test_a_close_does_not_take_back_what_was_said_to_an_end_that_talks_itself() -> None:
    async with pair() as (here, far):
        here.transport.pause_reading()
        far.transport.write(bytes(200_000))
        here.transport.write(b"good-bye")
        here.transport.close()
        await until(lambda: bool(here.lost and far.lost))
        assert far.data == b"good-bye"
        assert here.lost == far.lost == [None]
        assert not here.data


@in_loop
async def test_an_end_that_never_closes_is_not_waited_for() -> None:
    async with pair(shutdown_s=0.2) as (here, far):
        far.transport.pause_reading()
        begin = asyncio.get_running_loop().time()
        here.transport.close()
        await until(lambda: bool(here.lost))
        assert here.lost == [None]
        assert asyncio.get_running_loop().time() - begin >= 0.19


@in_loop
async def test_an_end_may_close_while_it_is_told_something() -> None:
    async with pair(room=1000) as (here, far):
        far.react = far.transport.close
        here.transport.write(bytes(10_000))
        await until(lambda: bool(here.lost and far.lost))
        assert len(far.data) == 1000
        assert here.heard == ["made", "eof", "lost"]


@in_loop
async def test_a_connection_that_breaks_is_told_once_with_its_cause() -> None:
    async with pair() as (here, far):
        far.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        for _ in range(3):
            here.transport.write(bytes(1000))
        await until(lambda: bool(here.lost))
        assert isinstance(here.lost[0], BrokenPipeError)
        await until(lambda: bool(far.lost))


@in_loop
async def test_bytes_that_are_no_tls_end_the_connection() -> None:
    async with pair() as (here, far):
        here.transport.get_extra_info("socket").send(bytes(100))
        await until(lambda: bool(far.lost and here.lost))
        assert isinstance(far.lost[0], ssl.SSLError)
        assert isinstance(here.lost[0], ssl.SSLError)  # it was told by an alert
        assert not far.data


@in_loop
async def test_an_end_of_another_tree_is_refused_and_told_why() -> None:
    here, far = Tape(), Tape()
    ours, theirs = sockets()
    done = await shake((ours, here, make_side("pi-1")), (theirs, far, make_side("pi-2", seed=2)))
    assert isinstance(done[0], ssl.SSLCertVerificationError)
    assert isinstance(done[1], ssl.SSLError)
    assert "ALERT" in done[1].reason
    assert here.heard == far.heard == []
    assert ours.fileno() == theirs.fileno() == -1


@in_loop
async def test_a_handshake_that_breaks_off_is_an_error_and_closes_the_socket() -> None:
    for said in (b"", b"GET / HTTP/1.0\r\n\r\n"):
        tape = Tape()
        ours, theirs = sockets()
        theirs.send(said)
        theirs.close()
        with pytest.raises(OSError):  # noqa: PT011 - of which kind depends on what was said
            await secured(ours, make_side("pi-1").server, tape, answers=True, shutdown_s=1)
        assert tape.heard == []
        assert ours.fileno() == -1


@in_loop
async def test_nobody_waits_for_a_handshake_longer_than_he_likes() -> None:
    tape = Tape()
    ours, theirs = sockets()
    with theirs, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await secured(ours, make_side("pi-1").client, tape, answers=False, shutdown_s=1)
    assert tape.heard == []
    assert ours.fileno() == -1


@in_loop
@pytest.mark.parametrize("answers", [True, False])
async def test_it_talks_with_the_tls_of_asyncio(answers: bool) -> None:
    ours, theirs = sockets()
    here, side, other = Tape(), make_side("pi-1"), make_side("pi-2")
    context = side.server if answers else side.client
    opening = asyncio.create_task(secured(ours, context, here, answers=answers, shutdown_s=1))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(reader)
    if answers:
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=theirs, ssl=other.client, server_hostname=""
        )
    else:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, theirs, ssl=other.server
        )
    await opening
    assert isinstance(transport, asyncio.Transport)
    content = os.urandom(100_000)
    here.transport.write(content)
    transport.write(content)
    assert await reader.readexactly(100_000) == content
    await until(lambda: here.data == content)
    if answers:
        here.transport.close()
    else:
        transport.close()
    assert await reader.read() == b""
    transport.close()
    await until(lambda: bool(here.lost))
    assert here.lost == [None]
