"""A node's state directory: who it is, how it is reached, and its disk.

credential     who the node is (secret); made from `ticket` at the first start
ticket         an invitation, until it is spent
settings.json  {"host": "", "port": 0, "seeds": [], "discover": true}; the port is kept
ready.json     {"pid", "path", "port"} while the node answers
log/  index/   the disk
"""

import dataclasses
import json
import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path as File

from blocktree.disk import Disk, Keeper, Limits, LmdbIndex, OsFiles, salvage
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Ticket, decode_ticket, encode_ticket, join_from_ticket
from blocktree.names import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a node is reached.

    Args:
        host: the address to listen on, "" for all.
        port: 0 at the first start takes the usual one, or any that is free.
        seeds: addresses of other nodes, beside what discovery finds.
        discover: whether to announce and browse by multicast DNS.
    """

    host: str = ""
    port: int = 0
    seeds: tuple[str, ...] = ()
    discover: bool = True


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """A node's state directory."""

    root: File

    def settings(self) -> Settings:
        """As they are kept.

        Raises:
            Fault: MALFORMED if the file is not what `save_settings` writes.
        """
        try:
            kept = json.loads((self.root / "settings.json").read_text())
            return Settings(kept["host"], kept["port"], tuple(kept["seeds"]), kept["discover"])
        except FileNotFoundError:
            return Settings()
        except (ValueError, KeyError, TypeError) as cause:
            raise Fault(
                Kind.MALFORMED, f"not settings: {cause}", path=str(self.root / "settings.json")
            ) from cause

    def save_settings(self, settings: Settings) -> None:
        """Keep them."""
        self._write("settings.json", json.dumps(dataclasses.asdict(settings)).encode())

    def invite(self, ticket: Ticket, settings: Settings) -> None:
        """Prepare a new node: at its first start it joins with this ticket.

        Raises:
            Fault: EXISTS if there is a node in this directory already.
        """
        if (self.root / "credential").exists():
            raise Fault(Kind.EXISTS, "there is a node here already", path=str(self.root))
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.save_settings(settings)
        self._write("ticket", encode_ticket(ticket).encode())

    def ticket(self) -> Ticket | None:
        """The invitation, until it is spent."""
        try:
            return decode_ticket((self.root / "ticket").read_text())
        except FileNotFoundError:
            return None

    def spent(self) -> None:
        """The tree has recorded this node."""
        (self.root / "ticket").unlink(missing_ok=True)

    def credential(self) -> Credential:
        """Who the node is; made under the ticket the first time.

        Raises:
            Fault: NOT_FOUND if there is neither credential nor ticket; EXPIRED.
        """
        try:
            return Credential.load((self.root / "credential").read_bytes())
        except FileNotFoundError:
            pass
        ticket = self.ticket()
        if ticket is None:
            raise Fault(
                Kind.NOT_FOUND,
                "neither a node nor an invitation is here",
                path=str(self.root),
                next_step="bt node join TICKET",
            )
        credential = join_from_ticket(ticket, now=int(time.time()), draw=secrets.token_bytes)
        self._write("credential", credential.save())
        return credential

    def open_disk(self, credential: Credential, limits: Limits) -> Disk:
        """The node's disk; a damaged log is opened as far as it goes, a damaged index made anew.

        Raises:
            Fault: as `Disk.open` with salvage; BUSY if another process has it.
        """
        root = self.root / "index"

        def open_index(anew: bool) -> LmdbIndex:  # noqa: FBT001 - as `salvage` calls it
            return LmdbIndex(root, anew=anew)

        def said(fault: Fault) -> None:
            log.error("%s; it is made anew from the segments", fault)

        keeper = Keeper(credential.tree, credential.principal)
        return salvage(OsFiles(self.root / "log"), open_index, limits, keeper, said)

    def announce(self, path: Path, port: int) -> None:
        """Say that the node answers now."""
        ready = {"pid": os.getpid(), "path": path, "port": port}
        self._write("ready.json", json.dumps(ready).encode())

    def withdraw(self) -> None:
        """Say that it does not any more."""
        (self.root / "ready.json").unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        part = self.root / f".{name}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.root / name)
