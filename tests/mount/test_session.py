"""The session against a socket in the kernel's place: suspended requests, signals, limits."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from blocktree.fault import Fault, Kind
from blocktree.mount import session as session_module
from blocktree.mount.protocol import (
    IN_HEAD,
    INIT_IN,
    INIT_OUT,
    INTERRUPT_IN,
    OUT_HEAD,
    WANTED,
    WRITE_IN,
    Opcode,
)
from blocktree.mount.session import BUFFERS_LENT_MAX, SEATS_FREE, Session
from blocktree.mount.view import Options, Reply, Request, View
from mount.memory_volume import MemoryTree, MemoryVolume

Serve = Callable[[View, Request], Awaitable[Reply]]


class Kernel:
    """The other end of the connection."""

    def __init__(self, serves: dict[int, Any]) -> None:
        self.end, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.settimeout(0)
        ours.settimeout(0)
        self.device = ours
        self.session = Session(ours.fileno(), View(MemoryVolume(MemoryTree()), Options()), serves)
        self.session.start()
        self.unique = 0

    async def ask(self, opcode: int, body: bytes = b"", node: int = 1) -> int:
        await asyncio.sleep(0)
        self.unique += 2
        head = IN_HEAD.pack(IN_HEAD.size + len(body), opcode, self.unique, node, 0, 0, 1, 0, 0)
        await asyncio.get_running_loop().sock_sendall(self.end, head + body)
        return self.unique

    async def reply(self) -> tuple[int, int, bytes]:
        """(unique, errno, body) of the next reply."""
        async with asyncio.timeout(10):
            packet = await asyncio.get_running_loop().sock_recv(self.end, 1 << 21)
        length, code, unique = OUT_HEAD.unpack_from(packet)
        assert length == len(packet)
        return unique, -code, packet[OUT_HEAD.size :]

    async def close(self) -> None:
        self.session.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.end.close()
        self.device.close()


def _run(serves: dict[int, Any], body: Callable[[Kernel], Awaitable[None]]) -> None:
    async def main() -> None:
        kernel = Kernel(serves)
        try:
            await body(kernel)
        finally:
            await kernel.close()

    asyncio.run(main())


async def _at_once(view: View, request: Request) -> Reply:
    return bytes(request.body)


async def _later(view: View, request: Request) -> Reply:
    body = bytes(request.body)
    await asyncio.sleep(0.01)
    return body


def test_init_settles_the_terms() -> None:
    async def body(kernel: Kernel) -> None:
        await kernel.ask(
            Opcode.INIT, INIT_IN.pack(7, 45, 4096, int(WANTED) & 0xFFFFFFFF) + bytes(48)
        )
        _, code, reply = await kernel.reply()
        assert (code, len(reply)) == (0, INIT_OUT.size)
        assert (await kernel.session.terms).minor == 45

    _run({}, body)


def test_an_old_kernel_gets_a_fault_with_a_next_step() -> None:
    async def body(kernel: Kernel) -> None:
        await kernel.ask(Opcode.INIT, INIT_IN.pack(7, 20, 4096, 0))
        assert (await kernel.reply())[1] == errno.EPROTO
        with pytest.raises(Fault) as fault:
            await kernel.session.terms
        assert fault.value.kind is Kind.UNSUPPORTED
        assert fault.value.next_step

    _run({}, body)


def test_unknown_requests_are_answered_enosys() -> None:
    async def body(kernel: Kernel) -> None:
        for opcode in (Opcode.LOOKUP, 39, 46, 47, 52, 53, 999):
            unique = await kernel.ask(opcode)
            assert await kernel.reply() == (unique, errno.ENOSYS, b"")

    _run({}, body)


def test_what_does_not_suspend_is_answered_without_a_task() -> None:
    async def body(kernel: Kernel) -> None:
        await kernel.ask(Opcode.LOOKUP, b"warm\0")
        await kernel.reply()
        tasks = asyncio.all_tasks()
        for number in range(100):
            unique = await kernel.ask(Opcode.LOOKUP, b"x%d\0" % number)
            assert await kernel.reply() == (unique, 0, b"x%d\0" % number)
        assert asyncio.all_tasks() == tasks

    _run({Opcode.LOOKUP: _at_once}, body)


def test_suspended_requests_are_answered_in_the_order_they_finish() -> None:
    gates: dict[bytes, asyncio.Event] = {}

    async def gated(view: View, request: Request) -> Reply:
        name = bytes(request.body)
        gates[name] = asyncio.Event()
        await gates[name].wait()
        return name

    async def body(kernel: Kernel) -> None:
        asked = {name: await kernel.ask(Opcode.LOOKUP, name) for name in (b"a", b"b", b"c")}
        quick = await kernel.ask(Opcode.GETATTR, b"quick")
        assert await kernel.reply() == (quick, 0, b"quick")
        for name in (b"b", b"c", b"a"):
            gates[name].set()
            assert await kernel.reply() == (asked[name], 0, name)

    _run({Opcode.LOOKUP: gated, Opcode.GETATTR: _at_once}, body)


def test_many_more_requests_than_seats_are_all_answered() -> None:
    async def body(kernel: Kernel) -> None:
        count = SEATS_FREE * 10
        asked = {await kernel.ask(Opcode.LOOKUP, b"%d" % n): b"%d" % n for n in range(count)}
        for _ in range(count):
            unique, code, name = await kernel.reply()
            assert code == 0
            assert asked.pop(unique) == name

    _run({Opcode.LOOKUP: _later}, body)


def test_timeouts_work_from_the_first_step_on() -> None:
    async def slow(view: View, request: Request) -> Reply:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        task = asyncio.current_task()
        await asyncio.sleep(0)
        assert task is asyncio.current_task()
        return b"waited"

    async def body(kernel: Kernel) -> None:
        for _ in range(3):
            unique = await kernel.ask(Opcode.LOOKUP)
            assert await kernel.reply() == (unique, 0, b"waited")

    _run({Opcode.LOOKUP: slow}, body)


def test_a_suspended_write_keeps_its_bytes() -> None:
    async def write(view: View, request: Request) -> Reply:
        await asyncio.sleep(0.02)
        return bytes(request.body[WRITE_IN.size :])

    async def body(kernel: Kernel) -> None:
        asked = {}
        for number in range(10):
            content = bytes([number]) * 10_000
            asked[await kernel.ask(Opcode.WRITE, bytes(WRITE_IN.size) + content)] = content
        for _ in range(10):
            unique, code, content = await kernel.reply()
            assert code == 0
            assert asked.pop(unique) == content

    _run({Opcode.WRITE: write}, body)


def test_reading_pauses_when_too_many_writes_wait() -> None:
    running = 0
    most = 0
    gate = asyncio.Event()

    async def write(view: View, request: Request) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return b""

    async def body(kernel: Kernel) -> None:
        for _ in range(BUFFERS_LENT_MAX + 10):
            await kernel.ask(Opcode.WRITE, bytes(WRITE_IN.size))
        await asyncio.sleep(0.05)
        assert most == BUFFERS_LENT_MAX
        gate.set()
        for _ in range(BUFFERS_LENT_MAX + 10):
            assert (await kernel.reply())[1] == 0

    _run({Opcode.WRITE: write}, body)


async def _for_ever(view: View, request: Request) -> Reply:
    await asyncio.sleep(1000)
    return b""


def test_a_signal_ends_a_lock_wait_at_once() -> None:
    async def body(kernel: Kernel) -> None:
        unique = await kernel.ask(Opcode.SETLKW)
        await kernel.ask(Opcode.INTERRUPT, INTERRUPT_IN.pack(unique))
        assert await kernel.reply() == (unique, errno.EINTR, b"")
        again = await kernel.ask(Opcode.GETATTR, b"alive")
        assert await kernel.reply() == (again, 0, b"alive")

    _run({Opcode.SETLKW: _for_ever, Opcode.GETATTR: _at_once}, body)


def test_a_signal_leaves_short_waits_alone_and_ends_long_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "GRACE_SECONDS", 0.1)

    async def body(kernel: Kernel) -> None:
        short = await kernel.ask(Opcode.LOOKUP, b"short")
        await kernel.ask(Opcode.INTERRUPT, INTERRUPT_IN.pack(short))
        assert await kernel.reply() == (short, 0, b"short")
        long = await kernel.ask(Opcode.GETATTR)
        await kernel.ask(Opcode.INTERRUPT, INTERRUPT_IN.pack(long))
        assert await kernel.reply() == (long, errno.EINTR, b"")

    _run({Opcode.LOOKUP: _later, Opcode.GETATTR: _for_ever}, body)


def test_a_signal_for_what_is_answered_is_ignored() -> None:
    async def body(kernel: Kernel) -> None:
        unique = await kernel.ask(Opcode.LOOKUP, b"x")
        await kernel.reply()
        await kernel.ask(Opcode.INTERRUPT, INTERRUPT_IN.pack(unique))
        again = await kernel.ask(Opcode.LOOKUP, b"y")
        assert await kernel.reply() == (again, 0, b"y")

    _run({Opcode.LOOKUP: _at_once}, body)


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fault(Kind.NO_SPACE, "full"), errno.ENOSPC),
        (Fault(Kind.NO_QUORUM, "alone"), errno.EIO),
        (ValueError("a bug"), errno.EIO),
        (asyncio.CancelledError(), errno.EINTR),
    ],
)
def test_errors_become_errno(error: BaseException, code: int, suspends: bool) -> None:
    async def fails(view: View, request: Request) -> Reply:
        if suspends:
            await asyncio.sleep(0)
        raise error

    async def body(kernel: Kernel) -> None:
        for _ in range(2):
            unique = await kernel.ask(Opcode.LOOKUP)
            assert await kernel.reply() == (unique, code, b"")

    _run({Opcode.LOOKUP: fails}, body)


def test_a_busy_directory_is_known_while_its_request_waits() -> None:
    async def body(kernel: Kernel) -> None:
        assert not kernel.session.busy(7)
        await kernel.ask(Opcode.LOOKUP, b"x\0", node=7)
        await asyncio.sleep(0.001)
        assert kernel.session.busy(7)
        assert not kernel.session.busy(8)
        await kernel.reply()
        assert not kernel.session.busy(7)

    _run({Opcode.LOOKUP: _later}, body)


def test_the_end_of_the_connection_cancels_what_waits() -> None:
    cancelled = []

    async def waits(view: View, request: Request) -> Reply:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(request.unique)
            raise
        return b""

    async def body(kernel: Kernel) -> None:
        unique = await kernel.ask(Opcode.LOOKUP)
        await asyncio.sleep(0.01)
        kernel.session.stop()
        await asyncio.sleep(0.01)
        assert cancelled == [unique]
        assert kernel.session.ended.done()
        assert os.get_blocking(kernel.device.fileno()) is False

    _run({Opcode.LOOKUP: waits}, body)


class Asker:
    """Asks again `after` seconds after it asked, by a clock on which every look takes 5 us."""

    def __init__(self, kernel: Kernel, opcode: int, after: float, times: int) -> None:
        self.now = self._next = 1.0
        self.asked = 0
        self._kernel, self._opcode = kernel, opcode
        self._after, self._times = after, times

    def clock(self) -> float:
        self.now += 5e-6
        if self.asked < self._times and self.now >= self._next:
            self.asked += 1
            head = IN_HEAD.pack(IN_HEAD.size, self._opcode, 2 * self.asked, 1, 0, 0, 1, 0, 0)
            self._kernel.end.send(head)
            self._next = self.now + self._after
        return self.now

    def until(self, asked: int) -> None:
        while self.asked < asked:
            self.clock()


@pytest.mark.parametrize(
    ("opcode", "after_us", "served"),
    [(Opcode.STATFS, 20, 10), (Opcode.STATFS, 200, 2), (Opcode.GETATTR, 20, 2)],
)
def test_who_asks_one_thing_after_another_finds_the_session_awake(
    monkeypatch: pytest.MonkeyPatch, opcode: int, after_us: int, served: int
) -> None:
    """Unless that comes too late, or the answer takes its time."""
    heard: list[int] = []

    async def at_once(view: View, request: Request) -> Reply:
        heard.append(request.unique)
        return b""

    async def later(view: View, request: Request) -> Reply:
        heard.append(request.unique)
        await asyncio.sleep(0.01)
        return b""

    async def body(kernel: Kernel) -> None:
        await asyncio.sleep(0)  # it takes its seats
        loop = asyncio.get_running_loop()
        loop.remove_reader(kernel.device)  # the test says when there is something to read
        asker = Asker(kernel, opcode, after_us * 1e-6, 10)
        monkeypatch.setattr(session_module, "perf_counter", asker.clock)
        for number in (1, 2):
            asker.until(number)
            loop.call_soon(kernel.session._readable)
            await asyncio.sleep(0)
            assert number > 1 or len(heard) == 1  # nothing was asked just before
        assert len(heard) == served
        assert asker.now < 1 + 1e-3  # it does not stay awake for long

    _run({Opcode.STATFS: at_once, Opcode.GETATTR: later}, body)
