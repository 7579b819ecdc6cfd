"""A serial port that may be unplugged and plugged in again at any moment.

The port is opened when it is there, read and written without blocking on the process's loop, and
looked for again when it goes away. What comes in is split into frames (`framing`); noise is counted
and left behind.
"""

import asyncio
import contextlib
import logging
import os
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

import serial

from blocktree_gateway.links.framing import Deframer, encode_frame
from blocktree_gateway.links.rate import Seldom

log = logging.getLogger(__name__)

BAUD = 115_200
LOOK_SECONDS = 0.5  # between two looks for a port that is not there
OUT_BYTES_MAX = 64 << 10  # waiting to be written
_READ_BYTES = 4096
_GONE = (OSError, serial.SerialException, termios.error)


@dataclass(slots=True)
class SerialPort:
    """One port; `run` keeps it open whenever it exists.

    Args:
        port: its device file.
        heard: called with the wire and each whole record.
    """

    port: str
    heard: "Callable[[SerialPort, bytes], None]"
    baud: int = BAUD
    kind: str = "serial"
    deframer: Deframer = field(default_factory=Deframer)
    _open: serial.Serial | None = None
    _out: bytearray = field(default_factory=bytearray)
    _lost: asyncio.Event = field(default_factory=asyncio.Event)
    _grumble: Seldom = field(default_factory=Seldom)

    @property
    def where(self) -> str:
        """The device file."""
        return self.port

    @property
    def plugged(self) -> bool:
        """Whether the port is there and open."""
        return self._open is not None

    async def run(self) -> None:
        """Open the port whenever it exists, until cancelled."""
        try:
            while True:
                if not self._try_open():
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                self._lost.clear()
                await self._lost.wait()
                self.close()
        finally:
            self.close()

    def send(self, record: bytes) -> bool:
        """Queue one record; False if the port is away or what waits for it is too much."""
        frame = encode_frame(record)
        if self._open is None or len(self._out) + len(frame) > OUT_BYTES_MAX:
            return False
        self._out += frame
        self._write()
        return True

    def close(self) -> None:
        """Let go of the port."""
        opened, self._open = self._open, None
        if opened is None:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(*_GONE):
            loop.remove_reader(opened.fileno())
            loop.remove_writer(opened.fileno())
        with contextlib.suppress(*_GONE):
            opened.close()
        self._out.clear()

    def _try_open(self) -> bool:
        try:
            opened = serial.Serial(self.port, self.baud, timeout=0, exclusive=True)
            os.set_blocking(opened.fileno(), False)
        except _GONE as cause:
            if not isinstance(cause, FileNotFoundError) and os.path.exists(self.port):  # noqa: PTH110
                self._grumble(log, "%s cannot be opened: %s", self.port, cause)
            return False
        self._open = opened
        self.deframer.reset()
        asyncio.get_running_loop().add_reader(opened.fileno(), self._read)
        log.info("%s is there", self.port)
        return True

    def _read(self) -> None:
        assert self._open is not None
        try:
            data = os.read(self._open.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        except _GONE:
            data = b""
        if not data:
            log.info("%s went away", self.port)
            asyncio.get_running_loop().remove_reader(self._open.fileno())
            self._lost.set()
            return
        for record in self.deframer.feed(data):
            self.heard(self, record)

    def _write(self) -> None:
        if self._open is None or not self._out:
            return
        loop = asyncio.get_running_loop()
        try:
            written = os.write(self._open.fileno(), self._out)
        except BlockingIOError:
            written = 0
        except _GONE:
            self._lost.set()
            return
        del self._out[:written]
        if self._out:
            loop.add_writer(self._open.fileno(), self._write)
        else:
            loop.remove_writer(self._open.fileno())
