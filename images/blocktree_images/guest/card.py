"""The boot partition seen from the board: the settings on it, the status for it, and erasing.

It is mounted here and not by fstab, and tried again for ever: a mount that failed silently would
mean settings that silently do not apply. It is writable only while something is written.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.card.settings import (
    BYTES_MAX,
    FILE,
    PRESEED,
    STATUS,
    Settings,
    decode_settings,
)
from blocktree_images.guest.place import Place, call

log = logging.getLogger(__name__)

_DEVICE = "/dev/disk/by-label/BOOTFS"
_PAUSE_SECONDS = 5.0


class Card:
    """The boot partition, mounted.

    Args:
        place: the board.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._told = ""

    def mount(self, seconds: float) -> None:
        """Mount it, for reading.

        Raises:
            Fault: MISSING if it did not come within so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not os.path.ismount(self._place.card):
            done = call("mount", "-o", "ro,umask=0077,flush", _DEVICE, str(self._place.card))
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                what = f"the boot partition cannot be mounted: {done.stderr.strip()}"
                raise Fault(Kind.MISSING, what, path=_DEVICE)
            log.warning("the boot partition is not there yet: %s", done.stderr.strip())
            time.sleep(_PAUSE_SECONDS)

    def settings(self) -> tuple[Path, Settings] | None:
        """The settings on it and their file, or None if there are none.

        Raises:
            Fault: MALFORMED, naming what makes no sense.
        """
        for name in (FILE, PRESEED):
            path = self._place.card / name
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                return path, decode_settings(file.read(BYTES_MAX + 1), name)
        return None

    def tell(self, text: str) -> None:
        """Write STATUS.txt, if it is to change."""
        if text == self._told:
            return
        with self._writable():
            path = self._place.card / STATUS
            with path.open("w", newline="\r\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        self._told = text

    def erase(self) -> None:
        """Overwrite the settings and remove them: they hold secrets. Durable when it returns.

        A card's controller may keep the old flash page for a while, which no program can reach.
        """
        with self._writable():
            for name in (FILE, PRESEED):
                path = self._place.card / name
                if not path.exists():
                    continue
                with path.open("r+b") as file:
                    file.write(b"\0" * path.stat().st_size)
                    file.flush()
                    os.fsync(file.fileno())
                path.unlink()
            descriptor = os.open(self._place.card, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        point = str(self._place.card)
        mounted = os.path.ismount(point)
        if mounted:
            call("mount", "-o", "remount,rw", point)
        try:
            yield
        finally:
            if mounted:
                call("mount", "-o", "remount,ro", point)
