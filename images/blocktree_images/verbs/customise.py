"""`bt image customise`: tell an image or card what it will be, without rebuilding or reflashing."""

from pathlib import Path
from typing import Any

import click

from blocktree.cli.output import say
from blocktree_images.card.provision import boot_offset, put_settings
from blocktree_images.card.settings import Settings
from blocktree_images.verbs.options import Wishes, card_options, settings_for


@click.command("customise")
@click.argument("image", type=click.Path(path_type=Path))
@card_options
def command(image: Path, **given: Any) -> None:
    """Write the settings for the first start into IMAGE: a raw image, or a card in this machine.

    \b
    Examples:
      bt image customise card.img --node /home/pi-2
      bt image customise /dev/sdb --node /home/pi-2 --wifi HomeNet --country DE
      bt image customise card.img --hostname pi-2 --ssh-key ~/.ssh/id_ed25519.pub

    Only one file in the boot partition changes, blocktree.toml. With --node it holds a ticket as
    `bt node invite` makes it: one use, good for --days. The computer removes the file when it has
    joined. Do not give one customised image to two computers.
    """  # noqa: D301
    boot_offset(image)  # before anything is asked
    settings = settings_for(Wishes(**given))
    put_settings(image, settings)
    tell(settings, str(image), given["node"], given["days"])


def tell(settings: Settings, where: str, node: str, days: int) -> None:
    """Say what the card says now."""
    parts = [
        f"host name {settings.hostname}" if settings.hostname else "",
        f"Wi-Fi {settings.wifi.name}" if settings.wifi else "",
        f"{len(settings.ssh_keys)} ssh key(s)" if settings.ssh_keys else "ssh off",
        f"time zone {settings.timezone}" if settings.timezone else "",
    ]
    say(f"First-start settings on {where}: {', '.join(part for part in parts if part)}.")
    if settings.ticket:
        say(f"It holds a ticket for {node}: one use, good for {days} days.")
