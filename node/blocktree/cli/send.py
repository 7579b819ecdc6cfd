"""`bt send`: send a message to an actor, or a command to a device."""

from importlib.metadata import entry_points

import click

from blocktree.cli.actorpaths import ActorPath, tell
from blocktree.cli.asking import address_option
from blocktree.cli.places import here
from blocktree.cli.session import Session, run


@click.command("send")
@click.argument("path", metavar="PATH")
@click.argument("message", metavar="MESSAGE")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--timeout", default=8.0, metavar="SECONDS", help="For a device's answer.")
@address_option
def command(
    path: str, message: str, fields: tuple[str, ...], timeout: float, addresses: tuple[str, ...]
) -> int | None:
    """Send a message to an actor and do not wait for what comes of it.

    `bt ask PATH` says which messages it takes. Devices take commands, MESSAGE.VERB ARGUMENT...,
    and answer them: what came of it, and when it was done.

    \b
    Examples:
      bt send /home/lamps/hall Switch on=true
      bt send /home/services/thermostat Set celsius=20.5
      bt send /home/sensors/attic Led.set on
    """  # noqa: D301
    if "." in message:  # no record has a name like that: packages above the node know what does
        for found in entry_points(group="blocktree.commands"):
            code: int = found.load()(path, message, fields, timeout, addresses)
            return code
    target = ActorPath(path, here())

    async def work(session: Session) -> None:
        await tell(session, target, message, fields)

    run(work, addresses, leaderless=False)
    return None
