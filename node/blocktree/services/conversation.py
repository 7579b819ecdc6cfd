"""One opened `inbox` of an actor in a mount: bytes come in, lines go out, answers wait to be read.

Like a pipe or a socket, it knows no offset. What is read first is the last answer that anybody had
on this mount, so that `cat inbox` shows it; once something was written here, only answers to that
are read here. Unread answers are at most `UNREAD_MAX` bytes, the newest.
"""

from blocktree.fault import Fault, Kind

LINE_BYTES_MAX = 64 << 10
UNREAD_MAX = 128 << 10


class Conversation:
    """What was written through one handle and not asked yet, and what was answered and not read.

    Args:
        before: the last answer on this mount.
    """

    def __init__(self, before: bytes) -> None:
        self._unread = before
        self._line = b""
        self._spoke = False

    def write(self, data: bytes) -> list[str]:
        """The lines that are whole now.

        Raises:
            Fault: TOO_LARGE for a line of more than 64 KiB, USAGE for one that is no text; what
                was written and not asked is then gone.
        """
        if not self._spoke:
            self._spoke, self._unread = True, b""
        *whole, rest = (self._line + data).split(b"\n")
        self._line = b""
        if any(len(line) > LINE_BYTES_MAX for line in (*whole, rest)):
            raise Fault(Kind.TOO_LARGE, "a message of more than 64 KiB")
        try:
            lines = [line.decode() for line in whole]
        except UnicodeDecodeError:
            raise Fault(Kind.USAGE, "a message that is no text") from None
        self._line = rest
        return lines

    def end_line(self) -> list[str]:
        """What was written without an end of line: whoever closes or reads now has said it all."""
        return self.write(b"\n") if self._line else []

    def answer(self, text: bytes) -> None:
        """An answer to read; the oldest bytes give way when nobody reads."""
        self._unread = (self._unread + text)[-UNREAD_MAX:]

    def read(self, size: int) -> bytes:
        """The next bytes of the answers; empty when all are read."""
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken
