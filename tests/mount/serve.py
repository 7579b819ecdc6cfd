"""Mount one in-memory tree at every directory given, in a process of its own, until told to stop.

A process that serves a mount must not use it: a page fault on an mmap there holds the interpreter
lock that the server needs. Prints `ready` when all are mounted; ends when its input closes or all
are unmounted. MOUNT_MINOR has it speak an older protocol, as with an older kernel; MOUNT_PROFILE
names a file for a profile.
"""

# ruff: noqa: T201 - it is a program

import asyncio
import cProfile
import os
import sys
import time
from pathlib import Path

from blocktree.mount import Mounted, mount, negotiation, protocol
from mount.memory_volume import MemoryTree, MemoryVolume


async def serve(points: list[Path]) -> None:
    tree = MemoryTree()
    mounts = [await mount(MemoryVolume(tree), point) for point in points]
    print("ready", flush=True)
    stopped = _listening()
    ended = asyncio.create_task(_all_ended(mounts))
    await asyncio.wait([stopped, ended], return_when=asyncio.FIRST_COMPLETED)
    for mounted in mounts:
        await mounted.unmount(lazy=True)


def _listening() -> asyncio.Future[None]:
    """Answer `cpu` with the seconds of CPU used so far; done at the end of the input."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def heard() -> None:
        if os.read(sys.stdin.fileno(), 100) == b"cpu\n":
            print(time.process_time(), flush=True)
        else:
            loop.remove_reader(sys.stdin.fileno())
            ended.set_result(None)

    loop.add_reader(sys.stdin.fileno(), heard)
    return ended


async def _all_ended(mounts: list[Mounted]) -> None:
    for mounted in mounts:
        await mounted.wait()


if __name__ == "__main__":
    profile = os.environ.get("MOUNT_PROFILE")
    vars(negotiation)["MINOR_MAX"] = int(os.environ.get("MOUNT_MINOR", protocol.MINOR_MAX))
    work = serve([Path(point) for point in sys.argv[1:]])
    if profile:
        cProfile.run("asyncio.run(work)", profile)
    else:
        asyncio.run(work)
