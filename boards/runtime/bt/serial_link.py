"""The serial link: packets in COBS frames over a UART, the USB console or a pseudo-terminal."""

import asyncio
import sys

from bt import cobs
from bt.ready import readable

_REOPEN = 1
_VTIME, _VMIN = 5, 6
_INTERRUPT = b"\r\3"  # how mpremote asks for the REPL; no packet of a gateway begins so


class SerialLink:
    """One line to one gateway. It is opened again and again, so it can be unplugged.

    Args:
        open_stream: gives what is read (`readinto`) and written (`write`), or raises OSError.
    """

    kind = "serial"
    strict = True

    def __init__(self, open_stream):
        self._open = open_stream
        self._stream = None
        self._deframer = cobs.Deframer()
        self.gone = None  # called when the line is hung up

    @property
    def drops(self):
        """Frames that were none."""
        return self._deframer.drops

    async def run(self, sink):
        """Give each packet to `sink(packet, address)`, for ever."""
        while True:
            try:
                self._stream = self._open()
                await self._read(sink)
            except OSError:
                pass
            if self._stream is not None:
                self._close()
                self.gone()
            await asyncio.sleep(_REOPEN)

    async def _read(self, sink):
        piece = bytearray(64)
        empty = 0
        while empty < 3:
            await readable(getattr(self._stream, "polled", self._stream))
            size = self._stream.readinto(piece)
            if not size:
                empty += 1  # hung up, or a false alarm
                await asyncio.sleep(0.05)
                continue
            empty = 0
            for packet in self._deframer.receive(bytes(piece[:size])):
                sink(packet, None)
            if self._stream is not None and self._deframer.waiting() == _INTERRUPT:
                getattr(self._stream, "interrupt", _nothing)()

    def send(self, packet, address):
        """Write one frame; what cannot be written is lost like any other."""
        if self._stream is not None:
            try:
                self._stream.write(cobs.encode(packet))
            except OSError:
                pass

    def _close(self):
        stream, self._stream = self._stream, None
        if stream is not None and hasattr(stream, "close"):
            stream.close()


def open_terminal(path):
    """A terminal of this machine, raw, whose reads do not wait."""
    import termios

    if sys.implementation.name == "micropython":
        file = open(path, "r+b")
        termios.setraw(file.fileno())
    else:
        import os
        import tty

        file = open(os.open(path, os.O_RDWR | os.O_NOCTTY), "r+b", buffering=0)
        tty.setraw(file.fileno())
    attributes = termios.tcgetattr(file.fileno())
    attributes[6][_VMIN] = attributes[6][_VTIME] = 0
    termios.tcsetattr(file.fileno(), 0, attributes)
    return file


def _nothing():
    pass


class Console:
    """The USB console of a board: bytes in and out; Ctrl-C counts between frames only."""

    def __init__(self):
        import micropython

        micropython.kbd_intr(-1)
        self.polled = sys.stdin
        self._in, self._out = sys.stdin.buffer, sys.stdout.buffer

    def readinto(self, piece):
        """One byte, which is there when `readable` says so."""
        return self._in.readinto(memoryview(piece)[:1])

    def write(self, data):
        """All of it."""
        return self._out.write(data)

    def interrupt(self):
        """Give the console back to the REPL."""
        import micropython

        micropython.kbd_intr(3)
        raise KeyboardInterrupt
