"""The one table from fault kinds to errno, and the refusals that only a file system knows."""

import errno

from blocktree.fault import Kind

ERRNOS = {
    Kind.FAILED: errno.EIO,
    Kind.USAGE: errno.EINVAL,
    Kind.CONTRACT: errno.EPROTO,
    Kind.DAMAGED: errno.EIO,
    Kind.DENIED: errno.EACCES,
    Kind.NO_QUORUM: errno.EIO,
    Kind.UNREACHABLE: errno.EIO,
    Kind.CONFLICT: errno.ESTALE,
    Kind.MALFORMED: errno.EIO,
    Kind.NOT_FOUND: errno.ENOENT,
    Kind.EXISTS: errno.EEXIST,
    Kind.NOT_LEADER: errno.EIO,
    Kind.BUSY: errno.EAGAIN,
    Kind.NO_SPACE: errno.ENOSPC,
    Kind.WRONG_TREE: errno.EXDEV,
    Kind.EXPIRED: errno.EACCES,
    Kind.NOT_DIRECTORY: errno.ENOTDIR,
    Kind.IS_DIRECTORY: errno.EISDIR,
    Kind.NOT_EMPTY: errno.ENOTEMPTY,
    Kind.TOO_LARGE: errno.EFBIG,
    Kind.STOPPED: errno.ENOTCONN,
    Kind.UNSUPPORTED: errno.EOPNOTSUPP,
    Kind.SPENT: errno.EACCES,
    Kind.CANCELLED: errno.EINTR,
    Kind.IN_USE: errno.EBUSY,
    Kind.MISSING: errno.EOPNOTSUPP,
    Kind.MOVED: errno.EAGAIN,
}
"""Every kind has its line; tests/mount holds that."""


class Refused(Exception):  # noqa: N818 - an answer to the kernel, not a program error
    """The kernel gets `code` (an errno) as the answer to this request."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
