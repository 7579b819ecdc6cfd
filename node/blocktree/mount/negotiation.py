"""INIT: kernel and driver agree on version, sizes and capabilities."""

import errno
from dataclasses import dataclass

from blocktree.mount.errnos import Refused
from blocktree.mount.protocol import (
    INIT_IN,
    INIT_IN_FLAGS2,
    INIT_OUT,
    MAJOR,
    MAX_WRITE,
    MINOR_INC_EPOCH,
    MINOR_MAX,
    MINOR_MIN,
    PAGES_MAX,
    WANTED,
    Init,
)

BACKGROUND_MAX = 64  # read-ahead and write-back requests the kernel keeps under way
CONGESTION = 48


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed: the protocol's minor version and the capabilities both sides have."""

    minor: int
    flags: Init

    @property
    def epochs(self) -> bool:
        """Whether every name can be made stale without a lock (FUSE_NOTIFY_INC_EPOCH)."""
        return self.minor >= MINOR_INC_EPOCH


def negotiate(body: memoryview) -> tuple[Terms | None, bytes]:
    """Answer fuse_init_in; no terms yet if the kernel shall ask again with our major version.

    Raises:
        Refused: EPROTO for a kernel older than 7.31 (Linux 5.2).
    """
    major, minor, read_ahead, offered = INIT_IN.unpack_from(body)
    if major > MAJOR:
        return None, INIT_OUT.pack(MAJOR, MINOR_MAX, *(0,) * 9)
    if major < MAJOR or minor < MINOR_MIN:
        raise Refused(errno.EPROTO)
    if offered & Init.INIT_EXT and len(body) >= INIT_IN.size + INIT_IN_FLAGS2.size:
        offered |= INIT_IN_FLAGS2.unpack_from(body, INIT_IN.size)[0] << 32
    flags = WANTED & offered
    if flags & Init.HANDLE_KILLPRIV_V2:
        flags &= ~Init.HANDLE_KILLPRIV
    terms = Terms(min(minor, MINOR_MAX), flags)
    reply = INIT_OUT.pack(
        MAJOR,
        terms.minor,
        read_ahead,
        flags & 0xFFFFFFFF,
        BACKGROUND_MAX,
        CONGESTION,
        MAX_WRITE,
        1,  # times are kept to the nanosecond
        PAGES_MAX,
        0,
        flags >> 32,
    )
    return terms, reply
