"""The UDP link: one packet a datagram, to known gateways, or to all by broadcast and by mDNS."""

import asyncio
import socket

from bt import mdns
from bt.ready import readable

PORT = 4780
_REOPEN = 2
_HEARD = 4
_BROADCAST = getattr(socket, "SO_BROADCAST", 6)


class UdpLink:
    """One socket.

    Args:
        gateways: gives the (host, port) pairs that every HELLO goes to.
        broadcast: whether it goes to everyone here as well, and gateways are asked for.
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
        self._heard = []  # addresses of gateways that answered by multicast DNS

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
            if _port(address) == mdns.PORT:
                self._learn(packet, address)
            else:
                sink(packet, address)

    def _learn(self, packet, address):
        for port in mdns.ports(packet):
            gateway = _at_port(address, port)
            if gateway not in self._heard:
                self._heard = self._heard[1 - _HEARD :] + [gateway]

    def send(self, packet, address):
        """Send to one address, or to everyone who may be a gateway."""
        if self._socket is None:
            return
        if address:
            self._put(packet, address)
            return
        for target in self._gateways():
            self._put(packet, _resolve(target))
        for target in self._heard:
            self._put(packet, target)
        if self._broadcast:
            self._put(packet, _resolve(("255.255.255.255", PORT)))
            self._put(mdns.question(), _resolve((mdns.GROUP, mdns.PORT)))

    def _put(self, packet, target):
        try:
            if target:
                self._socket.sendto(packet, target)
        except OSError:
            pass  # unreachable now: the packet is lost like any other

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


def _resolve(target):
    try:
        return socket.getaddrinfo(target[0], target[1], 0, socket.SOCK_DGRAM)[0][-1]
    except OSError:
        return None


def _port(address):
    """Of an address as this firmware gives it: a pair, or the bytes of a sockaddr."""
    return address[1] if isinstance(address, tuple) else address[2] << 8 | address[3]


def _at_port(address, port):
    if isinstance(address, tuple):
        return (address[0], port)
    return address[:2] + port.to_bytes(2, "big") + address[4:]
