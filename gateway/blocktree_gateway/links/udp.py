"""One UDP port for all devices: each datagram is one record, from wherever it comes.

Who sent it is proved by its tag, not by its address, so a device that gets another address goes on.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from blocktree.fault import Fault, Kind
from blocktree.link import join_endpoint

log = logging.getLogger(__name__)

DATAGRAM_BYTES_MAX = 1200  # fits every network's packets, with room for tunnels
_BUFFER_BYTES = 1 << 20  # a burst of hellos must not push out a good device's records


@dataclass(frozen=True, slots=True)
class UdpWire:
    """The way to the device that was last heard from `address`."""

    port: "UdpPort"
    address: tuple[str, int]
    kind: str = "udp"

    @property
    def where(self) -> str:
        """Host and port."""
        return join_endpoint(*self.address)

    def send(self, record: bytes) -> bool:
        """Send one datagram."""
        return self.port.send(record, self.address)

    def close(self) -> None:
        """There is no connection."""


class UdpPort(asyncio.DatagramProtocol):
    """The socket; made by `open_udp`."""

    def __init__(self, heard: Callable[[UdpWire, bytes], None]) -> None:
        self._heard = heard
        self._transport: asyncio.DatagramTransport | None = None
        self.oversized = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram came in."""
        if len(data) > DATAGRAM_BYTES_MAX:
            self.oversized += 1
            return
        self._heard(UdpWire(self, (addr[0], addr[1])), data)

    def error_received(self, exc: Exception) -> None:
        """An earlier datagram did not arrive; the device will say so itself."""
        log.debug("udp: %s", exc)

    @property
    def number(self) -> int:
        """The port's number."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def send(self, record: bytes, address: tuple[str, int]) -> bool:
        """Send one datagram; False once the socket is closed."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.sendto(record, address)
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


async def open_udp(heard: Callable[[UdpWire, bytes], None], host: str, port: int) -> UdpPort:
    """Open the port, with a large receive buffer; broadcasts are heard too.

    Raises:
        Fault: EXISTS if the port is taken.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)  # noqa: FBT003 - the socket's own interface
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        sock.bind((host, port))
    except OSError as cause:
        sock.close()
        raise Fault(
            Kind.EXISTS, f"UDP port {port} cannot be opened: {cause.strerror}", path=host
        ) from cause
    loop = asyncio.get_running_loop()
    _, made = await loop.create_datagram_endpoint(lambda: UdpPort(heard), sock=sock)
    return made
