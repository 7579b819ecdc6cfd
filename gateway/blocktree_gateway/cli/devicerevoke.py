"""`bt device revoke`: take a device out of the tree."""

import time

import click

from blocktree.cli.asking import address_option, confirm_by_name, no_input_option
from blocktree.cli.output import say
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.opening import open_device


@click.command("revoke")
@click.argument("path")
@click.option("--reason", default="", help="Why; the device shows it when it is refused.")
@click.option("--yes", metavar="NAME", help="The device's name, instead of typing it.")
@address_option
@no_input_option
def command(
    path: str, reason: str, yes: str | None, addresses: tuple[str, ...], *, no_input: bool
) -> None:
    """Take a device out, whether it is on or off: it is refused at its first packet.

    Its readings stay. Pairing it again needs no erase.

    \b
    Example:
      bt device revoke /home/sensors/attic --reason "sold it"
    """  # noqa: D301
    name = path.rstrip("/").rpartition("/")[2]
    confirm_by_name(name, f"Take {path} out of the tree?", given=yes, no_input=no_input)

    async def work(session: Session) -> None:
        opened = await open_device(session, path)
        if not opened.device.record.belongs:
            raise Fault(Kind.EXISTS, "is revoked already", path=path)
        await opened.devices.revoke(opened.device, reason[:80], int(time.time()))

    run(work, addresses, leaderless=False)
    say(f"{path} is revoked: it is refused on contact, also if it is off now.")
    say(f"To take it back: bt device pair PORT|ADDR {path}")
