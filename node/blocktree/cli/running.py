"""Starting this machine's nodes, and how they are called."""

import json
import secrets
import socket
from pathlib import Path

from blocktree.cli.daemons import Daemon
from blocktree.fault import Fault, Kind

START_SECONDS = 30.0
_JOIN_SECONDS = 120.0


def start_node(node: Daemon) -> None:
    """Start a node's process and wait until it answers.

    Raises:
        Fault: as `Daemon.wait_ready`; IN_USE if it runs already.
    """
    ticket = node.folder / "ticket"  # until the tree has recorded the node
    joins = ticket.exists()
    pid = node.start("blocktree.node", [str(node.folder)])
    try:
        node.wait_ready(
            lambda: ready_port(node.folder, pid) is not None and not ticket.exists(),
            _JOIN_SECONDS if joins else START_SECONDS,
        )
    except Fault as fault:
        if fault.kind is Kind.UNREACHABLE and joins:
            raise Fault(
                Kind.UNREACHABLE,
                "has found no member of the tree yet; it goes on looking in the background",
                path=node.folder.name,
                next_step="give it an address: bt node join TICKET --addr HOST:PORT; "
                f"its log is {node.log_file}",
            ) from None
        raise


def ready_port(folder: Path, pid: int | None) -> int | None:
    """The port on which the node of this process id answers, or None while it does not."""
    try:
        ready = json.loads((folder / "ready.json").read_text())
    except (OSError, ValueError):
        return None
    return int(ready["port"]) if pid is not None and ready["pid"] == pid else None


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now.

    They begin at a random one, so that two trees that start at the same moment do not choose the
    same; and lie below those that the kernel gives to outgoing connections.
    """
    ports: list[int] = []
    first = 7401 + secrets.randbelow(20_000)
    for port in range(first, 32_768):
        if len(ports) == count:
            return ports
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    raise Fault(Kind.IN_USE, "no free ports on this machine")
