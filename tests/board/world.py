"""Devices, lines and gateways of one test."""

import hashlib
from pathlib import Path
from typing import Any

import cbor2

from board.device_vectors import DEVICE, SCALAR
from board.lines import Line, SerialLine, UdpLine
from board.running import Running, adopt_by_hand
from board.small_gateway import Owner, SmallGateway

SETUP = bytes(range(16))


class World:
    """Devices and lines of one test, taken down at its end."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.options: list[str] = []  # of the interpreter
        self.folder = folder / "device"
        self.owner = Owner(device=DEVICE)
        self.device: Running | None = None
        self.lines: list[Line] = []

    def line(self, kind: str, loss: int = 0) -> Line:
        self.lines.append(SerialLine() if kind == "serial" else UdpLine(loss))
        return self.lines[-1]

    def run(self, *lines: Line, paired: bool = True, **settings: Any) -> SmallGateway:
        """Start a device on these lines; gives the gateway at the first."""
        if paired and not (self.folder / "state" / "id").exists():
            adopt_by_hand(self.folder, self.owner.link, self.owner.reading, SCALAR)
        links = [line.settings for line in lines]
        settings.setdefault("settings", {"every": 50})
        self.device = Running(self.program, self.folder, *self.options, links=links, **settings)
        return self.gateway(lines[0])

    def gateway(self, line: Line) -> SmallGateway:
        return SmallGateway(line, self.owner, SETUP)

    @property
    def running(self) -> Running:
        assert self.device is not None
        return self.device

    def close(self) -> None:
        if self.device is not None:
            self.device.stop()
        for line in self.lines:
            line.close()


def chain_holds(gateway: SmallGateway, boot: int = 1) -> int:
    """Check that one boot's entries are all there and name each other; gives how many."""
    mine = {place[1]: entry for place, (entry, _) in gateway.entries.items() if place[0] == boot}
    assert sorted(mine) == list(range(len(mine)))
    prev = bytes(32)
    for seq in range(len(mine)):
        assert cbor2.loads(mine[seq])[4] == prev
        prev = hashlib.sha256(mine[seq]).digest()
    return len(mine)
