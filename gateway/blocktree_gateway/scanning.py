"""Devices on the network that can be paired now: they are asked to say hello, and heard."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

import ifaddr

from blocktree.link import join_endpoint, split_endpoint
from blocktree_gateway.folder import UDP_PORT
from blocktree_gateway.links.udp import UdpWire, open_udp
from blocktree_gateway.session.keys import NO_HINT, Purpose
from blocktree_gateway.session.packets import Hello, encode_probe, read_packet

Endpoint = tuple[str, int]

_PROBES = 3
_PAUSE_S = 0.6
_FOUND_MAX = 256
_EVERYWHERE = "255.255.255.255"
_POINT_TO_POINT = 31  # the prefix of a network without a broadcast address


@dataclass(frozen=True, slots=True)
class Waiting:
    """A device that somebody who has its setup code can pair.

    Args:
        where: its address as `bt device pair` takes it.
        board: what kind of board it says that it is.
    """

    where: str
    board: str


def endpoint(text: str) -> Endpoint:
    """The address of a device; its port may be left out (4780).

    Raises:
        Fault: USAGE if it is not an address.
    """
    host, port = split_endpoint(text)
    return host, port if text != host else UDP_PORT


def everyone() -> Sequence[Endpoint]:
    """Where all devices of all networks of this machine listen, if they use the usual port."""
    networks = [
        ip_interface(f"{address.ip}/{address.network_prefix}").network
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if address.is_IPv4 and address.network_prefix < _POINT_TO_POINT
    ]
    outward = {str(one.broadcast_address) for one in networks if not one.is_loopback}
    return [(host, UDP_PORT) for host in sorted(outward) or [_EVERYWHERE]]


async def waiting_devices(where: Iterable[Endpoint]) -> Sequence[Waiting]:
    """The devices there that can be paired by code; takes two seconds."""
    heard: dict[Endpoint, str] = {}

    def listen(wire: UdpWire, packet: bytes) -> None:
        said = read_packet(packet)
        if not isinstance(said, Hello) or said.purpose is not Purpose.PAIR_BY_CODE:
            return
        if wire.address in heard or len(heard) < _FOUND_MAX:
            heard[wire.address] = said.board

    targets = list(where)
    sock = await open_udp(listen, "", 0)
    try:
        for _ in range(_PROBES):
            for target in targets:
                sock.send(encode_probe(Purpose.PAIR_BY_CODE, NO_HINT), target)
            await asyncio.sleep(_PAUSE_S)
    finally:
        sock.close()
    return [Waiting(_text(address), board) for address, board in sorted(heard.items())]


def _text(address: Endpoint) -> str:
    host, port = address
    return host if port == UDP_PORT else join_endpoint(host, port)
