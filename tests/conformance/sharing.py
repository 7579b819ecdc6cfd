"""What processes, and mounts on two machines, may expect of each other: locks and fresh views.

LOCKS take one fresh directory, as the checks of `posix` do; SHARED take the same directory seen
through two mounts.
"""

# ruff: noqa: PTH208 - the system calls themselves are what is tested

import errno
import fcntl
import os
import select
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conformance.posix import Check, named, opened, refused

SharedCheck = Callable[[Path, Path], None]

_TRY_LOCK = """
import fcntl, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
try:
    if sys.argv[2] == "flock":
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, int(sys.argv[3]))
except BlockingIOError:
    sys.exit(3)
"""


def _lock_is_free(path: Path, family: str, start: int = 0) -> bool:
    """Whether another process gets the lock (it gives it back at once)."""
    command = [sys.executable, "-c", _TRY_LOCK, str(path), family, str(start)]
    code = subprocess.run(command, check=False, timeout=30).returncode
    assert code in (0, 3), code
    return code == 0


def locks_keep_others_out(d: Path) -> None:
    locks_keep_other_mounts_out(d, d)


def closing_drops_range_locks(d: Path) -> None:
    """POSIX: closing any descriptor of a file drops all the process's fcntl locks on it."""
    (d / "f").touch()
    with opened(d / "f", os.O_RDWR) as f:
        fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
        assert not _lock_is_free(d / "f", "range")
        with opened(d / "f", os.O_RDONLY):
            pass
        assert _lock_is_free(d / "f", "range")


def a_lock_in_the_way_is_named(d: Path) -> None:
    (d / "f").touch()
    code = "import fcntl, os, sys; f = os.open(sys.argv[1], os.O_RDWR); fcntl.lockf(f, 2, 5, 7)"
    code += "; print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(d / "f")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder, opened(d / "f", os.O_RDWR) as f:
        assert holder.stdout is not None
        holder.stdout.readline()
        ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 100, 0)
        answer = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, ask))
        assert answer[0] == fcntl.F_WRLCK
        assert (answer[2], answer[3]) == (7, 5)
        holder.communicate(timeout=30)


def waiting_for_a_lock_can_be_interrupted(d: Path) -> None:
    (d / "f").touch()
    with opened(d / "f", os.O_RDWR) as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        reader, writer = os.pipe()
        waiter = os.fork()
        if waiter == 0:
            signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
            with opened(d / "f", os.O_RDWR) as other:
                os.write(writer, b"!")
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                fcntl.flock(other, fcntl.LOCK_EX)
            os._exit(1)
        os.close(writer)
        assert select.select([reader], [], [], 10)[0]
        os.close(reader)
        _, status = os.waitpid(waiter, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        fcntl.flock(mine, fcntl.LOCK_UN)
    assert _lock_is_free(d / "f", "flock")


def locks_keep_other_mounts_out(here: Path, there: Path) -> None:
    (here / "f").touch()
    with opened(here / "f", os.O_RDWR) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert not _lock_is_free(there / "f", "flock")
        assert _lock_is_free(there / "f", "range")  # the two families are apart
        fcntl.flock(f, fcntl.LOCK_UN)
        assert _lock_is_free(there / "f", "flock")
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_EX, 100, 50)
        assert not _lock_is_free(there / "f", "range", 149)
        assert _lock_is_free(there / "f", "range", 150)
        assert _lock_is_free(there / "f", "range", 40)
        fcntl.lockf(f, fcntl.LOCK_UN, 20, 80)
        assert _lock_is_free(there / "f", "range", 85)
        assert not _lock_is_free(there / "f", "range", 71)
    assert _lock_is_free(there / "f", "flock")
    assert _lock_is_free(there / "f", "range", 100)


def what_one_closes_the_other_reads(here: Path, there: Path) -> None:
    for number in range(20):
        content = os.urandom(1000 + number * 20_000)
        (here / "f").write_bytes(content)
        assert (there / "f").read_bytes() == content, number
        assert (there / "f").stat().st_size == len(content)
        (there / "f").write_bytes(content[::-1])
        assert (here / "f").read_bytes() == content[::-1], number


def names_appear_and_vanish_elsewhere_at_once(here: Path, there: Path) -> None:
    for number in range(20):
        name = f"n{number}"
        with refused(errno.ENOENT):
            (there / name).stat()
        (here / name).touch()
        assert (there / name).exists(), number
        assert sorted(os.listdir(here)) == sorted(os.listdir(there))
        (there / name).rename(there / "moved")
        assert not (here / name).exists()
        assert (here / "moved").exists()
        (here / "moved").unlink()
        assert not (there / "moved").exists()


def attributes_change_elsewhere_at_once(here: Path, there: Path) -> None:
    (here / "f").touch()
    for mode in (0o600, 0o640, 0o644):
        (here / "f").chmod(mode)
        assert stat.S_IMODE((there / "f").stat().st_mode) == mode
    os.link(there / "f", there / "g")
    assert (here / "f").stat().st_nlink == 2


_CREATE_MANY = """
import os, sys
for number in range(int(sys.argv[3])):
    path = os.path.join(sys.argv[1], sys.argv[2] + str(number))
    with open(path, "wb") as f:
        f.write(path.encode())
    if number % 3 == 0:
        os.rename(path, path + ".moved")
"""


def both_create_in_one_directory(here: Path, there: Path) -> None:
    """Each create holds the directory while the other mount must forget names in it."""
    makers = [
        subprocess.Popen([sys.executable, "-c", _CREATE_MANY, str(place), name, "100"])
        for place, name in ((here, "a"), (there, "b"))
    ]
    for maker in makers:
        assert maker.wait(timeout=60) == 0
    assert len(os.listdir(here)) == 200
    assert sorted(os.listdir(here)) == sorted(os.listdir(there))
    for path in there.iterdir():
        assert path.read_bytes().endswith(path.name.removesuffix(".moved").encode())


def appends_from_both_are_all_there(here: Path, there: Path) -> None:
    (here / "log").touch()
    code = "import os, sys; f = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n"
    code += "for n in range(100): os.write(f, b'%s %04d\\n' % (sys.argv[2].encode(), n))"
    code += "; os.fsync(f)"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(place / "log"), name])
        for place, name in ((here, "here"), (there, "also"))
    ]
    for writer in writers:
        assert writer.wait(timeout=60) == 0
    lines = (here / "log").read_text().splitlines()
    wanted = [f"{name} {number:04}" for name in ("here", "also") for number in range(100)]
    assert sorted(lines) == sorted(wanted)


LOCKS: dict[str, Check] = named(
    locks_keep_others_out,
    closing_drops_range_locks,
    a_lock_in_the_way_is_named,
    waiting_for_a_lock_can_be_interrupted,
)

SHARED: dict[str, SharedCheck] = named(
    locks_keep_other_mounts_out,
    what_one_closes_the_other_reads,
    names_appear_and_vanish_elsewhere_at_once,
    attributes_change_elsewhere_at_once,
    both_create_in_one_directory,
    appends_from_both_are_all_there,
)
