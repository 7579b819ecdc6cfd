"""What `customise` and `flash` both ask: who the board will be, and its way onto the network."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from blocktree.cli.asking import address_option, owner_options, read_passphrase
from blocktree.cli.node import issue_ticket
from blocktree.cli.places import here
from blocktree.fault import Fault, Kind
from blocktree.keys import encode_ticket, open_credential
from blocktree.names import Path as TreePath
from blocktree.names import components, leaf
from blocktree_images.card.settings import Settings, Wifi, check

_F = TypeVar("_F", bound=Callable[..., Any])
_PUBLIC_ENDS = ".pub"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options as they were given."""

    node: str
    days: int
    hostname: str
    timezone: str
    wifi: str
    country: str
    hidden: bool
    wifi_password_file: Path | None
    ssh_keys: tuple[Path, ...]
    addresses: tuple[str, ...]
    passphrase_file: Path | None
    no_input: bool


def card_options(command: _F) -> _F:
    """The options that say what a card's computer will be."""
    for option in reversed(
        (
            click.option("--node", default="", metavar="PATH", help="Invite it as this node."),
            click.option("--days", default=7, show_default=True, help="Life of the ticket."),
            click.option("--hostname", default="", help="Its host name; the node's by default."),
            click.option("--timezone", default="", metavar="ZONE", help="Such as Europe/Berlin."),
            click.option("--wifi", default="", metavar="NAME", help="Join this Wi-Fi network."),
            click.option("--country", default="", metavar="XX", help="Whose radio rules apply."),
            click.option("--hidden", is_flag=True, help="The Wi-Fi network hides its name."),
            click.option(
                "--wifi-password-file",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Read the Wi-Fi password from this file (its first line); else it is asked.",
            ),
            click.option(
                "--ssh-key",
                "ssh_keys",
                multiple=True,
                type=click.Path(path_type=Path, dir_okay=False),
                help="Let in by ssh, as root, who has this key (the .pub file). Else ssh is off.",
            ),
            address_option,
            owner_options,
        )
    ):
        command = option(command)
    return command


def settings_for(wishes: Wishes) -> Settings:
    """What the card will say; asks for passwords, and makes the ticket.

    Raises:
        Fault: USAGE for what makes no sense, before anything is asked; as `bt node invite`.
    """
    target, ticket = "", ""
    aliases = here().aliases() if wishes.node else None
    if aliases is not None:
        target = aliases.resolve(wishes.node)
    hostname = wishes.hostname or (leaf(TreePath(target)) if target else "")
    keys = tuple(_key(path) for path in wishes.ssh_keys)
    wifi = Wifi(wishes.wifi, "", wishes.country.upper(), wishes.hidden) if wishes.wifi else None
    clock = int(time.time())
    plain = Settings(hostname, wishes.timezone, wifi, keys, "", wishes.addresses, clock)
    check(plain)
    if wifi is not None:
        wifi = Wifi(wifi.name, _wifi_password(wishes), wifi.country, wifi.hidden)
    if target:
        ticket = _ticket(wishes, TreePath(target))
    made = Settings(hostname, wishes.timezone, wifi, keys, ticket, wishes.addresses, clock)
    check(made)
    return made


def _ticket(wishes: Wishes, target: TreePath) -> str:
    places = here()
    aliases = places.aliases()
    alias = components(TreePath(aliases.display(target)))[0]
    tree = aliases.trees[alias]
    if target == f"/{tree}":
        raise Fault(Kind.USAGE, "a node has a path below the tree", path=wishes.node)
    place = places.tree_of(tree)
    passphrase = read_passphrase(wishes.passphrase_file, no_input=wishes.no_input)
    owner = open_credential(place.owner_sealed(), passphrase)
    ticket = issue_ticket(place, owner, target, days=wishes.days, addresses=wishes.addresses)
    return encode_ticket(ticket)


def _wifi_password(wishes: Wishes) -> str:
    if wishes.wifi_password_file is not None:
        lines = wishes.wifi_password_file.read_text().splitlines()
        return lines[0] if lines else ""
    if wishes.no_input:
        raise Fault(
            Kind.USAGE,
            "the Wi-Fi password is needed",
            path=wishes.wifi,
            next_step="give --wifi-password-file FILE (an empty one for an open network)",
        )
    question = f"Password for {wishes.wifi} (empty for an open network)"
    return str(click.prompt(question, hide_input=True, default="", show_default=False, err=True))


def _key(path: Path) -> str:
    try:
        text = path.read_text(errors="replace").strip()
    except FileNotFoundError as cause:
        raise Fault(Kind.NOT_FOUND, "there is no such key", path=str(path)) from cause
    if "PRIVATE KEY" in text:
        raise Fault(
            Kind.USAGE,
            "that is the private half of the key; it must not leave this machine",
            path=str(path),
            next_step=f"give {path}{_PUBLIC_ENDS}",
        )
    return text
