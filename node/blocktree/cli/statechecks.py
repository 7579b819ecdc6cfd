"""Checks of what this machine keeps: its state directory, keys, nodes and mounts."""

import errno
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator

from blocktree.cli.daemons import Daemon
from blocktree.cli.finding import Finding, note, ok, problem
from blocktree.cli.mounting import mount_point
from blocktree.cli.output import size_text
from blocktree.cli.places import Places
from blocktree.cli.running import ready_port
from blocktree.disk import Limits
from blocktree.link import DEFAULT_PORT
from blocktree.mount.channel import mounted_type
from blocktree.store.folder import NodeFolder

_SECRETS = ("user", "owner.sealed", "passphrase", "genesis", "credential", "ticket")
_SPACE_LOW = 1 << 30
_SECONDS = 1.0
_ROOM = "make room: df -h; du -xh --max-depth=2 / | sort -h | tail"


def is_ours(places: Places) -> bool:
    """Whether this user may look at what is kept here."""
    try:
        folders = [
            places.root,
            *(t.folder for t in places.trees()),
            *(n.folder for n in places.nodes()),
        ]
        return all(os.access(f, os.R_OK | os.X_OK) for f in folders if f.exists())
    except PermissionError:
        return False


def state(places: Places) -> Iterator[Finding]:
    """Whether the state directory can be written, and how much room is there."""
    if not is_ours(places):
        yield problem(
            "state",
            f"{places.root} belongs to another user",
            "run bt as that user (sudo?), or choose another: BLOCKTREE_STATE=DIR",
        )
        return
    folder = places.root
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        advice = "choose another: BLOCKTREE_STATE=DIR"
        if cause.errno == errno.EROFS:
            advice = "the disk is read-only, as SD cards become at the end of their life: dmesg"
        yield problem("state", f"{folder} cannot be written: {cause.strerror}", advice)
        return
    free, reserve = shutil.disk_usage(folder).free, Limits().reserve
    text = f"{places.root}, {size_text(free)} free"
    if free < reserve:
        yield problem("state", f"{text}: below {size_text(reserve)} nodes refuse to write", _ROOM)
    elif free < _SPACE_LOW:
        yield note("state", text, _ROOM)
    else:
        yield ok("state", text)


def keys(places: Places) -> Iterator[Finding]:
    """Whether only this user can read the secrets."""
    count = 0
    for folder in [tree.folder for tree in places.trees()] + [n.folder for n in places.nodes()]:
        for path in (folder / name for name in _SECRETS):
            if not path.exists():
                continue
            count += 1
            found = path.stat()
            if not os.access(path, os.R_OK):
                yield problem("keys", f"{path} cannot be read", f"sudo chown $USER {path}")
            elif stat.S_IMODE(found.st_mode) & 0o077:
                yield problem("keys", f"others can read {path}", f"chmod 600 {path}")
    if not places.trees() and not places.nodes():
        yield note("keys", "no tree on this machine yet", "bt init home, or bt up --sim 3")
    else:
        yield ok("keys", f"{count} key files")


def nodes(places: Places) -> Iterator[Finding]:
    """Whether this machine's nodes run and answer."""
    simulated = any(place.is_throwaway() for place in places.trees())
    for node in places.nodes():
        name = node.folder.name
        pid = node.pid()
        if pid is None:
            start = f"bt sim start {name}" if simulated else "bt up"
            yield problem("node", f"{name} does not run{_last_complaint(node)}", start)
            yield from _port_taken(node)
            continue
        port = ready_port(node.folder, pid)
        if port is None:
            yield problem("node", f"{name} runs but does not answer yet", f"read {node.log_file}")
            continue
        host = NodeFolder(node.folder).settings().host or "127.0.0.1"
        try:
            socket.create_connection((host, port), _SECONDS).close()
        except OSError as cause:
            yield problem("node", f"{name} is not reached at {host}:{port}: {cause}")
        else:
            yield ok("node", f"{name} answers at {host}:{port}, process {pid}")


def port(places: Places) -> Iterator[Finding]:
    """Whether a first node would get the usual port."""
    if places.nodes():
        return
    if _is_free("", DEFAULT_PORT):
        yield ok("port", f"{DEFAULT_PORT} is free")
    else:
        yield note("port", f"{DEFAULT_PORT} is in use; a node takes another one")


def mounts(places: Places) -> Iterator[Finding]:
    """Whether what is mounted is served."""
    for mount in places.mounts():
        point = mount_point(mount)
        if point is None:
            continue
        if mount.pid() is None:
            what = f"the process behind {point} ended: {mount.last_words()}"
            yield problem("mount", what, f"bt umount {point}")
        elif not mounted_type(point):
            yield problem("mount", f"{point} is not mounted any more", f"bt umount {point}")
        else:
            yield ok("mount", str(point))


def _last_complaint(node: Daemon) -> str:
    """The last line of the log, unless it only tells of ordinary work."""
    said = node.last_words()
    return "" if " INFO " in said else f"; its log ends: {said}"


def _port_taken(node: Daemon) -> Iterator[Finding]:
    settings = NodeFolder(node.folder).settings()
    if settings.port and not _is_free(settings.host, settings.port):
        yield problem(
            "port",
            f"{settings.port}, where {node.folder.name} listens, is held by another program",
            f"sudo ss -ltnp 'sport = :{settings.port}'",
        )


def _is_free(host: str, number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError:
            return False
    return True
