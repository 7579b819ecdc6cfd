"""The event loop's side of a FUSE connection: requests in, replies out.

A request is answered on the spot when its coroutine finishes without suspending, as it does for
whatever the volume has in memory: no task, no future. Only one that suspends is continued in a
task. That task exists beforehand (a seat), and is the current task from the first step on, so that
`asyncio.timeout` and `current_task` work as everywhere.

Invariants:
- a seat in `_free` waits at its gate; one request sits in one seat
- `_waiting` has exactly the suspended requests that the kernel is owed a reply for
- `_buffer` belongs to no suspended request: a suspended write keeps its own until it is answered
"""

import asyncio
import errno
import logging
import os
import types
from collections.abc import Coroutine, Generator, Mapping
from time import perf_counter
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.mount.errnos import ERRNOS, Refused
from blocktree.mount.negotiation import Terms, negotiate
from blocktree.mount.protocol import (
    BUFFER_BYTES,
    IN_HEAD,
    INTERRUPT_IN,
    OUT_HEAD,
    RENAME2_IN,
    RENAME_IN,
    Opcode,
)
from blocktree.mount.requests import LOCKS_DIRECTORY
from blocktree.mount.view import Reply, Request, Serve, View
from blocktree.names import Buffer

AWAKE_SECONDS = 40e-6  # after an answer
DRAIN_MAX = 64  # requests answered in a row before the loop's other work has its turn
SEATS_FREE = 16
WAITING_MAX = 4096
LOCKS_WAITING_MAX = WAITING_MAX // 2  # lock waits must not fill every seat: an unlock needs one
BUFFERS_FREE = 8
BUFFERS_LENT_MAX = 64  # suspended writes, 1 MiB each
GRACE_SECONDS = 2.0  # a signal ends a lock wait at once, other requests only if they take longer

log = logging.getLogger(__name__)
Running = Coroutine[Any, Any, Reply]
_enter, _leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task  # noqa: SLF001 - docs: Extending


class Seat:
    """A task made in advance, waiting at its gate to carry on a request that suspended."""

    __slots__ = ("gate", "load", "task")

    def __init__(self, task: asyncio.Task[None], gate: asyncio.Future[None]) -> None:
        self.task = task
        self.gate = gate
        self.load: Waiting | None = None


class Waiting:
    """A suspended request, its coroutine, what that waits for, and the buffer it keeps."""

    __slots__ = ("buffer", "coroutine", "directories", "pending", "request", "task")

    def __init__(
        self, request: Request, coroutine: Running, pending: object, task: asyncio.Task[None]
    ) -> None:
        self.request = request
        self.coroutine = coroutine
        self.pending = pending
        self.task = task
        self.directories = _directories(request)
        self.buffer: memoryview | None = None


def _directories(request: Request) -> tuple[int, ...]:
    """The directories whose lock the kernel holds until the request is answered."""
    if request.opcode not in LOCKS_DIRECTORY:
        return ()
    if request.opcode == Opcode.RENAME:
        return (request.node, RENAME_IN.unpack_from(request.body)[0])
    if request.opcode == Opcode.RENAME2:
        return (request.node, RENAME2_IN.unpack_from(request.body)[0])
    return (request.node,)


@types.coroutine
def _carry_on(
    coroutine: Running, pending: object, error: BaseException | None
) -> Generator[object, Any, Reply]:
    """Continue a coroutine that already yielded `pending`, or throw `error` into it."""
    while True:
        try:
            if error is None:
                sent = yield pending
        except BaseException as thrown:
            error = thrown
        try:
            if error is None:
                pending = coroutine.send(sent)
            else:
                thrown_now, error = error, None
                pending = coroutine.throw(thrown_now)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class Session:
    """Serves one connection until it is unmounted."""

    def __init__(self, device: int, view: View, serves: Mapping[int, Serve]) -> None:
        self._device = device
        self._view = view
        self._serves = serves
        self._loop = asyncio.get_running_loop()
        self._buffer = _new_buffer()
        self._buffers: list[memoryview] = []
        self._lent = 0
        self._free: list[Seat] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, Waiting] = {}
        self._locks_waiting = 0
        self._reading = False
        self._answered = 0.0  # when the last request was, or suspended
        self.terms: asyncio.Future[Terms] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Begin to serve; `terms` is set when the kernel has said INIT, `ended` when it is over."""
        for _ in range(SEATS_FREE):
            self._add_seat()
        self._read_on()

    def busy(self, directory: int) -> bool:
        """Whether the kernel holds this directory's lock until we answer something."""
        return any(directory in waiting.directories for waiting in self._waiting.values())

    def stop(self) -> None:
        """Serve no more: the connection is gone. What is under way is cancelled."""
        if self.ended.done():
            return
        self._pause()
        for task in self._tasks:
            task.cancel()
        if not self.terms.done():
            self.terms.cancel()
        self.ended.set_result(None)

    async def settle(self, seconds: float) -> None:
        """Wait until what `stop` cancelled is over and answered, so that nobody writes any more."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def _read_on(self) -> None:
        if not self._reading and not self.ended.done():
            self._reading = True
            self._loop.add_reader(self._device, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._device)

    def _readable(self) -> None:
        """Answer what the kernel has for us; nothing left, no seat or no buffer ends it.

        Whoever asks one thing after another asks again some 20 us after an answer, and going to
        sleep and waking takes half of that. So if the last question came so soon, the next is
        waited for awake, for as long.
        """
        buffers = [self._buffer]
        left, until = DRAIN_MAX, 0.0
        brisk = perf_counter() - self._answered < AWAKE_SECONDS
        while left:
            if not self._free or not self._reading:
                return
            buffers[0] = self._buffer
            try:
                size = os.readv(self._device, buffers)
            except BlockingIOError:
                if perf_counter() < until:
                    continue
                return
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue  # the asker gave up before we read it
                self._over(error)
                return
            left -= 1
            waiting = len(self._waiting)
            self._receive(size)
            self._answered = perf_counter()
            if brisk and waiting == len(self._waiting):
                until = self._answered + AWAKE_SECONDS

    def _over(self, error: OSError) -> None:
        if error.errno != errno.ENODEV:  # ENODEV: unmounted
            log.error("the FUSE connection broke: %s", error)
        self.stop()

    def _receive(self, size: int) -> None:
        buffer = self._buffer
        _, opcode, unique, node, uid, gid, pid, _, _ = IN_HEAD.unpack_from(buffer)
        request = Request(opcode, unique, node, uid, gid, pid, buffer[IN_HEAD.size : size])
        serve = self._serves.get(opcode)
        if serve is None:
            self._control(request)
            return
        coroutine = serve(self._view, request)
        task = self._free[-1].task
        _enter(self._loop, task)
        try:
            pending = coroutine.send(None)
        except StopIteration as done:
            reply: Reply = done.value
        except (Exception, asyncio.CancelledError) as error:
            self._refuse(request, error)
            return
        else:
            self._suspend(request, coroutine, pending)
            return
        finally:
            _leave(self._loop, task)
        if reply is not None:
            self._reply(unique, reply)

    def _control(self, request: Request) -> None:
        """What concerns the connection itself."""
        if request.opcode == Opcode.INIT:
            self._init(request)
        elif request.opcode == Opcode.INTERRUPT:
            self._interrupt(INTERRUPT_IN.unpack_from(request.body)[0])
        elif request.opcode == Opcode.DESTROY:
            self._reply(request.unique, b"")
        else:
            self._reply_code(request.unique, errno.ENOSYS)

    def _init(self, request: Request) -> None:
        try:
            terms, reply = negotiate(request.body)
        except Refused as refused:
            self._reply_code(request.unique, refused.code)
            self.terms.set_exception(
                Fault(
                    Kind.UNSUPPORTED,
                    "the kernel speaks a FUSE protocol older than 7.31",
                    next_step="Linux 5.2 or later is needed",
                )
            )
            return
        if terms is not None:
            self.terms.set_result(terms)
        self._reply(request.unique, reply)

    def _suspend(self, request: Request, coroutine: Running, pending: object) -> None:
        """Seat a request that has to wait."""
        seat = self._free.pop()
        waiting = Waiting(request, coroutine, pending, seat.task)
        self._waiting[request.unique] = waiting
        seat.load = waiting
        seat.gate.set_result(None)
        if request.opcode == Opcode.WRITE:
            waiting.buffer = self._buffer
            self._lent += 1
            self._buffer = self._buffers.pop() if self._buffers else _new_buffer()
        elif request.opcode == Opcode.SETLKW:
            self._locks_waiting += 1
            if self._locks_waiting > LOCKS_WAITING_MAX:
                seat.task.cancel()
        if len(self._waiting) >= WAITING_MAX or self._lent >= BUFFERS_LENT_MAX:
            self._pause()
        elif not self._free:
            self._add_seat()

    def _add_seat(self) -> None:
        task = self._loop.create_task(self._sit())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sit(self) -> None:
        """A seat's life: wait, carry on one request, answer it, wait again."""
        task = asyncio.current_task()
        assert task is not None
        while len(self._free) < SEATS_FREE:
            seat = Seat(task, self._loop.create_future())
            self._free.append(seat)
            error: BaseException | None = None
            try:
                await seat.gate
            except asyncio.CancelledError as cancelled:
                if seat.load is None:
                    raise  # the session stops
                error = cancelled
            assert seat.load is not None
            await self._finish(seat.load, error)
            if task.cancelling():
                break  # a task that was cancelled once does not serve again

    async def _finish(self, waiting: Waiting, error: BaseException | None) -> None:
        request = waiting.request
        try:
            reply = await _carry_on(waiting.coroutine, waiting.pending, error)
        except (Exception, asyncio.CancelledError) as fault:
            self._vacate(waiting)
            self._refuse(request, fault)
        else:
            self._vacate(waiting)
            if reply is not None:
                self._reply(request.unique, reply)

    def _vacate(self, waiting: Waiting) -> None:
        """The request is about to be answered; after the answer its number may be used again."""
        del self._waiting[waiting.request.unique]
        if waiting.buffer is not None:
            self._lent -= 1
            if len(self._buffers) < BUFFERS_FREE:
                self._buffers.append(waiting.buffer)
        if waiting.request.opcode == Opcode.SETLKW:
            self._locks_waiting -= 1
        self._read_on()

    def _interrupt(self, unique: int) -> None:
        """The asker got a signal: end a lock wait now, anything else if it takes much longer.

        Programs do not expect EINTR from files: git's progress timer would break its own clone.
        """
        waiting = self._waiting.get(unique)
        if waiting is None:
            return  # answered already
        delay = 0.0 if waiting.request.opcode == Opcode.SETLKW else GRACE_SECONDS
        self._loop.call_later(delay, self._give_up, waiting)

    def _give_up(self, waiting: Waiting) -> None:
        if self._waiting.get(waiting.request.unique) is waiting:
            waiting.task.cancel()

    def _refuse(self, request: Request, error: BaseException) -> None:
        if isinstance(error, Refused):
            code = error.code
        elif isinstance(error, Fault):
            code = ERRNOS[error.kind]
            if code == errno.EIO:
                log.warning("request %d on inode %d: %s", request.opcode, request.node, error)
        elif isinstance(error, asyncio.CancelledError):
            code = errno.EINTR
        else:
            code = errno.EIO
            log.error("request %d on inode %d", request.opcode, request.node, exc_info=error)
        self._reply_code(request.unique, code)

    def _reply_code(self, unique: int, code: int) -> None:
        self._write((OUT_HEAD.pack(OUT_HEAD.size, -code, unique),))

    def _reply(self, unique: int, body: Buffer) -> None:
        head = OUT_HEAD.pack(OUT_HEAD.size + len(body), 0, unique)
        self._write((head + body,) if len(body) < 8192 else (head, body))

    def _write(self, parts: tuple[Buffer, ...]) -> None:
        try:
            os.writev(self._device, parts)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the asker is gone; unmounted
                log.exception("the kernel refused a reply")


def _new_buffer() -> memoryview:
    return memoryview(bytearray(BUFFER_BYTES))
