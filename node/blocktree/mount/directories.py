"""Requests on directories: what follows, makes, removes and lists names."""

# ruff: noqa: D103 - the functions in SERVES are named after their opcodes

import errno
import os
import stat

from blocktree.fault import Fault, Kind
from blocktree.files.volume import Attributes, Entry, NodeKind, Permissions, RenameFlag
from blocktree.mount.errnos import Refused
from blocktree.mount.protocol import (
    CREATE_IN,
    DIRENT,
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    OPEN_OUT,
    READ_IN,
    RENAME2_IN,
    RENAME_IN,
    Opcode,
)
from blocktree.mount.replies import (
    NO_ENTRY,
    UNKNOWN_INO,
    Listing,
    owned,
    pack_absence,
    pack_entry,
    split_seconds,
)
from blocktree.mount.view import Reply, Request, Serve, View
from blocktree.names import COMPONENT_BYTES_MAX

NAME_MIN = 8  # bytes a name takes at least in a listing, padded
DOTS = 2  # offsets 1 and 2 stand for . and ..


def _name(body: memoryview) -> bytes:
    """The one NUL-terminated name that ends a request."""
    return _fitting(bytes(body[:-1]))


def _fitting(name: bytes) -> bytes:
    """The name, unless it is longer than the tree keeps (the kernel passes more)."""
    if len(name) > COMPONENT_BYTES_MAX:
        raise Refused(errno.ENAMETOOLONG)
    return name


async def lookup(view: View, request: Request) -> Reply:
    try:
        found = await view.volume.lookup(request.node, _name(request.body))
    except Fault as fault:
        valid = view.volume.valid_s(request.node)
        if fault.kind is not Kind.NOT_FOUND or valid <= 0:
            raise
        return pack_absence(split_seconds(valid))
    return view.entry(request.node, found)


async def _permissions(view: View, request: Request, mode: int) -> Permissions:
    """Owner and bits of a new node; a set-group-id directory hands its group down."""
    directory = await view.volume.getattr(request.node)
    if not directory.mode & stat.S_ISGID:
        return Permissions(mode & 0o7777, request.uid, request.gid)
    inherited = stat.S_ISGID if stat.S_ISDIR(mode) else 0
    return Permissions(mode & 0o7777 | inherited, request.uid, directory.gid)


async def create(view: View, request: Request) -> Reply:
    flags, mode, _, _ = CREATE_IN.unpack_from(request.body)
    name = _name(request.body[CREATE_IN.size :])
    permissions = await _permissions(view, request, mode)
    made, handle = await view.volume.create(request.node, name, permissions, flags)
    view.opened(handle, made.ino, flags)
    return view.entry(request.node, made) + OPEN_OUT.pack(handle, view.open_flags(made), 0)


async def mknod(view: View, request: Request) -> Reply:
    mode, _, _, _ = MKNOD_IN.unpack_from(request.body)
    name = _name(request.body[MKNOD_IN.size :])
    if not stat.S_ISREG(mode):
        raise Refused(errno.EPERM)  # what mknod(2) says where devices and pipes cannot be kept
    permissions = await _permissions(view, request, mode)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    made, handle = await view.volume.create(request.node, name, permissions, flags)
    await view.volume.flush(handle)
    await view.volume.release(handle)
    return view.entry(request.node, made)


async def mkdir(view: View, request: Request) -> Reply:
    mode, _ = MKDIR_IN.unpack_from(request.body)
    name = _name(request.body[MKDIR_IN.size :])
    permissions = await _permissions(view, request, mode & 0o7777 | stat.S_IFDIR)
    return view.entry(request.node, await view.volume.mkdir(request.node, name, permissions))


async def symlink(view: View, request: Request) -> Reply:
    name, target, _ = bytes(request.body).split(b"\0")
    permissions = await _permissions(view, request, 0o777)
    made = await view.volume.symlink(request.node, _fitting(name), target, permissions)
    return view.entry(request.node, made)


async def link(view: View, request: Request) -> Reply:
    (ino,) = LINK_IN.unpack_from(request.body)
    name = _name(request.body[LINK_IN.size :])
    return view.entry(request.node, await view.volume.link(ino, request.node, name))


async def unlink(view: View, request: Request) -> Reply:
    await view.volume.unlink(request.node, _name(request.body))
    return b""


async def rmdir(view: View, request: Request) -> Reply:
    await view.volume.rmdir(request.node, _name(request.body))
    return b""


async def rename(view: View, request: Request) -> Reply:
    (target,) = RENAME_IN.unpack_from(request.body)
    return await _rename(view, request, target, RenameFlag.REPLACE, RENAME_IN.size)


async def rename2(view: View, request: Request) -> Reply:
    target, flags, _ = RENAME2_IN.unpack_from(request.body)
    if flags not in (0, RenameFlag.NOREPLACE, RenameFlag.EXCHANGE):
        raise Refused(errno.EINVAL)
    return await _rename(view, request, target, RenameFlag(flags), RENAME2_IN.size)


async def _rename(
    view: View, request: Request, target: int, flags: RenameFlag, names_at: int
) -> Reply:
    old, new, _ = bytes(request.body[names_at:]).split(b"\0")
    await view.volume.rename(request.node, _fitting(old), target, _fitting(new), flags)
    return b""


async def opendir(view: View, request: Request) -> Reply:
    """No state: cookies carry a listing. Not cached by the kernel: readdirplus fills dentries."""
    return OPEN_OUT.pack(0, 0, 0)


async def releasedir(view: View, request: Request) -> Reply:
    return b""


async def fsyncdir(view: View, request: Request) -> Reply:
    await view.volume.fsyncdir(request.node)
    return b""


async def readdir(view: View, request: Request) -> Reply:
    return await _list(view, request, plus=False)


async def readdirplus(view: View, request: Request) -> Reply:
    return await _list(view, request, plus=True)


async def _list(view: View, request: Request, *, plus: bool) -> bytes:
    """As many lines as fit; each that carries attributes counts as a lookup of its node."""
    _, offset, size, _, _, _, _ = READ_IN.unpack_from(request.body)
    node = request.node
    listing = Listing(size)
    head = NO_ENTRY if plus else b""
    for place, name in ((1, b"."), (2, b"..")):
        ino = node if place == 1 else UNKNOWN_INO
        if offset < place and not listing.add(
            place, Entry(place, name, ino, NodeKind.DIRECTORY), head
        ):
            return listing.to_bytes()
    count = max(1, size // (len(head) + DIRENT.size + NAME_MIN))
    after = max(0, offset - DOTS)
    entries = await view.volume.readdir(node, after, count, attributes=plus)
    names_valid = split_seconds(view.volume.valid_s(node))
    for entry in entries:
        known = entry.attributes if plus else None
        if known is not None:
            head = _entry_head(view, known, names_valid)
        elif plus:
            head = NO_ENTRY
        if not listing.add(entry.cookie + DOTS, entry, head):
            break
        if known is not None:
            view.volume.remember(entry.ino)
    return listing.to_bytes()


def _entry_head(view: View, known: Attributes, names_valid: tuple[int, int]) -> bytes:
    shown = owned(known, view.options.uid, view.options.gid)
    return pack_entry(shown, names_valid, split_seconds(view.volume.valid_s(shown.ino)))


SERVES: dict[int, Serve] = {
    Opcode.LOOKUP: lookup,
    Opcode.CREATE: create,
    Opcode.MKNOD: mknod,
    Opcode.MKDIR: mkdir,
    Opcode.SYMLINK: symlink,
    Opcode.LINK: link,
    Opcode.UNLINK: unlink,
    Opcode.RMDIR: rmdir,
    Opcode.RENAME: rename,
    Opcode.RENAME2: rename2,
    Opcode.OPENDIR: opendir,
    Opcode.RELEASEDIR: releasedir,
    Opcode.FSYNCDIR: fsyncdir,
    Opcode.READDIR: readdir,
    Opcode.READDIRPLUS: readdirplus,
}
