"""Checks of the network: multicast DNS, and whether the nodes of each tree answer."""

import asyncio
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from blocktree.cli.finding import Finding, note, ok, problem
from blocktree.cli.places import Places, TreePlace
from blocktree.client import Client
from blocktree.fault import Fault
from blocktree.link.network import own_addresses
from blocktree.names import Path
from blocktree.store.messages import Status

_GROUP, _PORT = "224.0.0.251", 5353  # RFC 6762
_QUESTION = b"\x0a_blocktree\x04_tcp\x05local\x00\x00\x0c\x00\x01"  # PTR, IN
_HEARD_SECONDS = 1.0
_FIND_SECONDS = 4.0
_BY_ADDRESS = "name nodes by their address: --addr HOST:PORT"


def multicast() -> Iterator[Finding]:
    """Whether a multicast DNS question of ours comes back to us, as others would hear it."""
    hosts = [host for host in own_addresses() if ipaddress.ip_address(host).version == 4]
    hosts = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
    if not hosts:
        yield note("mdns", "no network but this machine itself: nodes elsewhere are not found")
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            ear.bind(("", _PORT))
        except OSError as cause:
            yield problem("mdns", f"UDP port {_PORT} is not shared: {cause.strerror}", _BY_ADDRESS)
            return
        deaf = [host for host in hosts if not _hears_itself(ear, host)]
    if len(deaf) == len(hosts):
        yield problem(
            "mdns",
            f"multicast does not work on {', '.join(deaf)}: nodes do not find each other",
            f"let UDP port {_PORT} through the firewall, or {_BY_ADDRESS}",
        )
    elif deaf:
        yield note("mdns", f"works, but not on {', '.join(deaf)}", _BY_ADDRESS)
    else:
        yield ok("mdns", f"works on {', '.join(hosts)}")


def reach(places: Places, addresses: Sequence[str]) -> Iterator[Finding]:
    """Whether the nodes of each tree answer this user."""
    aliases = places.aliases()
    for place in places.trees():
        if not (place.folder / "user").exists():
            continue
        try:
            answers = asyncio.run(_ask(place, addresses))
        except Fault as fault:
            yield problem("tree", f"/{place.alias}: {fault.what}", fault.next_step)
            continue
        silent = [path for path, status in answers if isinstance(status, Fault)]
        for path in silent:
            yield problem("tree", f"{aliases.display(path)} does not answer", "bt status")
        for path, status in answers:
            if isinstance(status, Status):
                for said in status.faults:
                    yield problem("tree", f"{aliases.display(path)}: {said}", "bt status")
        if len(silent) < len(answers):
            count = len(answers) - len(silent)
            yield ok("tree", f"/{place.alias}: {count} of {len(answers)} nodes answer")


def _hears_itself(ear: socket.socket, host: str) -> bool:
    """Ask a question out of the interface with this address, and listen for it."""
    question = struct.pack(">6H", int.from_bytes(os.urandom(2)), 0, 1, 0, 0, 0) + _QUESTION
    interface = socket.inet_aton(host)
    member = socket.inet_aton(_GROUP) + interface
    try:
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            mouth.sendto(question, (_GROUP, _PORT))
        return _wait_for(ear, question)
    except OSError:
        return False


def _wait_for(ear: socket.socket, question: bytes) -> bool:
    deadline = time.monotonic() + _HEARD_SECONDS
    while (rest := deadline - time.monotonic()) > 0:
        ear.settimeout(rest)
        try:
            if ear.recv(2048) == question:
                return True
        except TimeoutError:
            break
    return False


async def _ask(place: TreePlace, addresses: Sequence[str]) -> Sequence[tuple[Path, Status | Fault]]:
    client = Client(place.user(), seeds=[*addresses, *place.seeds()])
    try:
        await client.start(find_seconds=_FIND_SECONDS)
        return await client.statuses()
    finally:
        await client.close()
