"""A gateway's state directory: who it is, which tree it serves, where it listens.

credential     who the gateway is (secret): a process that acts for its user
settings.json  {"tree", "host", "udp", "tls", "serial": [], "seeds": [], "discover": true}
ready.json     {"pid", "path", "udp", "tls"} while it serves
ports          further serial ports, one a line
released       UNTIL PORT: a port that a command of this machine uses meanwhile
"""

import dataclasses
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path as File

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, process_credential

UDP_PORT = 4780
TLS_PORT = 4781


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway serves and where it listens.

    Args:
        tree: the folder of this machine's place of the tree (`cli.places.TreePlace`).
        host: the address to listen on, "" for all.
        udp: the UDP port; 0 takes any that is free.
        tls: the TCP port of the TLS link; 0 takes any that is free.
        serial: device files; "auto" stands for every USB serial port of the machine.
        seeds: addresses of nodes, beside those that this machine remembers.
        discover: whether to announce by multicast DNS and to answer broadcast hellos.
    """

    tree: str
    host: str = ""
    udp: int = UDP_PORT
    tls: int = TLS_PORT
    serial: tuple[str, ...] = ("auto",)
    seeds: tuple[str, ...] = ()
    discover: bool = True


@dataclass(frozen=True, slots=True)
class Ready:
    """What a gateway that serves says of itself."""

    pid: int
    path: str
    udp: int
    tls: int


@dataclass(frozen=True, slots=True)
class GatewayFolder:
    """A gateway's state directory."""

    root: File

    def settings(self) -> Settings:
        """As they are kept.

        Raises:
            Fault: NOT_FOUND; MALFORMED if the file is not what `save_settings` writes.
        """
        path = self.root / "settings.json"
        try:
            kept = json.loads(path.read_text())
            kept["serial"], kept["seeds"] = tuple(kept["serial"]), tuple(kept["seeds"])
            return Settings(**kept)
        except FileNotFoundError:
            raise Fault(
                Kind.NOT_FOUND, "no gateway is here", path=str(self.root), next_step="bt gateway up"
            ) from None
        except (ValueError, KeyError, TypeError) as cause:
            raise Fault(Kind.MALFORMED, f"not settings: {cause}", path=str(path)) from cause

    def save_settings(self, settings: Settings) -> None:
        """Keep them."""
        self._write("settings.json", json.dumps(dataclasses.asdict(settings)).encode())

    def credential(self, user: Credential) -> Credential:
        """Who the gateway is; made below `user` the first time, and again for another user.

        Raises:
            Fault: as `process_credential`; MALFORMED or DAMAGED for a file that was altered.
        """
        path = self.root / "credential"
        if path.exists():
            kept = Credential.load(path.read_bytes())
            if kept.identity.acts_for == user.principal:
                return kept
        name = f"gateway-{self.root.name}"
        made = process_credential(user, name, now=int(time.time()), draw=secrets.token_bytes)
        self._write("credential", made.save())
        return made

    def ports(self) -> tuple[set[str], set[str]]:
        """Serial ports to use beside those of the settings, and those to let go of now."""
        extra = self._lines("ports")
        released = set()
        for line in self._lines("released"):
            until, _, port = line.partition(" ")
            if until.isdigit() and int(until) > time.time():
                released.add(port)
        return extra, released

    def add_port(self, port: str) -> None:
        """Use a serial port that is not of the usual kind (a simulated device's)."""
        self._write("ports", "\n".join(sorted({*self._lines("ports"), port})).encode())

    def release(self, port: str, until: int) -> None:
        """Let go of a serial port until then (seconds since 1970), since a command uses it."""
        self._write("released", f"{until} {port}\n".encode())

    def announce(self, ready: Ready) -> None:
        """Say that the gateway serves now."""
        self._write("ready.json", json.dumps(dataclasses.asdict(ready)).encode())

    def withdraw(self) -> None:
        """Say that it does not any more."""
        (self.root / "ready.json").unlink(missing_ok=True)

    def ready(self, pid: int | None) -> Ready | None:
        """What the process with this id says of itself; None while it does not serve."""
        try:
            ready = Ready(**json.loads((self.root / "ready.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return ready if pid is not None and ready.pid == pid else None

    def _lines(self, name: str) -> set[str]:
        try:
            return set((self.root / name).read_text().splitlines())
        except OSError:
            return set()

    def _write(self, name: str, content: bytes) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self.root / f".{name}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.root / name)
