"""Receiving files over a session: chunks go to flash, and only a whole file counts."""

from hashlib import sha256

from bt import flash
from bt.appfile import SIZE_MAX
from bt.fault import DAMAGED, NO_SPACE, STOPPED, TOO_LARGE, USAGE, Fault

APP, CHAIN = 1, 2
_CHAIN_MAX = 4096
_SPARE = 16384  # of flash, for what the device itself saves


class Push:
    """One file at a time; an interrupted one goes on where it was, within one boot."""

    def __init__(self, folder):
        self._path = folder + "/push"
        self._offer = None  # kind, name, size, digest
        self._file = None
        self._offset = 0

    def offer(self, kind, name, size, digest):
        """Begin, or go on with, a file; gives the offset that is wanted next.

        Raises:
            Fault: USAGE, TOO_LARGE or NO_SPACE for what cannot be received.
        """
        if kind not in (APP, CHAIN):
            raise Fault(USAGE, "no file of this kind is known")
        if not 0 < size <= (SIZE_MAX if kind == APP else _CHAIN_MAX):
            raise Fault(TOO_LARGE, "%d bytes are too many" % size)
        if self._offer == (kind, name, size, digest) and self._file is not None:
            return self._offset
        self.cancel()
        if flash.free(self._path[: self._path.rindex("/")]) < 2 * size + _SPARE:
            raise Fault(NO_SPACE, "no room for %d bytes" % size)
        self._offer = kind, name, size, digest
        try:
            self._file = open(self._path, "wb")
        except OSError as cause:
            raise Fault(NO_SPACE, "cannot write: %s" % cause) from None
        return 0

    def chunk(self, offset, data):
        """Take a chunk. Gives the offset that is wanted instead, or None when it fitted.

        Raises:
            Fault: STOPPED if nothing was offered, TOO_LARGE beyond the end, NO_SPACE when full.
        """
        if self._file is None:
            raise Fault(STOPPED, "no file was offered")
        if offset != self._offset:
            return self._offset
        if offset + len(data) > self._offer[2]:
            raise Fault(TOO_LARGE, "more bytes than were offered")
        try:
            self._file.write(data)
        except OSError as cause:
            raise Fault(NO_SPACE, "cannot write: %s" % cause) from None
        self._offset += len(data)
        return None

    def digest(self):
        """Of the file that is being received; zeros if none is."""
        return self._offer[3] if self._offer else bytes(32)

    def complete(self):
        """Whether every byte is here."""
        return self._file is not None and self._offset == self._offer[2]

    def finish(self):
        """(kind, name, path, digest) of the whole file.

        Raises:
            Fault: DAMAGED if its hash is another.
        """
        kind, name, _size, digest = self._offer
        self._file.close()
        self._file = None
        found = sha256()
        with open(self._path, "rb") as file:
            while True:
                piece = file.read(256)
                if not piece:
                    break
                found.update(piece)
        if found.digest() != digest:
            raise Fault(DAMAGED, "its digest does not match")
        return kind, name, self._path, digest

    def cancel(self):
        """Forget what was received so far."""
        if self._file is not None:
            self._file.close()
        self._file = self._offer = None
        self._offset = 0
        flash.remove(self._path)
