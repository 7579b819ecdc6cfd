"""One process on a network, for tests: listens, announces itself, links to all it finds, and tells.

`python neighbour.py NAME [SEED]` prints `found PATH ADDRESSES`, `linked PATH` and `lost PATH`.
"""

import asyncio
import random
import sys

from blocktree.fault import Fault
from blocktree.link import Discovery, Found, Link, Links, Side, listen
from blocktree.names import Path, leaf
from link.tree import NOW, make_node


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(name: str, seed: int) -> None:
    credential = make_node(name, seed)
    links = Links(Side(credential, lambda _: None, now=lambda: NOW), dice=random.random)
    links.on_frame = lambda *_: None
    links.on_close = lambda link, _: tell("lost", leaf(link.peer.path))
    tasks = set()

    async def join(path: Path) -> None:
        try:
            link: Link = await links.connect(path)
            tell("linked", leaf(link.peer.path))
        except Fault as fault:
            tell("fault", fault)

    def found(one: Found) -> None:
        tell("found", leaf(one.path), *one.addresses)
        tasks.add(asyncio.ensure_future(join(one.path)))

    listener = await listen(links.side, links.adopt)
    discovery = Discovery(credential, listener.port, on_found=found)
    links.sources.append(discovery.addresses)
    await discovery.start()
    tell("up")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    await discovery.stop()
    await links.close()
    await listener.close()
    tell("down")


asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1))
