"""Requests on inodes: attributes, links' targets, extended attributes, sizes, references."""

# ruff: noqa: D103 - the functions in SERVES are named after their opcodes

import errno
import stat
import time

from blocktree.fault import Fault, Kind
from blocktree.files.volume import Attributes, Changes, NodeKind
from blocktree.mount.errnos import Refused
from blocktree.mount.protocol import (
    BATCH_FORGET_IN,
    FORGET_IN,
    FORGET_ONE,
    GETXATTR_IN,
    GETXATTR_OUT,
    SETATTR_IN,
    SETXATTR_IN,
    Fattr,
    Opcode,
)
from blocktree.mount.replies import SECOND, pack_space
from blocktree.mount.view import Reply, Request, Serve, View

KEPT_NAMESPACES = (b"user.", b"trusted.")
"""Extended attributes we keep. security.* and POSIX ACLs would promise what rights in the tree do
not know; refusing them also means that no file ever has capabilities to drop on write."""


async def getattr_(view: View, request: Request) -> Reply:
    return view.attributes(await view.volume.getattr(request.node))


def without_privilege(attributes: Attributes) -> int | None:
    """The mode after a write or chown, or None if there is nothing to drop.

    As Linux does it: set-user-id goes; set-group-id goes only with group execution, without which
    it means something else.
    """
    if attributes.kind is not NodeKind.FILE:
        return None
    mode = attributes.mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID
    return mode if mode != attributes.mode else None


async def drop_privilege(view: View, ino: int) -> None:
    """Somebody without CAP_FSETID wrote: set-id bits go."""
    mode = without_privilege(await view.volume.getattr(ino))
    if mode is not None:
        await view.volume.setattr(ino, Changes(mode=mode))


def _changes(fields: tuple[int, ...], now_ns: int) -> Changes:
    """fuse_setattr_in as Changes; times marked NOW are `now_ns`."""
    valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = fields

    def moment(now: int, given: int, seconds: int, nanoseconds: int) -> int | None:
        if valid & now:
            return now_ns
        if not valid & given:
            return None
        signed = seconds - (1 << 64) if seconds >> 63 else seconds
        return signed * SECOND + nanoseconds

    return Changes(
        mode=mode & 0o7777 if valid & Fattr.MODE else None,
        uid=uid if valid & Fattr.UID else None,
        gid=gid if valid & Fattr.GID else None,
        size=size if valid & Fattr.SIZE else None,
        atime_ns=moment(Fattr.ATIME_NOW, Fattr.ATIME, atime, atime_ns),
        mtime_ns=moment(Fattr.MTIME_NOW, Fattr.MTIME, mtime, mtime_ns),
    )


async def setattr_(view: View, request: Request) -> Reply:
    fields = SETATTR_IN.unpack_from(request.body)
    valid, handle = fields[0], fields[2] if fields[0] & Fattr.FH else None
    changes = _changes(fields, time.time_ns())
    if valid & (Fattr.UID | Fattr.GID | Fattr.KILL_SUIDGID) and not valid & Fattr.MODE:
        mode = without_privilege(await view.volume.getattr(request.node))
        if mode is not None:
            changes = Changes(
                mode, changes.uid, changes.gid, changes.size, changes.atime_ns, changes.mtime_ns
            )
    changed = await view.volume.setattr(request.node, changes, handle)
    if request.node in view.stamps:
        view.stamps[request.node] = (changed.ctime_ns, changed.size)
    return view.attributes(changed)


async def readlink(view: View, request: Request) -> Reply:
    return await view.volume.readlink(request.node)


async def statfs(view: View, request: Request) -> Reply:
    return pack_space(await view.volume.statfs())


async def forget(view: View, request: Request) -> Reply:
    (count,) = FORGET_IN.unpack_from(request.body)
    view.forget(request.node, count)
    return None


async def batch_forget(view: View, request: Request) -> Reply:
    count, _ = BATCH_FORGET_IN.unpack_from(request.body)
    start = BATCH_FORGET_IN.size
    for ino, lookups in FORGET_ONE.iter_unpack(
        request.body[start : start + count * FORGET_ONE.size]
    ):
        view.forget(ino, lookups)
    return None


def _kept(name: bytes, code: int) -> None:
    if not name.startswith(KEPT_NAMESPACES):
        raise Refused(code)


async def setxattr(view: View, request: Request) -> Reply:
    size, flags = SETXATTR_IN.unpack_from(request.body)
    name, _, value = bytes(request.body[SETXATTR_IN.size :]).partition(b"\0")
    _kept(name, errno.EOPNOTSUPP)
    try:
        await view.volume.setxattr(request.node, name, value[:size], flags)
    except Fault as fault:
        raise _told(fault) from fault
    return b""


async def getxattr(view: View, request: Request) -> Reply:
    size, _ = GETXATTR_IN.unpack_from(request.body)
    name = bytes(request.body[GETXATTR_IN.size : -1])
    _kept(name, errno.ENODATA if name.startswith(b"security.") else errno.EOPNOTSUPP)
    try:
        value = await view.volume.getxattr(request.node, name)
    except Fault as fault:
        raise _told(fault) from fault
    return _sized(value, size)


async def listxattr(view: View, request: Request) -> Reply:
    size, _ = GETXATTR_IN.unpack_from(request.body)
    names = await view.volume.listxattr(request.node)
    return _sized(b"".join(name + b"\0" for name in names), size)


async def removexattr(view: View, request: Request) -> Reply:
    name = bytes(request.body[:-1])
    _kept(name, errno.EOPNOTSUPP)
    try:
        await view.volume.removexattr(request.node, name)
    except Fault as fault:
        raise _told(fault) from fault
    return b""


def _told(fault: Fault) -> Exception:
    """Of an extended attribute, NOT_FOUND is ENODATA and TOO_LARGE is E2BIG."""
    if fault.kind is Kind.NOT_FOUND:
        return Refused(errno.ENODATA)
    if fault.kind is Kind.TOO_LARGE:
        return Refused(errno.E2BIG)
    return fault


def _sized(value: bytes, size: int) -> bytes:
    """The value, or its length if the caller only asks for that (size 0)."""
    if size == 0:
        return GETXATTR_OUT.pack(len(value), 0)
    if len(value) > size:
        raise Refused(errno.ERANGE)
    return value


SERVES: dict[int, Serve] = {
    Opcode.GETATTR: getattr_,
    Opcode.SETATTR: setattr_,
    Opcode.READLINK: readlink,
    Opcode.STATFS: statfs,
    Opcode.FORGET: forget,
    Opcode.BATCH_FORGET: batch_forget,
    Opcode.SETXATTR: setxattr,
    Opcode.GETXATTR: getxattr,
    Opcode.LISTXATTR: listxattr,
    Opcode.REMOVEXATTR: removexattr,
}
