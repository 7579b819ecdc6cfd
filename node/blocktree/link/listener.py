"""Takes connections on one port and hands over those whose peers have proved who they are.

Invariant: at most `unproven_max` connections, and `unproven_per_host` from one host, are between
accept and hello; each for at most `TLS_TIMEOUT_S + HELLO_TIMEOUT_S`. Further ones wait in the
kernel's backlog, or are closed when their host alone has too many.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter

from blocktree.fault import Fault, Kind
from blocktree.link.endpoint import join_endpoint
from blocktree.link.link import Link
from blocktree.link.opening import SHUTDOWN_TIMEOUT_S, TLS_TIMEOUT_S, Answering, OnOpen, Side
from blocktree.link.secure import secured
from blocktree.link.tls import connection_fault

log = logging.getLogger(__name__)

UNPROVEN_MAX = 64
UNPROVEN_PER_HOST = 16
_BACKLOG = 128
_ACCEPT_PAUSE_S = 0.5  # after an error such as too many open files
_REFUSALS_LOGGED_PER_MINUTE = 20


class Listener:
    """A listening port. Make it with `listen`."""

    def __init__(
        self,
        listening: socket.socket,
        side: Side,
        on_open: OnOpen,
        unproven_max: int = UNPROVEN_MAX,
        unproven_per_host: int = UNPROVEN_PER_HOST,
    ) -> None:
        self.port: int = listening.getsockname()[1]
        self.refused = 0  # connections, since the start
        self._side = side
        self._on_open = on_open
        self._per_host_max = unproven_per_host
        self._unproven_max = unproven_max
        self._per_host: Counter[str] = Counter()
        self._listening = listening
        self._loop = asyncio.get_running_loop()
        self._logged = 0
        self._logged_since = self._loop.time()
        self._openings: dict[asyncio.Task[None], socket.socket | None] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch()

    async def close(self) -> None:
        """Stop listening, and drop the connections that have not proved themselves."""
        if not self._closed:
            self._loop.remove_reader(self._listening)
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        tasks = list(self._openings)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    def _watch(self) -> None:
        """Take connections as they come, unless there is no room for one more.

        A reader instead of `sock_accept`: a connection that is taken in the very moment of a
        cancellation would be lost, open, in the future that nobody looks at any more.
        """
        self._pause = None
        if not self._closed and len(self._openings) < self._unproven_max:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            connection, remote = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as cause:
            log.warning("cannot take connections for now: %s", cause)
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_ACCEPT_PAUSE_S, self._watch)
            return
        connection.setblocking(False)  # noqa: FBT003 - its signature is not ours
        self._start(connection, remote[0].removeprefix("::ffff:"), remote[1])
        if len(self._openings) >= self._unproven_max:
            self._loop.remove_reader(self._listening)

    def _start(self, connection: socket.socket, host: str, port: int) -> None:
        if self._per_host[host] >= self._per_host_max:
            connection.close()
            self._refuse(Fault(Kind.BUSY, "too many connections at once from there", path=host))
            return
        self._per_host[host] += 1
        opening = self._loop.create_task(self._begin(connection, join_endpoint(host, port)))
        self._openings[opening] = connection
        opening.add_done_callback(lambda task: self._finished(task, host))

    async def _begin(self, connection: socket.socket, remote: str) -> None:
        opening = asyncio.current_task()
        assert opening is not None
        self._openings[opening] = None  # from here on the transport closes the connection
        await self._open(connection, remote)

    async def _open(self, connection: socket.socket, remote: str) -> None:
        settled = self._loop.create_future()
        link = Link(Answering(self._side, self._on_open, settled))
        try:
            async with asyncio.timeout(TLS_TIMEOUT_S):
                await secured(
                    connection,
                    self._side.server,
                    link,
                    answers=True,
                    shutdown_s=SHUTDOWN_TIMEOUT_S,
                )
            await settled
        except (Fault, OSError) as cause:
            self._refuse(connection_fault(cause, remote))
        except asyncio.CancelledError:
            settled.cancel()
            link.close(Fault(Kind.STOPPED, "the process is shutting down"))
            raise

    def _finished(self, opening: asyncio.Task[None], host: str) -> None:
        unbegun = self._openings.pop(opening)
        if unbegun is not None:  # cancelled before it took charge of its connection
            unbegun.close()
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        if not opening.cancelled() and opening.exception() is not None:
            log.error("a connection broke its opening", exc_info=opening.exception())
        if self._pause is None:
            self._watch()

    def _refuse(self, fault: Fault) -> None:
        """Count it and log it, at a bounded rate: strangers must not fill the log."""
        self.refused += 1
        now = self._loop.time()
        if now - self._logged_since > 60:
            self._logged, self._logged_since = 0, now
        self._logged += 1
        if self._logged <= _REFUSALS_LOGGED_PER_MINUTE:
            log.info("refused a connection: %s", fault)


def _bind(host: str, port: int) -> socket.socket:
    if host:
        family, *_, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    elif socket.has_dualstack_ipv6():
        listening = socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
        )
    else:
        listening = socket.create_server(("", port), backlog=_BACKLOG)
    listening.setblocking(False)  # noqa: FBT003 - its signature is not ours
    return listening


def _bind_fault(cause: OSError, place: str) -> Fault:
    if cause.errno == errno.EADDRINUSE:
        return Fault(
            Kind.EXISTS,
            "another program listens there already",
            path=place,
            next_step="choose another port, or stop the other one: ss -tlnp",
        )
    if cause.errno in {errno.EACCES, errno.EPERM}:
        return Fault(
            Kind.DENIED,
            "this user may not listen there",
            path=place,
            next_step="choose a port above 1023",
        )
    return Fault(Kind.UNREACHABLE, f"cannot listen there: {cause}", path=place)


async def listen(
    side: Side, on_open: OnOpen, host: str = "", port: int = 0, *, unproven_max: int = UNPROVEN_MAX
) -> Listener:
    """Listen on `port` (0: any) of `host` ("": every address, IPv4 and IPv6).

    Raises:
        Fault: EXISTS if the port is taken, DENIED if it needs more privilege, else UNREACHABLE.
    """
    try:
        listening = _bind(host, port)
    except OSError as cause:
        raise _bind_fault(cause, join_endpoint(host or "*", port)) from None
    return Listener(listening, side, on_open, unproven_max)
