"""What programs expect of a POSIX file system, as checks that any mounted directory must pass.

Each function in CHECKS takes a fresh, empty, writable directory and raises AssertionError or
OSError when something is not as it must be. A check leaves whatever it likes behind. They use
memory maps: never run them in the process that serves the mount. `sharing` has the rest.
"""

# ruff: noqa: PTH104, PTH106, PTH108, PTH115, PTH208, PTH211 - the system calls themselves are what is tested

import ctypes
import errno
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Check = Callable[[Path], None]
MANY_NAMES = 10_000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """The body fails with one of these errno."""
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise
    else:
        raise AssertionError(f"expected one of {[errno.errorcode[code] for code in codes]}")


@contextmanager
def opened(path: Path | bytes, flags: int, mode: int = 0o644) -> Iterator[int]:
    """A file descriptor for the body."""
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def bytes_written_are_read_back(d: Path) -> None:
    for size in (0, 1, 511, 4096, 65535, 65536, 65537, 1 << 20, (3 << 20) + 17):
        content = os.urandom(size)
        (d / f"f{size}").write_bytes(content)
        assert (d / f"f{size}").read_bytes() == content
        assert (d / f"f{size}").stat().st_size == size


def small_pieces_make_a_whole(d: Path) -> None:
    content = os.urandom(300_000)
    with opened(d / "f", os.O_RDWR | os.O_CREAT) as f:
        for at in range(0, len(content), 7001):
            os.write(f, content[at : at + 7001])
        assert os.pread(f, len(content), 0) == content
    assert (d / "f").read_bytes() == content


def overwriting_the_middle_keeps_the_rest(d: Path) -> None:
    content = bytearray(os.urandom(400_000))
    (d / "f").write_bytes(content)
    with opened(d / "f", os.O_RDWR) as f:
        for at, piece in ((0, b"start"), (65530, b"across a sector"), (399_990, b"x" * 30)):
            os.pwrite(f, piece, at)
            content[at : at + len(piece)] = piece
    assert (d / "f").read_bytes() == content


def writing_past_the_end_reads_zeros(d: Path) -> None:
    with opened(d / "f", os.O_RDWR | os.O_CREAT) as f:
        os.pwrite(f, b"end", 1_000_000)
        assert os.pread(f, 100, 0) == bytes(100)
        assert os.fstat(f).st_size == 1_000_003
    assert (d / "f").read_bytes() == bytes(1_000_000) + b"end"


def truncating_cuts_and_extends_with_zeros(d: Path) -> None:
    path = d / "f"
    path.write_bytes(b"a" * 200_000)
    os.truncate(path, 100_001)
    assert path.read_bytes() == b"a" * 100_001
    os.truncate(path, 150_000)
    assert path.read_bytes() == b"a" * 100_001 + bytes(49_999)
    with opened(path, os.O_RDWR) as f:
        os.ftruncate(f, 10)
        os.pwrite(f, b"b", 20)
        assert os.pread(f, 100, 0) == b"a" * 10 + bytes(10) + b"b"
    with opened(path, os.O_WRONLY | os.O_TRUNC):
        assert path.stat().st_size == 0
    assert path.read_bytes() == b""


def appending_writes_at_the_end(d: Path) -> None:
    with (
        opened(d / "f", os.O_WRONLY | os.O_CREAT | os.O_APPEND) as one,
        opened(d / "f", os.O_WRONLY | os.O_APPEND) as two,
    ):
        for number in range(50):
            os.write(one, b"%04d\n" % (2 * number))
            os.write(two, b"%04d\n" % (2 * number + 1))
    assert (d / "f").read_bytes() == b"".join(b"%04d\n" % number for number in range(100))


def creating_exclusively_refuses_what_exists(d: Path) -> None:
    (d / "f").write_bytes(b"kept")
    with refused(errno.EEXIST):
        os.open(d / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with refused(errno.EEXIST):
        (d / "f").mkdir()
    assert (d / "f").read_bytes() == b"kept"


def absent_names_are_absent_until_made(d: Path) -> None:
    for _ in range(3):
        with refused(errno.ENOENT):
            (d / "f").stat()
    (d / "f").touch()
    assert (d / "f").stat().st_size == 0
    (d / "f").unlink()
    with refused(errno.ENOENT):
        (d / "f").read_bytes()


def what_is_not_a_directory_is_not_entered(d: Path) -> None:
    (d / "f").touch()
    with refused(errno.ENOTDIR):
        (d / "f" / "x").stat()
    with refused(errno.ENOTDIR):
        os.rmdir(d / "f")
    (d / "sub").mkdir()
    with refused(errno.EISDIR, errno.EPERM):
        os.unlink(d / "sub")
    with refused(errno.EISDIR):
        os.open(d / "sub", os.O_WRONLY)


def a_directory_with_names_is_not_removed(d: Path) -> None:
    (d / "sub").mkdir()
    (d / "sub" / "f").touch()
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        (d / "sub").rmdir()
    (d / "sub" / "f").unlink()
    (d / "sub").rmdir()
    assert not (d / "sub").exists()


def renaming_replaces_an_open_file(d: Path) -> None:
    (d / "old").write_bytes(b"old")
    (d / "new").write_bytes(b"new")
    with opened(d / "new", os.O_RDWR) as f:
        os.rename(d / "old", d / "new")
        assert (d / "new").read_bytes() == b"old"
        assert os.pread(f, 10, 0) == b"new"
        os.pwrite(f, b"still", 0)
        assert os.pread(f, 10, 0) == b"still"
    assert not (d / "old").exists()
    assert (d / "new").read_bytes() == b"old"


def renaming_moves_directories(d: Path) -> None:
    (d / "a" / "b").mkdir(parents=True)
    (d / "a" / "b" / "f").write_bytes(b"x")
    (d / "c").mkdir()
    os.rename(d / "a" / "b", d / "c" / "moved")
    assert (d / "c" / "moved" / "f").read_bytes() == b"x"
    assert list((d / "a").iterdir()) == []
    (d / "empty").mkdir()
    os.rename(d / "c" / "moved", d / "empty")
    assert (d / "empty" / "f").read_bytes() == b"x"
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(d / "a", d / "empty")
    with refused(errno.EINVAL):
        os.rename(d / "empty", d / "empty" / "below")


def renaming_respects_kinds(d: Path) -> None:
    (d / "f").touch()
    (d / "sub").mkdir()
    with refused(errno.EISDIR):
        os.rename(d / "f", d / "sub")
    with refused(errno.ENOTDIR):
        os.rename(d / "sub", d / "f")
    os.link(d / "f", d / "g")
    os.rename(d / "f", d / "g")  # two names of one file: nothing happens
    assert sorted(p.name for p in d.iterdir()) == ["f", "g", "sub"]


def _renameat2(old: Path, new: Path, flags: int) -> None:
    at = -100
    if _libc.renameat2(at, os.fsencode(old), at, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def renaming_can_exchange_and_can_spare(d: Path) -> None:
    (d / "a").write_bytes(b"a")
    (d / "b").write_bytes(b"b")
    with refused(errno.EEXIST):
        _renameat2(d / "a", d / "b", 1)
    _renameat2(d / "a", d / "b", 2)
    assert (d / "a").read_bytes() == b"b"
    assert (d / "b").read_bytes() == b"a"
    _renameat2(d / "a", d / "c", 1)
    assert (d / "c").read_bytes() == b"b"


def an_unlinked_file_lives_while_open(d: Path) -> None:
    with opened(d / "f", os.O_RDWR | os.O_CREAT) as f:
        os.write(f, b"before")
        os.unlink(d / "f")
        assert not (d / "f").exists()
        assert os.pread(f, 10, 0) == b"before"
        os.pwrite(f, b"a" * 200_000, 100)
        assert os.fstat(f).st_size == 200_100
        assert os.fstat(f).st_nlink == 0
        os.ftruncate(f, 3)
        assert os.pread(f, 10, 0) == b"bef"
        os.fsync(f)
    (d / "f").write_bytes(b"another")
    assert (d / "f").read_bytes() == b"another"


def hard_links_are_one_file(d: Path) -> None:
    (d / "a").write_bytes(b"one")
    os.link(d / "a", d / "b")
    assert (d / "a").stat().st_ino == (d / "b").stat().st_ino
    assert (d / "a").stat().st_nlink == 2
    (d / "b").write_bytes(b"two")
    assert (d / "a").read_bytes() == b"two"
    (d / "a").unlink()
    assert (d / "b").read_bytes() == b"two"
    assert (d / "b").stat().st_nlink == 1
    (d / "sub").mkdir()
    with refused(errno.EPERM):
        os.link(d / "sub", d / "again")


def symbolic_links_lead_on(d: Path) -> None:
    (d / "target").write_bytes(b"here")
    os.symlink("target", d / "link")
    assert os.readlink(d / "link") == "target"
    assert (d / "link").read_bytes() == b"here"
    assert stat.S_ISLNK((d / "link").lstat().st_mode)
    assert (d / "link").lstat().st_size == len("target")
    os.symlink("nowhere/" * 300, d / "long")
    assert os.readlink(d / "long") == "nowhere/" * 300
    os.symlink("loop", d / "loop")
    with refused(errno.ELOOP):
        (d / "loop").read_bytes()
    os.rename(d / "link", d / "moved")
    assert (d / "moved").read_bytes() == b"here"


def names_take_every_byte(d: Path) -> None:
    base = os.fsencode(d)
    names = {bytes([byte]) for byte in range(1, 256) if byte not in b"/."}
    names |= {b"a" * 255, b".hidden", b"...", b" lead and trail ", b"new\nline", b"-rf"}
    names |= {"käse-\N{SNOWMAN}".encode(), "ka\u0308se".encode(), b"\xff\xfe\x80"}
    for name in names:
        with opened(base + b"/" + name, os.O_WRONLY | os.O_CREAT) as f:
            os.write(f, name)
    assert set(os.listdir(base)) == names
    for name in names:
        with opened(base + b"/" + name, os.O_RDONLY) as f:
            assert os.read(f, 300) == name
    with refused(errno.ENAMETOOLONG):
        os.open(base + b"/" + b"a" * 256, os.O_WRONLY | os.O_CREAT)
    for name in names:
        os.unlink(base + b"/" + name)
    assert os.listdir(base) == []


def many_names_are_listed_once(d: Path) -> None:
    for number in range(MANY_NAMES):
        with opened(d / f"name-{number}", os.O_WRONLY | os.O_CREAT):
            pass
    names = os.listdir(d)
    assert len(names) == MANY_NAMES
    assert set(names) == {f"name-{number}" for number in range(MANY_NAMES)}
    for entry in os.scandir(d):
        assert entry.is_file(follow_symlinks=False)
    for number in range(0, MANY_NAMES, 1000):
        assert (d / f"name-{number}").stat().st_size == 0


def listing_survives_removal(d: Path) -> None:
    wanted = {f"name-{number:04}" for number in range(3000)}
    for name in wanted:
        (d / name).touch()
    seen: list[str] = []
    with os.scandir(d) as listing:
        for entry in listing:
            seen.append(entry.name)
            os.unlink(entry.path)
    assert len(seen) == len(set(seen))
    assert set(seen) == wanted
    assert os.listdir(d) == []


def directories_count_their_links(d: Path) -> None:
    (d / "sub").mkdir()
    assert (d / "sub").stat().st_nlink == 2
    (d / "sub" / "one").mkdir()
    (d / "sub" / "two").mkdir()
    (d / "sub" / "file").touch()
    assert (d / "sub").stat().st_nlink == 4
    (d / "sub" / "one").rmdir()
    assert (d / "sub").stat().st_nlink == 3


def modes_are_kept(d: Path) -> None:
    old = os.umask(0o027)
    try:
        with opened(d / "f", os.O_WRONLY | os.O_CREAT, 0o666):
            pass
        (d / "sub").mkdir(mode=0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE((d / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((d / "sub").stat().st_mode) == 0o750
    for mode in (0o000, 0o400, 0o755, 0o4755, 0o1777):
        (d / "f").chmod(mode)
        assert stat.S_IMODE((d / "f").stat().st_mode) == mode


def owners_are_kept(d: Path) -> None:
    (d / "f").touch()
    assert (d / "f").stat().st_uid == os.geteuid()
    if os.geteuid() != 0:
        with refused(errno.EPERM):
            os.chown(d / "f", 1, 1)
        return
    (d / "f").chmod(0o6755)
    os.chown(d / "f", 1234, 4321)
    status = (d / "f").stat()
    assert (status.st_uid, status.st_gid) == (1234, 4321)
    assert stat.S_IMODE(status.st_mode) == 0o755  # set-id bits do not survive a new owner


def times_are_kept(d: Path) -> None:
    (d / "f").write_bytes(b"x")
    for moment in (0, 1, 1_600_000_000_123_456_789, 4_102_444_800_000_000_001):
        os.utime(d / "f", ns=(moment, moment))
        assert (d / "f").stat().st_mtime_ns == moment
    before = time.time_ns()
    (d / "f").write_bytes(b"y")
    after = (d / "f").stat().st_mtime_ns
    assert before - 2_000_000_000 <= after <= time.time_ns() + 2_000_000_000
    directory = d.stat().st_mtime_ns
    (d / "g").touch()
    assert d.stat().st_mtime_ns > directory


def attributes_are_kept(d: Path) -> None:
    path = d / "f"
    path.touch()
    os.setxattr(path, "user.colour", b"green")
    os.setxattr(path, "user.bytes", bytes(range(256)))
    assert os.getxattr(path, "user.colour") == b"green"
    assert os.getxattr(path, "user.bytes") == bytes(range(256))
    assert sorted(os.listxattr(path)) == ["user.bytes", "user.colour"]
    with refused(errno.EEXIST):
        os.setxattr(path, "user.colour", b"red", os.XATTR_CREATE)
    with refused(errno.ENODATA):
        os.setxattr(path, "user.new", b"red", os.XATTR_REPLACE)
    os.setxattr(path, "user.colour", b"", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.colour") == b""
    os.removexattr(path, "user.colour")
    with refused(errno.ENODATA):
        os.getxattr(path, "user.colour")
    with refused(errno.ENODATA):
        os.removexattr(path, "user.colour")
    with refused(errno.EOPNOTSUPP):
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2))


def maps_read_and_write(d: Path) -> None:
    path = d / "f"
    content = bytearray(os.urandom(300_000))
    path.write_bytes(content)
    with opened(path, os.O_RDWR) as f, mmap.mmap(f, len(content)) as view:
        assert view[:] == bytes(content)
        view[100:110] = content[100:110] = b"0123456789"
        view[299_990:] = content[299_990:] = b"the end is"
        view.flush()
        assert os.pread(f, 10, 100) == b"0123456789"
        os.pwrite(f, b"written", 5000)
        content[5000:5007] = b"written"
        assert view[5000:5007] == b"written"
    assert path.read_bytes() == content


def maps_outlive_their_descriptor(d: Path) -> None:
    path = d / "f"
    path.write_bytes(bytes(200_000))
    with opened(path, os.O_RDWR) as f:
        view = mmap.mmap(f, 200_000)
    with opened(path, os.O_WRONLY | os.O_APPEND) as appender:
        view[65536:65540] = b"late"
        view.flush()
        os.write(appender, b"tail")
    view.close()
    content = path.read_bytes()
    assert content[65536:65540] == b"late"
    assert content[200_000:] == b"tail"


def sizes_of_the_file_system_are_shown(d: Path) -> None:
    status = os.statvfs(d)
    assert status.f_namemax == 255
    assert status.f_blocks >= status.f_bfree >= status.f_bavail > 0


def space_can_be_set_aside_and_punched(d: Path) -> None:
    with opened(d / "f", os.O_RDWR | os.O_CREAT) as f:
        os.write(f, b"x" * 1000)
        os.posix_fallocate(f, 0, 100_000)
        assert os.fstat(f).st_size == 100_000
        assert os.pread(f, 2000, 0) == b"x" * 1000 + bytes(1000)
        keep_size, punch = 1, 2
        assert _fallocate(f, keep_size, 0, 1 << 20) == 0
        assert os.fstat(f).st_size == 100_000
        assert _fallocate(f, keep_size | punch, 100, 200) == 0
        assert os.pread(f, 400, 0) == b"x" * 100 + bytes(200) + b"x" * 100
        assert _fallocate(f, 8, 0, 4096) == errno.EOPNOTSUPP  # collapsing a range


def _fallocate(descriptor: int, mode: int, start: int, length: int) -> int:
    done = _libc.fallocate(descriptor, mode, ctypes.c_long(start), ctypes.c_long(length))
    return 0 if done == 0 else ctypes.get_errno()


def holes_are_seekable(d: Path) -> None:
    (d / "f").write_bytes(b"x" * 10_000)
    with opened(d / "f", os.O_RDONLY) as f:
        assert os.lseek(f, 0, os.SEEK_DATA) == 0
        assert os.lseek(f, 0, os.SEEK_HOLE) == 10_000
        with refused(errno.ENXIO):
            os.lseek(f, 10_000, os.SEEK_DATA)


def ranges_are_copied_by_the_kernel(d: Path) -> None:
    content = os.urandom(300_000)
    (d / "from").write_bytes(content)
    with (
        opened(d / "from", os.O_RDONLY) as source,
        opened(d / "to", os.O_WRONLY | os.O_CREAT) as to,
    ):
        left = len(content)
        while left:
            left -= os.copy_file_range(source, to, left)
    with (
        opened(d / "from", os.O_RDONLY) as source,
        opened(d / "via", os.O_WRONLY | os.O_CREAT) as to,
    ):
        left = len(content)
        while left:
            left -= os.sendfile(to, source, None, left)
    assert (d / "to").read_bytes() == content
    assert (d / "via").read_bytes() == content


def direct_io_reads_what_was_written(d: Path) -> None:
    content = os.urandom(1 << 20)
    (d / "f").write_bytes(content)
    with opened(d / "f", os.O_RDWR | os.O_DIRECT) as f, mmap.mmap(-1, 1 << 20) as view:
        assert os.preadv(f, [view], 0) == 1 << 20
        assert view[:] == content
        view[:4096] = b"d" * 4096
        with memoryview(view) as whole, whole[:4096] as page:
            assert os.pwritev(f, [page], 8192) == 4096
    assert (d / "f").read_bytes()[8192:12288] == b"d" * 4096


def durability_can_be_asked_for(d: Path) -> None:
    with opened(d / "f", os.O_WRONLY | os.O_CREAT) as f:
        os.write(f, b"x" * 100_000)
        os.fsync(f)
        os.fdatasync(f)
    with opened(d, os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.fsync(directory)
    with opened(d / "g", os.O_WRONLY | os.O_CREAT | os.O_SYNC) as f:
        os.write(f, b"synced")
    assert (d / "g").read_bytes() == b"synced"


def group_directories_hand_their_group_down(d: Path) -> None:
    if os.geteuid() != 0:
        return
    (d / "shared").mkdir()
    os.chown(d / "shared", 0, 4242)
    (d / "shared").chmod(0o2775)
    (d / "shared" / "f").touch()
    (d / "shared" / "sub").mkdir()
    assert (d / "shared" / "f").stat().st_gid == 4242
    assert (d / "shared" / "sub").stat().st_gid == 4242
    assert (d / "shared" / "sub").stat().st_mode & stat.S_ISGID


def pipes_and_devices_are_refused(d: Path) -> None:
    with refused(errno.EPERM, errno.EOPNOTSUPP):
        os.mkfifo(d / "pipe")
    os.mknod(d / "regular", 0o600 | stat.S_IFREG)
    assert (d / "regular").stat().st_size == 0


def named(*checks: Callable[..., None]) -> dict[str, Callable[..., None]]:
    """Checks by their names."""
    return {check.__name__: check for check in checks}


CHECKS: dict[str, Check] = named(
    bytes_written_are_read_back,
    small_pieces_make_a_whole,
    overwriting_the_middle_keeps_the_rest,
    writing_past_the_end_reads_zeros,
    truncating_cuts_and_extends_with_zeros,
    appending_writes_at_the_end,
    creating_exclusively_refuses_what_exists,
    absent_names_are_absent_until_made,
    what_is_not_a_directory_is_not_entered,
    a_directory_with_names_is_not_removed,
    renaming_replaces_an_open_file,
    renaming_moves_directories,
    renaming_respects_kinds,
    renaming_can_exchange_and_can_spare,
    an_unlinked_file_lives_while_open,
    hard_links_are_one_file,
    symbolic_links_lead_on,
    names_take_every_byte,
    many_names_are_listed_once,
    listing_survives_removal,
    directories_count_their_links,
    modes_are_kept,
    owners_are_kept,
    times_are_kept,
    attributes_are_kept,
    maps_read_and_write,
    maps_outlive_their_descriptor,
    sizes_of_the_file_system_are_shown,
    space_can_be_set_aside_and_punched,
    holes_are_seekable,
    ranges_are_copied_by_the_kernel,
    direct_io_reads_what_was_written,
    durability_can_be_asked_for,
    group_directories_hand_their_group_down,
    pipes_and_devices_are_refused,
)
