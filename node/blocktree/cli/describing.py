"""What `ls` and `stat` say of a file, for people and for programs."""

import datetime
import grp
import pwd
import stat
import time
from typing import Any

from blocktree.cli.treepaths import printable
from blocktree.files.volume import Attributes, NodeKind

_TYPE_BITS = {
    NodeKind.FILE: stat.S_IFREG,
    NodeKind.DIRECTORY: stat.S_IFDIR,
    NodeKind.SYMLINK: stat.S_IFLNK,
    NodeKind.ACTOR: stat.S_IFREG,
}


def kind_word(kind: NodeKind) -> str:
    """`file`, `directory`, `link` or `actor`."""
    return "link" if kind is NodeKind.SYMLINK else kind.name.lower()


def mode_text(attributes: Attributes) -> str:
    """Kind and permissions as `ls -l` writes them: `-rw-r--r--`."""
    return stat.filemode(_TYPE_BITS[attributes.kind] | attributes.mode)


def user_name(uid: int) -> str:
    """The name of a user on this machine, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group on this machine, or the number."""
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)


def time_text(time_ns: int, *, seconds: bool = False) -> str:
    """A time in this machine's zone: `2026-11-20 09:35`."""
    try:
        written = time.localtime(time_ns // 10**9)
    except (OverflowError, ValueError, OSError):
        return str(time_ns)
    return time.strftime("%Y-%m-%d %H:%M:%S %z" if seconds else "%Y-%m-%d %H:%M", written)


def time_json(time_ns: int) -> str:
    """A time for programs: RFC 3339 in UTC with nanoseconds."""
    seconds, rest = divmod(time_ns, 10**9)
    begin = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        whole = begin + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return str(time_ns)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def name_json(name: bytes) -> dict[str, str]:
    """A name for programs; the exact bytes too if they are not text."""
    try:
        return {"name": name.decode()}
    except UnicodeDecodeError:
        return {"name": printable(name), "name_hex": name.hex()}


def attributes_json(attributes: Attributes) -> dict[str, Any]:
    """What `stat` says of a file, for programs."""
    return {
        "kind": kind_word(attributes.kind),
        "size": attributes.size,
        "mode": f"{attributes.mode:04o}",
        "uid": attributes.uid,
        "gid": attributes.gid,
        "links": attributes.links,
        "mtime": time_json(attributes.mtime_ns),
        "ctime": time_json(attributes.ctime_ns),
        "inode": attributes.ino,
    }
