"""From the ticket on the card to a node that the tree has recorded, and the secret erased.

The node itself joins, under its own unit and user; this only prepares its directory, watches, and
says on the card how it goes. It never gives up: no network today may be one tomorrow.
"""

import contextlib
import json
import logging
import os
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import ifaddr

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Ticket, decode_ticket
from blocktree.names import leaf
from blocktree.store.folder import NodeFolder
from blocktree.store.folder import Settings as NodeSettings
from blocktree_images.card.settings import Settings, decode_settings
from blocktree_images.guest.card import Card
from blocktree_images.guest.condition import (
    Condition,
    Network,
    last_complaint,
    memory_text,
    wifi_refused,
    wifi_state,
)
from blocktree_images.guest.place import Place, call, write

log = logging.getLogger(__name__)

UNIT = "blocktree.service"
PORT = 7400
_USER = 900
_POLL_SECONDS = 2.0
_TELL_SECONDS = 20.0  # the card is not written more often
_RESTART_SECONDS = 900.0  # a node that got nowhere in so long is started anew


def shown_path(ticket_path: str) -> str:
    """A node's path without the tree's long id."""
    return "/" + "/".join(["…", *ticket_path.split("/")[2:]])


def prepare(settings: Settings, place: Place) -> None:
    """Make the node's directory from the card's ticket, unless this board is that node already.

    Raises:
        Fault: MALFORMED for a ticket that is none, CONFLICT if the board is another node already.
    """
    ticket = decode_ticket(settings.ticket)
    folder = place.state / "nodes" / leaf(ticket.path)
    if place.current.exists() and not (place.current / "ticket").exists():
        _refuse_another(place, ticket)
        return
    kept = NodeFolder(folder).ticket() if folder.exists() else None
    if kept is None or kept.mark.id != ticket.mark.id:
        shutil.rmtree(folder, ignore_errors=True)  # it has joined nothing
        NodeFolder(folder).invite(ticket, NodeSettings("", PORT, settings.addresses))
    else:
        node = NodeFolder(folder)
        node.save_settings(replace(node.settings(), seeds=settings.addresses))
    _own(place.state)
    place.current.unlink(missing_ok=True)
    place.current.symlink_to(folder.relative_to(place.state))


def follow(place: Place, card: Card, problems: tuple[str, ...] = ()) -> None:
    """Watch until the node has joined, saying how it goes; then erase the secrets."""
    told, begun = 0.0, time.monotonic()
    while not has_joined(place):
        if time.monotonic() - begun > _RESTART_SECONDS:
            call("systemctl", "try-restart", "--no-block", UNIT)
            begun = time.monotonic()
        if time.monotonic() - told >= _TELL_SECONDS or not told:
            condition = look(place, problems)
            card.tell(condition.text())
            told = time.monotonic()
        time.sleep(_POLL_SECONDS)
    card.erase()
    condition = look(place, problems)
    card.tell(condition.text())
    log.info("%s has joined; the ticket is gone from the card", condition.path)


def has_joined(place: Place) -> bool:
    """Whether this board is a node that its tree has recorded."""
    folder = place.current
    return (folder / "credential").exists() and not (folder / "ticket").exists()


def look(place: Place, problems: tuple[str, ...] = ()) -> Condition:
    """How the board is now."""
    path, joined = "", has_joined(place)
    with contextlib.suppress(Fault, OSError):
        if joined:
            path = Credential.load((place.current / "credential").read_bytes()).path
        elif (ticket := NodeFolder(place.current).ticket()) is not None:
            path = ticket.path
    told = call("journalctl", "-u", UNIT, "-o", "cat", "-n", "50", "--no-pager").stdout
    return Condition(
        socket.gethostname(),
        shown_path(path) if path else "",
        joined,
        network(place),
        "" if joined else last_complaint(told.splitlines()),
        problems,
        memory_text(Path("/proc/meminfo").read_text()) if joined else "",
    )


def network(place: Place) -> Network:
    """What the board sees of its network."""
    wifi = kept_settings(place).wifi
    state = wifi_state(call("wpa_cli", "-i", "wlan0", "status").stdout) if wifi else ""
    listed = call("wpa_cli", "-i", "wlan0", "list_networks").stdout if state else ""
    return Network(
        tuple(_addresses()),
        _cable(place.root / "sys" / "class" / "net"),
        wifi.name if wifi else "",
        state,
        wifi_refused(listed),
    )


def keep_settings(settings: Settings, place: Place) -> None:
    """Remember what the card said for later starts, without the ticket."""
    write(place.settings, replace(settings, ticket="", addresses=()).encode(), 0o600)


def kept_settings(place: Place) -> Settings:
    """What an earlier card said; empty if nothing did."""
    try:
        return decode_settings(place.settings.read_bytes(), str(place.settings))
    except (Fault, OSError):
        return Settings()


def _refuse_another(place: Place, ticket: Ticket) -> None:
    credential = Credential.load((place.current / "credential").read_bytes())
    if credential.path != ticket.path:
        raise Fault(
            Kind.CONFLICT,
            f"the card's ticket is for {shown_path(ticket.path)}, but this board is "
            f"{shown_path(credential.path)} already",
            next_step="write the whole card anew to make it another node: bt image flash",
        )


def _own(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _USER, _USER, follow_symlinks=False)


def _addresses() -> list[str]:
    found = [ip.ip for one in ifaddr.get_adapters() for ip in one.ips]
    texts = [one if isinstance(one, str) else one[0] for one in found]
    return [text for text in texts if not text.startswith(("127.", "::1", "fe80:"))][:4]


def _cable(folder: Path) -> bool | None:
    """Whether any Ethernet socket has a live cable; None if the board has no socket."""
    states = []
    for one in folder.glob("e*"):
        with contextlib.suppress(OSError):
            states.append((one / "carrier").read_text().strip() == "1")
    return any(states) if states else None


def ready_port(folder: Path) -> int | None:
    """The port on which the node in this directory answers, or None while it does not."""
    try:
        return int(json.loads((folder / "ready.json").read_text())["port"])
    except (OSError, ValueError, KeyError):
        return None
