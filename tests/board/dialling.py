"""A device that was adopted with certificates, and a gateway that shows its own."""

import base64
import random
import ssl
from typing import Any

from blocktree.keys import Credential, MemberKind, new_credential
from blocktree.link.tls import server_context
from blocktree.names import Path, join
from board.lines import TlsLine
from board.running import adopt_by_hand, save
from board.small_gateway import SmallGateway
from board.world import World
from link.tree import NOW, make_tree


def start_tls(world: World, credential: Credential, **settings: Any) -> SmallGateway:
    """Start a device that was told of a gateway at /home/pi-1; `credential` is who answers."""
    tree = make_tree()
    path = join(Path(f"/{tree.tree}"), "attic")
    draw = random.Random(5).randbytes
    device = new_credential(tree.owner, MemberKind.DEVICE, path, now=NOW, draw=draw)
    world.owner.device = bytes(device.principal)
    raw = base64.b32decode(f"{tree.tree[3:]}====".upper())
    secrets = (world.owner.link, world.owner.reading, device.key.scalar())
    adopt_by_hand(world.folder, *secrets, raw)
    chain = b"".join(len(der).to_bytes(2) + der for der in device.chain)
    save(world.folder / "state" / f"chain-{world.owner.device[:8].hex()}", chain)
    line = TlsLine(_context(credential, device), "/home/pi-1")
    world.lines.insert(0, line)
    return world.run(*world.lines, **settings)


def _context(credential: Credential, device: Credential) -> ssl.SSLContext:
    context = server_context(credential)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # what boards have
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for der in device.chain[1:-1]:
        context.load_verify_locations(cadata=der)
    return context
