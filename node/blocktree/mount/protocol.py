"""The kernel's FUSE protocol as bytes: opcodes, flags and struct layouts, version 7.31 and later.

Source: Linux `include/uapi/linux/fuse.h`. All integers are in host byte order; the kernel pads
every struct to 64 bits itself, so `=` (standard sizes, no padding) reproduces each layout.
"""

from enum import IntEnum, IntFlag, unique
from struct import Struct

MAJOR = 7
MINOR_MIN = 31
MINOR_MAX = 45
MAX_WRITE = 1 << 20
PAGES_MAX = 256
BUFFER_BYTES = MAX_WRITE + 4096  # head + write_in + payload
MINOR_INC_EPOCH = 44


@unique
class Opcode(IntEnum):
    """What the kernel asks for. What is not served is answered ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    SYNCFS = 50


class Init(IntFlag):
    """Capabilities; bits from 32 up travel in `flags2`."""

    ASYNC_READ = 1 << 0
    POSIX_LOCKS = 1 << 1
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    FLOCK_LOCKS = 1 << 10
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    EXPLICIT_INVAL_DATA = 1 << 25
    HANDLE_KILLPRIV_V2 = 1 << 28
    INIT_EXT = 1 << 30


WANTED = (
    Init.ASYNC_READ
    | Init.POSIX_LOCKS
    | Init.ATOMIC_O_TRUNC
    | Init.BIG_WRITES
    | Init.FLOCK_LOCKS
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.HANDLE_KILLPRIV
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.EXPLICIT_INVAL_DATA
    | Init.HANDLE_KILLPRIV_V2
    | Init.INIT_EXT
)
"""No writeback cache: sizes and times stay with the volume, and a write is seen where it lands.
No splice: the payload is copied once into sectors anyway. V2 of killpriv spares one GETXATTR of
security.capability per write(2). EXPLICIT_INVAL_DATA: pages go when the volume says so, not when
a stat shows our own write's new mtime."""


@unique
class Notice(IntEnum):
    """What we tell the kernel unasked."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    INC_EPOCH = 8


class Fattr:
    """Which fields of setattr_in are meant. Plain numbers: IntFlag costs a microsecond a test."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    FH = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


FOPEN_DIRECT_IO = 1 << 0
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_STREAM = 1 << 4
WRITE_CACHE = 1 << 0
WRITE_KILL_SUIDGID = 1 << 2
OPEN_KILL_SUIDGID = 1 << 0
LK_FLOCK = 1 << 0

IN_HEAD = Struct("=IIQQIIIHH")  # len opcode unique nodeid uid gid pid extlen padding
OUT_HEAD = Struct("=IiQ")  # len error unique
INIT_IN = Struct("=IIII")  # major minor max_readahead flags; flags2 behind it with INIT_EXT
INIT_IN_FLAGS2 = Struct("=I")
INIT_OUT = Struct(
    "=IIIIHHIIHHI28x"
)  # … max_background congestion max_write gran pages align flags2
ENTRY_OUT = Struct("=QQQQII")  # nodeid generation entry_valid attr_valid …nsec
ATTR = Struct("=QQQQQQIIIIIIIIII")
ATTR_OUT = Struct("=QII")  # attr_valid attr_valid_nsec dummy
ENTRY = Struct("=QQQQIIQQQQQQIIIIIIIIII")  # entry_out with its attr
ATTRIBUTES = Struct("=QIIQQQQQQIIIIIIIIII")  # attr_out with its attr
OPEN_IN = Struct("=II")  # flags open_flags
OPEN_OUT = Struct("=QII")  # fh open_flags padding
CREATE_IN = Struct("=IIII")  # flags mode umask open_flags
MKNOD_IN = Struct("=IIII")  # mode rdev umask padding
MKDIR_IN = Struct("=II")  # mode umask
RENAME_IN = Struct("=Q")
RENAME2_IN = Struct("=QII")
LINK_IN = Struct("=Q")
SETATTR_IN = Struct("=IIQQQQQQIIIIIIII")
READ_IN = Struct("=QQIIQII")  # fh offset size read_flags lock_owner flags padding
WRITE_IN = Struct("=QQIIQII")
WRITE_OUT = Struct("=II")
RELEASE_IN = Struct("=QIIQ")  # fh flags release_flags lock_owner
FLUSH_IN = Struct("=QIIQ")  # fh unused padding lock_owner
FSYNC_IN = Struct("=QII")
STATFS_OUT = Struct("=QQQQQIII28x")  # blocks bfree bavail files ffree bsize namelen frsize
SETXATTR_IN = Struct("=II")  # size flags
GETXATTR_IN = Struct("=II")  # size padding
GETXATTR_OUT = Struct("=II")
LK_IN = Struct("=QQQQIIII")  # fh owner start end type pid lk_flags padding
LK_OUT = Struct("=QQII")
INTERRUPT_IN = Struct("=Q")
FORGET_IN = Struct("=Q")
BATCH_FORGET_IN = Struct("=II")
FORGET_ONE = Struct("=QQ")
FALLOCATE_IN = Struct("=QQQII")  # fh offset length mode padding
DIRENT = Struct("=QQII")  # ino off namelen type, then the name padded to 8
INVAL_INODE_OUT = Struct("=Qqq")  # ino off len
INVAL_ENTRY_OUT = Struct("=QII")  # parent namelen flags
