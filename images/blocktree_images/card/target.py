"""What an image is written to: a drive, or a plain file that stands in for one."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol

from blocktree.fault import Fault, Kind
from blocktree_images.card.drives import is_device

_BLKFLSBUF = 0x1261
_BLKRRPART = 0x125F
_BLKGETSIZE64 = 0x80081272


class Target(Protocol):
    """Bytes at places."""

    @property
    def size(self) -> int:
        """How many there are."""

    def write(self, at: int, content: bytes) -> None:
        """Put bytes at a place."""

    def read(self, at: int, count: int) -> bytes:
        """What is at a place, from the medium and not from a cache of this machine."""

    def flush(self) -> None:
        """Return when all that was written is on the medium."""


class OpenTarget:
    """An open drive or file.

    Args:
        path: which.
        needed: how large it has to be; a plain file is made so large.

    Raises:
        Fault: IN_USE if a drive is mounted, DENIED, NOT_FOUND, NO_SPACE.
    """

    def __init__(self, path: Path, needed: int) -> None:
        self.path = path
        self._device = is_device(path)
        if not self._device and str(path).startswith("/dev/"):
            raise Fault(Kind.NOT_FOUND, "there is no such drive", path=str(path))
        flags = os.O_RDWR | (os.O_EXCL if self._device else os.O_CREAT)
        try:
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as cause:
            raise _refused(path, cause) from cause
        try:
            self._size = self._measure(needed)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "OpenTarget":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._size

    def write(self, at: int, content: bytes) -> None:
        """Put bytes at a place.

        Raises:
            Fault: FAILED or NO_SPACE, saying at which byte.
        """
        view = memoryview(content)
        while view:
            try:
                done = os.pwrite(self._descriptor, view, at)
            except OSError as cause:
                kind = Kind.NO_SPACE if cause.errno == errno.ENOSPC else Kind.FAILED
                what = f"cannot be written at byte {at:,}: {cause.strerror}"
                raise Fault(kind, what, path=str(self.path), next_step=_WORN) from cause
            view, at = view[done:], at + done

    def read(self, at: int, count: int) -> bytes:
        """What is at a place.

        Raises:
            Fault: FAILED, saying at which byte.
        """
        try:
            return os.pread(self._descriptor, count, at)
        except OSError as cause:
            what = f"cannot be read at byte {at:,}: {cause.strerror}"
            raise Fault(Kind.FAILED, what, path=str(self.path), next_step=_WORN) from cause

    def flush(self) -> None:
        """Return when all that was written is on the medium, and forget what it was.

        Raises:
            Fault: FAILED.
        """
        try:
            os.fsync(self._descriptor)
            if self._device:
                fcntl.ioctl(self._descriptor, _BLKFLSBUF, 0)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as cause:
            what = f"did not take what was written: {cause.strerror}"
            raise Fault(Kind.FAILED, what, path=str(self.path), next_step=_WORN) from cause

    def close(self) -> None:
        """Let go of it; the kernel reads a drive's new table."""
        if self._descriptor >= 0:
            if self._device:
                with contextlib.suppress(OSError):
                    fcntl.ioctl(self._descriptor, _BLKRRPART, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _measure(self, needed: int) -> int:
        if not self._device:
            size = max(os.fstat(self._descriptor).st_size, needed)
            os.ftruncate(self._descriptor, size)
            return size
        answer = fcntl.ioctl(self._descriptor, _BLKGETSIZE64, bytes(8))
        return int.from_bytes(answer, "little")


_WORN = "try another card or reader: this one may be worn out or counterfeit"


def _refused(path: Path, cause: OSError) -> Fault:
    if cause.errno == errno.EBUSY:
        return Fault(Kind.IN_USE, "is in use", path=str(path), next_step="unmount it first")
    if cause.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Fault(
            Kind.DENIED,
            f"may not be written: {cause.strerror}",
            path=str(path),
            next_step="run it as root: sudo bt image flash …",
        )
    return Fault(Kind.FAILED, f"cannot be opened: {cause.strerror}", path=str(path))
