"""The node under systemd: it says when it answers, and beats while its event loop turns.

A loop that no longer turns misses its beat, and systemd starts the node anew (sd_notify(3),
WatchdogSec= in systemd.service(5)).
"""

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path

from blocktree.fault import Fault
from blocktree.node import serve
from blocktree_images.guest.joining import ready_port

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_BEAT_SECONDS = 30.0


def notify(state: str) -> None:
    """Tell systemd, if it is systemd that runs us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        channel.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)


async def keep(folder: Path) -> None:
    """Run the node in this directory until it is stopped.

    Raises:
        Fault: why it stopped by itself.
    """
    (folder / "ready.json").unlink(missing_ok=True)  # of a node that lost its power
    beating = asyncio.create_task(_beat(folder))
    try:
        await serve(folder)
    finally:
        notify("STOPPING=1")
        beating.cancel()


async def _beat(folder: Path) -> None:
    while ready_port(folder) is None:  # noqa: ASYNC110 - the node tells by a file
        await asyncio.sleep(_POLL_SECONDS)
    notify("READY=1")
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(_BEAT_SECONDS)


def run(folder: Path) -> int:
    """Run it; the exit code."""
    try:
        asyncio.run(keep(folder.resolve()))
    except Fault as fault:
        log.error("%s", fault)  # noqa: TRY400 - a sentence for people, not a traceback
        return 1
    return 0
