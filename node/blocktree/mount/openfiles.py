"""Requests on open files: reading, writing, closing, and locks."""

# ruff: noqa: D103 - the functions in SERVES are named after their opcodes

import errno
import os

from blocktree.files.volume import Changes, Lock, LockKind
from blocktree.mount.errnos import Refused
from blocktree.mount.nodes import drop_privilege
from blocktree.mount.protocol import (
    FALLOCATE_IN,
    FLUSH_IN,
    FSYNC_IN,
    LK_FLOCK,
    LK_IN,
    LK_OUT,
    OPEN_IN,
    OPEN_KILL_SUIDGID,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    WRITE_CACHE,
    WRITE_IN,
    WRITE_KILL_SUIDGID,
    WRITE_OUT,
    Opcode,
)
from blocktree.mount.view import Reply, Request, Serve, View

LOCK_END = (1 << 63) - 1
KEEP_SIZE = 1
PUNCH_HOLE = 2
ZERO_RANGE = 16
ZEROS = bytes(1 << 20)
LOCK_TYPES = (LockKind.READ, LockKind.WRITE, LockKind.UNLOCK)  # F_RDLCK, F_WRLCK, F_UNLCK


async def open_(view: View, request: Request) -> Reply:
    flags, wanted = OPEN_IN.unpack_from(request.body)
    if flags & os.O_TRUNC and wanted & OPEN_KILL_SUIDGID:
        await drop_privilege(view, request.node)
    handle = await view.volume.open(request.node, flags)
    view.opened(handle, request.node, flags)
    opened = view.open_flags(await view.volume.getattr(request.node))
    return OPEN_OUT.pack(handle, opened, 0)


async def read(view: View, request: Request) -> Reply:
    handle, offset, size, _, _, _, _ = READ_IN.unpack_from(request.body)
    return await view.volume.read(handle, offset, size)


async def write(view: View, request: Request) -> Reply:
    handle, offset, size, flags, _, _, _ = WRITE_IN.unpack_from(request.body)
    content = request.body[WRITE_IN.size : WRITE_IN.size + size]
    if flags & WRITE_KILL_SUIDGID:
        await drop_privilege(view, request.node)
    if not view.appends(handle):
        await view.volume.write(handle, offset, content)
    elif flags & WRITE_CACHE:
        await _write_page(view, request.node, offset, content)
    else:
        await _append(view, request.node, handle, offset, content)
    return WRITE_OUT.pack(size, 0)


async def _append(view: View, ino: int, handle: int, offset: int, content: memoryview) -> None:
    """The kernel appends at the size it remembers, and puts the bytes there in its cache.

    If another mount made the file longer, that is not where they went: the cache has to go.
    """
    size = (await view.volume.getattr(ino)).size
    await view.volume.write(handle, offset, content)
    if size != offset:
        view.drop_cache(ino)


async def _write_page(view: View, ino: int, offset: int, content: memoryview) -> None:
    """A dirty page of an mmap: the kernel picks any open file to write it through.

    If it picked one that appends, the page would land at the end, so it goes through its own.
    """
    handle = await view.volume.open(ino, os.O_WRONLY)
    try:
        await view.volume.write(handle, offset, content)
        await view.volume.flush(handle)
    finally:
        await view.volume.release(handle)


async def flush(view: View, request: Request) -> Reply:
    """close(2) of one descriptor: commit, then drop the closer's fcntl locks, as POSIX wants."""
    handle, _, _, owner = FLUSH_IN.unpack_from(request.body)
    node = request.node
    try:
        if view.writes(handle):
            await view.volume.flush(handle)
            await view.restamp(node)
    finally:
        if node in view.locked:
            lock = Lock(LockKind.UNLOCK, 0, LOCK_END, owner, 0)
            await view.volume.setlock(handle, lock, wait=False)
    return b""


async def release(view: View, request: Request) -> Reply:
    handle, _, _, _ = RELEASE_IN.unpack_from(request.body)
    view.released(handle)
    await view.volume.release(handle)
    return b""


async def fsync(view: View, request: Request) -> Reply:
    handle, _, _ = FSYNC_IN.unpack_from(request.body)
    await view.volume.fsync(handle)
    await view.restamp(request.node)
    return b""


async def syncfs(view: View, request: Request) -> Reply:
    await view.volume.sync()
    return b""


async def fallocate(view: View, request: Request) -> Reply:
    """Size is extended and ranges are zeroed; space itself cannot be promised in a tree."""
    handle, offset, length, mode, _ = FALLOCATE_IN.unpack_from(request.body)
    if mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE):
        raise Refused(errno.EOPNOTSUPP)
    size = (await view.volume.getattr(request.node)).size
    if mode & (PUNCH_HOLE | ZERO_RANGE):
        await _zero(view, handle, offset, min(size, offset + length))
    if offset + length > size and not mode & KEEP_SIZE:
        await view.volume.setattr(request.node, Changes(size=offset + length), handle)
    await view.restamp(request.node)
    return b""


async def _zero(view: View, handle: int, start: int, end: int) -> None:
    for at in range(start, end, len(ZEROS)):
        await view.volume.write(handle, at, ZEROS[: min(len(ZEROS), end - at)])


def _lock(request: Request) -> tuple[int, Lock]:
    handle, owner, start, end, kind, pid, flags, _ = LK_IN.unpack_from(request.body)
    if kind >= len(LOCK_TYPES):
        raise Refused(errno.EINVAL)
    flock = bool(flags & LK_FLOCK)
    return handle, Lock(LOCK_TYPES[kind], start, min(end, LOCK_END), owner, pid, flock)


async def getlk(view: View, request: Request) -> Reply:
    handle, lock = _lock(request)
    held = await view.volume.getlock(handle, lock)
    if held is None:
        return LK_OUT.pack(lock.start, lock.end, LOCK_TYPES.index(LockKind.UNLOCK), 0)
    return LK_OUT.pack(held.start, held.end, LOCK_TYPES.index(held.kind), held.pid)


async def setlk(view: View, request: Request) -> Reply:
    return await _setlock(view, request, wait=False)


async def setlkw(view: View, request: Request) -> Reply:
    return await _setlock(view, request, wait=True)


async def _setlock(view: View, request: Request, *, wait: bool) -> Reply:
    """An unlock commits first: who takes the lock next, on any mount, reads what was written."""
    handle, lock = _lock(request)
    if lock.kind is LockKind.UNLOCK:
        if view.writes(handle):
            await view.volume.flush(handle)
            await view.restamp(request.node)
    elif not lock.flock:
        view.locked.add(request.node)
    await view.volume.setlock(handle, lock, wait=wait)
    return b""


SERVES: dict[int, Serve] = {
    Opcode.OPEN: open_,
    Opcode.READ: read,
    Opcode.WRITE: write,
    Opcode.FLUSH: flush,
    Opcode.RELEASE: release,
    Opcode.FSYNC: fsync,
    Opcode.SYNCFS: syncfs,
    Opcode.FALLOCATE: fallocate,
    Opcode.GETLK: getlk,
    Opcode.SETLK: setlk,
    Opcode.SETLKW: setlkw,
}
