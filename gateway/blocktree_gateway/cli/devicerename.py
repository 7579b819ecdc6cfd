"""`bt device rename`: move a device to another path."""

import click

from blocktree.cli.asking import address_option
from blocktree.cli.output import say
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.opening import open_device, place_text, target


@click.command("rename")
@click.argument("path")
@click.argument("new_path")
@address_option
def command(path: str, new_path: str, addresses: tuple[str, ...]) -> None:
    """Move a device to another path; its keys, history and app stay as they are.

    The old path becomes a link to the new one, so what used it goes on.

    \b
    Example:
      bt device rename /home/sensors/attic /home/sensors/loft
    """  # noqa: D301
    new = target(new_path)

    async def work(session: Session) -> None:
        opened = await open_device(session, path)
        if opened.tree.place.alias != new.place.alias:
            raise Fault(
                Kind.UNSUPPORTED,
                "a device cannot move to another tree",
                path=new_path,
                next_step="pair it there: bt device pair",
            )
        await opened.devices.rename(opened.device, new.names)

    run(work, addresses, leaderless=False)
    say(f"It is {place_text(new.place, new.names)} now; {path} leads there.")
