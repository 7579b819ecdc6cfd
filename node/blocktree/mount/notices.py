"""Telling the kernel that what it caches of a file or name no longer holds.

The kernel takes locks to obey: page locks for INVAL_INODE, the directory's lock for INVAL_ENTRY. A
request under way may hold the very lock until we answer it, so a notice is written by a thread, and
never by the event loop, which has to stay free to answer.

Two mounts that create in one directory would wait for each other for ever: each one's create holds
the directory's lock until the other has taken back its names. Kernels from 7.44 have INC_EPOCH,
which takes no lock: all names are looked up anew at their next use. It is sent when the directory
is known to be busy or does not give way. Older kernels are waited for no longer than
ENTRY_WAIT_SECONDS: a name may then be seen as it was for as long as the request that holds the
directory is under way, at most for its time-out.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from blocktree.mount.negotiation import Terms
from blocktree.mount.protocol import INVAL_ENTRY_OUT, INVAL_INODE_OUT, OUT_HEAD, Notice

THREADS = 8
INODE_WAIT_SECONDS = 1.0
ENTRY_WAIT_SECONDS = 0.1
EPOCH_WAIT_SECONDS = 0.005
ROW_NAMES = 32  # more names than this within ROW_SECONDS are taken back by epochs
ROW_SECONDS = 0.1


log = logging.getLogger(__name__)


class Notices:
    """The way for invalidations into the kernel of one connection."""

    def __init__(self, device: int, terms: Terms, busy: Callable[[int], bool]) -> None:
        self._device = device
        self._terms = terms
        self._busy = busy  # whether a request on this directory is under way
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fuse-notice")
        self._row = 0
        self._row_ends = 0.0
        self._closed = False

    async def inode(self, ino: int) -> None:
        """Drop attributes and pages; returns when no read can give the old ones.

        Pages that a read or write under way has locked are waited for INODE_WAIT_SECONDS: a volume
        that lets such a request wait for the very recall behind this notice must not hang both.
        """
        notice = self._in_thread(_message(Notice.INVAL_INODE, INVAL_INODE_OUT.pack(ino, 0, 0)))
        done, _ = await asyncio.wait([notice], timeout=INODE_WAIT_SECONDS)
        if not done:
            log.warning("inode %d is in use: its old pages stay until that ends", ino)

    async def entry(self, directory: int, name: bytes) -> None:
        """Drop one name; returns when it is looked up anew."""
        if self._terms.epochs and (self._in_a_row() or self._busy(directory)):
            self._write(_message(Notice.INC_EPOCH, b""))
            return
        body = INVAL_ENTRY_OUT.pack(directory, len(name), 0) + name + b"\0"
        notice = self._in_thread(_message(Notice.INVAL_ENTRY, body))
        wait = EPOCH_WAIT_SECONDS if self._terms.epochs else ENTRY_WAIT_SECONDS
        done, _ = await asyncio.wait([notice], timeout=wait)
        if not done and self._terms.epochs:
            self._write(_message(Notice.INC_EPOCH, b""))

    def _in_a_row(self) -> bool:
        """Count one name; whether it is one of many."""
        now = asyncio.get_running_loop().time()
        if now > self._row_ends:
            self._row, self._row_ends = 0, now + ROW_SECONDS
        self._row += 1
        return self._row > ROW_NAMES

    def _in_thread(self, message: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._write, message)

    def _write(self, message: bytes) -> None:
        if self._closed:
            return
        with contextlib.suppress(OSError):  # ENOENT: the kernel caches nothing of it; or unmounted
            os.write(self._device, message)

    def close(self) -> None:
        """Send nothing any more; notices under way end with the connection."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)


def _message(code: Notice, body: bytes) -> bytes:
    """A notice is a reply to request 0 with its code where the error would be."""
    return OUT_HEAD.pack(OUT_HEAD.size + len(body), code, 0) + body
