"""Getting and giving up a FUSE connection: /dev/fuse, mount(2) as root, fusermount3 otherwise.

Everything here blocks, some of it on requests that the mount itself must answer: call it off the
event loop. Sources: mount.fuse3(8); libfuse's `fusermount` passes the descriptor over _FUSE_COMMFD.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree.mount.protocol import MAX_WRITE
from blocktree.mount.view import Options

DEVICE = "/dev/fuse"
TYPE = "fuse.blocktree"
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MNT_FORCE, MNT_DETACH = 1, 2
FUSERMOUNT_SECONDS = 20
INSTALL = "sudo apt install fuse3"

_libc = ctypes.CDLL(None, use_errno=True)


def connect(point: Path, options: Options) -> int:
    """Mount at the empty directory `point`; returns the non-blocking connection.

    Raises:
        Fault: MISSING without FUSE; NOT_FOUND, NOT_DIRECTORY, NOT_EMPTY or IN_USE for the
            mount point, DENIED if the kernel or fusermount3 refuses.
    """
    if not Path(DEVICE).exists():
        raise Fault(
            Kind.MISSING,
            "this machine has no FUSE",
            path=DEVICE,
            next_step="sudo modprobe fuse",
        )
    _clear_stale(point)
    _check_point(point)
    device = _mount_as_root(point, options) if os.geteuid() == 0 else _mount_as_user(point, options)
    os.set_blocking(device, False)
    return device


def _clear_stale(point: Path) -> None:
    """Take away a mount of ours whose process died: it answers ENOTCONN for ever."""
    try:
        point.stat()
    except OSError as error:
        if error.errno == errno.ENOTCONN and mounted_type(point) == TYPE:
            disconnect(point, lazy=True)


def _check_point(point: Path) -> None:
    try:
        mode = point.stat().st_mode
    except FileNotFoundError:
        raise Fault(
            Kind.NOT_FOUND,
            "the mount point does not exist",
            path=str(point),
            next_step=f"mkdir -p {point}",
        ) from None
    except OSError as error:
        raise Fault(
            Kind.DENIED, f"the mount point cannot be used: {error.strerror}", path=str(point)
        ) from error
    if not stat.S_ISDIR(mode):
        raise Fault(Kind.NOT_DIRECTORY, "the mount point is not a directory", path=str(point))
    if mounted_type(point):
        raise Fault(
            Kind.IN_USE,
            "something is mounted there already",
            path=str(point),
            next_step=f"bt umount {point}, or choose another directory",
        )
    if any(point.iterdir()):
        raise Fault(
            Kind.NOT_EMPTY,
            "the mount point is not empty: what it holds would be hidden",
            path=str(point),
            next_step="choose an empty directory",
        )


def mounted_type(point: Path) -> str:
    """The type of the topmost file system mounted exactly at `point`, or ""."""
    line = _mountinfo(point)
    return line[line.index("-") + 1] if line else ""


def device_number(point: Path) -> str:
    """`major:minor` of the mount at `point`, found without asking the mount itself."""
    line = _mountinfo(point)
    return line[2] if line else ""


def _mountinfo(point: Path) -> list[str]:
    """The last line of /proc/self/mountinfo (proc(5)) for `point`, split at spaces."""
    wanted = str(point.absolute())
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return next((line for line in reversed(lines) if _unescape(line[4]) == wanted), [])


def _unescape(field: str) -> str:
    """Undo the octal escapes of space, tab, newline and backslash."""
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, char)
    return field


def _mount_as_root(point: Path, options: Options) -> int:
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    details = [
        f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions,max_read={MAX_WRITE}",
        *(["allow_other"] if options.allow_other else []),
    ]
    flags = MS_NOSUID | MS_NODEV | (MS_RDONLY if options.read_only else 0)
    done = _libc.mount(
        os.fsencode(options.source),
        os.fsencode(point),
        os.fsencode(TYPE),
        ctypes.c_ulong(flags),
        ",".join(details).encode(),
    )
    if done == 0:
        return device
    code = ctypes.get_errno()
    os.close(device)
    raise _refusal(point, os.strerror(code), missing=code == errno.ENODEV)


def _refusal(point: Path, reason: str, *, missing: bool = False) -> Fault:
    if missing:
        return Fault(Kind.MISSING, "this kernel has no FUSE", next_step="sudo modprobe fuse")
    closed = DEVICE in reason and "Permission" in reason
    advice = f"sudo chmod 666 {DEVICE}, as most systems have it" if closed else ""
    return Fault(Kind.DENIED, f"mounting was refused: {reason}", path=str(point), next_step=advice)


def _fusermount() -> str:
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        raise Fault(
            Kind.MISSING, "mounting as an ordinary user needs fusermount3", next_step=INSTALL
        )
    return program


def _mount_as_user(point: Path, options: Options) -> int:
    program = _fusermount()
    words = [
        f"fsname={options.source},subtype=blocktree,default_permissions,max_read={MAX_WRITE}",
        *(["allow_other"] if options.allow_other else []),
        *(["ro"] if options.read_only else []),
    ]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.settimeout(FUSERMOUNT_SECONDS)
        done = subprocess.run(  # noqa: S603 - a fixed program, the point is one argument
            [program, "-o", ",".join(words), "--", os.fspath(point)],
            env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno()), "LC_ALL": "C"},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=FUSERMOUNT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise _refusal(point, done.stderr.strip() or f"{program} failed")
        _, devices, _, _ = socket.recv_fds(ours, 1, 1)
    if not devices:
        raise _refusal(point, f"{program} passed no connection")
    os.set_inheritable(devices[0], False)  # noqa: FBT003 - positional only
    return devices[0]


def disconnect(point: Path, *, lazy: bool = False, end: bool = False) -> None:
    """Unmount; `lazy` detaches what is still in use, `end` also fails what is under way there.

    A process that stops serving a mount in use must end it: a thread of its own may sit in the
    kernel on a lock that only an answer, or this, lets go.

    Raises:
        Fault: IN_USE if files there are open and it is neither; NOT_FOUND if nothing is mounted.
    """
    if not mounted_type(point):
        raise Fault(Kind.NOT_FOUND, "nothing is mounted there", path=str(point))
    lazy = lazy or end
    if os.geteuid() == 0:
        flags = (MNT_DETACH if lazy else 0) | (MNT_FORCE if end else 0)
        reason = _unmount_as_root(point, flags)
    else:
        number = device_number(point)
        reason = _unmount_as_user(point, lazy=lazy)
        if end:
            _abort(number)
    if reason:
        raise Fault(
            Kind.IN_USE,
            f"unmounting failed: {reason}",
            path=str(point),
            next_step="close what is open there (fuser -vm shows it)",
        )


def _unmount_as_root(point: Path, flags: int) -> str:
    if _libc.umount2(os.fsencode(point), flags) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def _abort(number: str) -> None:
    """Fail what is under way on the mount with this device number, where fusectl is mounted."""
    minor = number.rpartition(":")[2]
    with contextlib.suppress(OSError):
        Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1")


def _unmount_as_user(point: Path, *, lazy: bool) -> str:
    command = [_fusermount(), "-u", *(["-z"] if lazy else []), "--", os.fspath(point)]
    done = subprocess.run(  # noqa: S603 - a fixed program, the point is one argument
        command, capture_output=True, text=True, timeout=FUSERMOUNT_SECONDS, check=False
    )
    return done.stderr.strip() if done.returncode else ""
