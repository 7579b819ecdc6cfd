"""An app as one file: its members one after another, as a device unpacks them."""

import re
from collections.abc import Mapping
from pathlib import Path as File
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree_gateway.messages import APP_BYTES_MAX

MEMBERS_MAX: Final = 16
TABLE_BYTES_MAX: Final = 2 << 10
TABLE: Final = "contract.tbl"
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.]{0,31}")
_SKIPPED = {"contract.py", "readme.md"}  # for people and for the host


def pack_app(members: Mapping[str, bytes]) -> bytes:
    """The file of an app.

    Raises:
        Fault: USAGE for a name that a device refuses, or no `app.py`; TOO_LARGE.
    """
    for name in members:
        if not _NAME.fullmatch(name):
            raise Fault(
                Kind.USAGE,
                "cannot be the name of a file of an app",
                path=name,
                next_step="a-z, 0-9, _ and . in at most 32 characters",
            )
    if ("app.py" in members) == ("app.mpy" in members):
        raise Fault(Kind.USAGE, "an app has either app.py or app.mpy")
    if len(members) > MEMBERS_MAX or len(members.get(TABLE, b"")) > TABLE_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"an app has at most {MEMBERS_MAX} files, 2 KiB of contract")
    packed = b"".join(
        bytes([len(name)]) + name.encode() + len(content).to_bytes(4) + content
        for name, content in members.items()
    )
    if len(packed) > APP_BYTES_MAX:
        what = f"is {len(packed)} bytes; a device takes at most {APP_BYTES_MAX}"
        raise Fault(Kind.TOO_LARGE, what, next_step="leave files out")
    return packed


def unpack_app(packed: bytes) -> dict[str, bytes]:
    """The members of an app.

    Raises:
        Fault: MALFORMED, TOO_LARGE.
    """
    if len(packed) > APP_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"an app of {len(packed)} bytes")
    members: dict[str, bytes] = {}
    at = 0
    while at < len(packed):
        size = packed[at]
        name = packed[at + 1 : at + 1 + size].decode(errors="replace")
        at += 1 + size
        length = int.from_bytes(packed[at : at + 4])
        content = packed[at + 4 : at + 4 + length]
        if not _NAME.fullmatch(name) or name in members or len(content) != length:
            raise Fault(Kind.MALFORMED, "is no app", path=name)
        members[name] = content
        at += 4 + length
    bad_table = len(members.get(TABLE, b"")) > TABLE_BYTES_MAX
    if len(members) > MEMBERS_MAX or bad_table or ("app.py" in members) == ("app.mpy" in members):
        raise Fault(Kind.MALFORMED, "is no app")
    return members


def read_folder(folder: File, table: bytes | None = None) -> bytes:
    """The app in a folder of this machine.

    Args:
        folder: with an `app.py`.
        table: of the contract that the app is held to, in place of a `contract.tbl` in the folder.

    Raises:
        Fault: NOT_FOUND if there is no such folder; as `pack_app`.
    """
    if not folder.is_dir():
        raise Fault(Kind.NOT_FOUND, "there is no such folder", path=str(folder))
    members = {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and path.name not in _SKIPPED
    }
    if table is not None:
        members[TABLE] = table
    try:
        return pack_app(members)
    except Fault as fault:
        raise fault.at(str(folder)) from None
