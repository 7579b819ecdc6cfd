"""The UDP link: one packet a datagram, to known gateways, or to all by broadcast."""

import asyncio
import socket

from bt.ready import readable

PORT = 4780
_REOPEN = 2
_BROADCAST = getattr(socket, "SO_BROADCAST", 6)


class UdpLink:
    """One socket.

    Args:
        gateways: gives the (host, port) pairs that every HELLO goes to.
        broadcast: whether it goes to everyone here as well.
        port: the device's own; 0 for any.
        online: awaited before the socket is opened (Wi-Fi).
    """

    kind = "udp"
    strict = False
    drops = 0

    def __init__(self, gateways, *, broadcast=True, port=0, online=None):
        self._gateways = gateways
        self._broadcast = broadcast
        self._port = port
        self._online = online
        self._socket = None

    async def run(self, sink):
        """Give each packet to `sink(packet, address)`, for ever."""
        while True:
            try:
                if self._online is not None:
                    await self._online()
                self._socket = self._bind()
                await self._read(sink)
            except OSError:
                pass
            self.close()
            await asyncio.sleep(_REOPEN)

    async def _read(self, sink):
        while True:
            await readable(self._socket)
            try:
                packet, address = self._socket.recvfrom(512)
            except OSError:  # an ICMP error of an earlier packet: nobody there yet
                await asyncio.sleep(0.01)
                continue
            sink(packet, address)

    def send(self, packet, address):
        """Send to one address, or to everyone who may be a gateway."""
        if self._socket is None:
            return
        for target in [address] if address else self._everyone():
            try:
                self._socket.sendto(packet, target)
            except OSError:
                pass  # unreachable now: the packet is lost like any other

    def _everyone(self):
        targets = list(self._gateways())
        if self._broadcast:
            targets.append(("255.255.255.255", PORT))
        found = []
        for host, port in targets:
            try:
                found.append(socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0][-1])
            except OSError:
                pass
        return found

    def _bind(self):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.setsockopt(socket.SOL_SOCKET, _BROADCAST, 1)
        except OSError:
            self._broadcast = False
        made.bind(socket.getaddrinfo("0.0.0.0", self._port)[0][-1])
        return made

    def close(self):
        """Close the socket; `run` opens another."""
        made, self._socket = self._socket, None
        if made is not None:
            made.close()
